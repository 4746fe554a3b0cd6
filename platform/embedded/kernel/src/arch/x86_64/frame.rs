//! The frames that PDs' registers are kept in.
#![allow(unsafe_code, reason = "segment bases and the address space")]

use core::mem::offset_of;

use embedded_kernel::Register;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::registers::model_specific::Msr;
use x86_64::structures::paging::PhysFrame;

use super::descriptors::{USER_CODE, USER_DATA};

/// The registers of a PD, without floating point. They lie as exceptions and the entries push them: the stack pointer
/// of ring 0 is [`FRAME_TOP`] while the PD runs.
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Frame {
    /// By the numbers below.
    general: [u64; 15],
    /// The exception, or [`SYSTEM_CALL`].
    pub(super) vector: u64,
    pub(super) error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
    /// Kept here only while another PD runs.
    fs_base: u64,
    gs_base: u64,
}

/// Bytes of a frame that entry pushes.
pub(super) const FRAME_TOP: usize = 176;
/// [`Frame::vector`] of a system call.
pub(super) const SYSTEM_CALL: u64 = 0x100;

const _: () = {
    assert!(offset_of!(Frame, vector) == 120);
    assert!(offset_of!(Frame, fs_base) == FRAME_TOP);
    // The processor aligns the stack before it pushes.
    assert!(FRAME_TOP.is_multiple_of(16));
};

// Places in `general`: the reverse of the order that the entries push them in.
const RDI: usize = 0;
const RSI: usize = 1;
const RAX: usize = 2;
const RBX: usize = 3;
const RBP: usize = 4;
const R12: usize = 5;
const R13: usize = 6;
const R14: usize = 7;
const RDX: usize = 8;
const R10: usize = 9;
const R8: usize = 10;
const R9: usize = 11;
const R15: usize = 12;
const R11: usize = 13;
const RCX: usize = 14;

/// Message words 0 to 3.
const WORDS: [usize; 4] = [R10, R8, R9, R15];

/// Words 3 to 17 of `seL4_UserContext`.
const CONTEXT: [usize; 15] = [RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15];

/// RFLAGS that are a PD's to choose: carry, parity, adjust, zero, sign, direction, overflow.
const FLAGS: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 11;
/// RFLAGS of every PD: interrupts, and the bit that is always one.
const FIXED_FLAGS: u64 = 1 << 9 | 1 << 1;

/// IA32_FS_BASE and IA32_GS_BASE. PDs write them too, by WRFSBASE and WRGSBASE.
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;

/// The first address that is not a PD's; the half of the kernel begins further up.
const LOWER_END: u64 = 1 << 47;

/// `address`, or zero where no address can be, as on seL4: the processor would stop the kernel for it.
fn canonical(address: u64) -> u64 {
    if address >= LOWER_END && address < LOWER_END.wrapping_neg() { 0 } else { address }
}

/// Where a register is in a frame.
enum Place {
    /// A general register.
    General(usize),
    ProgramCounter,
    StackPointer,
    Status,
    FsBase,
    GsBase,
    /// Nothing that a PD has of its own.
    Nowhere,
}

/// Where the ABI has a register; contexts are in the order of `seL4_UserContext`.
const fn place(register: Register) -> Place {
    match register {
        Register::Capability => Place::General(RDI),
        Register::Info => Place::General(RSI),
        Register::Word(word) => Place::General(WORDS[word]),
        Register::Reply => Place::General(R12),
        Register::Destination => Place::General(R13),
        Register::Context(0) => Place::ProgramCounter,
        Register::Context(1) => Place::StackPointer,
        Register::Context(2) => Place::Status,
        Register::Context(word @ 3..=17) => Place::General(CONTEXT[word - 3]),
        Register::Context(18) => Place::FsBase,
        Register::Context(19) => Place::GsBase,
        Register::Context(_) => Place::Nowhere,
    }
}

impl Frame {
    /// A PD that begins.
    pub(crate) const fn new(rip: u64, rsp: u64) -> Self {
        Self {
            general: [0; 15],
            vector: 0,
            error: 0,
            rip,
            cs: USER_CODE as u64,
            rflags: FIXED_FLAGS,
            rsp,
            ss: USER_DATA as u64,
            fs_base: 0,
            gs_base: 0,
        }
    }

    /// Reads a register of a PD that does not run, or is in the kernel.
    pub(crate) fn get(&self, register: Register) -> u64 {
        match place(register) {
            Place::General(number) => self.general[number],
            Place::ProgramCounter => self.rip,
            Place::StackPointer => self.rsp,
            Place::Status => self.rflags,
            Place::FsBase => self.fs_base,
            Place::GsBase => self.gs_base,
            Place::Nowhere => 0,
        }
    }

    /// Writes it.
    pub(crate) fn set(&mut self, register: Register, value: u64) {
        match place(register) {
            Place::General(number) => self.general[number] = value,
            Place::ProgramCounter => self.rip = canonical(value),
            Place::StackPointer => self.rsp = value,
            Place::Status => self.rflags = value & FLAGS | FIXED_FLAGS,
            // Another PD runs, so that the frame's are the ones that count.
            Place::FsBase => self.fs_base = canonical(value),
            Place::GsBase => self.gs_base = canonical(value),
            Place::Nowhere => {}
        }
    }

    /// The number of the system call that the PD made.
    pub(crate) fn system_call_number(&self) -> i64 {
        self.general[RDX] as i64
    }

    /// Another PD is about to run: keeps what exceptions leave in the processor.
    pub(crate) fn put_away(&mut self) {
        for (number, base) in [(FS_BASE, &mut self.fs_base), (GS_BASE, &mut self.gs_base)] {
            // SAFETY: reading the register changes nothing.
            *base = canonical(unsafe { Msr::new(number).read() });
        }
    }

    /// The PD is about to run after another: gives the processor that, and the PD's address space.
    pub(crate) fn take_up(&self, space: u64) {
        for (number, base) in [(FS_BASE, self.fs_base), (GS_BASE, self.gs_base)] {
            // SAFETY: the kernel does not use these segments, and the address is canonical.
            unsafe { Msr::new(number).write(base) };
        }
        let root = PhysFrame::containing_address(x86_64::PhysAddr::new_truncate(space));
        // SAFETY: every space has the kernel's upper half.
        unsafe { Cr3::write(root, Cr3Flags::empty()) };
    }
}
