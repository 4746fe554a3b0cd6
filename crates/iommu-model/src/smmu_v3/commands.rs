//! Commands (IHI 0070, chapter 4) and what they name.

use super::{
    config::Config,
    stream_table::{bits, mask},
    tlb::{Scope, Span},
};

/// Which cached configuration a command removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigScope {
    /// Entries of streams `first..=last` and the contexts reached through them; with the Level 1 descriptors.
    Streams { first: u32, last: u32, descriptors: bool },
    /// The context of one stream.
    Context(u32),
}

impl ConfigScope {
    pub const fn names_entry(&self, stream: u32) -> bool {
        matches!(*self, Self::Streams { first, last, .. } if first <= stream && stream <= last)
    }

    pub const fn names_context(&self, of: u32) -> bool {
        self.names_entry(of) || matches!(*self, Self::Context(stream) if stream == of)
    }

    /// Whether it names the Level 1 descriptor `index` of a table with that split; any, where the table has
    /// one level now.
    pub fn names_descriptor(&self, index: u32, split: Option<u32>) -> bool {
        match (*self, split) {
            (Self::Streams { first, last, descriptors: true }, Some(split)) => {
                (first >> split..=last >> split).contains(&index)
            }
            (Self::Streams { first: 0, last: u32::MAX, descriptors: true }, None) => true,
            _ => false,
        }
    }
}

/// A command, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// A hint; the model does not act on it.
    Prefetch,
    Configuration(ConfigScope),
    Translations(Scope),
    /// The TLBs of a hypervisor's contexts, which the model never fills.
    HypervisorTranslations,
    Sync {
        signal: u64,
        message_at: u64,
        message: u32,
    },
}

struct Decoder<'a> {
    words: [u64; 2],
    config: &'a Config,
}

impl Decoder<'_> {
    /// Panics where a bit outside `defined` is set.
    fn only(&self, defined: [u64; 2]) {
        let [low, high] = self.words;
        assert!(
            low & !(defined[0] | mask(0, 7)) == 0 && high & !defined[1] == 0,
            "command {low:#018x} {high:#018x}: reserved bits set (chapter 4)"
        );
    }

    fn stream(&self) -> u32 {
        let stream = bits(self.words[0], 32, 63);
        assert_eq!(
            stream >> self.config.stream_bits,
            0,
            "command for stream {stream:#x}: out of range (4.1.7)"
        );
        stream as u32
    }

    fn vmid(&self) -> u16 {
        let vmid = bits(self.words[0], 32, 47);
        assert!(self.config.stage2 || vmid == 0, "command: VMID {vmid:#x} without stage 2 (4.4.2)");
        assert!(self.config.vmid16 || vmid < 0x100, "command: VMID {vmid:#x} has more than 8 bits (4.4)");
        vmid as u16
    }

    fn asid(&self) -> u16 {
        let asid = bits(self.words[0], 48, 63);
        assert!(self.config.asid16 || asid < 0x100, "command: ASID {asid:#x} has more than 8 bits (4.4)");
        asid as u16
    }

    /// The range and the hints of 4.4.1.1.
    fn span(&self) -> Span {
        let [low, high] = self.words;
        let address = high & mask(12, 63);
        let (number, scale) = (bits(low, 12, 16), bits(low, 20, 24));
        let (granule, level) = (bits(high, 10, 11), bits(high, 8, 9) as u32);
        let leaf_only = bits(high, 0, 0) == 1;
        if granule == 0 {
            assert!(
                number == 0 && scale == 0 && level == 0,
                "TLBI without TG: NUM, SCALE and TTL are reserved"
            );
            return Span { first: address, last: address, granule_lg2: None, level: None, leaf_only };
        }
        assert!(self.config.range_invalidation, "TLBI with TG: the unit has no range invalidation (4.4.1.1)");
        assert!(number != 0 || scale != 0 || level != 0, "TLBI: NUM, SCALE and TTL 0 with TG is reserved");
        let granule_lg2 = 10 + 2 * granule as u32;
        assert!(granule_lg2 != 14 || level != 1, "TLBI: TTL 1 with 16 KiB is reserved");
        let aligned = if level == 0 { granule_lg2 } else { granule_lg2 + (granule_lg2 - 3) * (3 - level) };
        assert_eq!(
            bits(address, 0, aligned - 1),
            0,
            "TLBI of {address:#x}: not aligned to TTL {level}, which names an unpredictable range (4.4.1.1)"
        );
        let bytes = u128::from(number + 1) << (scale + u64::from(granule_lg2));
        let last = (u128::from(address) + bytes - 1).min(u128::from(u64::MAX)) as u64;
        let level = (level != 0).then_some(level);
        Span { first: address, last, granule_lg2: Some(granule_lg2), level, leaf_only }
    }

    fn decode(&self) -> Option<Command> {
        use Command::{Configuration, HypervisorTranslations, Prefetch, Translations};
        let [low, high] = self.words;
        let stream = mask(32, 63);
        let vmid = mask(32, 47);
        let asid = mask(48, 63);
        let range = mask(12, 16) | mask(20, 24);
        let address = mask(0, 0) | mask(8, 11) | mask(12, 63);
        let (stage1, stage2) = (self.config.stage1, self.config.stage2);
        let command = match bits(low, 0, 7) {
            0x01 | 0x02 => Prefetch,
            0x03 => {
                self.only([stream, 1]);
                let stream = self.stream();
                let descriptors = high & 1 == 0;
                Configuration(ConfigScope::Streams { first: stream, last: stream, descriptors })
            }
            0x04 => {
                self.only([stream, mask(0, 4)]);
                let below = (1u64 << (bits(high, 0, 4) + 1)) - 1;
                let first = (bits(low, 32, 63) & !below) as u32;
                Configuration(ConfigScope::Streams { first, last: first | below as u32, descriptors: true })
            }
            0x05 if stage1 => {
                self.only([stream, 1]);
                Configuration(ConfigScope::Context(self.stream()))
            }
            0x06 if stage1 => {
                self.only([stream, 0]);
                Configuration(ConfigScope::Context(self.stream()))
            }
            0x10 if stage1 => {
                self.only([vmid, 0]);
                Translations(Scope::StageOne(self.vmid()))
            }
            0x11 if stage1 => {
                self.only([vmid | asid, 0]);
                Translations(Scope::Asid(self.vmid(), self.asid()))
            }
            0x12 if stage1 => {
                self.only([vmid | asid | range, address]);
                Translations(Scope::Address(self.vmid(), Some(self.asid()), self.span()))
            }
            0x13 if stage1 => {
                self.only([vmid | range, address]);
                Translations(Scope::Address(self.vmid(), None, self.span()))
            }
            0x20 if stage1 && self.config.hypervisor => {
                self.only([0, 0]);
                HypervisorTranslations
            }
            0x21..=0x23 if stage1 && self.config.hypervisor => HypervisorTranslations,
            0x28 if stage2 => {
                self.only([vmid, 0]);
                Translations(Scope::Vmid(self.vmid()))
            }
            0x2a if stage2 => {
                self.only([vmid | range, mask(0, 0) | mask(8, 11) | mask(12, 55)]);
                Translations(Scope::Intermediate(self.vmid(), self.span()))
            }
            0x30 => {
                self.only([0, 0]);
                Translations(Scope::All)
            }
            0x46 => self.sync(low, high)?,
            _ => return None,
        };
        Some(command)
    }

    fn sync(&self, low: u64, high: u64) -> Option<Command> {
        let signal = bits(low, 12, 13);
        let message = mask(22, 27) | mask(32, 63);
        self.only([mask(12, 13) | message, mask(2, 55)]);
        if signal == 0b11 {
            return None;
        }
        Some(Command::Sync { signal, message_at: high & mask(2, 55), message: bits(low, 32, 63) as u32 })
    }
}

/// Decodes a command; `None`: CERROR_ILL.
///
/// # Panics
/// Where a bit is set that must be zero, or a parameter is reserved.
pub(super) fn decode(words: [u64; 2], config: &Config) -> Option<Command> {
    Decoder { words, config }.decode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Config {
        Config::default()
    }

    #[test]
    fn configuration_commands_name_their_streams() {
        let streams = |low, high| match decode([low, high], &all()) {
            Some(Command::Configuration(ConfigScope::Streams { first, last, descriptors })) => {
                (first, last, descriptors)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(streams(0x8_0000_0003, 0), (8, 8, true));
        assert_eq!(streams(0x8_0000_0003, 1), (8, 8, false));
        assert_eq!(streams(0x9_0000_0004, 2), (8, 15, true));
        assert_eq!(streams(0x4, 31), (0, u32::MAX, true));
        let context = Some(Command::Configuration(ConfigScope::Context(8)));
        assert_eq!(decode([0x8_0000_0005, 1], &all()), context);
        assert_eq!(decode([0x8_0000_0006, 0], &all()), context);
    }

    #[test]
    fn ranges_and_hints_are_read_from_their_fields() {
        let span = |low: u64, high: u64| match decode([0x0007_0003_0000_0012 | low, high], &all()) {
            Some(Command::Translations(Scope::Address(3, Some(7), span))) => span,
            other => panic!("{other:?}"),
        };
        let one = span(0, 0x1234_5001);
        assert_eq!(
            (one.first, one.last, one.leaf_only, one.granule_lg2),
            (0x1234_5000, 0x1234_5000, true, None)
        );
        // TG 4 KiB, TTL 3, NUM 2, SCALE 1: 3 * 2 pages.
        let some = span(2 << 12 | 1 << 20, 0x1234_5000 | 0b01 << 10 | 3 << 8);
        assert_eq!((some.first, some.last, some.level), (0x1234_5000, 0x1234_afff, Some(3)));
        assert_eq!((some.granule_lg2, some.leaf_only), (Some(12), false));
        let top = span(31 << 12 | 31 << 20, 0xffff_ffff_ffff_f000 | 0b01 << 10);
        assert_eq!(top.last, u64::MAX);
    }

    #[test]
    fn what_the_unit_lacks_is_an_illegal_command() {
        let none = |low, config: &Config| assert_eq!(decode([low, 0], config), None, "{low:#x}");
        for opcode in [0, 0x07, 0x14, 0x18, 0x20, 0x21, 0x40, 0x44, 0x50, 0x73, 0xff] {
            none(opcode, &all());
        }
        let stage1 = Config { stage2: false, ..all() };
        let stage2 = Config { stage1: false, ..all() };
        [0x28, 0x2a].iter().for_each(|&opcode| none(opcode, &stage1));
        [0x05, 0x06, 0x10, 0x11, 0x12, 0x13].iter().for_each(|&opcode| none(opcode, &stage2));
        none(0x3046, &all());
        assert!(decode([0x20, 0], &Config { hypervisor: true, ..all() }).is_some());
    }

    #[test]
    #[should_panic(expected = "reserved bits set")]
    fn reserved_bits_of_a_command_are_not_for_use() {
        decode([0x30, 1], &all());
    }

    #[test]
    #[should_panic(expected = "not aligned to TTL 2")]
    fn a_level_hint_needs_an_aligned_address() {
        decode([0x1012, 0x1000 | 0b01 << 10 | 2 << 8], &all());
    }

    #[test]
    #[should_panic(expected = "no range invalidation")]
    fn hints_need_a_unit_that_knows_them() {
        decode([0x12, 0b01 << 10 | 3 << 8], &Config { range_invalidation: false, ..all() });
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_stream_has_no_more_bits_than_the_unit() {
        decode([0x1_0000_0000_0003, 0], &all());
    }
}
