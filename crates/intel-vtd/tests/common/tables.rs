//! Translation tables written by hand, from the specification (Intel D51397, 9.8).

use iommu_hal::{Binding, PhysAddr, Rights, TableMemory};

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

/// Writes the leaf of `1 << size_lg2` bytes at `iova`; tables on the way are made. No rights: an absent entry.
pub fn map(
    memory: &mut impl TableMemory,
    frames: &mut Frames,
    space: &Binding,
    iova: u64,
    pa: u64,
    size_lg2: u32,
    rights: Rights,
) {
    let leaf = (size_lg2 - 12) / 9;
    let mut table = space.root;
    for height in (leaf + 1..space.geometry.levels()).rev() {
        let entry = PhysAddr(table.0 + 8 * (iova >> (12 + 9 * height) & 511));
        let value = memory.read(entry);
        table = if value & 3 == 0 {
            let next = frames.take(memory);
            store(memory, entry, next.0 | 3);
            next
        } else {
            PhysAddr(value & 0xffff_ffff_f000)
        };
    }
    let entry = PhysAddr(table.0 + 8 * (iova >> (12 + 9 * leaf) & 511));
    let size = if leaf == 0 { 0 } else { 0x80 };
    let value = pa | size | u64::from(rights.read) | u64::from(rights.write) << 1;
    store(memory, entry, if rights.is_none() { 0 } else { value });
}
