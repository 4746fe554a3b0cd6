//! The IOMMU server's requests as typed calls.

use iommu_protocol::{DeviceIndex, Opcode, RegionSlot, Request, SpaceId, Status, VERSION, Words};

use crate::{Call, ClientError};

/// Most calls that one request may take. The server does 2 MiB of 4 KiB pages or more in a call, so this is
/// 128 GiB of them.
pub const MAX_CALLS: u32 = 1 << 16;

/// What a device may do with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// It may read.
    pub read: bool,
    /// It may write.
    pub write: bool,
}

impl Rights {
    /// Read alone.
    pub const READ: Self = Self { read: true, write: false };
    /// Write alone.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Read and write.
    pub const READ_WRITE: Self = Self { read: true, write: true };
}

/// An address space of this client.
#[derive(Debug)]
pub struct Space {
    id: SpaceId,
    last: u64,
    page_sizes: u64,
}

impl Space {
    /// The client's own name for it.
    pub const fn id(&self) -> SpaceId {
        self.id
    }

    /// The highest IOVA that can be mapped.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Page and block sizes, as a bit mask of bytes.
    pub const fn page_sizes(&self) -> u64 {
        self.page_sizes
    }

    /// What every IOVA, offset and length is a multiple of, in bytes.
    pub const fn granule(&self) -> u64 {
        self.page_sizes & self.page_sizes.wrapping_neg()
    }
}

/// What a region slot grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionInfo {
    /// Most that a mapping of it may allow.
    pub rights: Rights,
    /// The grant's generation.
    pub generation: u16,
    /// The region's size.
    pub bytes: u64,
}

/// A device of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its stream id: under PCI the requester id.
    pub stream: u32,
    /// The space that it is attached to.
    pub attached: Option<SpaceId>,
    /// It is stopped after a fault storm: until [`Iommu::enable`] it does not reach the space.
    pub stopped: bool,
}

/// How a request was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The words of the last reply.
    pub words: Words,
    /// Word 1 of all replies together: for requests that unmap, the bytes unmapped.
    pub bytes: u64,
}

/// The IOMMU server, as this client reaches it.
#[derive(Debug)]
pub struct Iommu<C> {
    call: C,
}

impl<C: Call> Iommu<C> {
    /// The server behind `call`, once both are known to speak the same protocol.
    ///
    /// # Errors
    /// [`ClientError::Version`] where they do not.
    pub fn connect(call: C) -> Result<Self, ClientError> {
        let mut iommu = Self { call };
        let version = iommu.request(Request::Version)?.words.get(0);
        if version == VERSION { Ok(iommu) } else { Err(ClientError::Version(version)) }
    }

    /// The calls themselves, for messages that no request has.
    pub fn raw(&mut self) -> &mut C {
        &mut self.call
    }

    /// Makes `request`, and again as long as the server answers that it is not done.
    ///
    /// # Errors
    /// Any [`ClientError`] but `Version`. Once a request is begun, only the hardware may still fail it; a server
    /// that refuses it for anything else breaks the protocol: [`ClientError::BadReply`].
    #[inline]
    pub fn request(&mut self, request: Request) -> Result<Reply, ClientError> {
        let (opcode, words) = request.encode();
        let (label, words) = self.call.call(opcode.label(), &words);
        let reply = Reply { words, bytes: words.get(1) };
        match accepted(opcode, label, &words)? {
            Status::Ok => Ok(reply),
            _ => self.go_on(request, reply),
        }
    }

    /// Goes on with `request`, to which `reply` said that it is not done.
    #[cold]
    fn go_on(&mut self, request: Request, reply: Reply) -> Result<Reply, ClientError> {
        let mut next = continued(request, &reply.words)?;
        let mut bytes = reply.bytes;
        for _ in 1..MAX_CALLS {
            let (opcode, words) = next.encode();
            let (label, words) = self.call.call(opcode.label(), &words);
            let status = match accepted(opcode, label, &words) {
                Err(ClientError::Refused(status)) if !of_hardware(status) => {
                    return Err(ClientError::BadReply);
                }
                other => other?,
            };
            bytes = bytes.checked_add(words.get(1)).ok_or(ClientError::BadReply)?;
            if status == Status::Ok {
                return Ok(Reply { words, bytes });
            }
            next = continued(next, &words)?;
        }
        Err(ClientError::Endless)
    }

    /// Makes an empty address space.
    ///
    /// # Errors
    /// [`Status::NoMemory`], [`Status::QuotaExceeded`].
    pub fn alloc_space(&mut self) -> Result<Space, ClientError> {
        Self::space(&self.request(Request::IoasAlloc)?.words)
    }

    /// The address space that has `id`, such as one that was [claimed](Iommu::claim).
    ///
    /// # Errors
    /// [`Status::NoSuchSpace`].
    pub fn space_info(&mut self, id: SpaceId) -> Result<Space, ClientError> {
        Self::space(&self.request(Request::SpaceInfo { space: id })?.words)
    }

    fn space(words: &Words) -> Result<Space, ClientError> {
        let id = SpaceId(u16::try_from(words.get(0)).map_err(|_| ClientError::BadReply)?);
        match words.get(2) {
            0 => Err(ClientError::BadReply),
            page_sizes => Ok(Space { id, last: words.get(1), page_sizes }),
        }
    }

    /// Destroys the address space `id` and every mapping in it; returns the bytes unmapped. Buffers whose
    /// [`Mapped`](crate::Mapped) still exists are lost to the program.
    ///
    /// # Errors
    /// [`Status::Busy`] while a device is attached, [`Status::NoSuchSpace`].
    pub fn destroy_space(&mut self, id: SpaceId) -> Result<u64, ClientError> {
        Ok(self.request(Request::IoasDestroy { space: id })?.bytes)
    }

    /// Attaches `device` to `space`: from now on it reaches what is mapped there, once it is a bus master.
    ///
    /// # Errors
    /// [`Status::NoSuchDevice`], [`Status::AlreadyAttached`], [`Status::Incompatible`],
    /// [`Status::HardwareTimeout`], [`Status::HardwareFailed`].
    pub fn attach(&mut self, space: &Space, device: DeviceIndex) -> Result<(), ClientError> {
        self.request(Request::Attach { space: space.id(), device }).map(drop)
    }

    /// Moves the attached `device` to `space`. A refusal leaves it where it was.
    ///
    /// # Errors
    /// As [`Iommu::attach`], with [`Status::NotAttached`] for `AlreadyAttached`.
    pub fn replace(&mut self, space: &Space, device: DeviceIndex) -> Result<(), ClientError> {
        self.request(Request::Replace { space: space.id(), device }).map(drop)
    }

    /// Detaches `device`: all its accesses abort.
    ///
    /// # Errors
    /// [`Status::NoSuchDevice`], [`Status::NotAttached`], [`Status::HardwareTimeout`],
    /// [`Status::HardwareFailed`].
    pub fn detach(&mut self, device: DeviceIndex) -> Result<(), ClientError> {
        self.request(Request::Detach { device }).map(drop)
    }

    /// What `slot` grants.
    ///
    /// # Errors
    /// [`Status::NoSuchRegion`].
    pub fn region_info(&mut self, slot: RegionSlot) -> Result<RegionInfo, ClientError> {
        let words = self.request(Request::RegionInfo { slot })?.words;
        let word = words.get(0);
        if word & !0xffff_0003 != 0 {
            return Err(ClientError::BadReply);
        }
        let rights = Rights { read: word & 1 != 0, write: word & 2 != 0 };
        Ok(RegionInfo { rights, generation: (word >> 16) as u16, bytes: words.get(1) })
    }

    /// What `device` is and where it is attached.
    ///
    /// # Errors
    /// [`Status::NoSuchDevice`].
    pub fn device_info(&mut self, device: DeviceIndex) -> Result<DeviceInfo, ClientError> {
        let words = self.request(Request::DeviceInfo { device })?.words;
        let [stream, attached, space, ..] = *words.as_slice() else { return Err(ClientError::BadReply) };
        let stream = u32::try_from(stream).map_err(|_| ClientError::BadReply)?;
        let space = SpaceId(u16::try_from(space).map_err(|_| ClientError::BadReply)?);
        match attached {
            0 => Ok(DeviceInfo { stream, attached: None, stopped: false }),
            1 | 2 => Ok(DeviceInfo { stream, attached: Some(space), stopped: attached == 2 }),
            _ => Err(ClientError::BadReply),
        }
    }

    /// Gives back all devices and address spaces; returns the bytes unmapped. As for buffers, see
    /// [`Iommu::destroy_space`].
    ///
    /// # Errors
    /// [`Status::HardwareTimeout`], [`Status::HardwareFailed`].
    pub fn reset(&mut self) -> Result<u64, ClientError> {
        Ok(self.request(Request::Reset)?.bytes)
    }
}

/// The status of a reply that says that its request is done, or how far it came.
#[inline(always)]
fn accepted(opcode: Opcode, label: u64, words: &Words) -> Result<Status, ClientError> {
    let status = Status::from_label(label).ok_or(ClientError::UnknownStatus(label))?;
    if !matches!(status, Status::Ok | Status::Again) {
        return Err(ClientError::Refused(status));
    }
    match words.as_slice().len() == reply_words(opcode) {
        true => Ok(status),
        false => Err(ClientError::BadReply),
    }
}

/// Whether `status` tells of the hardware, not of the request: it may come at any time.
pub(crate) fn of_hardware(status: Status) -> bool {
    matches!(status, Status::HardwareTimeout | Status::HardwareFailed)
}

/// The call that continues `request` after an answer of [`Status::Again`] with `words`.
fn continued(request: Request, words: &Words) -> Result<Request, ClientError> {
    match request {
        Request::Map { space, slot, generation, mut flags, offset, length, .. } => {
            (flags.fixed, flags.resume) = (true, true);
            Ok(Request::Map { space, slot, generation, flags, iova: words.get(0), offset, length })
        }
        Request::Copy { target, source, mut flags, first, length, .. } => {
            (flags.fixed, flags.resume) = (true, true);
            Ok(Request::Copy { target, source, flags, iova: words.get(0), first, length })
        }
        Request::IoasDestroy { .. }
        | Request::Unmap { .. }
        | Request::Reset
        | Request::Claim
        | Request::Teardown { .. }
        | Request::Revoke { .. } => Ok(request),
        _ => Err(ClientError::BadReply),
    }
}

/// The words of a reply to `opcode` that is not refused.
fn reply_words(opcode: Opcode) -> usize {
    match opcode {
        Opcode::Version | Opcode::IsAttached | Opcode::Regrant => 1,
        Opcode::Attach
        | Opcode::Detach
        | Opcode::Replace
        | Opcode::AllowIovas
        | Opcode::Enable
        | Opcode::Hold => 0,
        Opcode::IoasAlloc | Opcode::SpaceInfo | Opcode::DeviceInfo => 3,
        Opcode::IovaRanges | Opcode::NextMapping | Opcode::HwInfo | Opcode::Stats => 4,
        _ => 2,
    }
}
