//! What a unit can do.

use iommu_hal::{Format, Geometry, Registers};

use crate::spec::{
    faults::FAULT_RECORD_BYTES,
    registers::{Cap, Ecap, FIXED_REGISTERS_END, REGISTER_BYTES, offset},
};

/// The most bits of a physical address that [`Geometry`] names.
const OUTPUT_BITS: u8 = 48;
/// The most and fewest input bits of tables of three levels whose root has more than one entry.
const THREE_LEVELS: core::ops::RangeInclusive<u8> = 31..=39;
/// The same of four levels.
const FOUR_LEVELS: core::ops::RangeInclusive<u8> = 40..=48;

/// What the root table leads through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Root and context entries.
    Legacy,
    /// Root, context, PASID directory and PASID table entries.
    Scalable,
}

/// The identification registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// VER_REG as read.
    pub version: u32,
    /// CAP_REG as read.
    pub cap: u64,
    /// ECAP_REG as read.
    pub ecap: u64,
}

impl Features {
    pub(crate) fn read<R: Registers>(regs: &mut R) -> Self {
        Self {
            version: regs.read32(offset::VER),
            cap: regs.read64(offset::CAP),
            ecap: regs.read64(offset::ECAP),
        }
    }

    /// CAP_REG, decoded.
    pub fn cap(&self) -> Cap {
        Cap::from(self.cap)
    }

    /// ECAP_REG, decoded.
    pub fn ecap(&self) -> Ecap {
        Ecap::from(self.ecap)
    }

    /// Bits of an input address.
    pub fn input_bits(&self) -> u8 {
        self.cap().mgaw() + 1
    }

    /// Bits of a domain id.
    pub fn domain_bits(&self) -> u8 {
        (4 + 2 * self.cap().nd()).min(16)
    }

    /// The number of fault records, and the offset of the first.
    pub fn fault_records(&self) -> (u16, u32) {
        (u16::from(self.cap().nfr()) + 1, u32::from(self.cap().fro()) * FAULT_RECORD_BYTES)
    }

    /// Whether there is no unit at all: reads that nobody answers are all ones, or all zeroes.
    pub(crate) fn is_absent(&self) -> bool {
        self.version == u32::MAX || self.cap == u64::MAX || self.cap == 0
    }

    /// The first rule that this driver needs and the unit breaks, in words.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        let cap = self.cap();
        let (records, first) = self.fault_records();
        if self.levels().is_none() {
            Some("it walks tables of neither three nor four levels (CAP.SAGAW, CAP.MGAW)")
        } else if cap.nd() == 7 {
            Some("its number of domains is a reserved encoding (CAP.ND)")
        } else if first + u32::from(records) * FAULT_RECORD_BYTES > REGISTER_BYTES {
            Some("its fault records lie beyond its first 4 KiB of registers (CAP.FRO, CAP.NFR)")
        } else if first < FIXED_REGISTERS_END {
            Some("its fault records lie where other registers are (CAP.FRO)")
        } else {
            None
        }
    }

    /// Whether scalable mode has what this driver needs of it.
    pub fn has_scalable(&self) -> bool {
        self.ecap().smts() && self.ecap().ssts()
    }

    fn walks(&self, levels: u32) -> bool {
        let least = if levels == 3 { *THREE_LEVELS.start() } else { *FOUR_LEVELS.start() };
        self.cap().sagaw() & 1 << (levels - 2) != 0 && self.input_bits() >= least
    }

    /// The most levels of tables that can be walked.
    fn levels(&self) -> Option<u32> {
        [4, 3].into_iter().find(|&levels| self.walks(levels))
    }

    fn page_sizes(&self) -> u64 {
        let large = u64::from(self.cap().sslps());
        1 << 12 | (large & 1) << 21 | (large >> 1 & 1) << 30
    }

    /// The largest input size. The unit was found to have one.
    pub fn geometry(&self) -> Geometry {
        let most = if self.levels() == Some(4) { *FOUR_LEVELS.end() } else { *THREE_LEVELS.end() };
        Geometry {
            format: Format::VtdSecondStage,
            input_bits: self.input_bits().min(most),
            output_bits: OUTPUT_BITS,
            page_sizes: self.page_sizes(),
        }
    }

    /// Whether tables of shape `geometry` can be walked.
    pub fn supports(&self, geometry: &Geometry) -> bool {
        let bits = geometry.input_bits;
        let levels = match bits {
            _ if THREE_LEVELS.contains(&bits) => 3,
            _ if FOUR_LEVELS.contains(&bits) => 4,
            _ => return false,
        };
        geometry.format == Format::VtdSecondStage
            && self.walks(levels)
            && bits <= self.input_bits()
            && geometry.output_bits <= OUTPUT_BITS
            && geometry.page_sizes & !self.page_sizes() == 0
    }

    /// The largest domain id.
    pub(crate) fn last_tag(&self) -> u16 {
        ((1_u32 << self.domain_bits()) - 1) as u16
    }

    /// Whether walks of page tables snoop in `mode`.
    pub fn walks_snoop(&self, mode: Mode) -> bool {
        match mode {
            Mode::Legacy => self.ecap().c(),
            Mode::Scalable => self.ecap().smpwcs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(cap: Cap, ecap: Ecap) -> Features {
        Features { version: 0x10, cap: cap.into(), ecap: ecap.into() }
    }

    fn good() -> (Cap, Ecap) {
        let cap = Cap::new().with_nd(6).with_sagaw(0b110).with_mgaw(47).with_fro(0x22).with_sslps(3);
        (cap, Ecap::new().with_qi(true))
    }

    #[test]
    fn sagaw_and_mgaw_decide_the_levels() {
        let (cap, ecap) = good();
        for (sagaw, mgaw, bits) in [
            (0b110, 47, Some(48)),
            (0b110, 56, Some(48)),
            (0b010, 47, Some(39)),
            (0b010, 38, Some(39)),
            (0b010, 31, Some(32)),
            (0b100, 47, Some(48)),
            (0b110, 38, Some(39)),
            (0b100, 38, None),
            (0b001, 29, None),
            (0b1000, 56, None),
            (0, 47, None),
        ] {
            let features = features(cap.with_sagaw(sagaw).with_mgaw(mgaw), ecap);
            match bits {
                Some(bits) => {
                    assert_eq!(features.obstacle(), None);
                    let geometry = features.geometry();
                    assert_eq!(geometry.input_bits, bits, "{sagaw:#b} {mgaw}");
                    assert_eq!(geometry.levels(), if bits > 39 { 4 } else { 3 });
                    assert!(features.supports(&geometry));
                }
                None => assert!(features.obstacle().unwrap().contains("SAGAW"), "{sagaw:#b} {mgaw}"),
            }
        }
    }

    #[test]
    fn shapes_that_the_unit_cannot_walk_are_refused() {
        let (cap, ecap) = good();
        let both = features(cap, ecap);
        let shape = both.geometry();
        assert!(both.supports(&Geometry { input_bits: 39, ..shape }));
        assert!(both.supports(&Geometry { input_bits: 31, page_sizes: 1 << 12, ..shape }));
        assert!(!both.supports(&Geometry { input_bits: 30, ..shape }), "two levels");
        assert!(!both.supports(&Geometry { format: Format::ArmStage2, ..shape }));
        assert!(!both.supports(&Geometry { page_sizes: 1 << 12 | 1 << 16, ..shape }));
        let three = features(cap.with_sagaw(0b010), ecap);
        assert!(!three.supports(&shape) && three.supports(&Geometry { input_bits: 39, ..shape }));
        let four = features(cap.with_sagaw(0b100), ecap);
        assert!(four.supports(&shape) && !four.supports(&Geometry { input_bits: 39, ..shape }));
        let narrow = features(cap.with_mgaw(43), ecap);
        assert!(!narrow.supports(&shape) && narrow.supports(&Geometry { input_bits: 44, ..shape }));
        for (sslps, sizes) in [(0, 1 << 12), (1, 1 << 12 | 1 << 21), (2, 1 << 12 | 1 << 30)] {
            let small = features(cap.with_sslps(sslps), ecap);
            assert_eq!(small.geometry().page_sizes, sizes);
            assert!(!small.supports(&shape));
        }
    }

    #[test]
    fn domain_ids_have_the_width_that_the_unit_says() {
        let (cap, ecap) = good();
        for (nd, last) in [(0, 0xf), (2, 0xff), (6, 0xffff)] {
            assert_eq!(features(cap.with_nd(nd), ecap).last_tag(), last);
        }
        assert!(features(cap.with_nd(7), ecap).obstacle().unwrap().contains("ND"));
    }

    #[test]
    fn fault_records_that_are_out_of_reach_are_an_obstacle() {
        let (cap, ecap) = good();
        assert_eq!(features(cap.with_fro(0xff), ecap).obstacle(), None);
        for beyond in [cap.with_fro(0xff).with_nfr(1), cap.with_fro(0x100), cap.with_fro(0x3ff).with_nfr(255)]
        {
            assert!(features(beyond, ecap).obstacle().unwrap().contains("FRO"));
        }
    }

    #[test]
    fn fault_records_among_other_registers_are_an_obstacle() {
        let (cap, ecap) = good();
        assert_eq!(features(cap.with_fro(0xc), ecap).obstacle(), None);
        for among in [0, 2, 0xb] {
            assert!(features(cap.with_fro(among), ecap).obstacle().unwrap().contains("FRO"), "{among:#x}");
        }
    }

    #[test]
    fn scalable_mode_needs_the_second_stage_in_it() {
        let (cap, ecap) = good();
        assert!(!features(cap, ecap.with_smts(true)).has_scalable());
        assert!(!features(cap, ecap.with_ssts(true)).has_scalable());
        assert!(features(cap, ecap.with_smts(true).with_ssts(true)).has_scalable());
    }
}
