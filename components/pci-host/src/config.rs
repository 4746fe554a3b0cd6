//! Configuration space: where functions are, and the registers of their headers.
//!
//! Register numbers and bits are from the PCI Local Bus Specification 3.0, chapter 6, and the PCI Express Base
//! Specification, section 7.5.

use core::fmt;

/// Devices on a bus.
pub const DEVICES_PER_BUS: u16 = 32;

/// Functions in a device.
pub const FUNCTIONS_PER_DEVICE: u16 = 8;

/// A function by its requester id: bits 15:8 bus, 7:3 device, 2:0 function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requester(pub u16);

impl Requester {
    /// The bus.
    pub const fn bus(self) -> u16 {
        self.0 >> 8
    }

    /// The device on its bus.
    pub const fn device(self) -> u16 {
        self.0 >> 3 & 0x1f
    }

    /// The function in its device.
    pub const fn function(self) -> u16 {
        self.0 & 7
    }
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The configuration space of some buses, from bus 0 on.
///
/// `register` is a multiple of 4 below 4096 and the function's bus below [`ConfigSpace::buses`]: anything else
/// is a bug of the caller, and implementations panic.
pub trait ConfigSpace {
    /// The number of buses, at most 256.
    fn buses(&self) -> u16;

    /// Reads the 32 bits at `register`; all ones where there is no function.
    fn read(&mut self, function: Requester, register: u16) -> u32;

    /// Writes the 32 bits at `register`.
    fn write(&mut self, function: Requester, register: u16, value: u32);
}

/// Vendor id (15:0), device id (31:16).
const IDS: u16 = 0x00;

/// Command (15:0); status (31:16), whose bits are cleared by writing ones.
const COMMAND_STATUS: u16 = 0x04;

/// Bits 22:16 the header's layout, bit 23: the device has several functions.
const HEADER_TYPE: u16 = 0x0c;

/// Bits 7:2 of the first capability's register.
const CAPABILITIES: u16 = 0x34;

/// The vendor id that no vendor has: there is no function.
const NO_VENDOR: u16 = 0xffff;

/// Command: the function decodes IO addresses.
pub(crate) const COMMAND_IO: u16 = 1 << 0;
/// Command: the function decodes memory addresses.
pub(crate) const COMMAND_MEMORY: u16 = 1 << 1;
/// Command: the function may master the bus.
pub(crate) const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Command: the function keeps its INTx line quiet.
pub(crate) const COMMAND_INTX_OFF: u16 = 1 << 10;

/// Status: there is a capability list.
const STATUS_CAPABILITIES: u32 = 1 << 20;

/// Vendor and device id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) vendor: u16,
    pub(crate) device: u16,
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// The ids of `function`; `None` where there is none.
pub(crate) fn ids(config: &mut impl ConfigSpace, function: Requester) -> Option<Ids> {
    let word = config.read(function, IDS);
    let ids = Ids { vendor: word as u16, device: (word >> 16) as u16 };
    (ids.vendor != NO_VENDOR).then_some(ids)
}

/// The layout of `function`'s header, and whether its device has several functions.
pub(crate) fn header_type(config: &mut impl ConfigSpace, function: Requester) -> (u8, bool) {
    let word = config.read(function, HEADER_TYPE);
    ((word >> 16) as u8 & 0x7f, word & 1 << 23 != 0)
}

/// `function`'s command register.
pub(crate) fn command(config: &mut impl ConfigSpace, function: Requester) -> u16 {
    config.read(function, COMMAND_STATUS) as u16
}

/// Clears the bits `clear`, then sets the bits `set` of `function`'s command register; its status stays.
pub(crate) fn change_command(config: &mut impl ConfigSpace, function: Requester, clear: u16, set: u16) {
    let command = command(config, function) & !clear | set;
    config.write(function, COMMAND_STATUS, command.into());
}

/// The register of `function`'s first capability, 0 where it has none.
pub(crate) fn first_capability(config: &mut impl ConfigSpace, function: Requester) -> u16 {
    if config.read(function, COMMAND_STATUS) & STATUS_CAPABILITIES == 0 {
        return 0;
    }
    config.read(function, CAPABILITIES) as u16 & 0xfc
}
