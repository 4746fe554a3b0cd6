//! Buffers in the hands of a device.

use device_barrier::device_barrier;
use iommu_protocol::{MapFlags, Request, SpaceId};

use crate::{Call, ClientError, DmaBuffer, Iommu, MapFailed, Rights, Space, UnmapFailed, iommu::of_hardware};

/// Where in an address space a buffer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// At this IOVA.
    At(u64),
    /// Where the server finds a hole.
    Any,
}

/// A buffer that devices attached to an address space may access. Dropping it leaves it mapped.
///
/// ```compile_fail,E0599
/// # fn show(mapped: iommu_client::Mapped) {
/// mapped.read(0); // only `Iommu::unmap` gives the buffer back
/// # }
/// ```
#[derive(Debug)]
#[must_use = "only unmapping gives the buffer back"]
pub struct Mapped {
    buffer: DmaBuffer,
    space: SpaceId,
    first: u64,
    last: u64,
}

impl Mapped {
    /// `buffer`, known to be mapped at `first..=last` in `space`.
    pub(crate) const fn known(buffer: DmaBuffer, space: SpaceId, first: u64, last: u64) -> Self {
        Self { buffer, space, first, last }
    }

    /// The address of its first byte, for the device.
    pub const fn iova(&self) -> u64 {
        self.first
    }

    /// The address of its last byte.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The address space that it is mapped in.
    pub const fn space(&self) -> SpaceId {
        self.space
    }
}

impl<C: Call> Iommu<C> {
    /// Maps all of `buffer` into `space`. What was written to it before, devices see.
    ///
    /// # Errors
    /// [`MapFailed`] gives the buffer back where the server refused it, and keeps it where nobody knows what is
    /// mapped.
    pub fn map(
        &mut self,
        space: &Space,
        buffer: DmaBuffer,
        rights: Rights,
        placement: Placement,
    ) -> Result<Mapped, MapFailed> {
        let (slot, generation, offset) = buffer.source();
        let length = buffer.bytes() as u64;
        let (fixed, iova) = match placement {
            Placement::At(iova) => (true, iova),
            Placement::Any => (false, 0),
        };
        let flags = MapFlags { read: rights.read, write: rights.write, fixed, resume: false };
        let request = Request::Map { space: space.id(), slot, generation, flags, iova, offset, length };
        device_barrier();
        let first = match self.request(request) {
            Ok(reply) => reply.words.get(0),
            Err(error) => {
                let untouched = matches!(error, ClientError::Refused(status) if !of_hardware(status));
                return Err(MapFailed { error, buffer: untouched.then_some(buffer) });
            }
        };
        match length.checked_sub(1).and_then(|bytes| first.checked_add(bytes)) {
            Some(last) if !fixed || first == iova => Ok(Mapped { buffer, space: space.id(), first, last }),
            _ => Err(MapFailed { error: ClientError::BadReply, buffer: None }),
        }
    }

    /// Takes `mapped` back: when this returns the buffer, no device reaches it any more, and what devices wrote
    /// is in it.
    ///
    /// # Errors
    /// [`UnmapFailed`]: the buffer stays the devices'.
    pub fn unmap(&mut self, mapped: Mapped) -> Result<DmaBuffer, UnmapFailed> {
        let Mapped { space, first, last, .. } = mapped;
        let error = match self.request(Request::Unmap { space, first, last }) {
            Ok(reply) if reply.bytes == mapped.buffer.bytes() as u64 => {
                device_barrier();
                return Ok(mapped.buffer);
            }
            Ok(_) => ClientError::BadReply,
            Err(error) => error,
        };
        Err(UnmapFailed { error, mapped })
    }
}
