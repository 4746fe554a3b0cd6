//! What each client should have, by the simplest means, compared with what the server says and where the hardware model
//! lets each device get.

mod compare;

use std::collections::BTreeMap;

use iommu_hal::StreamId;
use iommu_protocol::{ClientIndex, DeviceIndex, MAX_COPIED, MapFlags, RegionSlot, Request, SpaceId, Status};

use crate::{
    PAGE,
    bench::{Mapping, SUPERVISOR, World},
};

/// How far a mapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Whole,
    /// So many bytes from its start.
    Filled(u64),
    /// Some of it may be taken out, or all.
    Leaving,
}

#[derive(Debug, Clone, Copy)]
pub struct Area {
    pub at: Mapping,
    pub state: State,
    /// The last request was about to take it out, and did not come to its end.
    touched: bool,
}

#[derive(Debug, Default)]
pub struct Space {
    pub areas: Vec<Area>,
    /// It may be gone: a RESET has not come to its end.
    leaving: bool,
}

#[derive(Debug)]
pub struct Device {
    pub stream: StreamId,
    /// The space that it is attached to.
    pub at: Option<u16>,
    /// The hardware did not confirm the last change: it may be there, at `at`, or nowhere.
    pub unsure: Option<Option<u16>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Grant {
    pub base: u64,
    pub bytes: u64,
    pub read: bool,
    pub write: bool,
    pub generation: u16,
    pub withdrawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Free,
    Held,
    Ending,
}

#[derive(Debug)]
pub struct Client {
    pub channel: u8,
    pub spaces: BTreeMap<u16, Space>,
    pub devices: Vec<Device>,
    pub grants: Vec<Grant>,
    pub life: Life,
    /// The client that it may take over from.
    pub partner: Option<usize>,
}

pub struct Expected {
    pub clients: Vec<Client>,
    /// The last IOVA of every space.
    pub aperture: u64,
    /// What no space may map.
    pub reserved: &'static [(u64, u64)],
    /// The format has entries that can be written and not read.
    pub write_only: bool,
}

fn range(first: u64, length: u64) -> Option<(u64, u64)> {
    Some((first, first.checked_add(length.checked_sub(1)?)?))
}

impl Area {
    fn meets(&self, (first, last): (u64, u64)) -> bool {
        self.at.first <= last && first <= self.at.last
    }

    fn is_inside(&self, (first, last): (u64, u64)) -> bool {
        first <= self.at.first && self.at.last <= last
    }

    fn half_done(&self) -> bool {
        self.state != State::Whole
    }
}

impl Space {
    /// It may be gone, or any of its mappings.
    fn touch(&mut self) {
        self.leaving = true;
        self.areas.iter_mut().for_each(|area| area.touched = true);
    }
}

impl Client {
    fn space(&self, id: SpaceId) -> Result<&Space, Status> {
        self.spaces.get(&id.0).ok_or(Status::NoSuchSpace)
    }

    fn device(&self, index: DeviceIndex) -> Result<&Device, Status> {
        self.devices.get(usize::from(index.0)).ok_or(Status::NoSuchDevice)
    }

    fn grant(&self, slot: RegionSlot) -> Result<&Grant, Status> {
        self.grants.get(usize::from(slot.0)).ok_or(Status::NoSuchRegion)
    }

    /// Whether something of `slot` is mapped.
    fn maps(&self, slot: u16) -> bool {
        self.spaces.values().any(|space| space.areas.iter().any(|area| area.at.slot == slot))
    }

    fn holds(&self, id: u16) -> bool {
        self.devices.iter().any(|device| device.at == Some(id) || device.unsure == Some(Some(id)))
    }
}

impl Expected {
    pub fn who(&self, channel: u8) -> &Client {
        self.clients.iter().find(|client| client.channel == channel).expect("a client")
    }

    pub fn whom(&mut self, channel: u8) -> &mut Client {
        self.clients.iter_mut().find(|client| client.channel == channel).expect("a client")
    }

    fn is_reserved(&self, (first, last): (u64, u64)) -> bool {
        self.reserved.iter().any(|reserved| reserved.0 <= last && first <= reserved.1)
    }

    /// Whether `first..=last` is free in a space, or why a mapping does not go there.
    fn place(&self, space: &Space, flags: MapFlags, iova: u64, length: u64) -> Result<(), Status> {
        if flags.fixed {
            let place = range(iova, length).ok_or(Status::Overflow)?;
            if place.1 > self.aperture || self.is_reserved(place) {
                return Err(Status::Reserved);
            }
            if space.areas.iter().any(|area| area.meets(place)) {
                return Err(Status::Overlap);
            }
        }
        match (flags.read, flags.write) {
            (false, false) => Err(Status::NoRights),
            (false, true) if !self.write_only => Err(Status::NotExpressible),
            _ => Ok(()),
        }
    }

    /// The mappings that a COPY makes, as if at 0, or why it is refused.
    fn copied(&self, client: &Client, request: &Request) -> Result<Vec<Mapping>, Status> {
        let Request::Copy { target, source, flags, iova, first, length } = *request else { unreachable!() };
        let (to, from) = (client.space(target)?, client.space(source)?);
        if [iova, first, length].iter().any(|value| value % PAGE != 0) {
            return Err(Status::Misaligned);
        }
        if length == 0 {
            return Err(Status::ZeroLength);
        }
        let (_, last) = range(first, length).ok_or(Status::Overflow)?;
        let mut pieces = vec![];
        let mut at = first;
        loop {
            let area = from.areas.iter().find(|area| area.meets((at, at)) && !area.half_done());
            let Area { at: piece, .. } = area.ok_or(Status::NotMapped)?;
            if client.grants[usize::from(piece.slot)].withdrawn {
                return Err(Status::StaleRegion);
            }
            if flags.read && !piece.read || flags.write && !piece.write {
                return Err(Status::NotPermitted);
            }
            if pieces.len() == MAX_COPIED as usize {
                return Err(Status::TooMany);
            }
            let end = piece.last.min(last);
            pieces.push(Mapping {
                first: at - first,
                last: end - first,
                offset: piece.offset + (at - piece.first),
                read: flags.read,
                write: flags.write,
                ..*piece
            });
            if end == last {
                break;
            }
            at = end + 1;
        }
        self.place(to, flags, iova, length)?;
        Ok(pieces)
    }

    /// Whether a client's request is granted, or why not; but for lack of memory.
    pub fn predict(&self, channel: u8, request: &Request) -> Result<(), Status> {
        let client = self.who(channel);
        if client.life != Life::Free {
            return Err(Status::Busy);
        }
        match *request {
            Request::Map { space, slot, generation, flags, iova, offset, length } => {
                let space = client.space(space)?;
                let grant = client.grant(slot)?;
                if generation != grant.generation {
                    return Err(Status::StaleRegion);
                }
                if offset.checked_add(length).is_none_or(|end| end > grant.bytes) {
                    return Err(Status::OutOfRegion);
                }
                let granted = !grant.withdrawn;
                if flags.read && !(granted && grant.read) || flags.write && !(granted && grant.write) {
                    return Err(Status::NotPermitted);
                }
                if [iova, offset, length].iter().any(|value| value % PAGE != 0) {
                    return Err(Status::Misaligned);
                }
                if length == 0 {
                    return Err(Status::ZeroLength);
                }
                if flags.resume {
                    let same = |area: &&Area| {
                        let Mapping { first, last, slot: of, offset: from, read, write, .. } = area.at;
                        (first, Some((first, last))) == (iova, range(iova, length))
                            && (of, from, read, write) == (slot.0, offset, flags.read, flags.write)
                            && matches!(area.state, State::Filled(_))
                    };
                    return space.areas.iter().find(same).map(|_| ()).ok_or(Status::NotMapped);
                }
                self.place(space, flags, iova, length)
            }
            Request::Copy { .. } => self.copied(client, request).map(|_| ()),
            Request::Unmap { space, first, last } => {
                let space = client.space(space)?;
                if last < first {
                    return Err(if last == first - 1 { Status::ZeroLength } else { Status::Overflow });
                }
                let mut met = space.areas.iter().filter(|area| area.meets((first, last))).peekable();
                if met.peek().is_none() && (first, last) != (0, u64::MAX) {
                    return Err(Status::NotMapped);
                }
                if met.all(|area| area.is_inside((first, last))) { Ok(()) } else { Err(Status::WouldSplit) }
            }
            Request::IoasDestroy { space } => {
                client.space(space)?;
                if client.holds(space.0) { Err(Status::Busy) } else { Ok(()) }
            }
            Request::Attach { space, device } => {
                client.space(space)?;
                if client.device(device)?.at.is_some() { Err(Status::AlreadyAttached) } else { Ok(()) }
            }
            Request::Replace { space, device } => {
                client.space(space)?;
                if client.device(device)?.at.is_none() { Err(Status::NotAttached) } else { Ok(()) }
            }
            Request::Detach { device } => {
                if client.device(device)?.at.is_none() {
                    Err(Status::NotAttached)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    /// Takes note of a client's request that was granted, or of how far it came.
    pub fn granted(&mut self, channel: u8, request: &Request, again: bool, words: [u64; 2]) {
        let [at, done] = words;
        let copied = match request {
            Request::Copy { flags: MapFlags { resume: false, .. }, .. } => {
                self.copied(self.who(channel), request).unwrap()
            }
            _ => vec![],
        };
        let aperture = self.aperture;
        let reserved = match *request {
            Request::Map { length, .. } | Request::Copy { length, .. } => {
                range(at, length).is_some_and(|place| self.is_reserved(place))
            }
            _ => false,
        };
        let client = self.whom(channel);
        match *request {
            Request::IoasAlloc => assert!(client.spaces.insert(at as u16, Space::default()).is_none()),
            Request::Map { space, slot, flags, iova, offset, length, .. } => {
                assert_eq!(again, done < length);
                let state = if again { State::Filled(done) } else { State::Whole };
                let areas = &mut client.spaces.get_mut(&space.0).unwrap().areas;
                let at = if flags.fixed { iova } else { at };
                let area = areas.iter_mut().find(|area| area.at.first == at);
                if let (true, Some(area)) = (flags.resume, area) {
                    area.state = state;
                    return;
                }
                let (first, last) = range(at, length).unwrap();
                assert!(!reserved, "{request:x?} at {at:#x}");
                assert!(
                    !areas.iter().any(|area| area.meets((first, last)))
                        && last <= aperture
                        && (flags.fixed || at != 0)
                );
                let MapFlags { read, write, .. } = flags;
                let at = Mapping { first, last, slot: slot.0, offset, read, write, half_done: false };
                areas.push(Area { at, state, touched: false });
            }
            Request::Copy { target, length, .. } => {
                assert_eq!(again, done < length);
                let areas = &mut client.spaces.get_mut(&target.0).unwrap().areas;
                // Filled from below, as far as was said.
                areas.extend(copied.into_iter().map(|piece| {
                    let filled = done.saturating_sub(piece.first).min(piece.bytes());
                    let state = if filled == piece.bytes() { State::Whole } else { State::Filled(filled) };
                    let (first, last) = (piece.first + at, piece.last + at);
                    Area { at: Mapping { first, last, ..piece }, state, touched: false }
                }));
            }
            Request::Unmap { space, first, last } => {
                let areas = &mut client.spaces.get_mut(&space.0).unwrap().areas;
                take_out(areas, (first, last), again, done);
            }
            Request::IoasDestroy { space } => {
                take_out(&mut client.spaces.get_mut(&space.0).unwrap().areas, (0, u64::MAX), again, done);
                if !again {
                    client.spaces.remove(&space.0);
                }
            }
            Request::Attach { space, device } | Request::Replace { space, device } => {
                client.devices[usize::from(device.0)].at = Some(space.0);
            }
            Request::Detach { device } => {
                let device = &mut client.devices[usize::from(device.0)];
                (device.at, device.unsure) = (None, None);
            }
            Request::Reset => {
                client.devices.iter_mut().for_each(|device| (device.at, device.unsure) = (None, None));
                client.touch_all();
                if !again {
                    client.spaces.clear();
                }
            }
            _ => {}
        }
        if let Some(space) = request_space(request).and_then(|id| client.spaces.get_mut(&id)) {
            space.areas.sort_by_key(|area| area.at.first);
        }
    }

    /// Takes note of a client's request that the hardware did not confirm.
    pub fn unconfirmed(&mut self, channel: u8, request: &Request) {
        let client = self.whom(channel);
        match *request {
            Request::Unmap { space, first, last } => {
                let areas = &mut client.spaces.get_mut(&space.0).unwrap().areas;
                areas
                    .iter_mut()
                    .filter(|area| area.is_inside((first, last)))
                    .for_each(|area| area.touched = true);
            }
            Request::IoasDestroy { space } => client.spaces.get_mut(&space.0).unwrap().touch(),
            Request::Attach { space, device } | Request::Replace { space, device } => {
                let device = &mut client.devices[usize::from(device.0)];
                (device.at, device.unsure) = (Some(space.0), Some(device.at));
            }
            Request::Detach { device } => {
                let device = &mut client.devices[usize::from(device.0)];
                device.unsure.get_or_insert(None);
            }
            Request::Reset => {
                client.touch_all();
                client.devices.iter_mut().filter(|device| device.at.is_some()).for_each(|device| {
                    device.unsure.get_or_insert(None);
                });
            }
            _ => {}
        }
    }

    /// Compares everything. What may have changed by itself is taken over.
    pub fn check(&mut self, world: &mut World) {
        for index in 0..self.clients.len() {
            if self.clients[index].life == Life::Ending {
                let detach = Request::Detach { device: DeviceIndex(0) };
                if world.status(self.clients[index].channel, detach) != Status::Busy {
                    self.ended(index);
                }
            }
            self.clients[index].compare(world);
        }
        for client in &self.clients {
            client.check_charges(world, self.aperture);
            for device in &client.devices {
                client.check_device(world, device, self.aperture);
            }
        }
    }

    /// Client `index` has nothing any more.
    pub fn ended(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.life = Life::Free;
        client.spaces.clear();
        client.devices.iter_mut().for_each(|device| (device.at, device.unsure) = (None, None));
    }

    /// What `from` has becomes `to`'s.
    pub fn handed_over(&mut self, from: usize, to: usize) {
        self.clients[from].life = Life::Free;
        if from == to {
            return;
        }
        let spaces = std::mem::take(&mut self.clients[from].spaces);
        let devices = std::mem::take(&mut self.clients[from].devices);
        let withdrawn: Vec<_> = self.clients[from].grants.iter().map(|grant| grant.withdrawn).collect();
        let to = &mut self.clients[to];
        assert!(to.spaces.is_empty() && to.devices.is_empty());
        (to.spaces, to.devices) = (spaces, devices);
        for (grant, withdrawn) in to.grants.iter_mut().zip(withdrawn) {
            grant.generation += u16::from(withdrawn && !grant.withdrawn);
            grant.withdrawn |= withdrawn;
        }
    }

    /// Why `to` cannot take over from `from`; lack of quota aside.
    pub fn may_hand_over(&self, from: usize, to: usize) -> Result<(), Status> {
        let (old, new) = (&self.clients[from], &self.clients[to]);
        if from == to {
            return Ok(());
        }
        if !new.spaces.is_empty() || !new.devices.is_empty() {
            return Err(Status::Busy);
        }
        for (slot, (old_grant, grant)) in old.grants.iter().zip(&new.grants).enumerate() {
            if old.maps(slot as u16) && grant.withdrawn && !old_grant.withdrawn {
                return Err(Status::StaleRegion);
            }
        }
        Ok(())
    }
}

fn request_space(request: &Request) -> Option<u16> {
    match request {
        Request::Map { space, .. } | Request::Copy { target: space, .. } => Some(space.0),
        _ => None,
    }
}

/// Takes whole areas of `bytes` bytes, from below, out of `range`; what is left of it may be half gone where there is more.
fn take_out(areas: &mut Vec<Area>, range: (u64, u64), again: bool, mut bytes: u64) {
    areas.retain(|area| {
        let gone = area.is_inside(range) && bytes != 0;
        if gone {
            bytes = bytes.checked_sub(area.at.bytes()).expect("whole mappings, from below");
        }
        !gone
    });
    assert_eq!(bytes, 0);
    let mut left = areas.iter_mut().filter(|area| area.is_inside(range)).peekable();
    assert_eq!(left.peek().is_some(), again, "there is more as long as something is left");
    left.for_each(|area| area.touched = true);
}

impl Client {
    fn touch_all(&mut self) {
        self.spaces.values_mut().for_each(Space::touch);
    }
}

/// The supervisor's list has the clients in the order of their numbers.
pub fn ward(index: usize) -> ClientIndex {
    ClientIndex(index as u16)
}

/// Asks as the supervisor.
pub fn supervise(world: &mut World, request: Request) -> (Status, [u64; 2]) {
    let answer = world.call(SUPERVISOR, request);
    (answer.status, [answer.words.get(0), answer.words.get(1)])
}
