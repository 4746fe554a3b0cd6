//! ATTACH, DETACH, REPLACE, and stopping a device.

use iommu_hal::{Clock, IovaRange, TableMemory, Unit, UnitError};

use crate::device::Attachment;
use crate::space::SpaceSlot;
use crate::{ClientId, Core, Refusal, SpaceId};

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Attaches a device that is not attached.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::NoSuchDevice`], [`Refusal::Busy`],
    /// [`Refusal::AlreadyAttached`], [`Refusal::Incompatible`], [`Refusal::RangeInUse`];
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: the device aborts, and must be detached before anything else.
    pub fn attach(&mut self, client: ClientId, space: SpaceId, device: u16) -> Result<(), Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        match self.clients[client.number()].device(device)?.attachment {
            Attachment::None => self.point(client, device, None, slot),
            Attachment::To(holder) | Attachment::Stopped(holder) => {
                Err(Refusal::AlreadyAttached(self.spaces.get(holder).id))
            }
            Attachment::Unsettled(..) => Err(Refusal::Busy),
        }
    }

    /// Moves an attached device to `space`.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::NoSuchDevice`], [`Refusal::Busy`], [`Refusal::Stopped`],
    /// [`Refusal::NotAttached`], [`Refusal::Incompatible`], [`Refusal::RangeInUse`], all of which leave it where it was; the others as
    /// [`Core::attach`].
    pub fn replace(&mut self, client: ClientId, space: SpaceId, device: u16) -> Result<(), Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        match self.clients[client.number()].device(device)?.attachment {
            Attachment::None => Err(Refusal::NotAttached),
            Attachment::To(holder) if holder == slot => Ok(()),
            Attachment::To(holder) => self.point(client, device, Some(holder), slot),
            Attachment::Stopped(_) => Err(Refusal::Stopped),
            Attachment::Unsettled(..) => Err(Refusal::Busy),
        }
    }

    /// Detaches a device: when it returns, all of its accesses abort. Needs no memory.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchDevice`], [`Refusal::NotAttached`]; [`Refusal::HardwareTimeout`],
    /// [`Refusal::HardwareFailed`]: the hardware has not confirmed it, the space stays busy, and to call again
    /// tries again.
    pub fn detach(&mut self, client: ClientId, device: u16) -> Result<(), Refusal> {
        let object = self.clients[client.number()].device(device)?;
        let held = object.attachment;
        let mut holds = held.holds();
        let (Some(first), other) = (holds.next(), holds.next()) else { return Err(Refusal::NotAttached) };
        let (stream, unit) = (object.stream, usize::from(object.unit));
        let hardware = &mut self.hardware;
        let (unit, memory) = (&mut hardware.units[unit], &mut hardware.memory);
        let blocked = unit.block(memory, &hardware.clock, stream);
        let attachment = match blocked {
            // A stream that the unit does not have cannot use any tables.
            Ok(()) | Err(UnitError::UnknownStream(_)) => {
                held.holds().for_each(|slot| self.spaces.get_mut(slot).devices -= 1);
                Attachment::None
            }
            Err(_) => Attachment::Unsettled(first, other),
        };
        self.clients[client.number()].devices[usize::from(device)].attachment = attachment;
        held.holds().for_each(|slot| self.refresh(client, slot));
        self.withdraw(client, device);
        match attachment {
            Attachment::None => Ok(()),
            _ => blocked.map_err(Refusal::from),
        }
    }

    /// Makes all accesses of a device abort until it is [enabled](Core::enable); it stays attached. For a device
    /// that has to be silenced, whoever owns it.
    ///
    /// # Errors
    /// [`Refusal::NoSuchDevice`]; [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: as for
    /// [`Core::detach`].
    pub fn stop(&mut self, client: ClientId, device: u16) -> Result<(), Refusal> {
        let object = self.clients[client.number()].device(device)?;
        let Attachment::To(slot) = object.attachment else { return Ok(()) };
        let (stream, unit) = (object.stream, usize::from(object.unit));
        let hardware = &mut self.hardware;
        let blocked = hardware.units[unit].block(&mut hardware.memory, &hardware.clock, stream);
        self.clients[client.number()].devices[usize::from(device)].attachment = match blocked {
            Ok(()) => Attachment::Stopped(slot),
            Err(_) => Attachment::Unsettled(slot, None),
        };
        self.withdraw(client, device);
        blocked.map_err(Refusal::from)
    }

    /// Lets a stopped device reach its space again. One that is not stopped stays as it is.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchDevice`], [`Refusal::Busy`], [`Refusal::NotAttached`];
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: as for [`Core::attach`].
    pub fn enable(&mut self, client: ClientId, device: u16) -> Result<(), Refusal> {
        let slot = match self.clients[client.number()].device(device)?.attachment {
            Attachment::None => return Err(Refusal::NotAttached),
            Attachment::Unsettled(..) => return Err(Refusal::Busy),
            Attachment::To(_) => return Ok(()),
            Attachment::Stopped(slot) => slot,
        };
        let pointed = self.point(client, device, None, slot);
        let attachment = self.clients[client.number()].devices[usize::from(device)].attachment;
        if attachment != Attachment::Stopped(slot) {
            // Counted a second time.
            self.spaces.get_mut(slot).devices -= 1;
        }
        pointed
    }

    /// Points the entry of `device`, which now leads to `old`, at the tables of `new`.
    fn point(
        &mut self,
        client: ClientId,
        device: u16,
        old: Option<SpaceSlot>,
        new: SpaceSlot,
    ) -> Result<(), Refusal> {
        let object = &mut self.clients[client.number()].devices[usize::from(device)];
        let hardware = &mut self.hardware;
        let (unit, memory) = (&mut hardware.units[usize::from(object.unit)], &mut hardware.memory);
        let space = self.spaces.get_mut(new);
        let binding = space.binding();
        if !unit.supports(&binding.geometry) {
            return Err(Refusal::Incompatible);
        }
        let in_use = |range: &&IovaRange| {
            space.tree.lowest_in(&self.areas, **range).is_some()
                || space.allowed.iter().any(|allowed| allowed.overlaps(**range))
        };
        if let Some(range) = object.reserved.iter().find(in_use) {
            return Err(Refusal::RangeInUse(*range));
        }
        let pointed = unit.attach(memory, &hardware.clock, object.stream, &binding);
        match pointed {
            Err(UnitError::Unsupported) => return Err(Refusal::Incompatible),
            Err(UnitError::UnknownStream(_)) => return Err(Refusal::NoSuchDevice(device)),
            // Even of one that failed, the hardware may have seen the new tables.
            Ok(()) | Err(_) => {
                space.devices += 1;
                space.cached.insert(object.unit);
            }
        }
        match pointed {
            Ok(()) => {
                object.attachment = Attachment::To(new);
                if let Some(old) = old {
                    self.spaces.get_mut(old).devices -= 1;
                }
            }
            Err(_) => object.attachment = Attachment::Unsettled(new, old),
        }
        [Some(new), old].into_iter().flatten().for_each(|slot| self.refresh(client, slot));
        if pointed.is_err() {
            self.withdraw(client, device);
        }
        pointed.map_err(Refusal::from)
    }
}
