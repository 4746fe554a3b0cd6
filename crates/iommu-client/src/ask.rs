//! Requests that ask, and those that shape a space or a device without mapping anything.

use iommu_protocol::{AllowStep, ClientIndex, DeviceIndex, RegionSlot, Request, SpaceId, Status, Words};

use crate::{Call, ClientError, Iommu, Rights, Space};

/// A closed range of IO virtual addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IovaRange {
    /// Its first address.
    pub first: u64,
    /// Its last.
    pub last: u64,
}

/// A mapping, as the server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Where it is.
    pub range: IovaRange,
    /// The region that it maps.
    pub slot: RegionSlot,
    /// Its first byte in the region.
    pub offset: u64,
    /// What devices may do.
    pub rights: Rights,
    /// It is being made or taken out.
    pub half_done: bool,
}

/// What was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    spaces: u64,
    devices: u64,
}

impl Claimed {
    /// The address spaces; [`Iommu::space_info`] has their shape.
    pub fn spaces(self) -> impl Iterator<Item = SpaceId> {
        bits(self.spaces).map(SpaceId)
    }

    /// The devices that are attached; [`Iommu::device_info`] says to what.
    pub fn devices(self) -> impl Iterator<Item = DeviceIndex> {
        bits(self.devices).map(DeviceIndex)
    }
}

fn bits(set: u64) -> impl Iterator<Item = u16> {
    (0..64).filter(move |bit| set & 1 << bit != 0)
}

impl<C: Call> Iommu<C> {
    /// The ranges of `space` that are not reserved, upwards: that at `index`, and how many there are.
    ///
    /// # Errors
    /// [`Status::NoSuchSpace`], [`Status::NoSuchEntry`].
    pub fn iova_range(&mut self, space: SpaceId, index: u16) -> Result<(IovaRange, u64), ClientError> {
        let words = self.request(Request::IovaRanges { space, index })?.words;
        let (first, last, count) = (words.get(0), words.get(1), words.get(2));
        if first > last || count <= index.into() {
            return Err(ClientError::BadReply);
        }
        Ok((IovaRange { first, last }, count))
    }

    /// Has the server place what has no fixed place inside `ranges` alone; nowhere in particular if there are
    /// none. Replaces what was allowed before, as a whole, or changes nothing.
    ///
    /// # Errors
    /// [`Status::NoSuchSpace`], [`Status::ZeroLength`], [`Status::Overflow`], [`Status::Overlap`],
    /// [`Status::RangeInUse`], [`Status::TooMany`].
    pub fn allow_iovas(&mut self, space: SpaceId, ranges: &[IovaRange]) -> Result<(), ClientError> {
        let step = |step, first, last| Request::AllowIovas { space, step, first, last };
        self.request(step(AllowStep::Begin, 0, 0))?;
        for range in ranges {
            self.request(step(AllowStep::Add, range.first, range.last))?;
        }
        self.request(step(AllowStep::Commit, 0, 0)).map(drop)
    }

    /// The lowest mapping of `space` that ends at or above `from`.
    ///
    /// # Errors
    /// [`Status::NoSuchSpace`], [`Status::NotMapped`].
    pub fn next_mapping(&mut self, space: SpaceId, from: u64) -> Result<Mapping, ClientError> {
        let words = self.request(Request::NextMapping { space, from })?.words;
        let (first, last, what) = (words.get(0), words.get(1), words.get(3));
        if first > last || last < from || what >> 19 != 0 {
            return Err(ClientError::BadReply);
        }
        let bit = |bit: u32| what & 1 << bit != 0;
        Ok(Mapping {
            range: IovaRange { first, last },
            slot: RegionSlot(what as u16),
            offset: words.get(2),
            rights: Rights { read: bit(16), write: bit(17) },
            half_done: bit(18),
        })
    }

    /// Lets a device that the server stopped after a fault storm reach its space again. One that was not stopped
    /// stays as it is.
    ///
    /// # Errors
    /// [`Status::NoSuchDevice`], [`Status::NotAttached`], [`Status::HardwareTimeout`],
    /// [`Status::HardwareFailed`].
    pub fn enable(&mut self, device: DeviceIndex) -> Result<(), ClientError> {
        self.request(Request::Enable { device }).map(drop)
    }

    /// Words that tell of the unit that `device` sits behind; [`Request::HwInfo`] says which.
    ///
    /// # Errors
    /// [`Status::NoSuchDevice`], [`Status::NoSuchEntry`].
    pub fn hw_info(&mut self, device: DeviceIndex, index: u16) -> Result<[u64; 4], ClientError> {
        self.four(Request::HwInfo { device, index })
    }

    /// This client's counters; `group` is one of [`iommu_protocol::stats`].
    ///
    /// # Errors
    /// [`Status::NoSuchEntry`].
    pub fn stats(&mut self, group: u16) -> Result<[u64; 4], ClientError> {
        self.four(Request::Stats { group, client: None })
    }

    /// Takes over what a supervisor holds for this client, or for the one that it succeeds.
    ///
    /// ```
    /// # use iommu_client::{Call, ClientError, Iommu};
    /// # fn show(iommu: &mut Iommu<impl Call>) -> Result<(), ClientError> {
    /// let claimed = iommu.claim()?;
    /// for id in claimed.spaces() {
    ///     let space = iommu.space_info(id)?;
    ///     let first = iommu.next_mapping(id, 0)?; // and so on; a buffer that it knows: iommu.adopt(&space, buffer, iova)
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Status::NothingHeld`]; a successor's [`Status::Busy`] (it has spaces of its own),
    /// [`Status::StaleRegion`] and [`Status::QuotaExceeded`]: nothing has changed. [`Status::HardwareTimeout`],
    /// [`Status::HardwareFailed`].
    pub fn claim(&mut self) -> Result<Claimed, ClientError> {
        let words = self.request(Request::Claim)?.words;
        Ok(Claimed { spaces: words.get(0), devices: words.get(1) })
    }

    fn four(&mut self, request: Request) -> Result<[u64; 4], ClientError> {
        self.request(request)?.words.as_slice().try_into().map_err(|_| ClientError::BadReply)
    }

    /// The mapping that is exactly `range` in `space`.
    pub(crate) fn mapping_at(&mut self, space: &Space, first: u64) -> Result<Mapping, ClientError> {
        let mapping = self.next_mapping(space.id(), first)?;
        match mapping.range.first == first && !mapping.half_done {
            true => Ok(mapping),
            false => Err(ClientError::Refused(Status::NotMapped)),
        }
    }
}

/// The IOMMU server, as a supervisor reaches it: over its clients, by their place in its list in the policy.
///
/// ```
/// # use iommu_client::{Call, ClientError, Supervisor};
/// # use iommu_protocol::ClientIndex;
/// # fn show(server: impl Call) -> Result<(), ClientError> {
/// let mut supervisor = Supervisor::connect(server)?;
/// supervisor.hold(ClientIndex(0), 500)?; // milliseconds, in which the restarted child claims
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Supervisor<C> {
    iommu: Iommu<C>,
}

impl<C: Call> Supervisor<C> {
    /// As [`Iommu::connect`].
    ///
    /// # Errors
    /// [`ClientError::Version`].
    pub fn connect(call: C) -> Result<Self, ClientError> {
        Iommu::connect(call).map(|iommu| Self { iommu })
    }

    /// Ends all that `client` has: when this returns, its devices abort, and its spaces and mappings are gone. The
    /// first step aborts the devices. Returns the bytes unmapped.
    ///
    /// # Errors
    /// [`Status::NoSuchClient`], [`Status::HardwareTimeout`], [`Status::HardwareFailed`]: the server tries again
    /// by itself.
    pub fn teardown(&mut self, client: ClientIndex) -> Result<u64, ClientError> {
        Ok(self.iommu.request(Request::Teardown { client })?.bytes)
    }

    /// Keeps what `client` has until it, or its successor, claims it, or `deadline_ms` milliseconds have passed.
    /// Its devices go on.
    ///
    /// # Errors
    /// [`Status::NoSuchClient`], [`Status::Busy`] (it is being ended).
    pub fn hold(&mut self, client: ClientIndex, deadline_ms: u32) -> Result<(), ClientError> {
        self.iommu.request(Request::Hold { client, deadline_ms }).map(drop)
    }

    /// Withdraws `client`'s grant `slot`: when this returns, its devices reach nothing through it. Returns the
    /// grant's new generation.
    ///
    /// # Errors
    /// [`Status::NoSuchClient`], [`Status::NoSuchRegion`], [`Status::HardwareTimeout`],
    /// [`Status::HardwareFailed`]: the grant is withdrawn, and the server tries again by itself.
    pub fn revoke(&mut self, client: ClientIndex, slot: RegionSlot) -> Result<u16, ClientError> {
        generation(&self.iommu.request(Request::Revoke { client, slot })?.words)
    }

    /// Gives a withdrawn grant back; returns its generation.
    ///
    /// # Errors
    /// [`Status::NoSuchClient`], [`Status::NoSuchRegion`], [`Status::NotRevoked`], [`Status::Busy`] (it is still
    /// being withdrawn).
    pub fn regrant(&mut self, client: ClientIndex, slot: RegionSlot) -> Result<u16, ClientError> {
        generation(&self.iommu.request(Request::Regrant { client, slot })?.words)
    }

    /// `client`'s counters; `group` is one of [`iommu_protocol::stats`].
    ///
    /// # Errors
    /// [`Status::NoSuchClient`], [`Status::NoSuchEntry`].
    pub fn stats(&mut self, client: ClientIndex, group: u16) -> Result<[u64; 4], ClientError> {
        self.iommu.four(Request::Stats { group, client: Some(client) })
    }
}

fn generation(words: &Words) -> Result<u16, ClientError> {
    u16::try_from(words.get(0)).map_err(|_| ClientError::BadReply)
}
