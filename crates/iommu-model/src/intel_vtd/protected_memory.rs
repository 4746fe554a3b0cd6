//! Protected memory regions, which firmware may leave on (11.4.8).

use super::Ack;

/// PMEN: enable, and its status.
const EPM: u32 = 1 << 31;
const PRS: u32 = 1;

/// Granularity of base and limit.
const REGION_LG2: u32 = 21;

/// PMEN and the bases and limits of the low and the high region.
#[derive(Debug, Default)]
pub(super) struct ProtectedMemory {
    enabled: bool,
    in_force: bool,
    reads: u32,
    /// Low base, low limit, high base, high limit.
    bounds: [u64; 4],
}

impl ProtectedMemory {
    /// Regions that firmware left on.
    pub const fn left(bounds: [u64; 4]) -> Self {
        Self { enabled: true, in_force: true, reads: 0, bounds }
    }

    /// Whether requests to `physical` are blocked.
    pub fn covers(&self, physical: u64) -> bool {
        let [low, low_limit, high, high_limit] = self.bounds;
        let inside = |base: u64, limit: u64| {
            base >> REGION_LG2 <= physical >> REGION_LG2 && physical <= limit_last(limit)
        };
        self.in_force && (inside(low, low_limit) || inside(high, high_limit))
    }

    /// PMEN; a read may be the one that shows the acknowledgement.
    pub fn read(&mut self, ack: Ack) -> u32 {
        if self.enabled != self.in_force && ack.is_due(&mut self.reads) {
            self.in_force = self.enabled;
        }
        self.value()
    }

    pub fn value(&self) -> u32 {
        let enabled = if self.enabled { EPM } else { 0 };
        enabled | if self.in_force { PRS } else { 0 }
    }

    pub fn write(&mut self, ack: Ack, value: u32) {
        assert_eq!(value & !(EPM | PRS), 0, "PMEN {value:#x}: reserved bits set (11.4.8.1)");
        assert_eq!(self.enabled, self.in_force, "PMEN written before PRS followed EPM (11.4.8.1)");
        (self.enabled, self.reads) = (value & EPM != 0, 0);
        if ack == Ack::AtOnce {
            self.in_force = self.enabled;
        }
    }

    /// A base or limit: low base, low limit, high base, high limit.
    pub const fn bound(&self, place: usize) -> u64 {
        self.bounds[place]
    }

    pub fn write_bound(&mut self, place: usize, value: u64) {
        assert!(!self.in_force, "a protected region moved while it is on (11.4.8.2)");
        self.bounds[place] = value >> REGION_LG2 << REGION_LG2;
    }
}

/// The last address of a region with this limit.
const fn limit_last(limit: u64) -> u64 {
    limit | ((1 << REGION_LG2) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_covers_whole_pieces_from_base_to_limit() {
        let mut regions = ProtectedMemory::left([0x20_0000, 0x40_0000, 1 << 40, 1 << 40]);
        for (at, is) in
            [(0x1f_ffff, false), (0x20_0000, true), (0x5f_ffff, true), (0x60_0000, false), (1 << 40, true)]
        {
            assert_eq!(regions.covers(at), is, "{at:#x}");
        }
        regions.write(Ack::AfterReads(2), 0);
        assert!(regions.covers(1 << 40));
        assert_eq!((regions.read(Ack::AfterReads(2)), regions.read(Ack::AfterReads(2))), (PRS, 0));
        assert!(!regions.covers(1 << 40));
    }
}
