//! One entry: its words, read by the names of their fields, and what is said of it in the end.

use super::field::Field;

/// Words of one structure and the fields in them.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The words, in the order in which they lie in memory.
    pub words: &'a [u64],
    /// The fields, by place.
    pub fields: Vec<Field>,
}

impl Entry<'_> {
    /// The value of the field `name`, the first of this name; 0 where there is none.
    pub fn get(&self, name: &str) -> u64 {
        let found = self.fields.iter().find(|field| field.name == name);
        debug_assert!(found.is_some(), "there is no field {name}");
        found.map_or(0, |field| field.value(self.words))
    }

    /// Whether the bit `name` is set.
    pub fn is(&self, name: &str) -> bool {
        self.get(name) != 0
    }

    /// The address in the field `name`: its bits at their place in the word.
    pub fn address(&self, name: &str) -> u64 {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .map_or(0, |field| field.value(self.words) << field.lsb)
    }

    /// What is wrong with the reserved fields.
    pub fn reserved(&self, word_bits: usize) -> Vec<String> {
        let set = self.fields.iter().filter(|field| field.is_reserved() && field.value(self.words) != 0);
        set.map(|field| {
            let (one, value) = (field.bits == 1, field.value(self.words));
            let (bits, are) = if one { ("bit", "is") } else { ("bits", "are") };
            format!("{bits} {} {are} reserved and must be zero, not {value:#x}", field.place(word_bits))
        })
        .collect()
    }
}

/// What an entry does, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it does, a sentence without full stop.
    pub does: String,
    /// What the specification forbids in it, each a sentence without full stop. Reserved bits are found without this.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// An entry that does this.
    pub fn new(does: impl Into<String>) -> Self {
        Self { does: does.into(), wrong: vec![] }
    }

    /// The same, with `wrong` where `is`.
    pub fn wrong_if(mut self, is: bool, wrong: impl Into<String>) -> Self {
        if is {
            self.wrong.push(wrong.into());
        }
        self
    }
}

/// The texts that are not empty, with commas.
pub fn list(texts: &[&str]) -> String {
    texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join(", ")
}

/// `text` where `is`, else nothing.
pub fn when(is: bool, text: &str) -> &str {
    if is { text } else { "" }
}
