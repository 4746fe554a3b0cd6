//! What the tests against QEMU share: a machine, table memory, tables written by hand.
#![allow(dead_code, missing_docs)] // Every test file uses its own part of it.

pub mod tables;

use arm_smmu_v3::{Config, SmmuV3, Stage};
use iommu_hal::{
    Access, Binding, Carver, DomainTag, Fault, FaultReason, Format, Geometry, PhysAddr, Rights, StreamId,
    Unit,
};
use iommu_qtest::{Ecam, Edu, HostClock, Machine, Qemu, QemuMemory, QemuRegisters};
use tables::Frames;

pub const SMMU: u64 = 0x0905_0000;
pub const ECAM: u64 = 0x40_1000_0000;
pub const EDU_BAR: u32 = 0x1000_0000;
pub const TABLES: PhysAddr = PhysAddr(0x4800_0000);
pub const TABLE_BYTES: u64 = 4 << 20;
/// Memory for DMA: 2 MiB aligned, 64 MiB.
pub const DATA: u64 = 0x4000_0000;
pub const PAGE: u64 = 4096;
pub const TAG: DomainTag = DomainTag(1);

pub const STAGES: [Stage; 2] = [Stage::One, Stage::Two];

pub fn machine(stage: Stage) -> Machine {
    let number = match stage {
        Stage::One => 1,
        Stage::Two => 2,
    };
    // From virt-9.2 on the machine itself chooses both stages.
    let mut machine = Machine::arm_virt().with("-device edu,dma_mask=0xffffffffffffffff");
    machine = machine.with(&format!("-machine virt-9.1 -global arm-smmuv3.stage={number}"));
    machine
}

/// A machine without anything done to its SMMU yet.
pub struct Bare {
    pub qemu: Qemu,
    pub edu: Edu,
    pub memory: QemuMemory,
    pub clock: HostClock,
}

pub fn bare(machine: &Machine) -> Bare {
    let qemu = Qemu::start(machine).unwrap_or_else(|error| panic!("{error}"));
    let functions = Ecam::new(&qemu, ECAM).find(Edu::IDS.0, Edu::IDS.1);
    let edu = Edu::new(functions.first().expect("an edu device"), EDU_BAR);
    let memory = QemuMemory::new(&qemu, TABLES, TABLE_BYTES);
    Bare { qemu, edu, memory, clock: HostClock::new() }
}

impl Bare {
    pub fn stream(&self) -> StreamId {
        StreamId(self.edu.requester().into())
    }

    pub fn bring_up(self, stage: Option<Stage>) -> Bench {
        let stream = self.stream();
        let mut carver = Carver::new(TABLES, TABLE_BYTES);
        let mut memory = self.memory;
        let regs = QemuRegisters::new(&self.qemu, SMMU);
        let config = Config { streams: &[stream], stage, record_unknown: false };
        let unit = SmmuV3::bring_up(regs, &mut memory, &self.clock, &mut carver, &config)
            .unwrap_or_else(|error| panic!("{error}"));
        let frames = Frames(carver.rest().0);
        let Self { qemu, edu, clock, .. } = self;
        Bench { qemu, edu, memory, clock, unit, frames, stream }
    }
}

/// A machine whose SMMU was brought up.
pub struct Bench {
    pub qemu: Qemu,
    pub edu: Edu,
    pub memory: QemuMemory,
    pub clock: HostClock,
    pub unit: SmmuV3<QemuRegisters>,
    pub stream: StreamId,
    frames: Frames,
}

pub fn bench(stage: Stage) -> Bench {
    bare(&machine(stage)).bring_up(None)
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

    pub fn sync(&mut self) {
        let _ = self.unit.sync(&mut self.memory, &self.clock).expect("sync");
    }

    /// Writes a leaf of `1 << size_lg2` bytes.
    pub fn map(&mut self, space: &Binding, iova: u64, pa: u64, size_lg2: u32, rights: Rights) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, pa, size_lg2, rights);
    }

    pub fn unmap(&mut self, space: &Binding, iova: u64, size_lg2: u32) {
        tables::map(&mut self.memory, &mut self.frames, space, iova, 0, size_lg2, Rights::NONE);
    }

    /// Puts a pattern into the device's buffer through `iova`, mapped to `pa`; gives the pattern.
    pub fn load_device(&mut self, iova: u64, pa: u64, seed: u8) -> Vec<u8> {
        let data = pattern(seed);
        self.qemu.write(pa, &data);
        self.edu.read_ram(iova, PAGE);
        data
    }

    pub fn fault(&mut self) -> Option<Fault> {
        self.unit.next_fault(&mut self.memory)
    }

    /// Takes out all faults; they must be of one access, whose first this gives.
    pub fn faults_alike(&mut self, most: usize) -> Option<Fault> {
        let first = self.fault()?;
        for _ in 1..most {
            let Some(next) = self.fault() else { return Some(first) };
            assert_eq!(
                (next.stream, next.reason, next.access),
                (first.stream, first.reason, first.access),
                "{next:x?} beside {first:x?}"
            );
        }
        assert_eq!(self.fault(), None, "more than {most} faults");
        Some(first)
    }

    pub fn assert_fault(&mut self, reason: FaultReason, iova: u64, access: Access) {
        let fault = self.faults_alike(2048).expect("a fault record");
        assert_eq!(fault.stream, self.stream);
        assert_eq!((fault.reason, fault.iova, fault.access), (reason, Some(iova), access));
    }
}

pub fn pattern(seed: u8) -> Vec<u8> {
    (0..PAGE as u32).map(|i| (i * 7 + i / 256) as u8 ^ seed).collect()
}

/// The shape that a unit of QEMU's has: both stages start at level 0.
pub fn geometry(format: Format) -> Geometry {
    Geometry { format, input_bits: 44, output_bits: 44, page_sizes: 1 << 12 | 1 << 21 | 1 << 30 }
}
