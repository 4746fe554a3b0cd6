//! Reading an image, with every rule checked that memory safety of the reader needs.

use core::fmt;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{
    Channel, Header, IoPorts, Irq, Load, MAGIC, MAX_CHANNEL, MAX_CHILD, MAX_IO_PORTS, MAX_PDS, Map,
    NO_PARENT, PAGE_BYTES, Pd, Table, VERSION, source,
};

/// A checked image.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The head.
    pub header: &'a Header,
    /// The protection domains.
    pub pds: &'a [Pd],
    /// What they see.
    pub maps: &'a [Map],
    /// What is filled.
    pub loads: &'a [Load],
    /// Who talks to whom.
    pub channels: &'a [Channel],
    /// Who handles which interrupt.
    pub irqs: &'a [Irq],
    /// Who uses which I/O ports.
    pub io_ports: &'a [IoPorts],
    bytes: &'a [u8],
}

/// The rule that an image breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageError {
    /// Too short or misaligned for a header, or `total_bytes` is more than there is.
    Truncated,
    /// Not an image.
    BadMagic(u64),
    /// An image of another format version.
    BadVersion(u32),
    /// A table or its data lies outside the image or is misaligned; the table's name.
    TableOutside(&'static str),
    /// An entry names a PD, a channel or a size that cannot be; the table's name and the entry's index.
    BadEntry(&'static str, usize),
    /// More PDs than [`MAX_PDS`].
    TooManyPds(u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the image is cut short"),
            Self::BadMagic(found) => write!(f, "not a system image: it begins with {found:#018x}"),
            Self::BadVersion(found) => write!(f, "image format {found}, this kernel reads {VERSION}"),
            Self::TableOutside(table) => write!(f, "the table of {table} lies outside the image"),
            Self::BadEntry(table, index) => write!(f, "entry {index} of the table of {table} is malformed"),
            Self::TooManyPds(count) => write!(f, "{count} protection domains, at most {MAX_PDS} fit"),
        }
    }
}

impl<'a> Image<'a> {
    /// Checks `bytes`, which may be longer than the image.
    ///
    /// # Errors
    /// [`ImageError`] names the first rule that is broken.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| ImageError::Truncated)?;
        if header.magic != MAGIC {
            return Err(ImageError::BadMagic(header.magic));
        }
        if header.version != VERSION {
            return Err(ImageError::BadVersion(header.version));
        }
        let total = usize::try_from(header.total_bytes).map_err(|_| ImageError::Truncated)?;
        let bytes = bytes.get(..total).ok_or(ImageError::Truncated)?;
        if header.pds.count > MAX_PDS as u64 {
            return Err(ImageError::TooManyPds(header.pds.count));
        }
        let image = Self {
            header,
            pds: table(bytes, header.pds, "PDs")?,
            maps: table(bytes, header.maps, "maps")?,
            loads: table(bytes, header.loads, "loads")?,
            channels: table(bytes, header.channels, "channels")?,
            irqs: table(bytes, header.irqs, "interrupts")?,
            io_ports: table(bytes, header.io_ports, "I/O ports")?,
            bytes,
        };
        image.check()?;
        Ok(image)
    }

    fn check(&self) -> Result<(), ImageError> {
        let pd = |index: u32| (index as usize) < self.pds.len();
        let mut before = 0..;
        every("PDs", self.pds, |pd| {
            let is_before = before.next().is_some_and(|index| pd.parent < index);
            pd.parent == NO_PARENT || is_before && pd.child <= MAX_CHILD
        })?;
        every("maps", self.maps, |map| {
            pd(map.pd) && whole_pages(map.vaddr, map.bytes) && whole_pages(map.paddr, map.bytes)
        })?;
        every("loads", self.loads, |load| {
            whole_pages(load.paddr, load.bytes) && load.data_bytes <= load.bytes && self.slice(load).is_some()
        })?;
        every("channels", self.channels, |channel| {
            pd(channel.a_pd)
                && pd(channel.b_pd)
                && channel.a_pd != channel.b_pd
                && channel.a_id <= MAX_CHANNEL
                && channel.b_id <= MAX_CHANNEL
        })?;
        every("interrupts", self.irqs, |irq| {
            pd(irq.pd) && irq.id <= MAX_CHANNEL && irq.source <= source::MESSAGE
        })?;
        every("I/O ports", self.io_ports, |ports| {
            pd(ports.pd) && ports.first <= ports.last && ports.id <= MAX_IO_PORTS
        })
    }

    fn slice(&self, load: &Load) -> Option<&'a [u8]> {
        let first = usize::try_from(load.data_offset).ok()?;
        let end = first.checked_add(usize::try_from(load.data_bytes).ok()?)?;
        self.bytes.get(first..end)
    }

    /// The data of `load`, one of [`Image::loads`].
    pub fn data(&self, load: &Load) -> &'a [u8] {
        self.slice(load).unwrap_or(&[])
    }
}

impl Pd {
    /// The name without its padding; what is not UTF-8 is dropped.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        match core::str::from_utf8(&self.name[..end]) {
            Ok(name) => name,
            Err(error) => core::str::from_utf8(&self.name[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

fn every<T>(name: &'static str, entries: &[T], mut good: impl FnMut(&T) -> bool) -> Result<(), ImageError> {
    match entries.iter().position(|entry| !good(entry)) {
        Some(index) => Err(ImageError::BadEntry(name, index)),
        None => Ok(()),
    }
}

fn whole_pages(at: u64, bytes: u64) -> bool {
    at.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES) && at.checked_add(bytes).is_some()
}

fn table<'a, T: FromBytes + KnownLayout + Immutable>(
    bytes: &'a [u8],
    table: Table,
    name: &'static str,
) -> Result<&'a [T], ImageError> {
    let outside = ImageError::TableOutside(name);
    let first = usize::try_from(table.offset).map_err(|_| outside)?;
    let count = usize::try_from(table.count).map_err(|_| outside)?;
    let rest = bytes.get(first..).ok_or(outside)?;
    match <[T]>::ref_from_prefix_with_elems(rest, count) {
        Ok((entries, _)) => Ok(entries),
        Err(_) => Err(outside),
    }
}
