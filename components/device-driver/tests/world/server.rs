//! The IOMMU server and the PCI host, as the protocol describes them.

use iommu_protocol::{MessageError, Request, Status, VERSION, Words, pci};

use super::{PAGE, Page, Space, World, Wrong};

/// Addresses of a space.
const APERTURE: u64 = 1 << 39;

type Answer = Result<Words, Status>;

impl World {
    pub fn server(&mut self, side: usize, label: u64, words: &Words) -> (u64, Words) {
        let answer = match Request::decode(label, words) {
            Ok(request) => self.answer(side, request),
            Err(MessageError::UnknownLabel(_)) => Err(Status::UnknownRequest),
            Err(_) => Err(Status::BadMessage),
        };
        match answer {
            Ok(words) => (Status::Ok.label(), words),
            Err(status) => (status.label(), Words::default()),
        }
    }

    fn answer(&mut self, side: usize, request: Request) -> Answer {
        let wrong = self.wrong;
        let generation = self.generation;
        let this = &mut self.sides[side];
        let known = if wrong == Wrong::SpacesKnown { Status::NotAllowed } else { Status::NoSuchSpace };
        let none = Ok(Words::new([]));
        match request {
            Request::Version => Ok(Words::new([VERSION + u64::from(wrong == Wrong::OtherVersion)])),
            Request::IoasAlloc if wrong == Wrong::NoSpace => Err(Status::NoMemory),
            Request::IoasAlloc => {
                let id = this.next_space;
                this.next_space += 1;
                this.spaces.insert(id, Space::default());
                Ok(Words::new([id.into(), APERTURE - 1, 0x4020_1000]))
            }
            Request::IoasDestroy { space } => {
                this.spaces.get(&space.0).ok_or(known)?;
                if this.attached == Some(space.0) { Err(Status::Busy) } else { none }
            }
            Request::Map { .. } => self.map(side, request),
            Request::Unmap { space, first, last } => {
                let space = this.spaces.get_mut(&space.0).ok_or(known)?;
                space.unmap(first, last, wrong == Wrong::SplitRemoves)
            }
            Request::Attach { space, device } => {
                this.spaces.get(&space.0).ok_or(known)?;
                match (device.0, this.attached) {
                    (1.., _) => Err(Status::NoSuchDevice),
                    (_, Some(_)) => Err(Status::AlreadyAttached),
                    _ => {
                        this.attached = Some(space.0);
                        none
                    }
                }
            }
            Request::Replace { space, .. } => this.spaces.get(&space.0).ok_or(known).and(none),
            Request::Detach { device } => match (device.0, this.attached) {
                (1.., _) => Err(Status::NoSuchDevice),
                (_, None) => Err(Status::NotAttached),
                _ => {
                    this.attached = None;
                    this.bus_master &= wrong == Wrong::StaysBusMaster;
                    none
                }
            },
            Request::RegionInfo { slot } => {
                let (_, bytes) = this.regions.get(usize::from(slot.0)).ok_or(Status::NoSuchRegion)?;
                let rights = if slot.0 == 0 { 3 } else { 1 };
                Ok(Words::new([rights | u64::from(generation) << 16, *bytes]))
            }
            Request::DeviceInfo { device } if device.0 == 0 => {
                let attached = this.attached.unwrap_or(0);
                let stream = 0x10 + 8 * side as u64;
                Ok(Words::new([stream, this.attached.is_some().into(), attached.into()]))
            }
            Request::DeviceInfo { .. } => Err(Status::NoSuchDevice),
            _ => Err(Status::NotAllowed),
        }
    }

    fn map(&mut self, side: usize, request: Request) -> Answer {
        let Request::Map { space, slot, generation, flags, mut iova, offset, length } = request else {
            unreachable!()
        };
        let this = &mut self.sides[side];
        let space = this.spaces.get_mut(&space.0).ok_or(Status::NoSuchSpace)?;
        let slot = usize::from(slot.0);
        let (_, bytes) = this.regions.get(slot).ok_or(Status::NoSuchRegion)?;
        if generation != self.generation && self.wrong != Wrong::GenerationIgnored {
            return Err(Status::StaleRegion);
        }
        if !flags.read && !flags.write {
            return Err(Status::NoRights);
        }
        if length == 0 {
            return Err(Status::ZeroLength);
        }
        if [iova, offset, length].iter().any(|value| !value.is_multiple_of(PAGE)) {
            return Err(Status::Misaligned);
        }
        if offset.checked_add(length).is_none_or(|end| end > *bytes) {
            return Err(Status::OutOfRegion);
        }
        if slot == 1 && flags.write && self.wrong != Wrong::ConstantsWritable {
            return Err(Status::NotPermitted);
        }
        if !flags.fixed {
            let holds = |at: u64| {
                (at..at + length).step_by(PAGE as usize).any(|at| space.pages.contains_key(&(at / PAGE)))
            };
            iova = (1..).map(|page| page * PAGE).find(|at| !holds(*at)).ok_or(Status::NoSpace)?;
        }
        let last = iova.checked_add(length - 1).ok_or(Status::Overflow)?;
        if last >= APERTURE {
            return Err(Status::Reserved);
        }
        if (iova / PAGE..=last / PAGE).any(|page| space.pages.contains_key(&page)) {
            return Err(Status::Overlap);
        }
        space.areas.insert(iova, last);
        for page in 0..length / PAGE {
            let offset = offset + page * PAGE;
            let entry = Page { slot, offset, read: flags.read, write: flags.write };
            space.pages.insert(iova / PAGE + page, entry);
        }
        Ok(Words::new([iova, length]))
    }

    pub fn pci_host(&mut self, side: usize, label: u64, words: &Words) -> (u64, Words) {
        let wrong = self.wrong;
        let this = &mut self.sides[side];
        let request = pci::Request::decode(label, words).expect("a request");
        let (pci::Request::Info { function }
        | pci::Request::Enable { function }
        | pci::Request::Disable { function }) = request
        else {
            unreachable!()
        };
        let none = Words::default();
        match request {
            _ if function.0 != 0 => (pci::Status::NoSuchFunction.label(), none),
            pci::Request::Info { .. } => {
                let info = pci::Info {
                    requester: 0x10 + 8 * side as u16,
                    usable: true,
                    bus_master: this.bus_master,
                    vendor: 0x1234,
                    device: 0x11e8,
                };
                (0, info.encode())
            }
            pci::Request::Enable { .. } if this.attached.is_none() && wrong != Wrong::EnabledUnattached => {
                (pci::Status::NotAttached.label(), none)
            }
            _ => {
                this.bus_master = matches!(request, pci::Request::Enable { .. });
                (0, none)
            }
        }
    }
}

impl Space {
    fn unmap(&mut self, first: u64, last: u64, split_removes: bool) -> Answer {
        let touched: Vec<_> = self
            .areas
            .iter()
            .filter(|(from, to)| **from <= last && first <= **to)
            .map(|(a, b)| (*a, *b))
            .collect();
        if touched.iter().any(|(from, to)| *from < first || last < *to) {
            if split_removes {
                self.pages.retain(|page, _| !(first..=last).contains(&(page * PAGE)));
                self.areas.retain(|from, _| !(first..=last).contains(from));
            }
            return Err(Status::WouldSplit);
        }
        if touched.is_empty() && (first, last) != (0, u64::MAX) {
            return Err(Status::NotMapped);
        }
        let mut bytes = 0;
        for (from, to) in touched {
            self.areas.remove(&from);
            for page in from / PAGE..=to / PAGE {
                self.pages.remove(&page);
                bytes += PAGE;
            }
        }
        Ok(Words::new([0, bytes]))
    }
}
