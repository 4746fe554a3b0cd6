//! The stream table's shape and the entries of the streams that may be attached.

use heapless::Vec;
use iommu_hal::{Carver, MAX_STREAMS, OutOfTableMemory, PhysAddr, StreamId, TableMemory, in_order};

use crate::{
    bring_up::BringUpError,
    entries::ABORT,
    features::Features,
    spec::{
        cd::CD_BYTES,
        registers::StrtabBaseCfg,
        ste::{L1_DESCRIPTOR_BYTES, L1Descriptor, STE_BYTES},
    },
};

/// Bits of a StreamID that a level 2 table resolves: one PCI bus, 16 KiB.
pub(crate) const SPLIT: u8 = 8;
/// SMMU_STRTAB_BASE_CFG.FMT of a two-level table.
const FMT_TWO_LEVEL: u8 = 1;
/// Bytes of a stream's context descriptors: one in use, one to prepare the next in.
const CONTEXT_BYTES: u64 = 2 * CD_BYTES;

/// A stream that may be attached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub id: StreamId,
    /// Its stream table entry.
    pub entry: PhysAddr,
    /// Its two context descriptors, where the unit has stage 1.
    pub contexts: PhysAddr,
}

impl Stream {
    /// The one of its two context descriptors that is not at `used`.
    pub const fn context_beside(&self, used: PhysAddr) -> PhysAddr {
        if used.0 == self.contexts.0 { PhysAddr(self.contexts.0 + CD_BYTES) } else { self.contexts }
    }
}

/// The table: where it lies, how it is told to the unit, and who is in it.
#[derive(Debug)]
pub(crate) struct StreamTable {
    pub base: PhysAddr,
    pub config: StrtabBaseCfg,
    /// In ascending order of their ids.
    pub streams: Vec<Stream, MAX_STREAMS>,
}

impl StreamTable {
    /// Lays out and fills a table in which every stream aborts. `record_unknown`: entries of streams that are
    /// not in `ids` are invalid, which is recorded, rather than aborting, which is not.
    pub fn carve<M: TableMemory>(
        features: &Features,
        memory: &mut M,
        carver: &mut Carver,
        ids: &[StreamId],
        record_unknown: bool,
    ) -> Result<Self, BringUpError> {
        let sid_bits = features.idr1().sidsize();
        let place = |id| Stream { id, entry: PhysAddr(0), contexts: PhysAddr(0) };
        let streams: Vec<Stream, MAX_STREAMS> = in_order(ids, sid_bits)?.into_iter().map(place).collect();

        // Streams above the highest one named have no entry and abort (C_BAD_STREAMID).
        let highest = streams.last().map_or(0, |stream| stream.id.0);
        let named_bits = (u32::BITS - highest.leading_zeros()) as u8;
        let two_level = features.idr0().st_level() == 1 && sid_bits > SPLIT;
        let mut table = if two_level {
            let config = StrtabBaseCfg::new()
                .with_fmt(FMT_TWO_LEVEL)
                .with_split(SPLIT)
                .with_log2size(named_bits.max(SPLIT));
            let bytes = L1_DESCRIPTOR_BYTES << (config.log2size() - SPLIT);
            Self { base: carver.take_zeroed(memory, bytes, true)?, config, streams }
        } else {
            let config = StrtabBaseCfg::new().with_log2size(named_bits);
            let base = carver.take_zeroed(memory, STE_BYTES << named_bits, true)?;
            let table = Self { base, config, streams };
            table.fill(memory, base, 0, 1 << named_bits, record_unknown);
            table
        };

        for index in 0..table.streams.len() {
            let id = table.streams[index].id.0;
            table.streams[index].entry = if two_level {
                table.entry_through_level_1(memory, carver, id, record_unknown)?
            } else {
                PhysAddr(table.base.0 + u64::from(id) * STE_BYTES)
            };
        }
        if features.idr0().s1p() && !table.streams.is_empty() {
            let first = carver.take_zeroed(memory, table.streams.len() as u64 * CONTEXT_BYTES, true)?;
            for (index, stream) in table.streams.iter_mut().enumerate() {
                stream.contexts = PhysAddr(first.0 + index as u64 * CONTEXT_BYTES);
            }
        }
        Ok(table)
    }

    /// The position of `id` among the streams.
    pub fn find(&self, id: StreamId) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    /// Where the entry of stream `id` lies; its level 2 table is made when it is the first there.
    fn entry_through_level_1<M: TableMemory>(
        &self,
        memory: &mut M,
        carver: &mut Carver,
        id: u32,
        record_unknown: bool,
    ) -> Result<PhysAddr, OutOfTableMemory> {
        let descriptor_at = PhysAddr(self.base.0 + u64::from(id >> SPLIT) * L1_DESCRIPTOR_BYTES);
        let mut descriptor = L1Descriptor::from(memory.read(descriptor_at));
        if descriptor.span() == 0 {
            let level_2 = carver.take_zeroed(memory, STE_BYTES << SPLIT, true)?;
            self.fill(memory, level_2, id >> SPLIT << SPLIT, 1 << SPLIT, record_unknown);
            descriptor = L1Descriptor::new().with_span(SPLIT + 1).with_l2ptr_6(level_2.0 >> 6);
            memory.write(descriptor_at, descriptor.into());
            memory.clean(descriptor_at, L1_DESCRIPTOR_BYTES);
        }
        let index = u64::from(id & ((1 << SPLIT) - 1));
        Ok(PhysAddr((descriptor.l2ptr_6() << 6) + index * STE_BYTES))
    }

    /// Makes the entries of `count` streams from `first`, at `at`, abort.
    fn fill<M: TableMemory>(
        &self,
        memory: &mut M,
        at: PhysAddr,
        first: u32,
        count: u32,
        record_unknown: bool,
    ) {
        for index in 0..count {
            if !record_unknown || self.find(StreamId(first + index)).is_some() {
                memory.write(PhysAddr(at.0 + u64::from(index) * STE_BYTES), ABORT.into());
            }
        }
        memory.clean(at, u64::from(count) * STE_BYTES);
    }
}
