//! Fields of hardware structures: where each lies, what it is called, what its values mean.

use std::fmt::Write;

/// What the values of a field mean.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// The same for all values.
    Text(&'static str),
    /// Of a bit: when clear (empty: no), when set.
    Flag(&'static str, &'static str),
    /// By value; others are reserved encodings.
    Values(&'static [(u64, &'static str)]),
    /// Bits of an address, at their place in the word: of what.
    Address(&'static str),
    /// As the function says.
    With(fn(u64) -> String),
    /// Must be zero.
    Reserved,
    /// The hardware does not look at it.
    Ignored,
}

/// A field of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The word that it is in.
    pub word: usize,
    /// Its lowest bit in that word.
    pub lsb: usize,
    /// How many bits it has, at least one.
    pub bits: usize,
    /// Its name in the specification.
    pub name: &'static str,
    /// The section of the specification; empty where it is the structure's own.
    pub section: &'static str,
    /// What its values mean.
    pub meaning: Meaning,
    /// Whether it is shown only where it is not zero, unless all are asked for.
    pub quiet: bool,
}

/// The field of `bits` bits from `lsb` on in word number `word`.
pub const fn field(word: usize, lsb: usize, bits: usize, name: &'static str, meaning: Meaning) -> Field {
    Field { word, lsb, bits, name, section: "", meaning, quiet: false }
}

/// Bits that must be zero.
pub const fn reserved(word: usize, lsb: usize, bits: usize) -> Field {
    field(word, lsb, bits, "reserved", Meaning::Reserved).quiet()
}

/// Bits that the hardware does not look at.
pub const fn ignored(word: usize, lsb: usize, bits: usize) -> Field {
    field(word, lsb, bits, "ignored", Meaning::Ignored).quiet()
}

/// A word of 64 bits that must be zero.
pub const fn reserved_word(word: usize) -> Field {
    reserved(word, 0, 64)
}

impl Field {
    /// The same field, of another section than its structure.
    pub const fn section(self, section: &'static str) -> Self {
        Self { section, ..self }
    }

    /// The same field, shown only where it is not zero.
    pub const fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// The same bits, at which the hardware does not look, for what other fields say.
    pub const fn idle(self) -> Self {
        Self { meaning: Meaning::Ignored, ..self }.quiet()
    }

    /// The bits in their word.
    pub const fn mask(&self) -> u64 {
        let ones = if self.bits >= 64 { u64::MAX } else { (1 << self.bits) - 1 };
        ones << self.lsb
    }

    /// The value in `words`; 0 where they are too few.
    pub fn value(&self, words: &[u64]) -> u64 {
        words.get(self.word).map_or(0, |word| (word & self.mask()) >> self.lsb)
    }

    /// Whether it must be zero.
    pub const fn is_reserved(&self) -> bool {
        matches!(self.meaning, Meaning::Reserved)
    }

    /// Its place in a structure of words of `word_bits` bits, as the specifications write it: `[63:12]` or `[0]`.
    pub fn place(&self, word_bits: usize) -> String {
        let lowest = self.word * word_bits + self.lsb;
        match self.bits {
            1 => format!("[{lowest}]"),
            bits => format!("[{}:{lowest}]", lowest + bits - 1),
        }
    }

    /// What `value` means.
    pub fn explain(&self, value: u64) -> String {
        match self.meaning {
            Meaning::Text(text) => text.into(),
            Meaning::Flag("", _) if value == 0 => "no".into(),
            Meaning::Flag(clear, set) => if value == 0 { clear } else { set }.into(),
            Meaning::Values(values) => {
                let known = values.iter().find(|(known, _)| *known == value);
                known.map_or("a reserved encoding", |(_, text)| text).into()
            }
            Meaning::Address(of) => format!("{of} at {:#x}", value << self.lsb),
            Meaning::With(explain) => explain(value),
            Meaning::Reserved if value == 0 => "must be zero".into(),
            Meaning::Reserved => "must be zero, and is not".into(),
            Meaning::Ignored => "not looked at".into(),
        }
    }

    /// `value` as a number: a digit for a bit, else hexadecimal.
    pub fn number(&self, value: u64) -> String {
        let mut text = String::new();
        let _ = if self.bits == 1 { write!(text, "{value}") } else { write!(text, "{value:#x}") };
        text
    }
}

/// `fields`, of which the hardware looks at those alone whose names `used` holds for.
pub fn only(fields: &[Field], used: impl Fn(&str) -> bool) -> Vec<Field> {
    fields.iter().map(|field| if used(field.name) { *field } else { field.idle() }).collect()
}

/// A number of bytes, in the largest unit that it is a whole number of.
pub fn size(lg2: u32) -> String {
    let (unit, lg2) = match lg2 {
        0..10 => ("B", lg2),
        10..20 => ("KiB", lg2 - 10),
        20..30 => ("MiB", lg2 - 20),
        30..40 => ("GiB", lg2 - 30),
        _ => ("TiB", lg2 - 40),
    };
    format!("{} {unit}", 1_u128 << lg2.min(100))
}

/// A field that a driver's `spec` type has, by its getter and setter there: `spec!(word, Type, valid, with_valid, "V",
/// meaning)`. Its place is what the setter sets when the getter reads all ones.
macro_rules! spec {
    ($word:expr, $type:ident, $get:ident, $with:ident, $name:expr, $meaning:expr $(,)?) => {
        $crate::decode::field::masked(
            $word,
            $type::new().$with($type::from_bits(!0).$get()).into_bits() as u64,
            $name,
            $meaning,
        )
    };
}
pub(crate) use spec;

/// The field of the bits of `mask`, which follow one another.
pub const fn masked(word: usize, mask: u64, name: &'static str, meaning: Meaning) -> Field {
    let (lsb, bits) = (mask.trailing_zeros() as usize, mask.count_ones() as usize);
    assert!(bits > 0 && mask >> lsb == u64::MAX >> (64 - bits), "bits that follow one another");
    field(word, lsb, bits, name, meaning)
}
