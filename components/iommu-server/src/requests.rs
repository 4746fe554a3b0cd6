//! The requests that are not on the hot path.

use iommu_core::{ClientId, CopyRequest, Refusal, SpaceId};
use iommu_hal::{Clock, Format, Geometry, Registers, Rights, SharedPage, TableMemory, Unit};
use iommu_protocol::{AllowStep, DeviceIndex, RegionSlot, Request, Status, VERSION};

use crate::server::{Answer, Server};

/// Whether `request` changes nothing.
pub(crate) const fn only_asks(request: &Request) -> bool {
    matches!(
        request,
        Request::Version
            | Request::SpaceInfo { .. }
            | Request::IovaRanges { .. }
            | Request::NextMapping { .. }
            | Request::RegionInfo { .. }
            | Request::DeviceInfo { .. }
            | Request::HwInfo { .. }
            | Request::Stats { .. }
    )
}

fn shape(space: SpaceId, geometry: &Geometry) -> Answer {
    Answer::ok([space.0.into(), geometry.aperture().last(), geometry.page_sizes])
}

fn rights_word(rights: Rights) -> u64 {
    u64::from(rights.read) | u64::from(rights.write) << 1
}

impl<R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'_, R, M, C, P> {
    /// A client's request, but for MAP and UNMAP.
    #[inline(never)]
    pub(crate) fn rare_request(&mut self, client: ClientId, request: Request) -> Result<Answer, Refusal> {
        let core = &mut self.core;
        Ok(match request {
            Request::Version => Answer::ok([VERSION]),
            Request::IoasAlloc => {
                let (space, geometry) = core.ioas_alloc(client)?;
                shape(space, &geometry)
            }
            Request::SpaceInfo { space } => {
                let space = SpaceId(space.0);
                shape(space, &core.geometry(client, space)?)
            }
            Request::IoasDestroy { space } => Answer::progress(core.ioas_destroy(client, SpaceId(space.0))?),
            Request::Copy { target, source, flags, iova, first, length } => {
                let request = CopyRequest {
                    target: SpaceId(target.0),
                    source: SpaceId(source.0),
                    rights: Rights { read: flags.read, write: flags.write },
                    fixed: flags.fixed,
                    resume: flags.resume,
                    iova,
                    first,
                    length,
                };
                Answer::progress(core.copy(client, &request)?)
            }
            Request::IovaRanges { space, index } => {
                let space = SpaceId(space.0);
                let usable = core.usable(client, space, index)?;
                let (range, granule) = (usable.range, 1 << Geometry::GRANULE_LG2);
                Answer::ok([range.first(), range.last(), usable.count.into(), granule])
            }
            Request::AllowIovas { space, step, first, last } => {
                let space = SpaceId(space.0);
                match step {
                    AllowStep::Begin => core.allow_begin(client, space)?,
                    AllowStep::Add => core.allow_add(client, space, first, last)?,
                    AllowStep::Commit => core.allow_commit(client, space)?,
                }
                Answer::ok([])
            }
            Request::NextMapping { space, from } => {
                let area = core.next_area(client, SpaceId(space.0), from)?;
                let half_done = area.state() != iommu_core::area::State::Live;
                let what =
                    u64::from(area.slot()) | rights_word(area.rights()) << 16 | u64::from(half_done) << 18;
                Answer::ok([area.range().first(), area.range().last(), area.offset(), what])
            }
            Request::Attach { space, device } => {
                core.attach(client, SpaceId(space.0), device.0)?;
                Answer::ok([])
            }
            Request::Replace { space, device } => {
                let replaced = core.replace(client, SpaceId(space.0), device.0).map(|()| Answer::ok([]));
                self.unless_confirmed(replaced)
            }
            Request::Detach { device: DeviceIndex(device) } => {
                let detached = core.detach(client, device).map(|()| Answer::ok([]));
                self.show_stopped(client);
                self.tell_pci_host(detached)
            }
            Request::Enable { device: DeviceIndex(device) } => {
                let enabled = core.enable(client, device).map(|()| Answer::ok([]));
                self.show_stopped(client);
                self.unless_confirmed(enabled)
            }
            Request::Reset => {
                let progress = core.reset(client).map(Answer::progress);
                self.show_stopped(client);
                self.tell_pci_host(progress)
            }
            Request::RegionInfo { slot: RegionSlot(slot) } => {
                let info = core.region_info(client, slot)?;
                Answer::ok([rights_word(info.rights) | u64::from(info.generation) << 16, info.bytes])
            }
            Request::DeviceInfo { device: DeviceIndex(device) } => {
                let info = core.device_info(client, device)?;
                let state = u64::from(info.space.is_some()) | u64::from(info.stopped.is_some()) << 1;
                let space = info.space.or(info.stopped).map_or(0, |space| space.0);
                Answer::ok([info.stream.0.into(), state, space.into()])
            }
            Request::HwInfo { device: DeviceIndex(device), index } => self.hw_info(client, device, index)?,
            Request::Stats { group, client: None } => self.stats(client, group)?,
            Request::Claim => self.claim(client)?,
            // The PCI host's or a supervisor's alone; MAP and UNMAP do not come here.
            _ => Answer::refuse(Status::NotAllowed),
        })
    }

    fn hw_info(&mut self, client: ClientId, device: u16, index: u16) -> Result<Answer, Refusal> {
        let number = self.core.unit_of(client, device)?;
        let (unit, _, _) = self.core.unit(number).ok_or(Refusal::NoSuchDevice(device))?;
        let (words, count) = unit.capabilities(usize::from(index).wrapping_sub(1));
        if index != 0 {
            return words.map(Answer::ok).ok_or(Refusal::NoSuchEntry(index));
        }
        let geometry = unit.geometry();
        let format: u64 = match geometry.format {
            Format::ArmStage1 => 1,
            Format::ArmStage2 => 2,
            Format::VtdSecondStage => 3,
        };
        let shape = format
            | u64::from(geometry.input_bits) << 8
            | u64::from(geometry.output_bits) << 16
            | u64::from(unit.needs_clean()) << 24
            | u64::from(unit.kind()) << 32
            | (number as u64) << 40;
        Ok(Answer::ok([shape, geometry.page_sizes, count as u64 + 1, 0]))
    }

    /// The PCI host withdraws bus mastering from what is no longer attached; most of all where the hardware did
    /// not confirm that it stops the device.
    pub(crate) fn tell_pci_host(&self, result: Result<Answer, Refusal>) -> Answer {
        let changed =
            matches!(&result, Ok(_) | Err(Refusal::HardwareTimeout { .. } | Refusal::HardwareFailed(_)));
        let mut answer = result.unwrap_or_else(|refusal| Answer::refused(&refusal));
        if let (true, Some(channel)) = (changed, self.pci_host) {
            answer.notify.insert(channel);
        }
        answer
    }

    /// As [`Server::tell_pci_host`], for requests after which the device is attached where they succeed.
    fn unless_confirmed(&self, result: Result<Answer, Refusal>) -> Answer {
        match result {
            Ok(answer) => answer,
            failed => self.tell_pci_host(failed),
        }
    }
}
