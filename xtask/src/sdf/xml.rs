//! Elements and attributes with their places, and the forms of value that SDF has.

use std::sync::Arc;

use roxmltree::{Document, Node};

use crate::refusal::{Place, Refusal};

/// An element of the file.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    file: &'a Arc<str>,
    document: &'a Document<'a>,
    node: Node<'a, 'a>,
}

/// The value of an attribute.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    element: Element<'a>,
    name: &'a str,
    offset: usize,
    /// The value.
    pub value: &'a str,
}

impl<'a> Element<'a> {
    /// The root of `document`, the content of `file`.
    pub fn root(file: &'a Arc<str>, document: &'a Document<'a>) -> Self {
        Self { file, document, node: document.root_element() }
    }

    fn place_at(&self, offset: usize) -> Place {
        let position = self.document.text_pos_at(offset);
        Place { file: self.file.clone(), line: position.row, column: position.col }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place_at(self.node.range().start)
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.node.tag_name().name()
    }

    /// Its child elements.
    pub fn children(&self) -> impl Iterator<Item = Self> {
        let parent = *self;
        self.node.children().filter(Node::is_element).map(move |node| Self { node, ..parent })
    }

    /// Refuses text in or between the elements below it.
    pub fn no_text(&self) -> Result<(), Refusal> {
        for node in self.node.descendants().filter(Node::is_text) {
            let text = node.text().unwrap_or_default();
            if !text.trim().is_empty() {
                let blank = text.len() - text.trim_start().len();
                return Err(self
                    .place_at(node.range().start + blank)
                    .refuse("text has no meaning in a system description; put it in a comment"));
            }
        }
        Ok(())
    }

    /// Refuses attributes other than `known` and elements in an element that takes none.
    pub fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.node.attributes().find(|attribute| !known.contains(&attribute.name())) {
            None => Ok(()),
            Some(unknown) => {
                let takes = if known.is_empty() {
                    "no attributes".into()
                } else {
                    format!("only {}", known.join(", "))
                };
                Err(self.place_at(unknown.range().start).refuse(format!(
                    "unknown attribute '{}': <{}> takes {takes}",
                    unknown.name(),
                    self.name()
                )))
            }
        }
    }

    /// Refuses child elements.
    pub fn empty(&self) -> Result<(), Refusal> {
        match self.children().next() {
            Some(child) => Err(child.unknown(self.name(), "no elements")),
            None => Ok(()),
        }
    }

    /// Refuses this element in `parent`, which takes only `takes`.
    pub fn unknown(&self, parent: &str, takes: &str) -> Refusal {
        self.place().refuse(format!("unknown element <{}>: <{parent}> takes {takes}", self.name()))
    }

    /// Refuses this element as a feature that the embedded kernel lacks.
    pub fn unsupported(&self, what: &str) -> Refusal {
        self.place().refuse(format!("<{}>: {}", self.name(), lacks(what)))
    }

    /// The attribute `name`, if it is there.
    pub fn optional(&self, name: &'a str) -> Option<Attribute<'a>> {
        let found = self.node.attribute_node(name)?;
        Some(Attribute { element: *self, name, offset: found.range().start, value: found.value() })
    }

    /// The attribute `name`.
    pub fn required(&self, name: &'a str) -> Result<Attribute<'a>, Refusal> {
        self.optional(name).ok_or_else(|| {
            self.place().refuse(format!("<{}> lacks the attribute '{name}'; add it", self.name()))
        })
    }
}

impl Attribute<'_> {
    /// Where it stands.
    pub fn place(&self) -> Place {
        self.element.place_at(self.offset)
    }

    /// Refuses its value.
    pub fn refuse(&self, rule: &str) -> Refusal {
        self.place().refuse(format!("{}=\"{}\": {rule}", self.name, self.value))
    }

    /// Refuses its value as a feature that the embedded kernel lacks.
    pub fn unsupported(&self, what: &str) -> Refusal {
        self.refuse(&lacks(what))
    }

    /// Its value as a number: decimal or 0x and hexadecimal, with underscores anywhere.
    pub fn number(&self) -> Result<u64, Refusal> {
        let digits = self.value.replace('_', "");
        let parsed = match digits.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        parsed.map_err(|_| self.refuse("must be a 64-bit number, decimal or hexadecimal after 0x"))
    }

    /// Its value as a decimal number: Microkit takes no other form for ids and interrupts.
    pub fn decimal(&self) -> Result<u64, Refusal> {
        self.value.parse().map_err(|_| self.refuse("must be a decimal number, 0 or more"))
    }

    /// Its value as a truth value.
    pub fn flag(&self) -> Result<bool, Refusal> {
        match self.value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refuse("must be 'true' or 'false'")),
        }
    }
}

/// What is said of a feature that Microkit has and the embedded kernel has not.
pub fn lacks(what: &str) -> String {
    format!("the embedded kernel does not do {what}; remove it, or build for seL4")
}
