//! I/O ports, which x86 has: the kernel uses them for a PD. rust-sel4 has nothing of the kind; the crate
//! `microkit-ioport` exports this on this runtime, and does the same on rust-sel4's.

use crate::{
    MessageInfo, get_mr, ipc,
    object::{Error, Result},
    sdk, set_mr, symbols,
};

/// Where Microkit puts a PD's capabilities to I/O ports.
const IOPORT_SLOT: u64 = 394;

/// A range of I/O ports, by the id that the system description gives it in this PD.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub struct IoPorts {
    id: u8,
}

impl IoPorts {
    /// The range with this id; `None` if the PD has none.
    pub fn new(id: usize) -> Option<Self> {
        let id = u8::try_from(id).ok().filter(|&id| id < 64)?;
        (symbols::pd_ioports() & 1 << id != 0).then_some(Self { id })
    }

    /// Reads the byte at `port`.
    ///
    /// # Errors
    /// The kernel's refusal: the port is outside the range.
    pub fn read_8(&self, port: u16) -> Result<u8> {
        set_mr(0, port.into());
        self.invoke(sdk::IO_PORT_IN_8_LABEL, 1)?;
        Ok(get_mr(0) as u8)
    }

    /// Writes `value` to `port`.
    ///
    /// # Errors
    /// As [`IoPorts::read_8`].
    pub fn write_8(&self, port: u16, value: u8) -> Result<()> {
        set_mr(0, port.into());
        set_mr(1, value.into());
        self.invoke(sdk::IO_PORT_OUT_8_LABEL, 2)
    }

    fn invoke(self, label: u64, words: usize) -> Result<()> {
        let slot = IOPORT_SLOT + u64::from(self.id);
        Error::from_label(ipc::call(slot, MessageInfo::new(label, words)).label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{
        Asked, Received,
        script::{asked, queue},
    };

    #[test]
    fn bytes_go_through_the_kernel_as_libmicrokit_sends_them() {
        let ports = IoPorts::new(4).unwrap();
        queue(Received { badge: 0, tag: 1, words: [0xab, 0, 0, 0] });
        assert_eq!(ports.read_8(0x3fd), Ok(0xab));
        set_mr(1, 0);
        queue(Received { badge: 0, tag: 2 << 12, words: [0; 4] });
        assert_eq!(ports.write_8(0x3f8, 0x41), Err(Error::InvalidCapability));
        let [
            Asked::Call { cap: 398, tag: read, words: [0x3fd, ..] },
            Asked::Call { cap: 398, tag: write, words },
        ] = asked()[..]
        else {
            panic!("two calls")
        };
        assert_eq!((read, write), (58 << 12 | 1, 61 << 12 | 2));
        assert_eq!(words[..2], [0x3f8, 0x41]);
    }

    #[test]
    fn a_range_that_the_system_description_lacks() {
        assert_eq!(IoPorts::new(5), None);
        assert_eq!(IoPorts::new(64), None);
        assert_eq!(IoPorts::new(usize::MAX), None);
    }
}
