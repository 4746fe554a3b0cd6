//! Context Descriptors: the configuration of stage 1 (IHI 0070, 5.4).

use super::{
    config::Config,
    stream_table::{bits, check_snooped, granule_lg2, mask},
    tlb::{Stage, Tag},
    walk::{Context, Root},
};

/// A 64-byte Context Descriptor as the unit read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cd(pub [u64; 8]);

impl Cd {
    pub const fn is_valid(&self) -> bool {
        bits(self.0[0], 31, 31) == 1
    }

    /// The bits of each word that mean anything.
    pub fn used(&self) -> [u64; 8] {
        if !self.is_valid() {
            return [mask(31, 31), 0, 0, 0, 0, 0, 0, 0];
        }
        [u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX]
    }

    /// Panics where a bit is set that must be zero.
    pub fn check_reserved(&self, config: &Config, stream: u32) {
        if !self.is_valid() {
            return;
        }
        // E0PD, HAFT, PnCH, EPAN, AIE, DS, PIE and MPAM are not implemented.
        let reserved =
            [0, mask(2, 3) | mask(52, 59), mask(2, 3) | mask(52, 59), 0, 0, u64::MAX, u64::MAX, u64::MAX];
        for (word, (value, reserved)) in self.0.iter().zip(reserved).enumerate() {
            assert_eq!(
                value & reserved,
                0,
                "CD of stream {stream:#x}: reserved bits set in word {word}, {value:#018x} (5.4)"
            );
        }
        if self.walks_low() {
            check_snooped(config, bits(self.0[0], 8, 13), "CD.*0");
        }
    }

    const fn walks_low(&self) -> bool {
        bits(self.0[0], 14, 14) == 0
    }

    const fn low_root(&self) -> u64 {
        self.0[1] & mask(4, 51)
    }

    /// Whether the descriptor is ILLEGAL (5.4.2, `CdIllegal`).
    pub fn is_illegal(&self, config: &Config) -> bool {
        let word = self.0[0];
        let format = config.formats >> bits(word, 41, 41) & 1 == 0;
        let big_endian = bits(word, 15, 15) == 1;
        let stalls = bits(word, 44, 44) == 1;
        let hardware_flags = bits(word, 42, 43) != 0;
        let answers_zero = config.always_aborts && bits(word, 46, 46) == 0;
        let wide_asid = !config.asid16 && bits(word, 56, 63) != 0;
        if !self.is_valid() || format || stalls || hardware_flags || answers_zero || wide_asid {
            return true;
        }
        assert_eq!(bits(word, 41, 41), 1, "CD.AA64: VMSAv8-32 tables are outside this model");
        assert_eq!(bits(word, 30, 30), 1, "CD.EPD1: TTB1 is outside this model");
        if !self.walks_low() {
            return false;
        }
        let granule = granule_lg2(bits(word, 6, 7)).is_none_or(|lg2| !config.granules.contains(&lg2));
        let size = !(16..=39).contains(&bits(word, 0, 5));
        big_endian || granule || size || self.low_root() >> config.effective_size(bits(word, 32, 34)) != 0
    }

    /// CD.R: whether faults at stage 1 are recorded.
    pub const fn records(&self) -> bool {
        bits(self.0[0], 45, 45) == 1
    }

    /// CD.A: whether a terminated access is aborted, else it reads as zero.
    pub const fn aborts(&self) -> bool {
        bits(self.0[0], 46, 46) == 1
    }

    /// The stage 1 translation that a legal descriptor sets up; `None`: walks are disabled.
    pub fn stage_one(&self, config: &Config, vmid: u16) -> Option<Context> {
        if !self.walks_low() {
            return None;
        }
        let word = self.0[0];
        let granule_lg2 = granule_lg2(bits(word, 6, 7)).expect("a legal descriptor");
        let input_bits = 64 - bits(word, 0, 5) as u32;
        let start_level = 4 - (input_bits - granule_lg2).div_ceil(granule_lg2 - 3);
        let root = Root { at: self.low_root(), start_level, granule_lg2, input_bits };
        root.check_alignment("CD.TTB0");
        Some(Context {
            tag: Tag { stage: Stage::One, vmid, asid: bits(word, 48, 63) as u16 },
            root,
            output_bits: config.effective_size(bits(word, 32, 34)),
            ignores_access_flag: bits(word, 35, 35) == 1,
            hierarchy: !(config.hierarchy_disable && bits(self.0[1], 1, 1) == 1),
            ignores_top_byte: bits(word, 38, 38) == 1,
            privileged_access_never: bits(word, 40, 40) == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 39 bits, 4 KiB, 44-bit output, EPD1, AA64, A, R, valid.
    fn plain() -> Cd {
        let word = 25 | 0x35 << 8 | 1 << 30 | 1 << 31 | 0b100 << 32 | 1 << 41 | 0b11 << 45 | 7 << 48;
        Cd([word, 0x4_0000, 0, 0, 0, 0, 0, 0])
    }

    fn with(set: u64) -> Cd {
        let mut cd = plain();
        cd.0[0] |= set;
        cd
    }

    #[test]
    fn a_plain_descriptor_is_legal_and_tells_its_walk() {
        let config = Config::default();
        assert!(!plain().is_illegal(&config));
        let context = plain().stage_one(&config, 3).unwrap();
        assert_eq!(context.tag, Tag { stage: Stage::One, vmid: 3, asid: 7 });
        assert_eq!((context.root.start_level, context.root.input_bits, context.output_bits), (1, 39, 44));
    }

    #[test]
    fn what_the_unit_lacks_is_illegal() {
        let config = Config::default();
        for (set, why) in
            [(1 << 44, "S"), (1 << 43, "HA"), (1 << 15, "ENDI"), (0b11 << 6, "TG0"), (56, "T0SZ")]
        {
            assert!(with(set).is_illegal(&config), "{why}");
        }
        assert!(with(1 << 60).is_illegal(&Config { asid16: false, ..Config::default() }));
        let mut no_abort = plain();
        no_abort.0[0] &= !(1 << 46);
        assert!(no_abort.is_illegal(&config));
        assert!(!no_abort.is_illegal(&Config { always_aborts: false, ..Config::default() }));
        let mut far = plain();
        far.0[1] = 1 << 44;
        assert!(far.is_illegal(&config));
    }

    #[test]
    #[should_panic(expected = "reserved bits set in word 5")]
    fn reserved_bits_are_not_for_use() {
        let mut cd = plain();
        cd.0[5] = 1;
        cd.check_reserved(&Config::default(), 5);
    }
}
