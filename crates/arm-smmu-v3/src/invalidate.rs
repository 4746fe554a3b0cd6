//! Which commands forget what.

use iommu_hal::{DomainTag, FRAME_LG2, Format, Geometry, IovaRange};

use crate::spec::commands::{Command, Opcode, RANGE_NUM_BITS, RANGE_SCALE_MAX, TlbiWord0, TlbiWord1};

/// The most pages that are invalidated one by one where the unit has no range commands; more go by tag.
pub const MAX_PAGE_COMMANDS: u64 = 32;

/// The most commands that one range needs: with range commands one per five bits of a page number.
pub const MAX_INVALIDATE_COMMANDS: u64 = MAX_PAGE_COMMANDS;

const _: () = assert!((48 - FRAME_LG2).div_ceil(RANGE_NUM_BITS) as u64 <= MAX_INVALIDATE_COMMANDS);

/// The granule encoding of TG that says 4 KiB.
const TG_4K: u8 = 1;

/// Forgets everything under `tag`.
pub(crate) const fn by_tag(tag: DomainTag, format: Format) -> Command {
    let word0 = match format {
        Format::ArmStage1 => TlbiWord0::new().with_opcode(Opcode::TLBI_NH_ASID).with_asid(tag.0),
        // No other format is attached here.
        _ => TlbiWord0::new().with_opcode(Opcode::TLBI_S12_VMALL).with_vmid(tag.0),
    };
    Command([word0.into_bits(), 0])
}

/// The commands that forget one range of addresses under a tag.
#[derive(Debug)]
pub(crate) struct RangeCommands {
    word0: TlbiWord0,
    leaf: bool,
    ril: bool,
    page: u64,
    pages: u64,
}

impl RangeCommands {
    /// The commands for `range`, as far as `geometry` reaches; `None` where forgetting the whole tag is the
    /// better way.
    #[inline]
    pub fn new(
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
        tables: bool,
        ril: bool,
    ) -> Option<Self> {
        let aperture = geometry.aperture();
        let last = range.last().min(aperture.last());
        let (first_page, last_page) = (range.first() >> FRAME_LG2, last >> FRAME_LG2);
        // Nothing is cached of a range that lies outside.
        let pages = (last_page + 1).saturating_sub(first_page);
        if (!ril && pages > MAX_PAGE_COMMANDS) || pages > aperture.last() >> FRAME_LG2 {
            return None;
        }
        // A stage 1 translation without stage 2 is cached under VMID 0, which the stream table entries hold.
        let word0 = match geometry.format {
            Format::ArmStage1 => TlbiWord0::new().with_opcode(Opcode::TLBI_NH_VA).with_asid(tag.0),
            _ => TlbiWord0::new().with_opcode(Opcode::TLBI_S2_IPA).with_vmid(tag.0),
        };
        Some(Self { word0, leaf: !tables, ril, page: first_page, pages })
    }
}

impl Iterator for RangeCommands {
    type Item = Command;

    #[inline]
    fn next(&mut self) -> Option<Command> {
        if self.pages == 0 {
            return None;
        }
        let word1 = TlbiWord1::new().with_leaf(self.leaf).with_page(self.page);
        // One page as a range of one is a reserved encoding where no level is named (IHI 0070, 4.4.1.1), so it
        // goes without granule.
        let (word0, word1, done) = if self.pages == 1 || !self.ril {
            (self.word0, word1, 1)
        } else {
            let scale = self.pages.trailing_zeros().min(RANGE_SCALE_MAX);
            let num = (self.pages >> scale) & ((1 << RANGE_NUM_BITS) - 1);
            if num == 1 && scale == 0 {
                (self.word0, word1, 1)
            } else {
                let word0 = self.word0.with_num(num as u8 - 1).with_scale(scale as u8);
                (word0, word1.with_tg(TG_4K), num << scale)
            }
        };
        self.page += done;
        self.pages -= done;
        Some(Command([word0.into_bits(), word1.into_bits()]))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const GEOMETRY: Geometry =
        Geometry { format: Format::ArmStage2, input_bits: 44, output_bits: 44, page_sizes: 1 << 12 };

    fn commands(first: u64, pages: u64, ril: bool) -> Option<Vec<Command>> {
        let range = IovaRange::from_length(first << FRAME_LG2, pages << FRAME_LG2).unwrap();
        Some(RangeCommands::new(DomainTag(7), &GEOMETRY, range, false, ril)?.collect())
    }

    /// First page and pages of a command, as the specification counts them.
    fn covers(command: Command) -> (u64, u64) {
        let (word0, word1) = (TlbiWord0::from(command.0[0]), TlbiWord1::from(command.0[1]));
        assert_eq!((word0.opcode(), word0.vmid(), word0.asid()), (Opcode::TLBI_S2_IPA, 7, 0));
        let pages = (u64::from(word0.num()) + 1) << word0.scale();
        if word1.tg() == 0 {
            assert_eq!(pages, 1);
        } else {
            assert!(pages > 1, "reserved: a range of one page without level");
        }
        (word1.page(), pages)
    }

    #[test]
    fn range_commands_cover_exactly_the_range() {
        for first in [0, 1, 0x1234] {
            for pages in
                (1..2100).chain([1 << 18, (1 << 18) - 1, (1 << 27) + 12345, (1 << 32) - 2 - first, 1 << 31])
            {
                let commands = commands(first, pages, true).unwrap();
                assert!(commands.len() as u64 <= MAX_INVALIDATE_COMMANDS);
                let end = commands.into_iter().map(covers).fold(first, |at, (page, pages)| {
                    assert_eq!(page, at);
                    at + pages
                });
                assert_eq!(end, first + pages);
            }
        }
    }

    #[test]
    fn usual_ranges_take_one_command() {
        for pages in [1, 2, 16, 31, 512, 512 * 512] {
            assert_eq!(commands(8, pages, true).unwrap().len(), 1, "{pages} pages");
        }
    }

    #[test]
    fn without_ranges_pages_go_one_by_one_up_to_the_limit() {
        let commands_of = |pages| commands(3, pages, false);
        assert_eq!(commands_of(MAX_PAGE_COMMANDS).unwrap().len() as u64, MAX_PAGE_COMMANDS);
        assert!(commands_of(5).unwrap().into_iter().map(covers).eq((3..8).map(|page| (page, 1))));
        assert!(commands_of(MAX_PAGE_COMMANDS + 1).is_none());
    }

    #[test]
    fn the_whole_aperture_goes_by_tag_and_nothing_beyond_it_is_asked_for() {
        assert!(RangeCommands::new(DomainTag(1), &GEOMETRY, IovaRange::ALL, true, true).is_none());
        let outside = IovaRange::new(1 << 44, u64::MAX).unwrap();
        assert_eq!(RangeCommands::new(DomainTag(1), &GEOMETRY, outside, true, true).unwrap().count(), 0);
        let across = IovaRange::new((1 << 44) - 0x1000, u64::MAX).unwrap();
        assert_eq!(RangeCommands::new(DomainTag(1), &GEOMETRY, across, true, true).unwrap().count(), 1);
    }

    #[test]
    fn leaf_says_that_no_table_was_taken_out() {
        let range = IovaRange::new(0, 0xfff).unwrap();
        for tables in [false, true] {
            let mut commands = RangeCommands::new(DomainTag(1), &GEOMETRY, range, tables, true).unwrap();
            assert_eq!(TlbiWord1::from(commands.next().unwrap().0[1]).leaf(), !tables);
        }
    }

    #[test]
    fn tags_are_asids_at_stage_1_and_vmids_at_stage_2() {
        assert_eq!(by_tag(DomainTag(0x1234), Format::ArmStage1).0, [0x1234_0000_0000_0011, 0]);
        assert_eq!(by_tag(DomainTag(0x1234), Format::ArmStage2).0, [0x1234_0000_0028, 0]);
    }
}
