//! The kinds of structures that can be explained.

use super::{
    entry::{Entry, Verdict},
    field::Field,
    intel_vtd, smmu_v3,
};

/// What a table entry's level and granule are; other structures have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The level, as the specification counts it.
    pub level: u8,
    /// Base-2 logarithm of the granule's bytes.
    pub granule_lg2: u32,
}

/// The specification that a structure is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Arm IHI 0070, System Memory Management Unit Architecture Specification, version 3.
    Smmu,
    /// Arm DDI 0487, Architecture Reference Manual for A-profile.
    Arm,
    /// Intel Virtualization Technology for Directed I/O, revision 4.1.
    Vtd,
}

impl Source {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smmu => "Arm IHI 0070",
            Self::Arm => "Arm DDI 0487",
            Self::Vtd => "Intel VT-d rev 4.1",
        }
    }
}

/// A kind of structure.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The specification.
    pub source: Source,
    /// The section of the specification.
    pub section: &'static str,
    /// Bits of a word: 32 or 64.
    pub word_bits: usize,
    /// Words of one entry.
    pub words: usize,
    /// The levels that there are, lowest and highest, where it is an entry of a table of levels.
    pub levels: Option<(u8, u8)>,
    /// The fields of an entry with these words, by place.
    pub fields: fn(&[u64], Place) -> Vec<Field>,
    /// What the entry does.
    pub verdict: fn(&Entry<'_>, Place) -> Verdict,
}

impl Kind {
    /// One entry of this kind.
    pub fn entry<'a>(&self, words: &'a [u64], place: Place) -> Entry<'a> {
        Entry { words, fields: (self.fields)(words, place) }
    }

    /// The words that one entry has, for a person.
    pub fn shape(&self) -> String {
        match self.words {
            1 => format!("1 word of {} bits", self.word_bits),
            words => format!("{words} words of {} bits", self.word_bits),
        }
    }
}

/// All kinds.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    smmu_v3::KINDS.iter().chain(intel_vtd::KINDS)
}

/// The kind called `name`.
pub fn find(name: &str) -> Option<&'static Kind> {
    all().find(|kind| kind.name == name)
}
