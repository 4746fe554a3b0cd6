//! Tables as the hardware reads them.

use std::collections::BTreeSet;

use iommu_hal::{Format, Geometry};

use super::ram::BASE;

/// A translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub pa: u64,
    pub read: bool,
    pub write: bool,
    pub page_bytes: u64,
}

/// What the hardware sees of one address space: the words of the table memory, and where it begins.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub words: &'a [u64],
    pub root: u64,
    pub geometry: &'a Geometry,
}

impl View<'_> {
    /// The architecture's number of the first level looked up.
    fn start_level(&self) -> u32 {
        match self.geometry.input_bits {
            0..=12 => unreachable!(),
            13..=21 => 3,
            22..=30 => 2,
            31..=39 => 1,
            40..=48 => 0,
            _ => unreachable!(),
        }
    }

    fn entry(&self, table: u64, level: u32, iova: u64) -> u64 {
        let shift = [39, 30, 21, 12][level as usize];
        let index = (iova >> shift) % 512;
        assert!(table >= BASE, "a walk left the table memory: {table:#x}");
        let word = ((table - BASE) / 8 + index) as usize;
        assert!(word < self.words.len(), "a walk left the table memory: {table:#x}");
        self.words[word]
    }

    /// Translates. Panics at what no walk may ever meet: reserved encodings, wrong attributes.
    pub fn translate(&self, iova: u64) -> Option<Found> {
        if iova >> self.geometry.input_bits != 0 {
            return None;
        }
        let mut table = self.root;
        for level in self.start_level()..=3 {
            let entry = self.entry(table, level, iova);
            if self.geometry.format == Format::VtdSecondStage {
                match (entry & 3, entry & 0x80, level) {
                    (0, ..) => return None,
                    (3, 0, 0..=2) => {
                        assert_eq!(entry & !0x0000_ffff_ffff_f003, 0, "table entry {entry:#x}");
                        table = entry & !3;
                    }
                    (_, 0, 3) => return Some(self.vtd_leaf(entry, iova, 0x1000)),
                    (_, 0x80, 2) => return Some(self.vtd_leaf(entry, iova, 0x20_0000)),
                    (_, 0x80, 1) => return Some(self.vtd_leaf(entry, iova, 0x4000_0000)),
                    _ => panic!("entry {entry:#x} at level {level}"),
                }
                continue;
            }
            match (entry & 3, level) {
                (0, _) => return None,
                (3, 0..=2) => {
                    assert_eq!(entry & !0x0000_ffff_ffff_f003, 0, "table entry {entry:#x}");
                    table = entry & !3;
                }
                (3, 3) => return Some(self.leaf(entry & !2, iova, 0x1000)),
                (1, 2) => return Some(self.leaf(entry, iova, 0x20_0000)),
                (1, 1) => return Some(self.leaf(entry, iova, 0x4000_0000)),
                _ => panic!("reserved entry {entry:#x} at level {level}"),
            }
        }
        unreachable!()
    }

    fn vtd_leaf(&self, entry: u64, iova: u64, page_bytes: u64) -> Found {
        assert_ne!(self.geometry.page_sizes & page_bytes, 0, "a page size that is not allowed");
        let address = entry & 0x0000_ffff_ffff_f000;
        assert_eq!(address % page_bytes, 0, "reserved address bits set in {entry:#x}");
        let block = if page_bytes == 0x1000 { 0 } else { 0x80 };
        assert_eq!(entry & !3 & !0x0000_ffff_ffff_f000, block, "leaf {entry:#x}");
        Found { pa: address + iova % page_bytes, read: entry & 1 != 0, write: entry & 2 != 0, page_bytes }
    }

    /// A leaf of Arm's, bit 1 taken out.
    fn leaf(&self, entry: u64, iova: u64, page_bytes: u64) -> Found {
        assert_ne!(self.geometry.page_sizes & page_bytes, 0, "a page size that is not allowed");
        let address = entry & 0x0000_ffff_ffff_f000;
        assert_eq!(address % page_bytes, 0, "reserved address bits set in {entry:#x}");
        let (read, write, rights) = match self.geometry.format {
            Format::ArmStage1 => (true, entry & 0x80 == 0, 0x80),
            _ => (entry & 0x40 != 0, entry & 0x80 != 0, 0xc0),
        };
        let rest = match self.geometry.format {
            // UXN, PXN, nG, AF, SH inner, AP[1], AttrIndx 0, valid.
            Format::ArmStage1 => 0x0060_0000_0000_0f41,
            // XN, AF, SH inner, MemAttr 0b1111, valid.
            _ => 0x0040_0000_0000_073d,
        };
        assert_eq!(entry & !rights & !0x0000_ffff_ffff_f000, rest, "leaf {entry:#x}");
        Found { pa: address + iova % page_bytes, read, write, page_bytes }
    }

    /// The frames that a walk can meet, the root among them.
    pub fn reachable(&self) -> BTreeSet<u64> {
        let mut tables = BTreeSet::new();
        let mut todo = vec![(self.root, self.start_level())];
        while let Some((table, level)) = todo.pop() {
            assert!(tables.insert(table), "a table is reached twice");
            if level < 3 {
                let first = ((table - BASE) / 8) as usize;
                let entries = &self.words[first..first + 512];
                let vtd = self.geometry.format == Format::VtdSecondStage;
                let links = |&&entry: &&u64| entry & 3 == 3 && !(vtd && entry & 0x80 != 0);
                let linked = entries.iter().filter(links);
                todo.extend(linked.map(|entry| (entry & !3, level + 1)));
            }
        }
        tables
    }
}
