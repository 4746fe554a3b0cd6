//! The bootable kernel around the core, as far as it is the same on every architecture: it boots the image, keeps the
//! PDs' registers, and hands what the processor reports to the core.
#![allow(unsafe_code, reason = "the only state, and leaving for a PD")]

mod board;
pub(crate) mod memory;

use core::cell::UnsafeCell;
use core::fmt::{Display, Write};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use embedded_image::{Image, MAX_PDS, config as configs};
use embedded_kernel::{Cause, Kernel};

use crate::arch::memory::KernelSpace;
use crate::arch::{self, Console, Frame, Interrupts, Taken};
use board::Board;

/// All state behind the exception vectors.
pub(crate) struct System {
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

/// Lets the system `handle` what the processor reported, and returns the frame to resume.
///
/// # Safety
/// A PD ran, so that [`start`] is over, and the caller is its exception's handler; handlers do not nest.
pub(crate) unsafe fn handle(handle: impl FnOnce(&mut System)) -> *mut Frame {
    // SAFETY: as the caller says.
    let system = unsafe { system() };
    handle(system);
    system.next()
}

/// Boots the image, once the processor is set up as far as it is the same for all images.
pub(crate) fn start() -> ! {
    let mut console = Console::new();
    console.enable();
    let image = match Image::parse(memory::image_bytes()) {
        Ok(image) => image,
        Err(error) => refuse(&mut console, error),
    };
    let Some((_, board)) = arch::BOARDS.iter().find(|(number, _)| *number == image.header.board) else {
        refuse(&mut console, format_args!("board {} is unknown", image.header.board))
    };
    if !arch::HAS_IO_PORTS && !image.io_ports.is_empty() {
        refuse(&mut console, "the image names I/O ports, which this board does not have");
    }
    let mut interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(error) => refuse(&mut console, error),
    };
    let mut kernel = match Kernel::new(&image, interrupts.ticks_per_second()) {
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
    let own = KernelSpace::new(&mut pool, &image);
    let mut spaces = [0; MAX_PDS];
    for (pd, space) in spaces.iter_mut().enumerate().take(count) {
        *space = own.user_space(&mut pool, &image, pd);
    }
    own.enter();
    arch::open_to_user();
    for irq in image.irqs {
        if let Err(error) = interrupts.enable(irq) {
            refuse(&mut console, error);
        }
    }
    let mut board = Board::new(image, spaces, interrupts, console);
    kernel.start(&mut board);
    let place = SYSTEM.0.get();
    // SAFETY: nothing else refers to the place yet.
    let place = unsafe { &mut *place };
    let frame = place.write(System { kernel, board }).next();
    // SAFETY: `next` has set up the frame's PD; the reference to the system has ended.
    unsafe { arch::leave(frame) }
}

/// Says why there is nothing to run, and stops.
fn refuse(console: &mut Console, why: impl Display) -> ! {
    let _ = writeln!(console, "kernel: cannot boot: {why}");
    arch::halt()
}

impl System {
    /// The processor's and the board's part of the PD that runs, and its index.
    pub(crate) fn running(&mut self) -> Option<(&mut Board, usize)> {
        self.kernel.current().map(|pd| (&mut self.board, pd))
    }

    /// The interrupt controllers, for an entry that knows which interrupt has come.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn interrupts(&mut self) -> &mut Interrupts {
        &mut self.board.interrupts
    }

    /// Waits until a PD is to run, and returns its frame with all else set up for it.
    fn next(&mut self) -> *mut Frame {
        loop {
            if let Some(pd) = self.kernel.current() {
                return self.board.prepare(pd);
            }
            self.board.interrupts.wait();
            self.interrupt();
        }
    }

    /// The interrupt controller has something for the kernel.
    pub(crate) fn interrupt(&mut self) {
        if let Some(taken) = self.board.interrupts.take() {
            match taken {
                Taken::Timer => self.kernel.tick(&mut self.board),
                Taken::Irq(number) => self.kernel.interrupt(&mut self.board, number),
                Taken::Nothing => {}
            }
            self.board.interrupts.end(taken);
        }
    }

    /// The PD that runs made a system call.
    pub(crate) fn system_call(&mut self) {
        if let Some((board, pd)) = self.running() {
            let number = board.frame(pd).system_call_number();
            self.kernel.system_call(&mut self.board, number);
        }
    }

    /// The PD that runs used floating-point registers that are not its own.
    pub(crate) fn floating_point(&mut self) {
        match self.running() {
            Some((board, pd)) if board.may_use_float(pd) => board.hand_over_float(pd),
            _ => self.exception(),
        }
    }

    /// The PD that runs made an exception.
    pub(crate) fn exception(&mut self) {
        self.kernel.stop(&mut self.board, Cause::Exception);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console::new(), "kernel: {info}");
    arch::halt()
}
