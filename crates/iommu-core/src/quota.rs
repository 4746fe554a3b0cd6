//! What a client may use of the server's memory, and what it does use.

use crate::Resource;

/// Amounts of what is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Table frames, roots and reserved ones included.
    pub frames: u32,
    /// Areas.
    pub areas: u32,
    /// Address spaces.
    pub spaces: u32,
}

impl Quota {
    /// Nothing of anything.
    pub const ZERO: Self = Self { frames: 0, areas: 0, spaces: 0 };
}

/// One client's limits and charges. The charges are exactly what is in use: they are made before something is
/// taken, and undone when it is free again.
#[derive(Debug, Default)]
pub struct Account {
    limit: Quota,
    used: Quota,
}

impl Account {
    /// An account that allows nothing.
    pub const NEW: Self = Self { limit: Quota::ZERO, used: Quota::ZERO };

    /// Allows up to `limit`.
    pub const fn set_limit(&mut self, limit: Quota) {
        self.limit = limit;
    }

    /// What is allowed.
    pub const fn limit(&self) -> Quota {
        self.limit
    }

    /// What is in use.
    pub const fn used(&self) -> Quota {
        self.used
    }

    /// Charges `amounts`.
    ///
    /// # Errors
    /// The resource that they exceed the limit of; nothing is charged then.
    #[inline(always)]
    pub fn charge(&mut self, amounts: Quota) -> Result<(), Resource> {
        let fits = |used: u32, more: u32, limit: u32| more == 0 || limit.saturating_sub(used) >= more;
        if !fits(self.used.frames, amounts.frames, self.limit.frames) {
            return Err(Resource::Frames);
        }
        if !fits(self.used.areas, amounts.areas, self.limit.areas) {
            return Err(Resource::Areas);
        }
        if !fits(self.used.spaces, amounts.spaces, self.limit.spaces) {
            return Err(Resource::Spaces);
        }
        self.used.frames += amounts.frames;
        self.used.areas += amounts.areas;
        self.used.spaces += amounts.spaces;
        Ok(())
    }

    /// Takes `amounts`, charged before, off the account.
    #[inline(always)]
    pub fn release(&mut self, amounts: Quota) {
        let Quota { frames, areas, spaces } = self.used;
        assert!(amounts.frames <= frames && amounts.areas <= areas && amounts.spaces <= spaces);
        self.used = Quota {
            frames: frames - amounts.frames,
            areas: areas - amounts.areas,
            spaces: spaces - amounts.spaces,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_charge_changes_nothing_and_names_the_resource() {
        let mut account = Account::NEW;
        account.set_limit(Quota { frames: 2, areas: 3, spaces: 1 });
        account.charge(Quota { frames: 1, areas: 2, spaces: 1 }).unwrap();
        let used = account.used();
        for (amounts, resource) in [
            (Quota { frames: 2, areas: 1, spaces: 0 }, Resource::Frames),
            (Quota { frames: 1, areas: 2, spaces: 0 }, Resource::Areas),
            (Quota { frames: 1, areas: 1, spaces: 1 }, Resource::Spaces),
            (Quota { frames: u32::MAX, areas: u32::MAX, spaces: u32::MAX }, Resource::Frames),
        ] {
            assert_eq!(account.charge(amounts), Err(resource));
            assert_eq!(account.used(), used);
        }
        account.charge(Quota { frames: 1, areas: 1, spaces: 0 }).unwrap();
        account.release(Quota { frames: 2, areas: 3, spaces: 1 });
        assert_eq!(account.used(), Quota::ZERO);
    }

    #[test]
    #[should_panic(expected = "amounts.frames <= frames")]
    fn no_charge_falls_below_zero() {
        let mut account = Account::NEW;
        account.release(Quota { frames: 1, ..Quota::ZERO });
    }
}
