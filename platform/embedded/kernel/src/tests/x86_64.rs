//! What is particular to x86-64: the words of faults, and where a system call is made again.

use super::*;
use crate::X86_64;

/// A machine of arrays whose contexts are those of x86-64. They are apart from the message's registers.
struct X86<'a>(&'a mut Arrays);

impl Machine for X86<'_> {
    const ABI: &'static Abi = &X86_64;

    fn register(&self, pd: usize, register: Register) -> u64 {
        match register {
            Register::Context(word) => self.0.contexts.get(&(pd, word)).copied().unwrap_or(0),
            _ => self.0.register(pd, register),
        }
    }
    fn set_register(&mut self, pd: usize, register: Register, value: u64) {
        match register {
            Register::Context(word) => {
                self.0.contexts.insert((pd, word), value);
            }
            _ => self.0.set_register(pd, register, value),
        }
    }
    fn buffer_word(&self, pd: usize, index: usize) -> u64 {
        self.0.buffer_word(pd, index)
    }
    fn set_buffer_word(&mut self, pd: usize, index: usize, value: u64) {
        self.0.set_buffer_word(pd, index, value);
    }
    fn exception(&self, pd: usize) -> Exception {
        self.0.exception(pd)
    }
    fn copy_words(&mut self, from: usize, to: usize, words: Range<usize>) {
        self.0.copy_words(from, to, words);
    }
    fn now(&mut self) -> u64 {
        self.0.now()
    }
    fn arm(&mut self, at: Option<u64>) {
        self.0.arm(at);
    }
    fn mask(&mut self, irq: u32, masked: bool) {
        self.0.mask(irq, masked);
    }
    fn read_port(&mut self, port: u16, width: PortWidth) -> u32 {
        self.0.read_port(port, width)
    }
    fn write_port(&mut self, port: u16, width: PortWidth, value: u32) {
        self.0.write_port(port, width, value);
    }
    fn put_char(&mut self, pd: usize, byte: u8) {
        self.0.put_char(pd, byte);
    }
    fn report(&mut self, pd: usize, cause: Cause, waiting: PdSet) {
        self.0.report(pd, cause, waiting);
    }
}

const PARENT: usize = 0;
const CHILD: usize = 1;
const TCB: u64 = 202 + 5;
const WORDS: usize = 20;

/// A parent that waits, and its child, which runs with `1000 + i` in word i of its context.
fn family() -> Bench {
    let mut bench = Plan::default().pd(100).pd(50).child(1, 0, 5).boot();
    for word in 0..WORDS {
        bench.machine.contexts.insert((CHILD, word), 1000 + word as u64);
    }
    bench.x86_call(PARENT, RECV, INPUT, 0);
    assert_eq!(bench.running(), Some(CHILD));
    bench
}

impl Bench {
    fn x86_call(&mut self, pd: usize, number: i64, capability: u64, info: u64) {
        assert_eq!(self.running(), Some(pd));
        let registers = &mut self.machine.registers[pd];
        (registers[0], registers[1], registers[6]) = (capability, info, REPLY);
        self.kernel.system_call(&mut X86(&mut self.machine), number);
        self.check();
    }

    fn x86_words(&self, count: usize) -> Vec<u64> {
        let word = |index| match index {
            0..4 => self.machine.registers[PARENT][2 + index],
            _ => self.machine.buffer_word(PARENT, index),
        };
        (0..count).map(word).collect()
    }

    fn held(&self, word: usize) -> u64 {
        self.machine.contexts[&(CHILD, word)]
    }
}

#[test]
fn an_unknown_system_call_tells_of_all_registers() {
    let mut bench = family();
    bench.x86_call(CHILD, -100, 7, 0);
    assert_eq!(bench.info(PARENT), info(2, 19));
    // RIP is that of the instruction, which has two bytes.
    let expected: Vec<u64> =
        (3..18).map(|word| 1000 + word).chain([998, 1001, 1002, -100_i64 as u64]).collect();
    assert_eq!(bench.x86_words(19), expected);
    for index in 0..19 {
        match index {
            0..4 => bench.machine.registers[PARENT][2 + index] = 2000 + index as u64,
            _ => bench.machine.set_buffer_word(PARENT, index, 2000 + index as u64),
        }
    }
    bench.x86_call(PARENT, REPLY_RECV, INPUT, info(0, 19));
    assert_eq!(bench.running(), Some(CHILD));
    let set: Vec<u64> = (0..18).map(|word| bench.held(word)).collect();
    let expected: Vec<u64> = (15..18).chain(0..15).map(|index| 2000 + index).collect();
    assert_eq!(set, expected);
    assert_eq!((bench.held(18), bench.held(19)), (1018, 1019), "the segment bases stay");
}

#[test]
fn an_exception_has_its_vector_and_error_code() {
    let mut bench = family();
    bench.machine.exception = Some(Exception::Other { number: 13, code: 0x402 });
    bench.kernel.stop(&mut X86(&mut bench.machine), Cause::Exception);
    bench.check();
    assert_eq!((bench.info(PARENT), bench.x86_words(5)), (info(3, 5), vec![1000, 1001, 1002, 13, 0x402]));
    bench.machine.registers[PARENT][2..4].copy_from_slice(&[5000, 6000]);
    bench.x86_call(PARENT, REPLY_RECV, INPUT, info(0, 2));
    assert_eq!((bench.held(0), bench.held(1), bench.held(2)), (5000, 6000, 1002));
}

#[test]
fn a_page_fault_has_its_address_and_error_code() {
    let mut bench = family();
    bench.machine.exception = Some(Exception::Memory { address: 0xdead_b000, fetch: true, status: 0x15 });
    bench.kernel.stop(&mut X86(&mut bench.machine), Cause::Exception);
    bench.check();
    assert_eq!((bench.info(PARENT), bench.x86_words(4)), (info(6, 4), vec![1000, 0xdead_b000, 1, 0x15]));
}

#[test]
fn all_twenty_registers_are_written_and_no_more() {
    let mut bench = family();
    bench.x86_call(CHILD, RECV, INPUT, 0);
    bench.interrupt_parent();
    let count = WORDS as u64 + 10;
    bench.machine.registers[PARENT][2..4].copy_from_slice(&[1, count]);
    (0..count as usize).for_each(|word| match word {
        0..2 => bench.machine.registers[PARENT][4 + word] = 3000 + word as u64,
        _ => bench.machine.set_buffer_word(PARENT, 2 + word, 3000 + word as u64),
    });
    bench.x86_call(PARENT, CALL, TCB, info(3, count + 2));
    assert_eq!(bench.info(PARENT), info(0, 0));
    assert!((0..WORDS).all(|word| bench.held(word) == 3000 + word as u64));
    assert_eq!(bench.machine.contexts.range((CHILD, WORDS)..(CHILD + 1, 0)).count(), 0);
}

#[test]
fn a_child_that_goes_on_makes_its_system_call_again() {
    let mut bench = family();
    bench.x86_call(CHILD, RECV, INPUT, 0);
    bench.interrupt_parent();
    bench.x86_call(PARENT, CALL, TCB, info(12, 0));
    assert_eq!(bench.held(0), 998, "back at the instruction");
}

impl Bench {
    /// Lets the parent run, which waits.
    fn interrupt_parent(&mut self) {
        self.kernel.signal(&mut X86(&mut self.machine), PARENT, 1);
        self.kernel.settle(&mut X86(&mut self.machine));
        assert_eq!(self.running(), Some(PARENT));
    }
}
