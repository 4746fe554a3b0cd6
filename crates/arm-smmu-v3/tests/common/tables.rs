//! Translation tables written by hand, from the architecture (Arm DDI 0487, D8.3): 4 KiB granule.

use iommu_hal::{Binding, Format, PhysAddr, Rights, TableMemory};

const FRAME: u64 = 4096;

/// Where the next frame for tables lies.
pub struct Frames(pub PhysAddr);

impl Frames {
    pub fn take(&mut self, memory: &mut impl TableMemory) -> PhysAddr {
        let frame = self.0;
        memory.zero(frame, FRAME);
        memory.clean(frame, FRAME);
        self.0 = frame.checked_add(FRAME).expect("an address");
        frame
    }
}

fn store(memory: &mut impl TableMemory, at: PhysAddr, value: u64) {
    memory.publish();
    memory.write(at, value);
    memory.clean(at, 8);
    memory.publish();
}

/// Writes the leaf of `1 << size_lg2` bytes at `iova`; tables on the way are made. No rights: an invalid entry.
pub fn map(
    memory: &mut impl TableMemory,
    frames: &mut Frames,
    space: &Binding,
    iova: u64,
    pa: u64,
    size_lg2: u32,
    rights: Rights,
) {
    let leaf_level = 3 - (size_lg2 - 12) / 9;
    let mut table = space.root;
    for level in 4 - space.geometry.levels()..leaf_level {
        let entry = PhysAddr(table.0 + 8 * (iova >> (39 - 9 * level) & 511));
        let value = memory.read(entry);
        table = if value & 1 == 0 {
            let next = frames.take(memory);
            store(memory, entry, next.0 | 3);
            next
        } else {
            PhysAddr(value & 0xffff_ffff_f000)
        };
    }
    let entry = PhysAddr(table.0 + 8 * (iova >> (39 - 9 * leaf_level) & 511));
    let kind = if leaf_level == 3 { 3 } else { 1 };
    let common = pa | kind | 3 << 8 | 1 << 10;
    let value = match space.geometry.format {
        _ if rights.is_none() => 0,
        Format::ArmStage1 => common | 1 << 6 | u64::from(!rights.write) << 7 | 1 << 11,
        _ => common | 0xf << 2 | u64::from(rights.read) << 6 | u64::from(rights.write) << 7,
    };
    store(memory, entry, value);
}
