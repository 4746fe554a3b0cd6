//! Mappings of a mapping: one buffer in several address spaces.

use iommu_protocol::{MapFlags, Request, SpaceId, Status};

use crate::{
    Call, ClientError, CopyFailed, DmaBuffer, Iommu, Mapped, Placement, Rights, Space, UncopyFailed,
    iommu::of_hardware,
};

/// What can be copied: a [`Mapped`], or a [`Copied`] once more.
pub trait Source: sealed::Sealed {
    /// The space, and the first and last address there.
    fn place(&self) -> (SpaceId, u64, u64);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Mapped {}
    impl<S: super::Source> Sealed for super::Copied<S> {}
}

impl Source for Mapped {
    fn place(&self) -> (SpaceId, u64, u64) {
        (self.space(), self.iova(), self.last())
    }
}

impl<S: Source> Source for Copied<S> {
    fn place(&self) -> (SpaceId, u64, u64) {
        (self.space, self.first, self.last)
    }
}

/// A mapping that is mapped elsewhere too. It keeps what it was copied from, so that the buffer is not given back
/// before the copy is taken out.
#[derive(Debug)]
#[must_use = "only taking the copy out gives back what was copied"]
pub struct Copied<S> {
    source: S,
    space: SpaceId,
    first: u64,
    last: u64,
}

impl<S> Copied<S> {
    /// The address of its first byte, for devices of the space that it was copied into.
    pub const fn iova(&self) -> u64 {
        self.first
    }

    /// What was copied.
    pub const fn source(&self) -> &S {
        &self.source
    }
}

impl<C: Call> Iommu<C> {
    /// Maps what `source` maps into `target` too, with these rights or fewer.
    ///
    /// # Errors
    /// [`CopyFailed`] gives the source back where the server refused it, and keeps it where nobody knows what is
    /// mapped.
    pub fn copy<S: Source>(
        &mut self,
        source: S,
        target: &Space,
        rights: Rights,
        placement: Placement,
    ) -> Result<Copied<S>, CopyFailed<S>> {
        let (space, first, last) = source.place();
        let length = last - first + 1;
        let (fixed, iova) = match placement {
            Placement::At(iova) => (true, iova),
            Placement::Any => (false, 0),
        };
        let flags = MapFlags { read: rights.read, write: rights.write, fixed, resume: false };
        let request = Request::Copy { target: target.id(), source: space, flags, iova, first, length };
        let at = match self.request(request) {
            Ok(reply) => reply.words.get(0),
            Err(error) => {
                let untouched = matches!(error, ClientError::Refused(status) if !of_hardware(status));
                return Err(CopyFailed { error, source: untouched.then_some(source) });
            }
        };
        match at.checked_add(length - 1) {
            Some(last) if !fixed || at == iova => Ok(Copied { source, space: target.id(), first: at, last }),
            _ => Err(CopyFailed { error: ClientError::BadReply, source: None }),
        }
    }

    /// Takes a copy out; what was copied stays mapped where it was.
    ///
    /// # Errors
    /// [`UncopyFailed`]: the copy may still be mapped.
    pub fn uncopy<S>(&mut self, copied: Copied<S>) -> Result<S, UncopyFailed<S>> {
        let Copied { space, first, last, .. } = copied;
        let error = match self.request(Request::Unmap { space, first, last }) {
            Ok(reply) if reply.bytes == last - first + 1 => return Ok(copied.source),
            Ok(_) => ClientError::BadReply,
            Err(error) => error,
        };
        Err(UncopyFailed { error, copied })
    }

    /// Takes `buffer` for mapped at `first` in `space`, as it was when the space was [claimed](Iommu::claim).
    ///
    /// # Errors
    /// [`Status::NotMapped`] where that is not so; [`Status::NoSuchSpace`]. The buffer is lost to the program, as
    /// devices may reach it.
    pub fn adopt(&mut self, space: &Space, buffer: DmaBuffer, first: u64) -> Result<Mapped, ClientError> {
        let mapping = self.mapping_at(space, first)?;
        let (slot, _, offset) = buffer.source();
        let bytes = buffer.bytes() as u64;
        let same = (mapping.slot, mapping.offset) == (slot, offset)
            && Some(mapping.range.last - mapping.range.first) == bytes.checked_sub(1);
        match same {
            true => Ok(Mapped::known(buffer, space.id(), first, mapping.range.last)),
            false => Err(ClientError::Refused(Status::NotMapped)),
        }
    }
}
