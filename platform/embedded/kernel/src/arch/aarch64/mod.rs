//! AArch64: QEMU's `virt` with GICv2 and `-cpu cortex-a53`.
#![allow(unsafe_code, reason = "the only state, and leaving for a PD")]

mod board;
mod boot;
mod console;
mod fault;
mod float;
mod memory;
mod vectors;

use core::cell::UnsafeCell;
use core::fmt::{Display, Write};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use aarch64_cpu::asm::wfi;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTKCTL_EL1, CPACR_EL1, ELR_EL1, FAR_EL1, MDSCR_EL1, Readable, TPIDRRO_EL0, VBAR_EL1,
    Writeable,
};
use embedded_image::{Image, MAX_PDS, board as boards, config as configs};
use embedded_kernel::{Cause, Kernel};

use board::{Board, is_timer};
use console::Console;
use vectors::Frame;

/// All state behind the exception vectors.
struct System {
    kernel: Kernel,
    board: Board,
}

/// Where [`System`] lives.
struct Place(UnsafeCell<MaybeUninit<System>>);

// SAFETY: there is one processor, and the kernel runs with exceptions masked.
unsafe impl Sync for Place {}

static SYSTEM: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// The system, for an exception handler.
///
/// # Safety
/// `start` has filled it, and the caller holds no other reference to it.
unsafe fn system() -> &'static mut System {
    let place = SYSTEM.0.get();
    // SAFETY: the place is valid for ever, and the caller's reference the only one.
    let place = unsafe { &mut *place };
    // SAFETY: the caller says that it is filled.
    unsafe { place.assume_init_mut() }
}

/// The first Rust of the kernel.
extern "C" fn start() -> ! {
    VBAR_EL1.set(vectors::address());
    let mut console = Console::new();
    console.enable();
    let image = match Image::parse(memory::image_bytes()) {
        Ok(image) => image,
        Err(error) => refuse(&mut console, error),
    };
    let board = match image.header.board {
        boards::QEMU_VIRT_AARCH64 => "qemu_virt_aarch64",
        boards::QEMU_VIRT_AARCH64_EL1 => "qemu_virt_aarch64_el1",
        other => refuse(&mut console, format_args!("board {other} is unknown")),
    };
    let mut kernel = match Kernel::new(&image, CNTFRQ_EL0.get()) {
        Ok(kernel) => kernel,
        Err(error) => refuse(&mut console, error),
    };
    if let Err(error) = memory::check(&image) {
        refuse(&mut console, error);
    }
    let mut pool = match memory::Pool::behind(&image) {
        Ok(pool) => pool,
        Err(error) => refuse(&mut console, error),
    };
    let config = match image.header.config {
        configs::DEBUG => "debug",
        configs::RELEASE => "release",
        _ => "benchmark",
    };
    let count = image.pds.len();
    let _ = writeln!(
        console,
        "kernel: microkit-iommu embedded kernel, board {board}, config {config}, {count} protection domains"
    );
    memory::load(&image);
    let mut spaces = [0; MAX_PDS];
    for (pd, space) in spaces.iter_mut().enumerate().take(count) {
        *space = memory::user_space(&mut pool, &image, pd);
    }
    memory::enter_kernel_space(&mut pool, &image);
    open_to_user();
    let mut board = Board::new(image, spaces, console);
    if let Err(error) = board.enable_irqs() {
        refuse(&mut board.console, error);
    }
    kernel.start(&mut board);
    let place = SYSTEM.0.get();
    // SAFETY: nothing else refers to the place yet.
    let place = unsafe { &mut *place };
    let frame = place.write(System { kernel, board }).next();
    // SAFETY: `next` has set up the frame's PD; the reference to the system has ended.
    unsafe { vectors::leave(frame) }
}

/// Says why there is nothing to run, and stops.
fn refuse(console: &mut Console, why: impl Display) -> ! {
    let _ = writeln!(console, "kernel: cannot boot: {why}");
    halt()
}

fn halt() -> ! {
    loop {
        wfi();
    }
}

/// What EL0 may do with the processor, as on seL4's board: read the physical counter and its frequency, use the
/// physical timer. The virtual counter and timer are the kernel's.
fn open_to_user() {
    CNTKCTL_EL1.write(CNTKCTL_EL1::EL0PCTEN::SET + CNTKCTL_EL1::EL0PTEN::SET);
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapEl0);
    MDSCR_EL1.set(0);
    TPIDRRO_EL0.set(0);
}

impl System {
    /// Waits until a PD is to run, and returns its frame with all else set up for it.
    fn next(&mut self) -> *mut Frame {
        loop {
            if let Some(pd) = self.kernel.current() {
                return self.board.prepare(pd);
            }
            // Returns when an interrupt is pending, although it is masked.
            wfi();
            self.interrupt();
        }
    }

    fn interrupt(&mut self) {
        if let Some(id) = self.board.take_irq() {
            if is_timer(id) {
                self.kernel.tick(&mut self.board);
            } else {
                self.kernel.interrupt(&mut self.board, id.into());
            }
            self.board.end_irq(id);
        }
    }

    fn synchronous(&mut self) {
        let Some(pd) = self.kernel.current() else {
            return;
        };
        match fault::class_of(fault::syndrome()) {
            fault::class::SVC => {
                let number = self.board.system_call_number(pd);
                self.kernel.system_call(&mut self.board, number);
            }
            fault::class::FLOATING_POINT_TRAPPED if self.board.may_use_float(pd) => {
                self.board.hand_over_float(pd);
            }
            _ => self.kernel.stop(&mut self.board, Cause::Exception),
        }
    }
}

/// A PD made a system call or a fault; returns the frame to resume.
extern "C" fn on_synchronous() -> *mut Frame {
    // SAFETY: a PD ran, so that `start` is over; handlers do not nest.
    let system = unsafe { system() };
    system.synchronous();
    system.next()
}

/// An interrupt came while a PD ran; returns the frame to resume.
extern "C" fn on_interrupt() -> *mut Frame {
    // SAFETY: as in `on_synchronous`.
    let system = unsafe { system() };
    system.interrupt();
    system.next()
}

/// An asynchronous abort came while a PD ran, which is taken for its own; returns the frame to resume.
extern "C" fn on_error() -> *mut Frame {
    // SAFETY: as in `on_synchronous`.
    let system = unsafe { system() };
    system.kernel.stop(&mut system.board, Cause::Exception);
    system.next()
}

/// The kernel itself made an exception: it has a bug, and stops.
extern "C" fn on_kernel_exception() -> ! {
    let (pc, address, syndrome) = (ELR_EL1.get(), FAR_EL1.get(), fault::syndrome());
    let _ = writeln!(
        Console::new(),
        "kernel: exception in the kernel at address {address:#x}, pc {pc:#x}, esr {syndrome:#x}"
    );
    halt()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console::new(), "kernel: {info}");
    halt()
}
