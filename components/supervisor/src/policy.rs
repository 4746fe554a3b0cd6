//! Who the children are: the blob that the image builder compiles from system.xml, policy.toml and the children's
//! programs.
//!
//! Little-endian: a [`Header`], then [`Header::children`] [`ChildEntry`]s.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of the blob: "superv01".
pub const MAGIC: u64 = u64::from_le_bytes(*b"superv01");

/// Most children of one supervisor.
pub const MAX_CHILDREN: usize = 16;

/// Bytes of a name.
pub const NAME_BYTES: usize = 64;

/// [`ChildEntry::client`] of a child that is no client of the IOMMU server.
pub const NO_CLIENT: u8 = 0xff;

/// [`ChildEntry::channel`] of a child that cannot ask to be replaced.
pub const NO_CHANNEL: u8 = 0xff;

/// Highest id of a channel or a child.
pub const MAX_ID: u8 = 61;

/// The head of the blob.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// How many children there are.
    pub children: u64,
}

/// A child.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ChildEntry {
    /// Where it is restarted.
    pub entry: u64,
    /// The id that its parent knows it by.
    pub id: u8,
    /// Its place in the supervisor's list of the policy; [`NO_CLIENT`].
    pub client: u8,
    /// The channel on which it asks to be replaced; [`NO_CHANNEL`].
    pub channel: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// Its name, UTF-8, zero padded.
    pub name: [u8; NAME_BYTES],
}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<ChildEntry>() == 80);
};

/// A child under supervision.
#[derive(Debug, Clone)]
pub struct Child {
    pub(crate) id: u8,
    pub(crate) entry: u64,
    pub(crate) client: Option<u8>,
    pub(crate) channel: Option<u8>,
    pub(crate) deaths: u32,
    pub(crate) replaced: u32,
    name: [u8; NAME_BYTES],
}

/// All children.
pub type Children = heapless::Vec<Child, MAX_CHILDREN>;

/// The rule that a blob breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyError {
    /// It does not begin with [`MAGIC`].
    BadMagic,
    /// It ends before its last child.
    Truncated,
    /// More children than [`MAX_CHILDREN`].
    TooManyChildren,
    /// An entry, by number, has an id above [`MAX_ID`] or an entry of zero.
    BadEntry(usize),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic => f.write_str("it does not begin as a supervisor's policy"),
            Self::Truncated => f.write_str("it is cut short"),
            Self::TooManyChildren => write!(f, "more than {MAX_CHILDREN} children"),
            Self::BadEntry(index) => write!(f, "child {index} is malformed"),
        }
    }
}

/// Reads a blob; `bytes` may be longer.
///
/// # Errors
/// [`PolicyError`] names the first rule that is broken.
pub fn parse(bytes: &[u8]) -> Result<Children, PolicyError> {
    let (header, mut rest) = Header::read_from_prefix(bytes).map_err(|_| PolicyError::Truncated)?;
    if header.magic != MAGIC {
        return Err(PolicyError::BadMagic);
    }
    if header.children > MAX_CHILDREN as u64 {
        return Err(PolicyError::TooManyChildren);
    }
    let mut children = Children::new();
    for index in 0..header.children as usize {
        let (entry, behind) = ChildEntry::read_from_prefix(rest).map_err(|_| PolicyError::Truncated)?;
        rest = behind;
        let child = Child::read(&entry).ok_or(PolicyError::BadEntry(index))?;
        // As many as fit: checked above.
        _ = children.push(child);
    }
    Ok(children)
}

impl Child {
    fn read(of: &ChildEntry) -> Option<Self> {
        let optional = |id: u8, none: u8| (id != none).then_some(id);
        let channel = optional(of.channel, NO_CHANNEL);
        let good = of.id <= MAX_ID && of.entry != 0 && channel.is_none_or(|id| id <= MAX_ID);
        good.then_some(Self {
            id: of.id,
            entry: of.entry,
            client: optional(of.client, NO_CLIENT),
            channel,
            deaths: 0,
            replaced: 0,
            name: of.name,
        })
    }

    /// The id that its parent knows it by.
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// Where it is restarted.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Its place among the supervisor's clients, if it is one.
    pub const fn client(&self) -> Option<u8> {
        self.client
    }

    /// The channel on which it asks to be replaced, if it can.
    pub const fn channel(&self) -> Option<u8> {
        self.channel
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        core::str::from_utf8(&self.name[..end]).unwrap_or("?")
    }
}
