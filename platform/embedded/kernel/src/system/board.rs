//! The board as the core sees it.
#![allow(unsafe_code, reason = "IPC buffers")]

use core::fmt::{self, Write};
use core::ops::Range;

use embedded_image::{Image, MAX_PDS};
use embedded_kernel::{Abi, Cause, Exception, Lines, MAX_WORDS, Machine, PdSet, PortWidth, Register};

use super::memory::ipc_buffer;
use crate::arch::{self, Console, Float, Frame, Interrupts, fault};

/// The machine below the core.
pub(crate) struct Board {
    image: Image<'static>,
    frames: [Frame; MAX_PDS],
    /// The address space of each PD.
    spaces: [u64; MAX_PDS],
    /// Whose address space and floating-point trap are set.
    present: Option<usize>,
    float: Float,
    pub(super) interrupts: Interrupts,
    console: Console,
    lines: Lines,
}

impl Board {
    /// The board, its PDs at their entries in the address spaces `spaces`.
    pub(super) fn new(
        image: Image<'static>,
        spaces: [u64; MAX_PDS],
        interrupts: Interrupts,
        console: Console,
    ) -> Self {
        let frames = core::array::from_fn(|pd| {
            image.pds.get(pd).map_or(Frame::new(0, 0), |pd| Frame::new(pd.entry, pd.stack_top))
        });
        let (float, lines) = (Float::new(), Lines::NEW);
        Self { image, frames, spaces, present: None, float, interrupts, console, lines }
    }

    /// Makes everything but the registers in its frame that of `pd`, and returns the frame.
    pub(super) fn prepare(&mut self, pd: usize) -> *mut Frame {
        if self.present != Some(pd) {
            if let Some(last) = self.present.replace(pd) {
                self.frames[last].put_away();
            }
            self.frames[pd].take_up(self.spaces[pd]);
            self.float.about_to_run(pd);
        }
        &raw mut self.frames[pd]
    }

    /// Whether the image lets `pd` use the floating-point registers.
    pub(super) fn may_use_float(&self, pd: usize) -> bool {
        self.image.pds.get(pd).is_some_and(|pd| pd.fpu != 0)
    }

    /// `pd` used floating-point registers that are not its own.
    pub(super) fn hand_over_float(&mut self, pd: usize) {
        self.float.hand_over(pd);
    }

    /// The registers of `pd`.
    pub(super) fn frame(&self, pd: usize) -> &Frame {
        &self.frames[pd]
    }
}

impl Machine for Board {
    const ABI: &'static Abi = arch::ABI;

    fn register(&self, pd: usize, register: Register) -> u64 {
        self.frames[pd].get(register)
    }

    fn set_register(&mut self, pd: usize, register: Register, value: u64) {
        self.frames[pd].set(register, value);
    }

    fn buffer_word(&self, pd: usize, index: usize) -> u64 {
        if index >= MAX_WORDS {
            return 0;
        }
        // SAFETY: message word i is at word i + 1 of the IPC buffer's page.
        let word = unsafe { ipc_buffer(pd).add(index + 1) };
        // SAFETY: in the page, which no reference points to.
        unsafe { word.read_volatile() }
    }

    fn set_buffer_word(&mut self, pd: usize, index: usize, value: u64) {
        if index >= MAX_WORDS {
            return;
        }
        // SAFETY: message word i is at word i + 1 of the IPC buffer's page.
        let word = unsafe { ipc_buffer(pd).add(index + 1) };
        // SAFETY: in the page, which no reference points to.
        unsafe { word.write_volatile(value) };
    }

    fn exception(&self, pd: usize) -> Exception {
        fault::exception(&self.frames[pd])
    }

    fn copy_words(&mut self, from: usize, to: usize, words: Range<usize>) {
        let count = words.len().min(MAX_WORDS - words.start);
        // SAFETY: message word i is at word i + 1 of the IPC buffer's page.
        let source = unsafe { ipc_buffer(from).add(words.start + 1) };
        // SAFETY: as above.
        let target = unsafe { ipc_buffer(to).add(words.start + 1) };
        // SAFETY: both ranges lie in the pages of two PDs' IPC buffers, which no reference points to.
        unsafe { target.copy_from(source, count) };
    }

    fn now(&mut self) -> u64 {
        self.interrupts.now()
    }

    fn arm(&mut self, at: Option<u64>) {
        self.interrupts.arm(at);
    }

    fn mask(&mut self, irq: u32, masked: bool) {
        self.interrupts.mask(irq, masked);
    }

    fn read_port(&mut self, port: u16, width: PortWidth) -> u32 {
        arch::read_port(port, width)
    }

    fn write_port(&mut self, port: u16, width: PortWidth, value: u32) {
        arch::write_port(port, width, value);
    }

    fn put_char(&mut self, pd: usize, byte: u8) {
        self.lines.put(pd, byte, |byte| self.console.put(byte));
    }

    fn report(&mut self, pd: usize, cause: Cause, waiting: PdSet) {
        let names = waiting_names(&self.image, waiting);
        let name = self.image.pds.get(pd).map_or("", |pd| pd.name());
        self.lines.end(pd, |byte| self.console.put(byte));
        let (frame, line) = (&self.frames[pd], &mut self.console);
        let mut pc = frame.get(Register::Context(0));
        // Writing to the console cannot fail.
        let _ = write!(line, "kernel: PD '{name}' stopped: ");
        if cause == Cause::Exception {
            let (what, how) = fault::describe(frame);
            let (address, detail) = (fault::address(frame).unwrap_or(pc), fault::detail(frame));
            let _ = writeln!(line, "{what}{how} at address {address:#x}, pc {pc:#x}, {detail}{names}");
            return;
        }
        pc = pc.wrapping_sub(arch::ABI.system_call_bytes());
        let _ = match cause {
            Cause::NoCapability { slot, receiving: true } => {
                write!(line, "receive with capability {slot}, which is not for that")
            }
            Cause::NoCapability { slot, receiving: false } => {
                write!(line, "send to capability {slot}, outside the capability space")
            }
            Cause::UnknownSystemCall(number) => write!(line, "unknown system call {number}"),
            Cause::Exception => Ok(()),
        };
        let _ = writeln!(line, " at address {pc:#x}, pc {pc:#x}{names}");
    }
}

/// Names who waits for ever, if anybody.
fn waiting_names(image: &Image<'static>, waiting: PdSet) -> impl fmt::Display + use<> {
    let pds = image.pds;
    fmt::from_fn(move |f| {
        let names = pds.iter().enumerate().filter(|(pd, _)| waiting & 1 << pd != 0);
        for (index, (_, pd)) in names.enumerate() {
            let before = if index == 0 { "; waiting for it for ever: " } else { ", " };
            write!(f, "{before}'{}'", pd.name())?;
        }
        Ok(())
    })
}
