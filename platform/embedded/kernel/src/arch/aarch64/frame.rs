//! The frames that PDs' registers are kept in.

use core::mem::offset_of;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{Readable, TPIDR_EL0, TTBR0_EL1, Writeable};
use embedded_kernel::Register;

/// The registers of a PD, without floating point. SP_EL1 points here while the PD runs, so that the kernel's entry
/// finds it.
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Frame {
    x: [u64; 31],
    sp: u64,
    pc: u64,
    pstate: u64,
    /// TPIDR_EL0, kept here only while another PD runs.
    thread_pointer: u64,
}

impl Frame {
    /// A PD that begins.
    pub(crate) const fn new(pc: u64, sp: u64) -> Self {
        Self { x: [0; 31], sp, pc, pstate: 0, thread_pointer: 0 }
    }

    /// Reads a register of a PD that does not run, or is in the kernel.
    pub(crate) fn get(&self, register: Register) -> u64 {
        match place(register) {
            Place::X(number) => self.x[number],
            Place::StackPointer => self.sp,
            Place::ProgramCounter => self.pc,
            Place::Status => self.pstate,
            Place::ThreadPointer => self.thread_pointer,
            Place::Nowhere => 0,
        }
    }

    /// Writes it.
    pub(crate) fn set(&mut self, register: Register, value: u64) {
        match place(register) {
            Place::X(number) => self.x[number] = value,
            Place::StackPointer => self.sp = value,
            Place::ProgramCounter => self.pc = value,
            Place::Status => self.pstate = value & FLAGS,
            // Another PD runs, so that the frame's is the one that counts.
            Place::ThreadPointer => self.thread_pointer = value,
            Place::Nowhere => {}
        }
    }

    /// The number of the system call that the PD made.
    pub(crate) fn system_call_number(&self) -> i64 {
        self.x[7] as i64
    }

    /// Another PD is about to run: keeps what exceptions leave in the processor.
    pub(crate) fn put_away(&mut self) {
        self.thread_pointer = TPIDR_EL0.get();
    }

    /// The PD is about to run after another: gives the processor that, and the PD's address space.
    pub(crate) fn take_up(&self, space: u64) {
        TPIDR_EL0.set(self.thread_pointer);
        TTBR0_EL1.set(space);
        barrier::isb(barrier::SY);
    }
}

const _: () = {
    assert!(offset_of!(Frame, sp) == 248);
    assert!(offset_of!(Frame, pc) == 256);
    assert!(offset_of!(Frame, pstate) == 264);
};

/// Where a register is in a frame.
enum Place {
    /// x0 to x30, by number.
    X(usize),
    StackPointer,
    ProgramCounter,
    Status,
    ThreadPointer,
    /// Nothing that a PD has of its own.
    Nowhere,
}

/// Condition flags, all of SPSR_EL1 that is a PD's to choose.
const FLAGS: u64 = 0xf000_0000;

/// Where the ABI has a register; contexts are in the order of `seL4_UserContext`.
const fn place(register: Register) -> Place {
    match register {
        Register::Capability => Place::X(0),
        Register::Info => Place::X(1),
        Register::Word(word) => Place::X(2 + word),
        Register::Reply => Place::X(6),
        Register::Destination => Place::X(8),
        Register::Context(0) => Place::ProgramCounter,
        Register::Context(1) => Place::StackPointer,
        Register::Context(2) => Place::Status,
        Register::Context(word @ 3..=11) => Place::X(word - 3),
        Register::Context(word @ 12..=14) => Place::X(word + 4),
        Register::Context(word @ 15..=16) => Place::X(word + 14),
        Register::Context(word @ 17..=23) => Place::X(word - 8),
        Register::Context(word @ 24..=33) => Place::X(word - 5),
        Register::Context(34) => Place::ThreadPointer,
        Register::Context(_) => Place::Nowhere,
    }
}
