//! One client takes over what another one has.

use iommu_hal::{Clock, TableMemory, Unit};

use crate::client::Place;
use crate::{ClientId, Core, Refusal};

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Gives everything that `from` has, its devices included, to `to`, which has no spaces. Ids stay what they are;
    /// no table and no stream is touched. The charges go to `to`'s account first, then from `from`'s. A grant that
    /// was withdrawn from `from` is withdrawn from `to` too.
    ///
    /// # Errors
    /// In this order, and nothing has changed: [`Refusal::Busy`] where `to` has spaces or devices;
    /// [`Refusal::NoSuchRegion`] where `from` maps a region that `to` is not granted with the same rights at the
    /// same slot, [`Refusal::StaleRegion`] one that was withdrawn from `to`; [`Refusal::QuotaExceeded`].
    pub fn hand_over(&mut self, from: ClientId, to: ClientId) -> Result<(), Refusal> {
        let Ok([old, new]) = self.clients.get_disjoint_mut([from.number(), to.number()]) else {
            return Err(Refusal::Busy);
        };
        if new.any_space().is_some() || !new.devices.is_empty() {
            return Err(Refusal::Busy);
        }
        for (slot, (old, new)) in old.grants.iter().zip(&new.grants).enumerate() {
            if old.info().live_areas == 0 {
                continue;
            }
            if !new.covers(old) {
                return Err(Refusal::NoSuchRegion(slot as u16));
            }
            if new.is_withdrawn() && !old.is_withdrawn() {
                let (asked, current) = (old.info().generation, new.info().generation);
                return Err(Refusal::StaleRegion { asked, current });
            }
        }
        let used = old.account.used();
        new.account.charge(used).map_err(Refusal::QuotaExceeded)?;
        old.account.release(used);
        for (old, new) in old.grants.iter_mut().zip(&mut new.grants) {
            if !new.is_empty() {
                if old.is_withdrawn() {
                    new.withdraw();
                }
                new.take_areas(old);
            }
        }
        new.take_names(old);
        new.devices = core::mem::take(&mut old.devices);
        new.sweep = Place::START;
        for (_, owner, _) in self.streams.iter_mut().filter(|(_, owner, _)| *owner == from) {
            *owner = to;
        }
        Ok(())
    }
}
