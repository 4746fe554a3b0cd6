//! What a unit can do.

use iommu_hal::{Format, Geometry, Registers};

use crate::spec::registers::{Idr0, Idr1, Idr3, Idr5, oas_bits, offset};

/// The most bits of an address that tables of 4 KiB granule name without LPA2.
const MAX_ADDRESS_BITS: u8 = 48;
/// The fewest bits of an input address: T0SZ may be 39 at most without small tables (IHI 0070, 5.2, S2T0SZ).
const MIN_INPUT_BITS: u8 = 25;
/// The fewest bits of a physical address with which stage 2 may start at level 0 (Arm DDI 0487, D8.2.5).
const LEVEL_0_OUTPUT_BITS: u8 = 44;
/// The most input bits of tables that start at level 1 in one frame.
const LEVEL_1_INPUT_BITS: u8 = 39;
/// 4 KiB, 2 MiB and 1 GiB: what the 4 KiB granule has at every level that may hold a leaf.
const PAGE_SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

/// The identification registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// SMMU_IDR0 to SMMU_IDR5 as read.
    pub idr: [u32; 6],
    /// SMMU_IIDR as read: who made it.
    pub iidr: u32,
    /// SMMU_AIDR as read: the architecture's version.
    pub aidr: u32,
}

impl Features {
    pub(crate) fn read<R: Registers>(regs: &mut R) -> Self {
        Self {
            idr: core::array::from_fn(|i| regs.read32(offset::IDR0 + 4 * i as u32)),
            iidr: regs.read32(offset::IIDR),
            aidr: regs.read32(offset::AIDR),
        }
    }

    /// SMMU_IDR0, decoded.
    pub fn idr0(&self) -> Idr0 {
        Idr0::from(self.idr[0])
    }

    /// SMMU_IDR1, decoded.
    pub fn idr1(&self) -> Idr1 {
        Idr1::from(self.idr[1])
    }

    /// SMMU_IDR3, decoded.
    pub fn idr3(&self) -> Idr3 {
        Idr3::from(self.idr[3])
    }

    /// SMMU_IDR5, decoded.
    pub fn idr5(&self) -> Idr5 {
        Idr5::from(self.idr[5])
    }

    /// Bits of a physical address that tables of 4 KiB granule can name here.
    pub fn output_bits(&self) -> u8 {
        oas_bits(self.idr5().oas()).map_or(MAX_ADDRESS_BITS, |bits| bits.min(MAX_ADDRESS_BITS))
    }

    /// [`Features::output_bits`] as STE.S2PS and CD.IPS encode them.
    pub(crate) fn output_size(&self) -> u8 {
        self.idr5().oas().min(5)
    }

    /// Whether tables of `format` can be walked.
    pub fn has(&self, format: Format) -> bool {
        match format {
            Format::ArmStage1 => self.idr0().s1p(),
            Format::ArmStage2 => self.idr0().s2p(),
            Format::VtdSecondStage => false,
        }
    }

    /// The first rule that this driver needs and the unit breaks, in words.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        let (idr0, idr1) = (self.idr0(), self.idr1());
        if !idr0.s1p() && !idr0.s2p() {
            Some("it has neither stage 1 nor stage 2")
        } else if idr0.ttf() & 0b10 == 0 {
            Some("it walks no AArch64 tables (IDR0.TTF)")
        } else if idr0.ttendian() == 3 {
            Some("it walks big-endian tables alone (IDR0.TTENDIAN)")
        } else if idr0.stall_model() == 2 {
            Some("its faults always stall (IDR0.STALL_MODEL)")
        } else if !self.idr5().gran4k() {
            Some("it has no 4 KiB granule (IDR5.GRAN4K)")
        } else if idr1.queues_preset() || idr1.tables_preset() {
            Some("its queues or tables have fixed places (IDR1.QUEUES_PRESET, TABLES_PRESET)")
        } else {
            None
        }
    }

    /// The largest input size whose root table is one frame and whose start level is legal at both stages.
    pub fn geometry(&self, format: Format) -> Geometry {
        let output_bits = self.output_bits();
        let input_bits = match format {
            _ if output_bits >= LEVEL_0_OUTPUT_BITS => output_bits,
            Format::ArmStage1 => LEVEL_1_INPUT_BITS,
            _ => output_bits.min(LEVEL_1_INPUT_BITS),
        };
        Geometry { format, input_bits, output_bits, page_sizes: PAGE_SIZES }
    }

    /// Whether tables of shape `geometry` can be walked.
    pub fn supports(&self, geometry: &Geometry) -> bool {
        let output_bits = self.output_bits();
        let most_input_bits = match geometry.format {
            Format::ArmStage1 => MAX_ADDRESS_BITS,
            Format::ArmStage2 if output_bits >= LEVEL_0_OUTPUT_BITS => output_bits,
            _ => output_bits.min(LEVEL_1_INPUT_BITS),
        };
        self.has(geometry.format)
            && (MIN_INPUT_BITS..=most_input_bits).contains(&geometry.input_bits)
            && geometry.output_bits <= output_bits
            && geometry.page_sizes & !PAGE_SIZES == 0
    }

    /// The largest tag of address spaces of `format`.
    pub(crate) fn last_tag(&self, format: Format) -> u16 {
        let wide = match format {
            Format::ArmStage1 => self.idr0().asid16(),
            _ => self.idr0().vmid16(),
        };
        if wide { u16::MAX } else { 0xff }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_oas(oas: u8) -> Features {
        let idr0 = Idr0::new().with_s1p(true).with_s2p(true).with_ttf(2);
        let idr5 = Idr5::new().with_oas(oas).with_gran4k(true);
        Features { idr: [idr0.into(), 0, 0, 0, 0, idr5.into()], iidr: 0, aidr: 0 }
    }

    #[test]
    fn the_chosen_geometry_starts_at_a_legal_level() {
        for (oas, stage1, stage2) in
            [(0, 39, 32), (1, 39, 36), (2, 39, 39), (3, 39, 39), (4, 44, 44), (5, 48, 48), (6, 48, 48)]
        {
            let features = with_oas(oas);
            for (format, bits) in [(Format::ArmStage1, stage1), (Format::ArmStage2, stage2)] {
                let geometry = features.geometry(format);
                assert_eq!(geometry.input_bits, bits, "OAS {oas}");
                assert_eq!(geometry.levels(), if bits > 39 { 4 } else { 3 });
                assert!(features.supports(&geometry));
            }
        }
    }

    #[test]
    fn shapes_that_the_unit_cannot_walk_are_refused() {
        let narrow = with_oas(2);
        let good = narrow.geometry(Format::ArmStage2);
        assert!(!narrow.supports(&Geometry { input_bits: 40, ..good }), "level 0 needs 44 bits");
        assert!(!narrow.supports(&Geometry { input_bits: 24, ..good }));
        assert!(!narrow.supports(&Geometry { output_bits: 44, ..good }));
        assert!(!narrow.supports(&Geometry { page_sizes: 1 << 12 | 1 << 16, ..good }));
        assert!(narrow.supports(&Geometry { input_bits: 30, ..good }));
        assert!(narrow.supports(&Geometry { input_bits: 48, format: Format::ArmStage1, ..good }));
        let mut stage1_only = narrow;
        stage1_only.idr[0] &= !1;
        assert!(!stage1_only.supports(&good));
    }

    #[test]
    fn tags_have_the_width_that_the_unit_says() {
        let mut features = with_oas(4);
        assert_eq!(features.last_tag(Format::ArmStage1), 0xff);
        features.idr[0] |= 1 << 18;
        assert_eq!(features.last_tag(Format::ArmStage1), 0xff);
        assert_eq!(features.last_tag(Format::ArmStage2), 0xffff);
    }
}
