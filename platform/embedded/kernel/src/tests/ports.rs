//! I/O ports.

use super::*;

const ILLEGAL_OPERATION: u64 = 3;
const TRUNCATED_MESSAGE: u64 = 7;

const IN_8: u64 = 54;
const IN_32: u64 = 56;
const OUT_8: u64 = 57;
const OUT_16: u64 = 58;
const OUT_32: u64 = 59;

/// The slot of a range.
fn io_ports(id: u64) -> u64 {
    394 + id
}

/// One PD with the ports 0x3f8 to 0x3ff by id 5.
fn serial() -> Bench {
    Plan::default().pd(100).io_ports(0, 5, 0x3f8, 0x3ff).boot()
}

impl Bench {
    fn invoke_ports(&mut self, slot: u64, label: u64, words: &[u64]) -> (u64, u64) {
        self.machine.registers[0][2..2 + words.len()].copy_from_slice(words);
        self.system_call(0, CALL, slot, info(label, words.len() as u64));
        (self.info(0), self.machine.registers[0][2])
    }
}

#[test]
fn a_range_is_read_and_written_in_three_widths() {
    let mut bench = serial();
    for (label, bytes) in [(IN_8, 1), (55, 2), (IN_32, 4)] {
        let read = bench.invoke_ports(io_ports(5), label, &[0x3f8]);
        assert_eq!(read, (info(0, 1), 0x3f8 << 8 | bytes));
        assert_eq!(bench.badge(0), 0);
    }
    for (label, bytes) in [(OUT_8, 1), (OUT_16, 2), (OUT_32, 4)] {
        assert_eq!(bench.invoke_ports(io_ports(5), label, &[0x3fc, 0x1_1234_5678]).0, info(0, 0));
        assert_eq!(bench.machine.written.pop(), Some((0x3fc, bytes, 0x1234_5678)));
    }
}

#[test]
fn the_labels_of_a_debug_kernel_are_others() {
    let mut plan = Plan::default().pd(100).io_ports(0, 5, 0x3f8, 0x3ff);
    plan.config = Some(config::DEBUG);
    let mut bench = plan.boot();
    assert_eq!(bench.invoke_ports(io_ports(5), 58, &[0x3ff]), (info(0, 1), 0x3ff << 8 | 1));
    assert_eq!(bench.invoke_ports(io_ports(5), 61, &[0x3ff, 1]).0, info(0, 0));
    for label in [57, 64] {
        assert_eq!(bench.invoke_ports(io_ports(5), label, &[0x3ff, 1]).0, info(ILLEGAL_OPERATION, 0));
    }
}

#[test]
fn ports_outside_the_range_are_refused() {
    let mut bench = serial();
    for (label, port) in [(IN_8, 0x3f7), (IN_8, 0x400), (IN_32, 0x3fd), (OUT_16, 0x3ff), (OUT_8, 0)] {
        assert_eq!(bench.invoke_ports(io_ports(5), label, &[port, 1]).0, info(ILLEGAL_OPERATION, 0));
    }
    assert!(bench.machine.written.is_empty());
    let mut last = Plan::default().pd(100).io_ports(0, 0, 0xfffe, 0xffff).boot();
    assert_eq!(last.invoke_ports(io_ports(0), IN_32, &[0xfffe]).0, info(ILLEGAL_OPERATION, 0));
    assert_eq!(last.invoke_ports(io_ports(0), IN_8, &[0xffff]).0, info(0, 1));
}

#[test]
fn messages_that_are_too_short_and_other_labels_are_refused() {
    let mut bench = serial();
    assert_eq!(bench.invoke_ports(io_ports(5), IN_8, &[]).0, info(TRUNCATED_MESSAGE, 0));
    assert_eq!(bench.invoke_ports(io_ports(5), OUT_8, &[0x3f8]).0, info(TRUNCATED_MESSAGE, 0));
    for label in [0, 53, 60, u64::MAX >> 12] {
        assert_eq!(bench.invoke_ports(io_ports(5), label, &[0x3f8, 1]).0, info(ILLEGAL_OPERATION, 0));
    }
    assert!(bench.machine.written.is_empty());
}

#[test]
fn nobody_else_reaches_a_range() {
    let mut bench = serial();
    for slot in [io_ports(4), io_ports(6), 393, 511] {
        assert_eq!(bench.invoke_ports(slot, IN_8, &[0x3f8]).0, info(2, 1), "slot {slot}");
    }
    assert!(bench.machine.reports.is_empty());
}

#[test]
fn a_plain_send_writes_too() {
    let mut bench = serial();
    bench.machine.registers[0][2..4].copy_from_slice(&[0x3f8, 7]);
    bench.system_call(0, SEND, io_ports(5), info(OUT_8, 2));
    assert_eq!(bench.machine.written, [(0x3f8, 1, 7)]);
    assert_eq!(bench.info(0), info(OUT_8, 2), "nobody answers");
}
