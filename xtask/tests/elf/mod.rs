//! Small ELF files, good and bad.
#![allow(dead_code)] // Each test that uses them uses a part.

/// Where a good program's code is.
pub const CODE: u64 = 0x20_0000;

/// Where its data is.
pub const DATA: u64 = 0x20_2000;

/// Offset of the segments' data, one after the other; program headers are before.
const DATA_OFFSET: u64 = 0x400;

#[derive(Clone, Copy)]
pub struct Segment {
    pub at: u64,
    pub bytes: u64,
    pub flags: u32,
}

/// An ELF file whose segments are all ones, but for the code with which they may begin.
#[derive(Clone)]
pub struct Elf {
    pub machine: u16,
    pub kind: u16,
    pub entry: u64,
    pub segments: Vec<Segment>,
    pub code: Vec<u8>,
    /// Name, address, size.
    pub symbols: Vec<(String, u64, u64)>,
}

impl Elf {
    /// A program with Microkit's own symbols and one of 8 bytes for each of `setvars`.
    pub fn good(setvars: &[&str]) -> Self {
        let own = [
            ("microkit_name", 64),
            ("microkit_passive", 1),
            ("microkit_irqs", 8),
            ("microkit_notifications", 8),
            ("microkit_pps", 8),
            ("microkit_ioports", 8),
        ];
        let all = own.into_iter().chain(setvars.iter().map(|&name| (name, 8)));
        let mut at = DATA;
        let mut symbols = vec![];
        for (name, bytes) in all {
            symbols.push((name.to_string(), at, bytes));
            at += 64;
        }
        let segments = vec![
            Segment { at: CODE, bytes: 0x10, flags: 5 },
            // Not loaded from the file, so that patches stand in zeros.
            Segment { at: DATA, bytes: 0, flags: 6 },
        ];
        Self { machine: 183, kind: 2, entry: CODE, segments, code: vec![], symbols }
    }

    /// A program of this AArch64 code.
    pub fn arm(code: &[u32]) -> Self {
        let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut elf = Self { code, ..Self::good(&[]) };
        elf.segments[0].bytes = elf.code.len() as u64;
        elf
    }

    /// A program of this x86-64 code.
    pub fn x86(code: &[u8]) -> Self {
        let mut elf = Self { machine: 62, code: code.into(), ..Self::good(&[]) };
        elf.segments[0].bytes = code.len() as u64;
        elf
    }

    /// The file: header, program headers, data, symbols, their names, section headers.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Words::default();
        file.data.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.u16s(&[self.kind, self.machine]).u32s(&[1]).u64s(&[self.entry, 64, 0]).u32s(&[0]);
        file.u16s(&[64, 56, self.segments.len() as u16, 64, 3, 2]);
        let mut offset = DATA_OFFSET;
        for segment in &self.segments {
            // A segment without data has a page of zeros.
            let memory = if segment.bytes == 0 { 0x1000 } else { segment.bytes };
            file.u32s(&[PT_LOAD, segment.flags]);
            file.u64s(&[offset, segment.at, segment.at, segment.bytes, memory, 0x1000]);
            offset += segment.bytes.min(MAX_DATA);
        }
        file.data.resize(DATA_OFFSET as usize, 0);
        file.data.extend(&self.code);
        file.data.resize(offset as usize, 1);
        file.data.resize(file.data.len().next_multiple_of(8), 0);
        let symbols = file.data.len() as u64;
        let mut names = vec![0];
        file.u64s(&[0; 3]);
        for (name, at, bytes) in &self.symbols {
            // A global object in an absolute section.
            file.u32s(&[names.len() as u32]).data.extend([0x11, 0]);
            file.u16s(&[0xfff1]).u64s(&[*at, *bytes]);
            names.extend(name.bytes().chain([0]));
        }
        let strings = file.data.len() as u64;
        file.data.extend(&names);
        file.data.resize(file.data.len().next_multiple_of(8), 0);
        let sections = file.data.len() as u64;
        file.u64s(&[0; 8]);
        file.u32s(&[0, SHT_SYMTAB]).u64s(&[0, 0, symbols, strings - symbols]).u32s(&[2, 1]).u64s(&[8, 24]);
        file.u32s(&[0, SHT_STRTAB]).u64s(&[0, 0, strings, names.len() as u64]).u32s(&[0, 0]).u64s(&[1, 0]);
        file.data[40..48].copy_from_slice(&sections.to_le_bytes());
        file.data
    }
}

const PT_LOAD: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;

/// A segment that claims more data than this has only so much in the file.
const MAX_DATA: u64 = 0x10000;

#[derive(Default)]
struct Words {
    data: Vec<u8>,
}

impl Words {
    fn u16s(&mut self, words: &[u16]) -> &mut Self {
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    fn u32s(&mut self, words: &[u32]) -> &mut Self {
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    fn u64s(&mut self, words: &[u64]) -> &mut Self {
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }
}
