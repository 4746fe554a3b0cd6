//! What one client holds.

use crate::device::Device;
use crate::quota::Account;
use crate::region::Grant;
use crate::space::SpaceSlot;
use crate::{MAX_CLIENTS, MAX_DEVICES, MAX_GRANTS, MAX_SPACES, MAX_SPACES_PER_CLIENT, Refusal, SpaceId};

/// A client, as the server numbers its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u8);

impl ClientId {
    /// The client `number`; `None` from [`MAX_CLIENTS`] on.
    pub const fn new(number: usize) -> Option<Self> {
        if number < MAX_CLIENTS { Some(Self(number as u8)) } else { None }
    }

    /// The client's number.
    pub const fn number(self) -> usize {
        self.0 as usize
    }
}

/// Everything that is fixed for a client at bring-up, what it uses, and its names for its spaces.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) account: Account,
    pub(crate) grants: [Grant; MAX_GRANTS],
    pub(crate) devices: heapless::Vec<Device, MAX_DEVICES>,
    /// By [`SpaceId`] less one: the space's slot plus one, or 0.
    spaces: [u8; MAX_SPACES_PER_CLIENT],
    /// How far [`Core::sweep`](crate::Core::sweep) has come.
    pub(crate) sweep: Place,
}

const _: () = assert!(MAX_SPACES < u8::MAX as usize);

/// Where a walk over all of a client's spaces goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// [`SpaceId`] less one.
    pub(crate) space: u16,
    /// The lowest address there that is still to be looked at.
    pub(crate) iova: u64,
}

impl Place {
    /// In front of everything.
    pub(crate) const START: Self = Self { space: 0, iova: 0 };
    /// Behind everything.
    pub(crate) const END: Self = Self { space: MAX_SPACES_PER_CLIENT as u16, iova: 0 };
}

impl Client {
    /// A client that is allowed nothing.
    pub(crate) const NEW: Self = Self {
        account: Account::NEW,
        grants: [const { Grant::NEW }; MAX_GRANTS],
        devices: heapless::Vec::new(),
        spaces: [0; MAX_SPACES_PER_CLIENT],
        sweep: Place::START,
    };

    /// The slot of the space that the client calls `id`.
    #[inline]
    pub(crate) fn space(&self, id: SpaceId) -> Result<SpaceSlot, Refusal> {
        match self.spaces.get(usize::from(id.0).wrapping_sub(1)) {
            Some(&name) if name != 0 => Ok(SpaceSlot(name - 1)),
            _ => Err(Refusal::NoSuchSpace(id)),
        }
    }

    /// A name that is not in use.
    pub(crate) fn free_name(&self) -> Option<SpaceId> {
        self.spaces.iter().position(|&slot| slot == 0).map(|place| SpaceId(place as u16 + 1))
    }

    /// Makes `id` name `slot`, or nothing.
    pub(crate) fn name(&mut self, id: SpaceId, slot: Option<SpaceSlot>) {
        self.spaces[usize::from(id.0) - 1] = slot.map_or(0, |slot| slot.0 + 1);
    }

    /// The client's spaces: bit n for one with id n.
    pub(crate) fn space_ids(&self) -> u64 {
        self.spaces
            .iter()
            .enumerate()
            .fold(0, |set, (place, &name)| set | u64::from(name != 0) << (place + 1))
    }

    /// Takes the names of another client, which has none afterwards.
    pub(crate) fn take_names(&mut self, other: &mut Self) {
        self.spaces = core::mem::replace(&mut other.spaces, [0; MAX_SPACES_PER_CLIENT]);
    }

    /// Some space of the client.
    pub(crate) fn any_space(&self) -> Option<SpaceId> {
        self.spaces.iter().position(|&slot| slot != 0).map(|place| SpaceId(place as u16 + 1))
    }

    #[inline]
    pub(crate) fn grant(&self, slot: u16) -> Result<&Grant, Refusal> {
        match self.grants.get(usize::from(slot)) {
            Some(grant) if !grant.is_empty() => Ok(grant),
            _ => Err(Refusal::NoSuchRegion(slot)),
        }
    }

    pub(crate) fn device(&self, index: u16) -> Result<&Device, Refusal> {
        self.devices.get(usize::from(index)).ok_or(Refusal::NoSuchDevice(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_clients_as_channels() {
        assert_eq!(ClientId::new(MAX_CLIENTS - 1).map(ClientId::number), Some(MAX_CLIENTS - 1));
        assert_eq!(ClientId::new(MAX_CLIENTS), None);
        assert_eq!(ClientId::new(256), None);
    }

    #[test]
    fn names_begin_at_one_and_are_used_again() {
        let mut client = Client::NEW;
        for number in 1..=MAX_SPACES_PER_CLIENT as u16 {
            assert_eq!(client.free_name(), Some(SpaceId(number)));
            client.name(SpaceId(number), Some(SpaceSlot(number as u8 + 9)));
        }
        assert_eq!(client.free_name(), None);
        assert_eq!(client.space(SpaceId(2)), Ok(SpaceSlot(11)));
        client.name(SpaceId(2), None);
        for id in [0, 2, MAX_SPACES_PER_CLIENT as u16 + 1, u16::MAX] {
            assert_eq!(client.space(SpaceId(id)), Err(Refusal::NoSuchSpace(SpaceId(id))));
        }
        assert_eq!((client.free_name(), client.any_space()), (Some(SpaceId(2)), Some(SpaceId(1))));
        assert_eq!(client.space_ids(), (1 << (MAX_SPACES_PER_CLIENT + 1)) - 0b111 + 1);
    }
}
