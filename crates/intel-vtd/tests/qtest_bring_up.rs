//! Bring-up of QEMU's VT-d units from several states.

mod common;

use common::{Bare, DATA, KINDS, PAGE, TABLE_BYTES, TABLES, VTD, bare, machine, pattern};
use intel_vtd::{BringUpError, Config, IntelVtd, MAX_STREAMS, Mode, ModeReason, REGISTER_LIMIT_NS};
use iommu_hal::{Carver, Clock, PhysAddr, Registers, Rights, StreamId, TableMemory};
use iommu_qtest::{Qemu, QemuMemory, QemuRegisters};

/// Where the firmware of these tests has its tables.
const LEFT_BEHIND: PhysAddr = PhysAddr(0xc00_0000);

const TE: u32 = 1 << 31;
const SRTP: u32 = 1 << 30;
const QIE: u32 = 1 << 26;
const IRE: u32 = 1 << 25;

/// Leaves the unit translating in legacy mode, as firmware may: DATA to DATA for the device. Offsets and fields are
/// written out, not taken from the driver.
fn left_translating(bare: &Bare) -> QemuRegisters {
    let mut regs = bare.registers();
    let mut memory = QemuMemory::new(&bare.qemu, LEFT_BEHIND, 1 << 20);
    let at = |page: u64, index: u64| PhysAddr(LEFT_BEHIND.0 + page * 0x1000 + index * 8);
    let three_levels = regs.read64(0x08) >> 9 & 2 == 0;
    memory.write(at(0, 0), at(1, 0).0 | 1);
    memory.write(at(1, u64::from(bare.stream().0) * 2), at(if three_levels { 3 } else { 2 }, 0).0 | 1);
    memory.write(at(1, u64::from(bare.stream().0) * 2 + 1), 5 << 8 | if three_levels { 1 } else { 2 });
    memory.write(at(2, 0), at(3, 0).0 | 3);
    memory.write(at(3, 0), 0x83);
    regs.write64(0x20, LEFT_BEHIND.0);
    regs.write32(0x18, SRTP);
    regs.write32(0x18, TE);
    assert_eq!(regs.read32(0x1c), TE | SRTP);
    regs
}

/// Turns the invalidation queue on, with `descriptors` in it.
fn left_with_queue(bare: &Bare, descriptors: &[[u64; 2]]) {
    let mut regs = bare.registers();
    let queue = LEFT_BEHIND.0 + 0x1_0000;
    let wide = regs.read64(0x10) >> 43 & 1;
    let bytes = 16 << wide;
    for (index, words) in descriptors.iter().enumerate() {
        bare.qemu.write64(queue + index as u64 * bytes, words[0]);
        bare.qemu.write64(queue + index as u64 * bytes + 8, words[1]);
    }
    regs.write64(0x88, 0);
    regs.write64(0x90, queue | wide << 11);
    let on = regs.read32(0x1c) & TE;
    regs.write32(0x18, on | QIE);
    regs.write64(0x88, descriptors.len() as u64 * bytes);
}

const WAIT: [u64; 2] = [7 << 32 | 0x25, 0xc02_0000];
const NO_SUCH: [u64; 2] = [0xf, 0];

fn dma_lands(bare: &Bare, at: u64) -> bool {
    bare.qemu.write(at, &pattern(1));
    bare.edu.read_ram(at, 64);
    bare.qemu.fill(at, PAGE, 0);
    bare.edu.write_ram(at, 64);
    bare.qemu.read(at, 64) != [0; 64]
}

/// Bring-up leaves a unit that aborts, then translates.
fn works_after(bare: Bare) -> intel_vtd::Report {
    let mut bench = bare.bring_up();
    bench.qemu.fill(DATA, PAGE, 0);
    bench.edu.write_ram(DATA, 64);
    assert_eq!(bench.qemu.read(DATA, 64), [0; 64]);
    assert_eq!(bench.fault(), None, "a stream that is not attached fills no records");
    let report = *bench.unit.report();
    assert_eq!(report.self_test.aborting_streams, 1);
    let space = bench.attached();
    bench.map(&space, 0x1000, DATA, 12, Rights::READ_WRITE);
    assert!(bench.reaches(0x1000, DATA, 2));
    bench.edu.write_ram(DATA, 64);
    assert!(bench.fault().is_some());
    report
}

#[test]
fn a_unit_that_is_off_aborts_after_bring_up() {
    for kind in KINDS {
        let bare = bare(kind);
        assert!(dma_lands(&bare, DATA), "it lets everything pass before");
        let report = works_after(bare);
        assert_eq!((report.status_found, report.mode_reason), (0, ModeReason::Unit), "{kind}");
    }
}

#[test]
fn a_unit_that_firmware_left_translating_aborts_after_bring_up() {
    for kind in KINDS {
        for queue in [None, Some(&[][..]), Some(&[WAIT][..]), Some(&[WAIT, WAIT, WAIT][..])] {
            let bare = bare(kind);
            left_translating(&bare);
            if let Some(descriptors) = queue {
                left_with_queue(&bare, descriptors);
                if descriptors.is_empty() {
                    // QEMU lets no queue be turned off in which no wait was ever completed.
                    left_with_queue(&bare, &[WAIT]);
                }
            }
            assert!(dma_lands(&bare, DATA), "{kind}: firmware's tables let it pass before");
            let report = works_after(bare);
            let queue = if queue.is_some() { QIE } else { 0 };
            assert_eq!(report.status_found, TE | SRTP | queue, "{kind}");
            let reason = if kind == "x-scalable-mode=on" { ModeReason::LeftOn } else { ModeReason::Unit };
            assert_eq!((report.mode, report.mode_reason), (Mode::Legacy, reason), "{kind}");
        }
    }
}

#[test]
fn interrupt_remapping_that_was_left_on_is_off() {
    let bare = bare("");
    left_translating(&bare);
    left_with_queue(&bare, &[WAIT]);
    let mut regs = bare.registers();
    regs.write64(0xb8, (LEFT_BEHIND.0 + 0x3_0000) | 7);
    regs.write32(0x18, TE | QIE | 1 << 24);
    regs.write32(0x18, TE | QIE | IRE);
    assert_eq!(regs.read32(0x1c) & IRE, IRE);
    let report = works_after(bare);
    assert_eq!(report.status_found & IRE, IRE);
    assert_eq!(regs.read32(0x1c) & (IRE | QIE | TE), QIE | TE);
}

#[test]
fn faults_that_were_left_are_forgotten() {
    let bare = bare("");
    let mut regs = left_translating(&bare);
    bare.edu.write_ram(1 << 33, 16);
    assert_eq!(regs.read32(0x34) & 2, 2, "a fault is pending");
    assert_ne!(works_after(bare).faults_found & 2, 0);
}

#[test]
fn a_queue_that_cannot_be_turned_off_meets_the_deadline_and_everything_aborts() {
    // QEMU refuses to turn a queue off that has stopped at an error.
    let mut bare = bare("");
    let mut regs = left_translating(&bare);
    left_with_queue(&bare, &[NO_SUCH, WAIT]);
    assert_eq!(regs.read32(0x34) & 1 << 4, 1 << 4, "IQE");
    let stream = bare.stream();
    let before = bare.clock.now_ns();
    let config = Config { streams: &[stream], record_unknown: false, fault_message: None };
    let error = bare.try_bring_up(&config).map(|_| ()).unwrap_err();
    assert!(bare.clock.now_ns() - before >= REGISTER_LIMIT_NS);
    let BringUpError::Timeout { waiting_for, limit_ns } = error else { panic!("{error}") };
    assert!(waiting_for.contains("QIES") && limit_ns == REGISTER_LIMIT_NS, "{error}");
    // Nothing was cached before, so the root table in which all is absent decides.
    bare.qemu.fill(DATA, PAGE, 0);
    bare.edu.write_ram(DATA, 64);
    assert_eq!(bare.qemu.read(DATA, 64), [0; 64]);
}

#[test]
fn bring_up_after_bring_up_starts_anew() {
    for kind in KINDS {
        let mut first = bare(kind).bring_up();
        let space = first.attached();
        first.map(&space, 0x1000, DATA, 12, Rights::READ_WRITE);
        first.load_device(0x1000, DATA, 3);
        let again = Bare { qemu: first.qemu, edu: first.edu, memory: first.memory, clock: first.clock };
        let mut second = again.bring_up();
        assert_eq!(second.unit.report().mode_reason, ModeReason::Unit, "{kind}");
        second.qemu.fill(DATA, PAGE, 0);
        second.edu.write_ram(0x1000, 64);
        assert_eq!(second.qemu.read(DATA, 64), [0; 64], "the old attachment is gone");
        let space = second.attached();
        second.map(&space, 0x1000, DATA, 12, Rights::READ_WRITE);
        assert!(second.reaches(0x1000, DATA, 4), "{kind}");
    }
}

#[test]
fn streams_that_are_not_named_abort_and_are_recorded_on_wish() {
    for kind in KINDS {
        for record_unknown in [false, true] {
            let mut bare = bare(kind);
            let others = [StreamId(0), StreamId(bare.stream().0 + 1), StreamId(0xffff)];
            let config = Config { streams: &others, record_unknown, fault_message: None };
            let (mut unit, _) = bare.try_bring_up(&config).unwrap();
            bare.qemu.fill(DATA, PAGE, 0);
            bare.edu.write_ram(DATA, 64);
            assert_eq!(bare.qemu.read(DATA, 64), [0; 64]);
            let fault = iommu_hal::Unit::next_fault(&mut unit, &mut bare.memory);
            assert_eq!(fault.map(|fault| fault.stream), record_unknown.then_some(bare.stream()), "{kind}");
        }
    }
}

#[test]
fn the_report_tells_what_was_found_and_chosen() {
    let bare = bare("x-scalable-mode=on");
    left_translating(&bare);
    let bench = bare.bring_up();
    let text = bench.unit.report().to_string();
    for part in [
        "VT-d 1.0 (CAP 0x00d2008c222f0606, ECAP 0x0000480080f00f4a)",
        "48-bit addresses, levels 3 4, 16-bit domain ids, caches no absent entries (CM 0), 1 fault records",
        "GSTS 0xc0000000 (translation left on, invalidation queue off, interrupt remapping off)",
        "legacy mode (it was left on in it), 4 levels, 48-bit addresses in, 48-bit out, 2 MiB pages, 1 GiB pages",
        "walks do not snoop, stores are cleaned, entries are cleaned (ECAP.C 0)",
        "255 descriptors; invalidation of up to 2^18 pages, drains reads and writes",
        "1 streams abort",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.ends_with('\n') && text.lines().count() < 12, "{text}");
    let text = common::bench("x-scalable-mode=on").unit.report().to_string();
    assert!(text.contains("scalable mode (the unit has it)") && text.contains("127 descriptors"), "{text}");
}

#[test]
fn a_wrong_configuration_is_named_and_everything_aborts() {
    let mut bare = bare("");
    let stream = bare.stream();
    let many: Vec<StreamId> = (0..=MAX_STREAMS as u32).map(StreamId).collect();
    for (streams, error) in [
        (&[StreamId(8), StreamId(3), StreamId(8)][..], BringUpError::StreamTwice(StreamId(8))),
        (&[StreamId(0x1_0000)][..], BringUpError::StreamTooLarge(StreamId(0x1_0000))),
        (&many[..], BringUpError::TooManyStreams),
    ] {
        let config = Config { streams, record_unknown: false, fault_message: None };
        assert_eq!(bare.try_bring_up(&config).map(|_| ()).unwrap_err(), error);
        bare.qemu.fill(DATA, PAGE, 0);
        bare.edu.write_ram(DATA, 64);
        assert_eq!(bare.qemu.read(DATA, 64), [0; 64], "{error}");
    }
    for pages in 0..6 {
        let mut carver = Carver::new(TABLES, pages * PAGE);
        let config = Config { streams: &[stream], record_unknown: false, fault_message: None };
        let regs = bare.registers();
        let result = IntelVtd::bring_up(regs, &mut bare.memory, &bare.clock, &mut carver, &config);
        assert!(matches!(result, Err(BringUpError::OutOfTableMemory(_))), "{pages} pages");
    }
}

#[test]
fn where_there_is_no_unit_none_is_found() {
    let qemu = Qemu::start(&machine("")).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = QemuMemory::new(&qemu, TABLES, TABLE_BYTES);
    let clock = iommu_qtest::HostClock::new();
    let config = Config { streams: &[], record_unknown: false, fault_message: None };
    let regs = QemuRegisters::new(&qemu, VTD + 0x10_0000);
    let mut carver = Carver::new(TABLES, TABLE_BYTES);
    let result = IntelVtd::bring_up(regs, &mut memory, &clock, &mut carver, &config);
    assert_eq!(result.map(|_| ()).unwrap_err(), BringUpError::NoUnit);
}
