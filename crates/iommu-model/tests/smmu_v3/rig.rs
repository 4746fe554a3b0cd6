//! A driver of the fewest lines, in raw literals, so that the model is judged against a second reading.

use iommu_hal::{Deadline, PhysAddr, Registers, StreamId, TableMemory};
use iommu_model::{
    VirtualClock,
    smmu_v3::{Bench, Blocked, Config, MemoryPort, RegisterPort},
};

pub const DEVICE: StreamId = StreamId(8);
/// Where tests let devices end up.
pub const RAM: u64 = 0x8000_0000;

pub struct Rig {
    pub bench: Bench,
    pub regs: RegisterPort,
    pub mem: MemoryPort,
    pub clock: VirtualClock,
    /// The command queue's write index with its wrap bit, of 8 entries.
    pub produced: u32,
    /// The Stream table.
    pub streams: u64,
    pub events: u64,
    pub commands: u64,
    next_frame: u64,
}

impl Rig {
    /// A unit that is off.
    pub fn off(config: Config) -> Self {
        Self::over(Bench::new(config))
    }

    pub fn over(bench: Bench) -> Self {
        let (regs, mem, clock) = bench.ports();
        let base = mem.base().0;
        Self {
            bench,
            regs,
            mem,
            clock,
            produced: 0,
            commands: base,
            events: base + 0x1000,
            streams: base + 0x1_0000,
            next_frame: base + 0x2_0000,
        }
    }

    /// A unit that is on, with a linear table of 64 streams that all abort.
    pub fn on(config: Config) -> Self {
        let mut rig = Self::off(config);
        rig.queues();
        rig.push([0x04, 31]);
        rig.push([0x30, 0]);
        rig.sync();
        rig.enable_streams();
        rig
    }

    /// Sets up 8 commands and 4 events.
    pub fn queues(&mut self) {
        self.regs.write32(0x28, 0xd75);
        self.regs.write64(0x90, self.commands | 3);
        self.regs.write32(0x98, 0);
        self.regs.write32(0x9c, 0);
        self.regs.write64(0xa0, self.events | 2);
        self.regs.write32(0x1_00a8, 0);
        self.regs.write32(0x1_00ac, 0);
        self.set_cr0(0b1100);
    }

    pub fn enable_streams(&mut self) {
        for stream in 0..64 {
            self.store(self.streams + 64 * stream, 1);
        }
        self.regs.write32(0x2c, 0b10);
        self.regs.write64(0x80, self.streams);
        self.regs.write32(0x88, 6);
        self.set_cr0(0b1101);
    }

    /// Writes CR0 and waits; whether it was acknowledged.
    pub fn try_cr0(&mut self, value: u32) -> bool {
        self.regs.write32(0x20, value);
        let clock = self.clock.clone();
        let deadline = Deadline::after(&clock, 1_000_000);
        while self.regs.read32(0x24) != value {
            if deadline.expired(&clock) {
                return false;
            }
        }
        true
    }

    pub fn set_cr0(&mut self, value: u32) {
        assert!(self.try_cr0(value));
    }

    /// Stores a word and shows it to the unit.
    pub fn store(&mut self, at: u64, value: u64) {
        self.mem.write(PhysAddr(at), value);
        self.show(at);
    }

    pub fn show(&mut self, at: u64) {
        self.mem.clean(PhysAddr(at), 8);
        self.mem.publish();
    }

    /// Puts a command into the queue and tells the unit.
    pub fn push(&mut self, command: [u64; 2]) {
        let at = self.commands + 16 * u64::from(self.produced & 7);
        self.store(at, command[0]);
        self.store(at + 8, command[1]);
        self.produced = (self.produced + 1) & 0xf;
        self.regs.write32(0x98, self.produced);
    }

    /// Whether a CMD_SYNC completed in time.
    pub fn try_sync(&mut self) -> bool {
        self.push([0x46, 0]);
        self.drained()
    }

    pub fn drained(&mut self) -> bool {
        let clock = self.clock.clone();
        let deadline = Deadline::after(&clock, 1_000_000);
        while self.regs.read32(0x9c) & 0xf_ffff != self.produced {
            if deadline.expired(&clock) {
                return false;
            }
        }
        true
    }

    pub fn sync(&mut self) {
        assert!(self.try_sync());
    }

    /// CMD_CFGI_STE, CMD_SYNC.
    pub fn forget_entry(&mut self, stream: StreamId) {
        self.push([0x03 | u64::from(stream.0) << 32, 1]);
        self.sync();
    }

    /// Fills words 1 to 7 of `stream`'s entry, which aborts, and then switches it on with word 0.
    pub fn attach(&mut self, stream: StreamId, entry: [u64; 4]) {
        let at = self.streams + 64 * u64::from(stream.0);
        for word in 1..4 {
            self.store(at + 8 * word, entry[word as usize]);
        }
        self.forget_entry(stream);
        self.store(at, entry[0]);
        self.forget_entry(stream);
    }

    /// A frame of zeros.
    pub fn frame(&mut self) -> u64 {
        self.next_frame += 0x1000;
        self.next_frame
    }

    /// Root, level 2 and level 3 for the first 2 MiB of 39 bits: (root, level 2, level 3).
    pub fn tables(&mut self) -> (u64, u64, u64) {
        let (root, middle, last) = (self.frame(), self.frame(), self.frame());
        self.store(root, middle | 0b11);
        self.store(middle, last | 0b11);
        (root, middle, last)
    }

    /// The entry of a stage 2 stream: 39 bits from level 1, 4 KiB, 44 bits out, S2R, VMID 5.
    pub fn stage_two(root: u64) -> [u64; 4] {
        // Walks are write-back and inner shareable.
        let config = 5 | 25 << 32 | 1 << 38 | 0b11_01_01 << 40 | 0b100 << 48 | 1 << 51 | 1 << 58;
        [0b1101, 0, config, root]
    }

    /// A context of stage 1 with ASID 7, and the entry that points at it, with VMID 5.
    pub fn stage_one(&mut self, root: u64) -> [u64; 4] {
        let context = self.frame();
        let word = 25 | 0b11_01_01 << 8 | 1 << 30 | 1 << 31 | 0b100 << 32 | 1 << 41 | 0b11 << 45 | 7 << 48;
        self.store(context + 8, root);
        self.store(context + 24, 0xff);
        self.store(context, word);
        [0b1011 | context, 0b11_01_01 << 2, 5, 0]
    }

    /// Takes the next record.
    pub fn event(&mut self) -> Option<[u64; 4]> {
        let produced = self.regs.read32(0x1_00a8);
        let consumed = self.regs.read32(0x1_00ac);
        if produced & 7 == consumed & 7 {
            return None;
        }
        let at = PhysAddr(self.events + 32 * u64::from(consumed & 3));
        self.mem.invalidate(at, 32);
        let record = std::array::from_fn(|word| self.mem.read(PhysAddr(at.0 + 8 * word as u64)));
        self.regs.write32(0x1_00ac, (consumed + 1) & 7 | produced & 1 << 31);
        Some(record)
    }

    pub fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        self.bench.dma_write(DEVICE, iova, bytes)
    }

    pub fn read(&self, iova: u64) -> Result<[u8; 4], Blocked> {
        let mut bytes = [0; 4];
        self.bench.dma_read(DEVICE, iova, &mut bytes).map(|()| bytes)
    }

    pub fn peek(&self, at: u64) -> [u8; 4] {
        let mut bytes = [0; 4];
        self.bench.memory().peek(at, &mut bytes);
        bytes
    }
}

/// A page at stage 2: normal memory, inner shareable, AF, read and write.
pub const fn page_two(output: u64) -> u64 {
    output | 0x7ff
}

/// A page at stage 1: inner shareable, AF, not global, read and write for all.
pub const fn page_one(output: u64) -> u64 {
    output | 0xf43
}

/// The event number that blocked an access.
pub fn blocked_by(result: Result<impl Sized, Blocked>) -> Option<u8> {
    result.err().expect("the access is blocked").event
}
