//! What of a program is writable: its ELF program headers (System V ABI, "Program Header"; 64-bit).

use crate::MAX_SPANS;

/// Loaded into memory.
const PT_LOAD: u32 = 1;
/// Writable.
const PF_W: u32 = 2;

/// Offsets in the ELF header, and its size.
const PHOFF: usize = 32;
const PHENTSIZE: usize = 54;
const PHNUM: usize = 56;
/// Bytes of an ELF header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of a program header, and offsets in it.
const ENTRY_BYTES: usize = 56;
const FLAGS: usize = 4;
const VADDR: usize = 16;
const FILESZ: usize = 32;
const MEMSZ: usize = 40;

/// A writable segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Address of its first byte.
    pub address: usize,
    /// Bytes of initialised data.
    pub data: usize,
    /// Bytes behind them that begin as zeros.
    pub zeros: usize,
}

/// All writable segments; those behind the last are empty.
pub type Spans = [Span; MAX_SPANS];

/// Why a program's headers do not say what is writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// It is no 64-bit ELF header, or the program headers are not in the bytes.
    Malformed,
    /// More than [`MAX_SPANS`].
    TooManySegments,
}

/// Finds the writable segments of the program that begins with `bytes`: its ELF header and program headers.
///
/// # Errors
/// [`HeaderError`].
pub fn spans(bytes: &[u8]) -> Result<Spans, HeaderError> {
    let (first, count) = table(bytes).ok_or(HeaderError::Malformed)?;
    let mut spans = [Span::default(); MAX_SPANS];
    let mut found = 0;
    for index in 0..count {
        let at = index * ENTRY_BYTES + first;
        let entry = bytes.get(at..at + ENTRY_BYTES).ok_or(HeaderError::Malformed)?;
        let (kind, flags) = (word(entry, 0), word(entry, FLAGS));
        if kind != Some(PT_LOAD) || flags.unwrap_or(0) & PF_W == 0 {
            continue;
        }
        let field = |offset| long(entry, offset).ok_or(HeaderError::Malformed);
        let (address, data, all) = (field(VADDR)?, field(FILESZ)?, field(MEMSZ)?);
        let zeros = all.checked_sub(data).ok_or(HeaderError::Malformed)?;
        *spans.get_mut(found).ok_or(HeaderError::TooManySegments)? = Span { address, data, zeros };
        found += 1;
    }
    Ok(spans)
}

/// Bytes from the start of an ELF header, of which at least [`HEADER_BYTES`] are given, to the end of the program
/// headers that it tells of; `None` if it is none.
pub fn headers_end(header: &[u8]) -> Option<usize> {
    let (first, count) = table(header)?;
    first.checked_add(count * ENTRY_BYTES)
}

/// Offset and number of the program headers.
fn table(bytes: &[u8]) -> Option<(usize, usize)> {
    let is_elf64 = bytes.get(..5)? == b"\x7fELF\x02";
    let entry_bytes = usize::from(short(bytes, PHENTSIZE)?);
    let table = (long(bytes, PHOFF)?, usize::from(short(bytes, PHNUM)?));
    // So far from the end of the address space that no sum overflows.
    (is_elf64 && entry_bytes == ENTRY_BYTES && table.0 <= usize::MAX / 2).then_some(table)
}

fn short(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn long(bytes: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?)).ok()
}
