//! Into the kernel and out of it: SYSCALL, exceptions and interrupts.
//!
//! While a PD runs, the stack pointer of ring 0 in the task state segment points to the top of its frame, so that the
//! processor and the stubs push into it.
#![allow(unsafe_code, reason = "exception entry and exit")]

use core::arch::global_asm;

use x86_64::VirtAddr;
use x86_64::registers::control::{Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;

use super::Frame;
use super::descriptors::{KERNEL_CODE, RSP0, TSS, USER_CODE, USER_DATA};
use super::frame::{FRAME_TOP, SYSTEM_CALL};

/// Bytes of a stub.
const STUB_BYTES: u64 = 16;

/// IA32_STAR: SYSCALL takes the kernel's segments from bits 47:32. SYSRET is not used.
const STAR: u32 = 0xc000_0081;

unsafe extern "C" {
    /// The stubs of all vectors, one after the other.
    static stubs: u8;
    /// What SYSCALL enters.
    static system_call: u8;

    /// Resumes the PD of a frame.
    ///
    /// # Safety
    /// The frame is that of a PD whose address space is present, and nobody holds a reference to it.
    pub(crate) fn leave(frame: *mut Frame) -> !;
}

/// The address of the stub of `vector`.
pub(super) fn stub(vector: u8) -> VirtAddr {
    VirtAddr::from_ptr(&raw const stubs) + u64::from(vector) * STUB_BYTES
}

/// Lets PDs make system calls, which enter with all flags off that SYSCALL can turn off.
pub(super) fn enable_system_calls() {
    // SAFETY: the segments are code and stack of ring 0.
    unsafe { Msr::new(STAR).write(u64::from(KERNEL_CODE) << 32) };
    LStar::write(VirtAddr::from_ptr(&raw const system_call));
    SFMask::write(RFlags::all() - RFlags::from_bits_truncate(1 << 1));
    // SAFETY: what they enter has been set.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
}

// Below, `user_stack` is written and read within one entry. `leave` takes the frame to resume in rdi; the handler
// returns it in rax.
global_asm!(
    ".macro SAVE",
    "    push rcx",
    "    push r11",
    "    push r15",
    "    push r9",
    "    push r8",
    "    push r10",
    "    push rdx",
    "    push r14",
    "    push r13",
    "    push r12",
    "    push rbp",
    "    push rbx",
    "    push rax",
    "    push rsi",
    "    push rdi",
    ".endm",
    ".section .data.entry, \"aw\", @progbits",
    ".balign 8",
    "user_stack: .quad 0",
    ".section .text.entry, \"ax\"",
    ".global stubs",
    ".balign 16",
    "stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (vector == 8) | (vector == 2) | (vector == 18)",
    // On the stack for these, wherever they come from.
    "    .if vector != 8",
    "    push 0",
    "    .endif",
    "    push vector",
    "    jmp kernel_exception",
    ".else",
    "    .if (vector < 10) | ((vector > 14) & (vector != 17) & (vector != 21) & (vector != 29) & (vector != 30))",
    "    push 0",
    "    .endif",
    "    push vector",
    "    jmp exception",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "exception:",
    // The vector, the error code, then what the processor pushed: RIP, CS, RFLAGS.
    "    test byte ptr [rsp + 24], 3",
    "    jz 2f",
    "    SAVE",
    "1:  mov rdi, [rsp + 120]",
    "    lea rsp, [rip + __stack_top]",
    // Flags that an interrupt gate leaves as they are: direction, access control.
    "    push 2",
    "    popfq",
    "    xor ebp, ebp",
    "    call {on_exception}",
    "    mov rdi, rax",
    "    jmp leave",
    // An interrupt that the kernel waits for: its vector in rax, and no more of them.
    "2:  cmp qword ptr [rsp], 32",
    "    jb kernel_exception",
    "    mov rax, [rsp]",
    "    and qword ptr [rsp + 32], ~0x200",
    "    add rsp, 16",
    "    iretq",
    "kernel_exception:",
    "    pop rdi",
    "    pop rsi",
    "    mov rdx, [rsp]",
    "    lea rsp, [rip + __stack_top]",
    "    xor ebp, ebp",
    "    call {on_kernel_exception}",
    ".global system_call",
    ".balign 16",
    "system_call:",
    "    mov [rip + user_stack], rsp",
    "    mov rsp, [rip + {tss} + {rsp0}]",
    "    push {user_data}",
    "    push [rip + user_stack]",
    "    push r11",
    "    push {user_code}",
    "    push rcx",
    "    push 0",
    "    push {system_call}",
    "    SAVE",
    "    jmp 1b",
    ".global leave",
    ".balign 16",
    "leave:",
    "    lea rax, [rdi + {top}]",
    "    mov [rip + {tss} + {rsp0}], rax",
    "    mov rsp, rdi",
    "    pop rdi",
    "    pop rsi",
    "    pop rax",
    "    pop rbx",
    "    pop rbp",
    "    pop r12",
    "    pop r13",
    "    pop r14",
    "    pop rdx",
    "    pop r10",
    "    pop r8",
    "    pop r9",
    "    pop r15",
    "    pop r11",
    "    pop rcx",
    "    add rsp, 16",
    "    iretq",
    on_exception = sym super::on_exception,
    on_kernel_exception = sym super::on_kernel_exception,
    tss = sym TSS,
    rsp0 = const RSP0,
    top = const FRAME_TOP,
    system_call = const SYSTEM_CALL,
    user_data = const USER_DATA,
    user_code = const USER_CODE,
);
