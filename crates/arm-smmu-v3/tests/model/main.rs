//! The driver against the project's own model of an SMMUv3: what QEMU cannot show.
//!
//! The model panics when the driver breaks a rule of the architecture, and whenever a mix of words that the
//! unit may have read of an entry lets anything else pass than the old or the new entry.
#![allow(missing_docs)]

mod bring_up;
mod changes;
mod errors;
mod queues;
#[path = "../common/tables.rs"]
mod tables;

use arm_smmu_v3::{BringUpError, Config, SmmuV3};
use iommu_hal::{
    Binding, Carver, Clock, DomainTag, Format, Geometry, IovaRange, PhysAddr, Rights, StreamId, Unit,
};
use iommu_model::{VirtualClock, smmu_v3 as model};
use model::{Bench, MemoryPort, RegisterPort};
use tables::Frames;

/// Memory for DMA, outside the table region.
const DATA: u64 = 0x9000_0000;
const PAGE: u64 = 4096;
const IOVA: u64 = 0x1_2345_6000;
const STREAM: StreamId = StreamId(0x10);
const NEIGHBOUR: StreamId = StreamId(0x18);

struct Board {
    bench: Bench,
    memory: MemoryPort,
    clock: VirtualClock,
    unit: SmmuV3<RegisterPort>,
    frames: Frames,
}

fn config(streams: &[StreamId]) -> Config<'_> {
    Config { streams, stage: None, record_unknown: false }
}

/// Brings up the unit of `bench`.
fn start_with(bench: Bench, table: &model::Config, config: &Config<'_>) -> Result<Board, BringUpError> {
    let (regs, mut memory, clock) = bench.ports();
    let mut carver = Carver::new(PhysAddr(table.table_base), table.table_bytes);
    let unit = SmmuV3::bring_up(regs, &mut memory, &clock, &mut carver, config)?;
    Ok(Board { bench, memory, clock, unit, frames: Frames(carver.rest().0) })
}

fn start(table: &model::Config) -> Board {
    start_with(Bench::new(table.clone()), table, &config(&[STREAM, NEIGHBOUR]))
        .unwrap_or_else(|error| panic!("{error}, {table:?}"))
}

impl Board {
    fn space(&mut self, tag: u16, geometry: Geometry) -> Binding {
        Binding { tag: DomainTag(tag), geometry, root: self.frames.take(&mut self.memory) }
    }

    fn attached(&mut self) -> Binding {
        let space = self.space(1, self.unit.geometry());
        self.unit.attach(&mut self.memory, &self.clock, STREAM, &space).expect("attach");
        space
    }

    fn map(&mut self, space: &Binding, iova: u64, pa: u64, size_lg2: u32, rights: Rights) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, pa, size_lg2, rights);
    }

    fn invalidate(&mut self, space: &Binding, iova: u64, pages: u64) {
        let range = IovaRange::from_length(iova, pages * PAGE).unwrap();
        let Self { unit, memory, clock, .. } = self;
        unit.invalidate(memory, clock, space.tag, &space.geometry, range, false).expect("invalidate");
    }

    fn sync(&mut self) {
        let _ = self.unit.sync(&mut self.memory, &self.clock).expect("sync");
    }

    /// Maps, reads and writes by DMA, takes away, and shows that nothing gets through any more.
    fn exercise(&mut self, space: &Binding, iova: u64, pa: u64) {
        self.map(space, iova, pa, 12, Rights::READ_WRITE);
        self.bench.memory().poke(pa, &[0xa5; 16]);
        let mut read = [0; 16];
        self.bench.dma_read(STREAM, iova, &mut read).expect("a read");
        assert_eq!(read, [0xa5; 16]);
        self.bench.dma_write(STREAM, iova + 16, &[0x5a; 16]).expect("a write");
        self.bench.memory().peek(pa + 16, &mut read);
        assert_eq!(read, [0x5a; 16]);

        self.map(space, iova, 0, 12, Rights::NONE);
        self.invalidate(space, iova, 1);
        self.sync();
        assert!(self.bench.dma_write(STREAM, iova, &[1; 16]).is_err());
        assert!(self.bench.dma_read(STREAM, iova, &mut read).is_err());
    }

    fn nothing_passes(&self, iova: u64) -> bool {
        let blocked = |stream| {
            self.bench.dma_write(stream, iova, &[1]).is_err()
                && self.bench.dma_read(stream, iova, &mut [0]).is_err()
        };
        blocked(STREAM) && blocked(NEIGHBOUR)
    }
}

fn geometry(format: Format, board: &Board) -> Geometry {
    board.unit.report().features.geometry(format)
}

fn elapsed<T>(clock: &VirtualClock, what: impl FnOnce() -> T) -> (T, u64) {
    let before = clock.now_ns();
    let result = what();
    (result, clock.now_ns() - before)
}
