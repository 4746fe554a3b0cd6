//! Programs: the ELF files of protection domains, as the builder loads and patches them.

use std::collections::HashMap;

use object::{
    LittleEndian, Object, ObjectSymbol,
    elf::{EM_AARCH64, EM_X86_64, ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, ProgramFlags},
    read::elf::{ElfFile64, FileHeader, ProgramHeader},
};

use crate::{
    board::{Arch, Board, Interval},
    refusal::Refusal,
    sdf::{PAGE_BYTES, Pd, Perms, System},
};

/// A program: what is loaded, and the symbols that can be patched.
#[derive(Debug, Clone)]
pub struct Program {
    /// Address of the first instruction.
    pub entry: u64,
    /// What is loaded.
    pub segments: Vec<Segment>,
    /// Address and size of each data symbol.
    symbols: HashMap<String, (u64, u64)>,
}

/// Whole pages of a program with the same rights.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Virtual address of the first page.
    pub vaddr: u64,
    /// Bytes, whole pages.
    pub bytes: u64,
    /// Rights.
    pub perms: Perms,
    /// What is not zero, from the first byte.
    pub data: Vec<u8>,
}

impl Segment {
    /// The addresses in it.
    pub fn range(&self) -> Interval {
        Interval { first: self.vaddr, last: self.vaddr + (self.bytes - 1) }
    }
}

impl Program {
    /// Parses an ELF file for `arch`; segments get whole pages.
    ///
    /// # Errors
    /// What the file is or lacks, to follow its name.
    pub fn parse(bytes: &[u8], arch: Arch) -> Result<Self, String> {
        let file: ElfFile64<'_, LittleEndian> =
            ElfFile64::parse(bytes).map_err(|error| format!("is not a 64-bit ELF file: {error}"))?;
        let (header, endian): (&FileHeader64<_>, _) = (file.elf_header(), file.endian());
        let machine = match arch {
            Arch::Aarch64 => EM_AARCH64,
            Arch::X86_64 => EM_X86_64,
        };
        if header.e_machine(endian) != machine || header.e_type(endian) != ET_EXEC {
            return Err(format!("is not an executable for {} with fixed addresses", arch.name()));
        }
        let mut segments = vec![];
        for of in file.elf_program_headers() {
            match of.p_type(endian) {
                PT_INTERP => return Err("wants a dynamic loader; link it statically".into()),
                PT_LOAD if of.p_memsz(endian) > 0 => segments.push(segment(of, endian, bytes)?),
                _ => {}
            }
        }
        segments.sort_by_key(|segment| segment.vaddr);
        if let Some(pair) = segments.windows(2).find(|pair| pair[0].range().meets(pair[1].range())) {
            return Err(format!("has two segments in the page at {:#x}; align them to pages", pair[1].vaddr));
        }
        let entry = file.entry();
        let page = Interval { first: entry, last: entry };
        if !segments.iter().any(|segment| segment.perms.execute && segment.range().holds(page)) {
            return Err(format!("begins at {entry:#x}, where it has no code"));
        }
        let named = file.symbols().filter(|symbol| !symbol.is_undefined());
        let symbols = named
            .filter_map(|symbol| Some((symbol.name().ok()?.to_string(), (symbol.address(), symbol.size()))))
            .collect();
        Ok(Self { entry, segments, symbols })
    }

    /// Address and size of `symbol`.
    pub fn symbol(&self, symbol: &str) -> Option<(u64, u64)> {
        self.symbols.get(symbol).copied()
    }

    /// Replaces the bytes at the virtual address `at`; false if they are in no segment.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> bool {
        let Some(range) = Interval::of(at, bytes.len() as u64) else { return false };
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.range().holds(range)) else {
            return false;
        };
        let first = (at - segment.vaddr) as usize;
        let end = first + bytes.len();
        if segment.data.len() < end {
            segment.data.resize(end, 0);
        }
        segment.data[first..end].copy_from_slice(bytes);
        true
    }
}

fn segment(
    of: &object::elf::ProgramHeader64<LittleEndian>,
    endian: LittleEndian,
    file: &[u8],
) -> Result<Segment, String> {
    let data = of.data(endian, file).map_err(|()| "is cut short: a segment lies outside the file")?;
    let (at, memory) = (of.p_vaddr(endian), of.p_memsz(endian));
    if data.len() as u64 > memory {
        return Err(format!("has more data than memory in the segment at {at:#x}"));
    }
    let vaddr = at - at % PAGE_BYTES;
    let bytes = at
        .checked_add(memory)
        .and_then(|end| end.checked_next_multiple_of(PAGE_BYTES))
        .ok_or_else(|| format!("has a segment at {at:#x} that passes the last address"))?
        - vaddr;
    let mut front = vec![0; (at - vaddr) as usize];
    front.extend_from_slice(data);
    let flag = |flag: ProgramFlags| of.p_flags(endian).0 & flag.0 != 0;
    let perms = Perms { read: flag(PF_R), write: flag(PF_W), execute: flag(PF_X) };
    Ok(Segment { vaddr, bytes, perms, data: front })
}

/// Checks that the program of `pd` is clear of its stack and maps.
///
/// # Errors
/// What it overlaps.
pub fn check(system: &System, board: &Board, pd: &Pd, program: &Program) -> Result<(), Refusal> {
    let end = board.stack_bottom(pd.stack_bytes);
    for segment in &program.segments {
        let range = segment.range();
        if range.last >= end {
            return Err(pd.program_place.refuse(format!(
                "'{}' has a segment at {:#x} to {:#x}, but the stack of '{}' begins at {end:#x}; link it lower",
                pd.program, range.first, range.last, pd.name
            )));
        }
        for map in &pd.maps {
            let region = &system.regions[map.region];
            if Interval::of(map.vaddr, region.bytes).is_some_and(|mapped| mapped.meets(range)) {
                return Err(map.place.refuse(format!(
                    "'{}' at {:#x} overlaps the segment of '{}' at {:#x} to {:#x}; map it elsewhere",
                    region.name, map.vaddr, pd.program, range.first, range.last
                )));
            }
        }
    }
    Ok(())
}
