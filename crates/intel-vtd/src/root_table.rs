//! Root, context and PASID tables, and the entries of the streams that may be attached.

use heapless::Vec;
use iommu_hal::{
    Carver, FRAME_BYTES, MAX_STREAMS, OutOfTableMemory, PhysAddr, StreamId, TableMemory, in_order,
};

use crate::{
    bring_up::BringUpError,
    entries::ABORT,
    features::Mode,
    spec::{
        context::{CONTEXT_BYTES, SCALABLE_CONTEXT_BYTES, ScalableContextWord0},
        pasid::{DIRECTORY_ENTRIES, DIRECTORY_ENTRY_BYTES, DirectoryEntry, PASID_ENTRY_BYTES},
        root::{ROOT_ENTRY_BYTES, ROOT_TABLE_BYTES, RootWord},
    },
};

const _: () = assert!(ROOT_TABLE_BYTES == FRAME_BYTES);
const _: () = assert!(256 * CONTEXT_BYTES == FRAME_BYTES && 128 * SCALABLE_CONTEXT_BYTES == FRAME_BYTES);

/// Bits of a requester id.
const REQUESTER_BITS: u8 = 16;

/// A stream that may be attached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub id: StreamId,
    /// Its context entry.
    pub context: PhysAddr,
    /// The entry that says where its page tables are: its context entry in legacy mode, its PASID table's first in
    /// scalable mode. Behind that table lies the PASID directory that leads to it.
    pub entry: PhysAddr,
}

impl Stream {
    /// The requester id. Streams that are wider were refused.
    pub const fn source(&self) -> u16 {
        self.id.0 as u16
    }

    /// Word 0 of the context entry of an attached stream, where it is not the entry itself.
    pub fn context_word0(&self) -> Option<u64> {
        let directory_12 = (self.entry.0 + FRAME_BYTES) >> 12;
        let word0 = ScalableContextWord0::new().with_present(true).with_directory_12(directory_12);
        (self.context != self.entry).then_some(word0.into())
    }
}

/// The tables: where they lie, and who is in them.
#[derive(Debug)]
pub(crate) struct RootTable {
    pub base: PhysAddr,
    /// In ascending order of their ids.
    pub streams: Vec<Stream, MAX_STREAMS>,
}

/// Where tables are made.
struct Ground<'a, M> {
    memory: &'a mut M,
    carver: &'a mut Carver,
    /// The unit does not snoop.
    clean: bool,
}

impl<M: TableMemory> Ground<'_, M> {
    /// A frame in which each `step` bytes begin with `word`, and all else is zero.
    fn frame(&mut self, step: u64, word: u64) -> Result<PhysAddr, OutOfTableMemory> {
        let frame = self.carver.take_zeroed(self.memory, FRAME_BYTES, false)?;
        if word != 0 {
            for at in (frame.0..frame.0 + FRAME_BYTES).step_by(step as usize) {
                self.memory.write(PhysAddr(at), word);
            }
        }
        if self.clean {
            self.memory.clean(frame, FRAME_BYTES);
        }
        Ok(frame)
    }

    fn write(&mut self, at: PhysAddr, word: u64) {
        self.memory.write(at, word);
        if self.clean {
            self.memory.clean(at, 8);
        }
    }
}

impl RootTable {
    /// The table at `base`, in which everything is absent.
    pub const fn barren(base: PhysAddr) -> Self {
        Self { base, streams: Vec::new() }
    }

    /// Lays out and fills tables in which every stream aborts. `record_unknown`: faults of streams that are not in
    /// `ids` are recorded.
    pub fn carve<M: TableMemory>(
        memory: &mut M,
        carver: &mut Carver,
        clean: bool,
        mode: Mode,
        ids: &[StreamId],
        record_unknown: bool,
    ) -> Result<Self, BringUpError> {
        let place = |id| Stream { id, context: PhysAddr(0), entry: PhysAddr(0) };
        let mut streams: Vec<Stream, MAX_STREAMS> =
            in_order(ids, REQUESTER_BITS)?.into_iter().map(place).collect();

        let mut ground = Ground { memory, carver, clean };
        let base = ground.frame(8, 0)?;
        let bytes = match mode {
            Mode::Legacy => CONTEXT_BYTES,
            Mode::Scalable => SCALABLE_CONTEXT_BYTES,
        };
        // The functions that one context table is for.
        let functions = (FRAME_BYTES / bytes) as u32;
        let unknown = if record_unknown { 0 } else { ABORT };
        // Buses without a named stream share a table; absent root entries would be recorded always.
        let others = if record_unknown { None } else { Some(ground.frame(bytes, unknown)?) };
        let mut stream = 0;
        for table in 0..(1 << 16) / functions {
            let first = table * functions;
            let is_here = |at: &Stream| at.id.0 / functions == table;
            let context = if streams.get(stream).is_some_and(is_here) {
                Some(ground.frame(bytes, unknown)?)
            } else {
                others
            };
            let Some(context) = context else { continue };
            while let Some(of) = streams.get_mut(stream).filter(|of| is_here(of)) {
                let at = PhysAddr(context.0 + u64::from(of.id.0 - first) * bytes);
                ground.write(at, ABORT);
                (of.context, of.entry) = (at, at);
                if mode == Mode::Scalable {
                    of.entry = pasid_table(&mut ground)?;
                }
                stream += 1;
            }
            // Legacy entries have one word each, scalable ones two, of half a bus.
            let step = if mode == Mode::Legacy { ROOT_ENTRY_BYTES } else { ROOT_ENTRY_BYTES / 2 };
            let root = RootWord::new().with_present(true).with_table_12(context.0 >> 12);
            ground.write(PhysAddr(base.0 + u64::from(table) * step), root.into());
        }
        Ok(Self { base, streams })
    }

    /// The index of `stream` among those that may be attached.
    pub fn find(&self, stream: StreamId) -> Option<usize> {
        self.streams.binary_search_by_key(&stream, |stream| stream.id).ok()
    }
}

/// Makes a PASID table in which everything aborts and, behind it, a directory that leads to it. Gives the entry of
/// requests that have no PASID, which count as PASID 0.
fn pasid_table<M: TableMemory>(ground: &mut Ground<'_, M>) -> Result<PhysAddr, OutOfTableMemory> {
    let table = ground.frame(PASID_ENTRY_BYTES, ABORT)?;
    // Only the first entry is ever used; all others say abort.
    let directory = ground.frame(DIRECTORY_ENTRY_BYTES, ABORT)?;
    assert!(directory.0 == table.0 + FRAME_BYTES, "frames are carved one behind the other");
    const _: () = assert!(DIRECTORY_ENTRIES * DIRECTORY_ENTRY_BYTES <= FRAME_BYTES);
    let entry = DirectoryEntry::new().with_present(true).with_table_12(table.0 >> 12);
    ground.write(directory, entry.into());
    Ok(table)
}
