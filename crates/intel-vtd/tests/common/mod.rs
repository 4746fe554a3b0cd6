//! What the tests against QEMU share: machines, table memory, tables written by hand.
#![allow(dead_code, missing_docs)] // Every test file uses its own part of it.

pub mod tables;

use intel_vtd::{BringUpError, Config, IntelVtd};
use iommu_hal::{
    Access, Binding, Carver, DomainTag, Fault, FaultReason, IovaRange, PhysAddr, Rights, StreamId, Unit,
};
use iommu_qtest::{Ecam, Edu, HostClock, Machine, Q35_ECAM, Qemu, QemuMemory, QemuRegisters};
use tables::Frames;

pub const VTD: u64 = 0xfed9_0000;
pub const EDU_BAR: u32 = 0xe000_0000;
pub const TABLES: PhysAddr = PhysAddr(0x800_0000);
pub const TABLE_BYTES: u64 = 4 << 20;
/// Memory for DMA: 2 MiB aligned, 64 MiB.
pub const DATA: u64 = 0x1000_0000;
pub const PAGE: u64 = 4096;
pub const TAG: DomainTag = DomainTag(1);

/// The units that QEMU has, by their options.
pub const KINDS: [&str; 6] = [
    "",
    "caching-mode=on",
    "aw-bits=39",
    "x-scalable-mode=on",
    "intremap=off",
    "x-scalable-mode=on,x-flts=on",
];

pub fn machine(options: &str) -> Machine {
    let options = if options.is_empty() { String::new() } else { format!(",{options}") };
    let unit = format!("-device intel-iommu{options}");
    Machine::q35().with(&unit).with("-device edu,dma_mask=0xffffffffffffffff")
}

/// A machine without anything done to its unit yet.
pub struct Bare {
    pub qemu: Qemu,
    pub edu: Edu,
    pub memory: QemuMemory,
    pub clock: HostClock,
}

pub fn bare(options: &str) -> Bare {
    let qemu = Qemu::start(&machine(options)).unwrap_or_else(|error| panic!("{error}"));
    let functions = Ecam::new(&qemu, Q35_ECAM.into()).find(Edu::IDS.0, Edu::IDS.1);
    let edu = Edu::new(functions.first().expect("an edu device"), EDU_BAR);
    let memory = QemuMemory::new(&qemu, TABLES, TABLE_BYTES);
    Bare { qemu, edu, memory, clock: HostClock::new() }
}

impl Bare {
    pub fn stream(&self) -> StreamId {
        StreamId(self.edu.requester().into())
    }

    pub fn registers(&self) -> QemuRegisters {
        QemuRegisters::new(&self.qemu, VTD)
    }

    pub fn try_bring_up(
        &mut self,
        config: &Config<'_>,
    ) -> Result<(IntelVtd<QemuRegisters>, Frames), BringUpError> {
        let mut carver = Carver::new(TABLES, TABLE_BYTES);
        let regs = self.registers();
        let unit = IntelVtd::bring_up(regs, &mut self.memory, &self.clock, &mut carver, config)?;
        Ok((unit, Frames(carver.rest().0)))
    }

    pub fn bring_up(mut self) -> Bench {
        let stream = self.stream();
        let config = Config { streams: &[stream], record_unknown: false, fault_message: None };
        let (unit, frames) = self.try_bring_up(&config).unwrap_or_else(|error| panic!("{error}"));
        let Self { qemu, edu, memory, clock } = self;
        Bench { qemu, edu, memory, clock, unit, frames, stream }
    }
}

/// A machine whose unit was brought up.
pub struct Bench {
    pub qemu: Qemu,
    pub edu: Edu,
    pub memory: QemuMemory,
    pub clock: HostClock,
    pub unit: IntelVtd<QemuRegisters>,
    pub stream: StreamId,
    frames: Frames,
}

pub fn bench(options: &str) -> Bench {
    bare(options).bring_up()
}

impl Bench {
    /// A new address space.
    pub fn space(&mut self, tag: DomainTag) -> Binding {
        let geometry = self.unit.geometry();
        Binding { tag, geometry, root: self.frames.take(&mut self.memory) }
    }

    /// A new address space with the edu device attached.
    pub fn attached(&mut self) -> Binding {
        let space = self.space(TAG);
        self.attach(&space);
        space
    }

    pub fn attach(&mut self, space: &Binding) {
        self.unit.attach(&mut self.memory, &self.clock, self.stream, space).expect("attach");
    }

    pub fn block(&mut self) {
        self.unit.block(&mut self.memory, &self.clock, self.stream).expect("block");
    }

    pub fn sync(&mut self) {
        let _ = self.unit.sync(&mut self.memory, &self.clock).expect("sync");
    }

    /// Writes a leaf of `1 << size_lg2` bytes, and shows it to the unit if that has to be.
    pub fn map(&mut self, space: &Binding, iova: u64, pa: u64, size_lg2: u32, rights: Rights) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, pa, size_lg2, rights);
        if self.unit.caches_absence() {
            self.invalidate(space, iova, 1 << size_lg2, true);
            self.sync();
        }
    }

    /// Changes a leaf and does not tell.
    pub fn store(&mut self, space: &Binding, iova: u64, pa: u64, size_lg2: u32, rights: Rights) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, pa, size_lg2, rights);
    }

    pub fn invalidate(&mut self, space: &Binding, iova: u64, bytes: u64, tables: bool) {
        let range = IovaRange::from_length(iova, bytes).unwrap();
        let Self { unit, memory, clock, .. } = self;
        unit.invalidate(memory, clock, space.tag, &space.geometry, range, tables).expect("invalidate");
    }

    pub fn invalidate_all(&mut self, space: &Binding) {
        let Self { unit, memory, clock, .. } = self;
        unit.invalidate_all(memory, clock, space.tag, &space.geometry).expect("invalidate");
    }

    /// Puts a pattern into the device's buffer through `iova`, mapped to `pa`; gives the pattern.
    pub fn load_device(&mut self, iova: u64, pa: u64, seed: u8) -> Vec<u8> {
        let data = pattern(seed);
        self.qemu.write(pa, &data);
        self.edu.read_ram(iova, PAGE);
        data
    }

    /// Whether the page at `iova` leads to that at `pa`, both ways.
    pub fn reaches(&mut self, iova: u64, pa: u64, seed: u8) -> bool {
        let data = self.load_device(iova, pa, seed);
        self.qemu.fill(pa, PAGE, 0);
        self.edu.write_ram(iova, PAGE);
        self.qemu.read(pa, PAGE as usize) == data
    }

    pub fn fault(&mut self) -> Option<Fault> {
        self.unit.next_fault(&mut self.memory)
    }

    /// Takes out the one fault there is.
    pub fn assert_fault(&mut self, reason: FaultReason, iova: u64, access: Access) {
        let fault = self.fault().expect("a fault record");
        assert_eq!(fault.stream, self.stream);
        let page = iova & !(PAGE - 1);
        assert_eq!((fault.reason, fault.iova, fault.access), (reason, Some(page), access), "{fault:x?}");
        assert_eq!(self.fault(), None);
    }
}

pub fn pattern(seed: u8) -> Vec<u8> {
    (0..PAGE as u32).map(|i| (i * 7 + i / 256) as u8 ^ seed | 1).collect()
}
