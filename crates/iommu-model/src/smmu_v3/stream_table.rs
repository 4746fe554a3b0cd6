//! The Stream table: its entries, what makes one ILLEGAL, and how one is found (IHI 0070, 5.1, 5.2).

use super::{
    config::Config,
    tlb::{Stage, Tag},
    walk::{Context, Root},
};

pub(super) use crate::fields::{bits, mask};

/// A 64-byte Stream Table Entry as the unit read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ste(pub [u64; 8]);

/// What a valid entry does with its stream (STE.Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    Abort,
    Bypass,
    StageOne,
    StageTwo,
}

impl Ste {
    pub const fn is_valid(&self) -> bool {
        bits(self.0[0], 0, 0) == 1
    }

    pub fn treatment(&self) -> Treatment {
        match bits(self.0[0], 1, 3) {
            0b000..=0b011 => Treatment::Abort,
            0b100 => Treatment::Bypass,
            0b101 => Treatment::StageOne,
            0b110 => Treatment::StageTwo,
            _ => panic!("STE.Config 0b111: nested translation is outside this model"),
        }
    }

    /// Whether the stream's accesses can get anywhere.
    pub fn lets_pass(&self) -> bool {
        self.is_valid() && bits(self.0[0], 3, 3) == 1
    }

    /// The bits of each word that mean anything while word 0 is what it is (5.2.1); none where nothing passes.
    pub fn used(&self, config: &Config) -> [u64; 8] {
        if !self.lets_pass() {
            return [mask(0, 0) | if self.is_valid() { mask(3, 3) } else { 0 }, 0, 0, 0, 0, 0, 0, 0];
        }
        let every = [
            mask(0, 3),
            // CONT, DCP, DRE, MEV, EATS, and what sets attributes.
            mask(12, 17) | mask(19, 19) | mask(28, 29) | mask(32, 63),
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        let own = match self.treatment() {
            Treatment::Abort | Treatment::Bypass => [0; 4],
            Treatment::StageOne => {
                let vmid = if config.stage2 { mask(0, 15) } else { 0 };
                [mask(4, 63), mask(0, 7) | mask(24, 24) | mask(26, 27) | mask(30, 31), vmid, 0]
            }
            Treatment::StageTwo => [0, mask(8, 11) | mask(25, 25), u64::MAX, u64::MAX],
        };
        let mut used = every;
        for (word, own) in used.iter_mut().zip(own) {
            *word |= own;
        }
        used
    }

    /// Panics where a bit is set that must be zero.
    pub fn check_reserved(&self, config: &Config, stream: u32) {
        if !self.lets_pass() {
            return; // everything else is IGNORED
        }
        let types = if config.overrides_types { 0 } else { mask(32, 40) | mask(44, 45) };
        let permissions = if config.overrides_permissions { 0 } else { mask(48, 51) };
        // STRW without Hyp; PPAR without PRI; S1PIE, S2FWB and S1MPAM are not implemented; S1STALLD is ILLEGAL
        // and judged there; EATS is IGNORED without ATS.
        let world = if config.hypervisor && config.stage1 { 0 } else { mask(30, 31) };
        let stage2 = if config.stage2 { mask(59, 63) } else { mask(32, 63) };
        let table = if config.stage2 { mask(0, 3) | mask(52, 63) } else { u64::MAX };
        let reserved = [
            mask(56, 58) | output_beyond(config, 0, 55),
            mask(18, 18) | mask(24, 26) | world | types | mask(41, 43) | permissions | mask(52, 63),
            mask(16, 31) | stage2,
            table,
            u64::MAX,
            u64::MAX,
            u64::MAX,
            u64::MAX,
        ];
        for (word, (value, reserved)) in self.0.iter().zip(reserved).enumerate() {
            assert_eq!(
                value & reserved,
                0,
                "STE of stream {stream:#x}: reserved bits set in word {word}, {value:#018x} (5.2)"
            );
        }
        match self.treatment() {
            Treatment::Abort | Treatment::Bypass => {}
            Treatment::StageOne => {
                assert_eq!(bits(self.0[1], 30, 31), 0, "STE.STRW: EL2 regimes are outside this model");
                check_snooped(config, bits(self.0[1], 2, 7), "STE.S1C*");
            }
            Treatment::StageTwo => check_snooped(config, bits(self.0[2], 40, 45), "STE.S2*0"),
        }
    }

    /// Whether the entry is ILLEGAL (5.2.2, `SteIllegal`).
    pub fn is_illegal(&self, config: &Config) -> bool {
        if !self.is_valid() {
            return true;
        }
        match self.treatment() {
            Treatment::Abort | Treatment::Bypass => false,
            Treatment::StageOne => self.stage_one_illegal(config),
            Treatment::StageTwo => self.stage_two_illegal(config),
        }
    }

    fn stage_one_illegal(&self, config: &Config) -> bool {
        let substreams = bits(self.0[0], 59, 63);
        let stall_disable = bits(self.0[1], 27, 27) == 1; // stalls are not implemented: nothing to disable
        let two_level_descriptors = substreams != 0 && matches!(bits(self.0[0], 4, 5), 0b01 | 0b10);
        !config.stage1
            || stall_disable
            || (config.substream_bits != 0
                && (substreams > u64::from(config.substream_bits) || two_level_descriptors))
            || self.context_at() >> config.output_bits != 0
            || self.vmid_illegal(config)
    }

    fn vmid_illegal(&self, config: &Config) -> bool {
        config.stage2 && !config.vmid16 && bits(self.0[2], 8, 15) != 0
    }

    fn stage_two_illegal(&self, config: &Config) -> bool {
        let word = self.0[2];
        let format = config.formats >> bits(word, 51, 51) & 1 == 0;
        let big_endian = bits(word, 52, 52) == 1;
        let hardware_flags = bits(word, 55, 56) != 0;
        let stalls = bits(word, 57, 57) == 1;
        if !config.stage2 || format || big_endian || hardware_flags || stalls || self.vmid_illegal(config) {
            return true;
        }
        assert_eq!(bits(word, 51, 51), 1, "STE.S2AA64: VMSAv8-32 tables are outside this model");
        let Some(granule) = granule_lg2(bits(word, 46, 47)).filter(|lg2| config.granules.contains(lg2))
        else {
            return true;
        };
        let size = bits(word, 32, 37) as u32;
        if size > 39 || size < 16.max(64 - config.output_bits) {
            return true;
        }
        let Some(start) = self.start_level(granule, config.output_bits) else { return true };
        // Up to 16 tables side by side at the start (DDI 0487, D8.2: concatenation).
        let resolved = (64 - size).checked_sub(granule + (granule - 3) * (3 - start));
        !matches!(resolved, Some(1..) if resolved <= Some(granule - 3 + 4))
            || self.stage_two_root() >> config.effective_size(bits(word, 48, 50)) != 0
    }

    /// The level that STE.S2SL0 starts at, where the granule and the output size allow it (DDI 0487, D8.2).
    fn start_level(&self, granule_lg2: u32, output_bits: u32) -> Option<u32> {
        match (granule_lg2, bits(self.0[2], 38, 39)) {
            (12, 0) => Some(2),
            (12, 1) => Some(1),
            (12, 2) => (output_bits > 42).then_some(0),
            (14, 0) | (16, 0) => Some(3),
            (14, 1) | (16, 1) => Some(2),
            (14, 2) => (output_bits > 40).then_some(1),
            (16, 2) => (output_bits > 42).then_some(1),
            _ => None,
        }
    }

    const fn stage_two_root(&self) -> u64 {
        self.0[3] & mask(4, 51)
    }

    /// The address of the context descriptor.
    pub const fn context_at(&self) -> u64 {
        self.0[0] & mask(6, 55)
    }

    /// STE.S1CDMax, as far as the unit looks at it.
    pub const fn substreams(&self, config: &Config) -> u64 {
        if config.substream_bits == 0 { 0 } else { bits(self.0[0], 59, 63) }
    }

    /// STE.S1DSS.
    pub const fn default_substream(&self) -> u64 {
        bits(self.0[1], 0, 1)
    }

    /// The VMID that translations are tagged with.
    pub fn vmid(&self, config: &Config) -> u16 {
        if config.stage2 { bits(self.0[2], 0, 15) as u16 } else { 0 }
    }

    /// STE.S2R: whether faults at stage 2 are recorded.
    pub const fn records(&self) -> bool {
        bits(self.0[2], 58, 58) == 1
    }

    /// Whether an access is made privileged (STE.PRIVCFG), an instruction fetch (STE.INSTCFG).
    pub const fn attributes(&self) -> (bool, bool) {
        (bits(self.0[1], 48, 49) == 0b11, bits(self.0[1], 50, 51) == 0b11)
    }

    /// The stage 2 translation that a legal entry sets up.
    pub fn stage_two(&self, config: &Config) -> Context {
        let word = self.0[2];
        let granule_lg2 = granule_lg2(bits(word, 46, 47)).expect("a legal entry");
        let start_level = self.start_level(granule_lg2, config.output_bits).expect("a legal entry");
        let input_bits = 64 - bits(word, 32, 37) as u32;
        let root = Root { at: self.stage_two_root(), start_level, granule_lg2, input_bits };
        root.check_alignment("STE.S2TTB");
        Context {
            tag: Tag { stage: Stage::Two, vmid: self.vmid(config), asid: 0 },
            root,
            output_bits: config.effective_size(bits(word, 48, 50)),
            ignores_access_flag: bits(word, 53, 53) == 1,
            hierarchy: false,
            ignores_top_byte: false,
            privileged_access_never: false,
        }
    }
}

/// CD.TG0 and STE.S2TG.
pub(super) const fn granule_lg2(field: u64) -> Option<u32> {
    match field {
        0b00 => Some(12),
        0b01 => Some(16),
        0b10 => Some(14),
        _ => None,
    }
}

/// The address bits of a field at `first..=last` above the output size: RES0.
pub(super) fn output_beyond(config: &Config, first: u32, last: u32) -> u64 {
    if config.output_bits > last { 0 } else { mask(config.output_bits.max(first), last) }
}

/// Panics where a unit that snoops is told to access memory in a way that does not: inner and outer
/// cacheability and shareability, two bits each from bit 0 of `fields` (3.15).
pub(super) fn check_snooped(config: &Config, fields: u64, what: &str) {
    let (inner, outer, shareability) = (bits(fields, 0, 1), bits(fields, 2, 3), bits(fields, 4, 5));
    assert_ne!(shareability, 0b01, "{what}: reserved shareability");
    assert!(
        !config.coherent || (inner != 0 && outer != 0 && shareability != 0),
        "{what}: accesses that are not cacheable and shareable do not look into the CPU's caches (3.15)"
    );
}

/// SMMU_STRTAB_BASE and SMMU_STRTAB_BASE_CFG (6.3.24, 6.3.25).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamTable {
    pub base: u64,
    pub size_lg2: u32,
    /// Stream bits that the lower level resolves; `None`: linear.
    pub split: Option<u32>,
}

/// Bytes of an STE.
pub(super) const STE_BYTES: u64 = 64;

/// What a Level 1 Stream Table Descriptor points at: first entry and their number.
pub(super) fn second_level(config: &Config, descriptor: u64, split: u32, index: u32) -> Option<(u64, u64)> {
    let reserved = mask(5, 5) | mask(56, 63) | output_beyond(config, 6, 55);
    assert_eq!(descriptor & reserved, 0, "L1STD {index:#x}: reserved bits set, {descriptor:#018x} (5.1)");
    let span = bits(descriptor, 0, 4);
    if span == 0 {
        return None;
    }
    assert!(span <= u64::from(split) + 1, "L1STD {index:#x}: Span {span} above SPLIT + 1 (5.1)");
    let entries = 1 << (span - 1);
    let at = descriptor & mask(6, 55);
    assert!(
        at.is_multiple_of(entries * STE_BYTES),
        "L1STD {index:#x}: L2Ptr {at:#x} not aligned to its table"
    );
    Some((at, entries))
}

impl StreamTable {
    /// The table that the two registers describe.
    pub fn new(base: u64, shape: u32) -> Self {
        let shape = u64::from(shape);
        let split = (bits(shape, 16, 17) == 1).then_some(bits(shape, 6, 10) as u32);
        Self { base: base & mask(6, 55), size_lg2: bits(shape, 0, 5) as u32, split }
    }

    /// Bytes of the upper (or only) level.
    pub fn bytes(&self) -> u64 {
        match self.split {
            None => STE_BYTES << self.size_lg2,
            Some(split) => 8 << self.size_lg2.saturating_sub(split),
        }
    }

    /// Whether `stream` is in range.
    pub fn contains(&self, stream: u32) -> bool {
        u64::from(stream) >> self.size_lg2 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage_two(size: u64, start: u64, granule: u64) -> Ste {
        let word = 1 << 51 | size << 32 | start << 38 | 0x35 << 40 | granule << 46 | 0b100 << 48;
        Ste([0b1101, 0, word, 0x4_0000, 0, 0, 0, 0])
    }

    #[test]
    fn the_start_level_must_fit_size_and_granule() {
        let config = Config::default();
        assert!(!stage_two(25, 1, 0).is_illegal(&config));
        assert!(stage_two(25, 0, 0).is_illegal(&config), "39 bits from level 2: 18 bits at the start");
        assert!(!stage_two(21, 1, 0).is_illegal(&config), "43 bits from level 1: 16 tables side by side");
        assert!(stage_two(20, 1, 0).is_illegal(&config), "44 bits from level 1: 32 tables");
        assert!(!stage_two(20, 2, 0).is_illegal(&config));
        assert!(stage_two(19, 2, 0).is_illegal(&config), "wider than the unit");
        assert!(stage_two(34, 1, 0).is_illegal(&config), "30 bits from level 1: nothing to resolve");
        assert!(stage_two(25, 1, 3).is_illegal(&config), "no such granule");
        let narrow = Config { output_bits: 40, ..Config::default() };
        assert!(stage_two(24, 2, 0).is_illegal(&narrow), "level 0 needs more than 42 bits");
    }

    #[test]
    fn what_is_not_implemented_is_illegal() {
        let config = Config { stage1: false, vmid16: false, ..Config::default() };
        assert!(Ste([0b1011, 0, 0, 0, 0, 0, 0, 0]).is_illegal(&config));
        let mut entry = stage_two(25, 1, 0);
        entry.0[2] |= 0x100;
        assert!(entry.is_illegal(&config), "a VMID of 9 bits");
        assert!(Ste([0; 8]).is_illegal(&config));
        assert!(!Ste([0b0001, 0, 0, 0, 0, 0, 0, 0]).is_illegal(&config));
    }

    #[test]
    #[should_panic(expected = "reserved bits set in word 3")]
    fn reserved_bits_are_not_for_use() {
        let mut entry = stage_two(25, 1, 0);
        entry.0[3] |= 1 << 52;
        entry.check_reserved(&Config::default(), 5);
    }

    #[test]
    fn an_entry_that_lets_nothing_pass_may_hold_anything() {
        Ste([1, u64::MAX, 0, u64::MAX, 0, 0, 0, 9]).check_reserved(&Config::default(), 5);
        Ste([0b1100, u64::MAX, 0, u64::MAX, 0, 0, 0, 9]).check_reserved(&Config::default(), 5);
    }
}
