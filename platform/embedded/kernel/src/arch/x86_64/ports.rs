//! I/O ports for PDs.
#![allow(unsafe_code, reason = "port accesses")]

use embedded_kernel::PortWidth;
use x86_64::instructions::port::Port;

/// Reads a port of a PD's.
pub(crate) fn read_port(port: u16, width: PortWidth) -> u32 {
    match width {
        // SAFETY: the image gives the PD the port, and has the kernel reach no memory by it.
        PortWidth::Byte => unsafe { Port::<u8>::new(port).read() }.into(),
        // SAFETY: as above.
        PortWidth::Word => unsafe { Port::<u16>::new(port).read() }.into(),
        // SAFETY: as above.
        PortWidth::Double => unsafe { Port::<u32>::new(port).read() },
    }
}

/// Writes a port of a PD's.
pub(crate) fn write_port(port: u16, width: PortWidth, value: u32) {
    match width {
        // SAFETY: as in `read_port`.
        PortWidth::Byte => unsafe { Port::new(port).write(value as u8) },
        // SAFETY: as above.
        PortWidth::Word => unsafe { Port::new(port).write(value as u16) },
        // SAFETY: as above.
        PortWidth::Double => unsafe { Port::new(port).write(value) },
    }
}
