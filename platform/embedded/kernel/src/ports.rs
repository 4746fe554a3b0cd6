//! I/O ports, which PDs read and write by invocations (seL4 16.0.0, `X86IOPort`).

use embedded_image::{Image, IoPorts};

use crate::caps::SetupError;
use crate::kernel::Kernel;
use crate::machine::{Machine, PortWidth, Register};
use crate::message::{ILLEGAL_OPERATION, MessageInfo, OK, TRUNCATED_MESSAGE};
use crate::syscall::answer;

/// Most ranges of I/O ports in one image.
pub const MAX_PORT_RANGES: usize = 64;

/// Label of the first of six invocations, which read and write 1, 2 and 4 bytes, in a debug kernel and in the others.
pub(crate) const FIRST_LABEL_DEBUG: u64 = 58;
pub(crate) const FIRST_LABEL_RELEASE: u64 = 54;

/// The labels' order.
const WIDTHS: [PortWidth; 3] = [PortWidth::Byte, PortWidth::Word, PortWidth::Double];

/// Ports, the first and the last among them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    first: u16,
    last: u16,
}

impl Range {
    fn holds(self, port: u16, width: PortWidth) -> bool {
        self.first <= port && u32::from(port) + width.bytes() - 1 <= u32::from(self.last)
    }
}

/// All ranges.
pub(crate) type Ranges = heapless::Vec<Range, MAX_PORT_RANGES>;

/// The ranges of `image`, in its order.
pub(crate) fn ranges(image: &Image<'_>) -> Result<Ranges, SetupError> {
    let meets = |a: &IoPorts, b: &IoPorts| a.first <= b.last && b.first <= a.last;
    let mut ranges = Ranges::new();
    for (index, ports) in image.io_ports.iter().enumerate() {
        if image.io_ports[..index].iter().any(|other| meets(other, ports)) {
            return Err(SetupError::PortsTwice { first: ports.first, last: ports.last });
        }
        let range = Range { first: ports.first, last: ports.last };
        ranges.push(range).map_err(|_| SetupError::TooManyPorts(image.io_ports.len()))?;
    }
    Ok(ranges)
}

impl Kernel {
    /// `pd` invokes the range `range`, with the message in its registers; a `call` is answered.
    pub(crate) fn invoke_ports<M: Machine>(&self, machine: &mut M, pd: usize, range: usize, call: bool) {
        let info = MessageInfo::from_word(machine.register(pd, Register::Info));
        let operation = info.label.checked_sub(self.ports_label).filter(|&operation| operation < 6);
        let result = match operation {
            None => Err(ILLEGAL_OPERATION),
            Some(operation) => {
                let width = WIDTHS[operation as usize % WIDTHS.len()];
                self.access(machine, pd, range, info.words, width, operation as usize >= WIDTHS.len())
            }
        };
        if !call {
            return;
        }
        match result {
            Ok(None) => answer(machine, pd, OK),
            Err(error) => answer(machine, pd, error),
            Ok(Some(value)) => {
                machine.set_register(pd, Register::Word(0), value.into());
                machine.set_register(pd, Register::Capability, 0);
                machine.set_register(pd, Register::Info, MessageInfo { label: OK, words: 1 }.to_word());
            }
        }
    }

    fn access<M: Machine>(
        &self,
        machine: &mut M,
        pd: usize,
        range: usize,
        words: usize,
        width: PortWidth,
        writes: bool,
    ) -> Result<Option<u32>, u64> {
        if words < 1 + usize::from(writes) {
            return Err(TRUNCATED_MESSAGE);
        }
        // Of a port's number the low bits count, as on seL4.
        let port = machine.register(pd, Register::Word(0)) as u16;
        if !self.ports[range].holds(port, width) {
            return Err(ILLEGAL_OPERATION);
        }
        if writes {
            let value = machine.register(pd, Register::Word(1)) as u32;
            machine.write_port(port, width, value);
            return Ok(None);
        }
        Ok(Some(machine.read_port(port, width)))
    }
}
