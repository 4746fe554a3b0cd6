//! The driver against the project's own model of VT-d: what QEMU cannot show.
//!
//! The model panics when the driver breaks a rule of the specification, and whenever a mix of words that the unit may
//! have read of an entry lets anything else pass than the old or the new entry.
#![allow(missing_docs)]

mod bring_up;
mod changes;
mod queue;
#[path = "../common/tables.rs"]
mod tables;
mod told;

use intel_vtd::{BringUpError, Config, IntelVtd, InterruptMessage};
use iommu_hal::{Binding, Carver, Clock, DomainTag, IovaRange, PhysAddr, Registers, Rights, StreamId, Unit};
use iommu_model::{VirtualClock, intel_vtd as model};
use model::{Bench, MemoryPort, RegisterPort};
use tables::Frames;

/// Memory for DMA, outside the table region.
const DATA: u64 = 0x9000_0000;
const PAGE: u64 = 4096;
const IOVA: u64 = 0x1_2345_6000;
const STREAM: StreamId = StreamId(0x18);
const NEIGHBOUR: StreamId = StreamId(0x19);
const MESSAGE: InterruptMessage = InterruptMessage { address: 0xfee0_1000, data: 0x58 };

struct Board {
    bench: Bench,
    memory: MemoryPort,
    clock: VirtualClock,
    unit: IntelVtd<RegisterPort>,
    frames: Frames,
}

fn config(streams: &[StreamId]) -> Config<'_> {
    Config { streams, record_unknown: false, fault_message: Some(MESSAGE) }
}

/// Brings up the unit of `bench`.
fn start_with(bench: Bench, kind: &model::Config, config: &Config<'_>) -> Result<Board, BringUpError> {
    let (regs, mut memory, clock) = bench.ports();
    let mut carver = Carver::new(PhysAddr(kind.table_base), kind.table_bytes);
    let unit = IntelVtd::bring_up(regs, &mut memory, &clock, &mut carver, config)?;
    Ok(Board { bench, memory, clock, unit, frames: Frames(carver.rest().0) })
}

fn start(kind: &model::Config) -> Board {
    start_with(Bench::new(kind.clone()), kind, &config(&[STREAM, NEIGHBOUR]))
        .unwrap_or_else(|error| panic!("{error}, {kind:?}"))
}

/// Units of all kinds, with queued invalidation.
fn kinds() -> Vec<model::Config> {
    let base = model::Config::default();
    let mut kinds = vec![
        model::Config::caching_mode(),
        model::Config::narrow(),
        model::Config::without_interrupt_remapping(),
        model::Config::coherent(),
        model::Config::server(),
        model::Config { queued_invalidation: true, ..model::Config::old() },
        model::Config { reads_ahead: false, ..base.clone() },
        model::Config { page_selective: false, max_address_mask: 0, ..base.clone() },
        model::Config { max_address_mask: 0, ..base.clone() },
        model::Config { large_pages: vec![21], drains: false, ..base.clone() },
        model::Config { domain_bits: 8, widths: vec![48], ..base.clone() },
        model::Config { fault_records: 256, fault_offset: 0, ..base.clone() },
        model::Config {
            fault_records: 8,
            collapses_faults: false,
            pointer_invalidates: true,
            ..base.clone()
        },
        model::Config { protected_memory: true, caching_mode: true, coherent: true, ..base.clone() },
        model::Config { write_buffer: true, caching_mode: true, ..base.clone() },
        base,
    ];
    // Fault records lie behind all other registers.
    kinds.retain(|kind| kind.fault_offset != 0);
    let scalable = kinds.iter().map(|kind| model::Config { scalable: true, ..kind.clone() });
    let scalable: Vec<_> = scalable.collect();
    kinds.extend(scalable);
    kinds
}

impl Board {
    fn space(&mut self, tag: u16) -> Binding {
        let geometry = self.unit.geometry();
        Binding { tag: DomainTag(tag), geometry, root: self.frames.take(&mut self.memory) }
    }

    fn attach(&mut self, stream: StreamId, space: &Binding) {
        self.unit.attach(&mut self.memory, &self.clock, stream, space).expect("attach");
    }

    fn block(&mut self, stream: StreamId) {
        self.unit.block(&mut self.memory, &self.clock, stream).expect("block");
    }

    fn attached(&mut self) -> Binding {
        let space = self.space(1);
        self.attach(STREAM, &space);
        space
    }

    /// Writes a leaf where none was, and shows it to the unit if that has to be.
    fn map(&mut self, space: &Binding, iova: u64, pa: u64, size_lg2: u32, rights: Rights) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, pa, size_lg2, rights);
        if self.unit.caches_absence() {
            self.invalidate(space, iova, 1 << size_lg2, true);
            self.sync();
        }
    }

    /// Takes a leaf away, with what hangs on it, and completes the invalidation.
    fn unmap(&mut self, space: &Binding, iova: u64, size_lg2: u32, tables: bool) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, 0, size_lg2, Rights::NONE);
        self.invalidate(space, iova, 1 << size_lg2, tables);
        self.sync();
    }

    fn invalidate(&mut self, space: &Binding, iova: u64, bytes: u64, tables: bool) {
        let range = IovaRange::from_length(iova, bytes).unwrap();
        let Self { unit, memory, clock, .. } = self;
        unit.invalidate(memory, clock, space.tag, &space.geometry, range, tables).expect("invalidate");
    }

    fn sync(&mut self) {
        let _ = self.unit.sync(&mut self.memory, &self.clock).expect("sync");
    }

    /// Whether a write to `iova` lands in the page at `pa`, or nowhere.
    fn write_lands(&mut self, stream: StreamId, iova: u64, pa: u64) -> bool {
        self.bench.memory().poke(pa, &[0; 16]);
        let written = self.bench.dma_write(stream, iova, &[0x5a; 16]);
        let mut read = [0; 16];
        self.bench.memory().peek(pa, &mut read);
        assert_eq!(
            written.is_ok(),
            read == [0x5a; 16],
            "{written:?} lands elsewhere, {:?}",
            self.unit.report()
        );
        written.is_ok()
    }

    /// Maps, reads and writes by DMA, takes away, and shows that nothing gets through any more.
    fn exercise(&mut self, space: &Binding, iova: u64, pa: u64) {
        self.map(space, iova, pa, 12, Rights::READ_WRITE);
        self.bench.memory().poke(pa, &[0xa5; 16]);
        let mut read = [0; 16];
        self.bench.dma_read(STREAM, iova, &mut read).expect("a read");
        assert_eq!(read, [0xa5; 16]);
        assert!(self.write_lands(STREAM, iova, pa));
        self.unmap(space, iova, 12, false);
        assert!(!self.write_lands(STREAM, iova, pa));
        assert!(self.bench.dma_read(STREAM, iova, &mut read).is_err());
        while self.unit.next_fault(&mut self.memory).is_some() {}
    }

    fn nothing_passes(&self, iova: u64) -> bool {
        let blocked = |stream| {
            self.bench.dma_write(stream, iova, &[1]).is_err()
                && self.bench.dma_read(stream, iova, &mut [0]).is_err()
        };
        blocked(STREAM) && blocked(NEIGHBOUR)
    }
}

fn elapsed<T>(clock: &VirtualClock, what: impl FnOnce() -> T) -> (T, u64) {
    let before = clock.now_ns();
    let result = what();
    (result, clock.now_ns() - before)
}
