//! The PCI host's requests as typed calls.

use iommu_protocol::{
    DeviceIndex, Words,
    pci::{Info, Request, Status},
};

use crate::{Call, ClientError};

/// The PCI host, as this client reaches it. A function has the index that its device has at the IOMMU server.
#[derive(Debug)]
pub struct PciHost<C> {
    call: C,
}

impl<C: Call> PciHost<C> {
    /// The PCI host behind `call`.
    pub const fn new(call: C) -> Self {
        Self { call }
    }

    fn request(&mut self, request: Request) -> Result<Words, ClientError<Status>> {
        let (opcode, words) = request.encode();
        let (label, words) = self.call.call(opcode.label(), &words);
        match Status::from_label(label) {
            Some(Status::Ok) => Ok(words),
            Some(refusal) => Err(ClientError::Refused(refusal)),
            None => Err(ClientError::UnknownStatus(label)),
        }
    }

    /// What `function` is, and whether it may master the bus.
    ///
    /// # Errors
    /// [`Status::NoSuchFunction`].
    pub fn info(&mut self, function: DeviceIndex) -> Result<Info, ClientError<Status>> {
        Info::decode(&self.request(Request::Info { function })?).ok_or(ClientError::BadReply)
    }

    /// Lets `function` master the bus. Its device must be attached to an address space; when it is detached, by
    /// whomever, the PCI host takes bus mastering away again.
    ///
    /// # Errors
    /// [`Status::NoSuchFunction`], [`Status::NotUsable`], [`Status::NotAttached`], [`Status::NoAnswer`].
    pub fn enable(&mut self, function: DeviceIndex) -> Result<(), ClientError<Status>> {
        self.request(Request::Enable { function }).map(drop)
    }

    /// Keeps `function` from mastering the bus.
    ///
    /// # Errors
    /// [`Status::NoSuchFunction`], [`Status::NotUsable`].
    pub fn disable(&mut self, function: DeviceIndex) -> Result<(), ClientError<Status>> {
        self.request(Request::Disable { function }).map(drop)
    }
}
