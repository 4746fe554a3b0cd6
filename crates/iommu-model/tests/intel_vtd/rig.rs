//! A driver of the fewest lines, in raw literals, so that the model is judged against a second reading.

use iommu_hal::{Deadline, PhysAddr, Registers, StreamId, TableMemory};
use iommu_model::{
    VirtualClock,
    intel_vtd::{Bench, Blocked, Config, MemoryPort, RegisterPort},
};

pub const DEVICE: StreamId = StreamId(0x18);
/// Where tests let devices end up.
pub const RAM: u64 = 0x8000_0000;

pub const TE: u32 = 1 << 31;
pub const SRTP: u32 = 1 << 30;
pub const QIE: u32 = 1 << 26;

/// Global invalidation of the context cache, of the IOTLB with drains, of the PASID cache.
pub const ALL_CONTEXTS: [u64; 2] = [0x11, 0];
pub const ALL_TRANSLATIONS: [u64; 2] = [0xd2, 0];
pub const ALL_PASIDS: [u64; 2] = [0x37, 0];

pub struct Rig {
    pub bench: Bench,
    pub regs: RegisterPort,
    pub mem: MemoryPort,
    pub clock: VirtualClock,
    /// Byte offset of the next descriptor, in a queue of one page.
    pub tail: u64,
    /// Bytes of a descriptor.
    pub step: u64,
    pub queue: u64,
    pub root: u64,
    /// The context table of bus 0; in scalable mode of its lower half.
    pub contexts: u64,
    /// Where wait descriptors write.
    pub status: u64,
    tickets: u64,
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
            tail: 0,
            step: 16,
            queue: base,
            root: base + 0x1000,
            contexts: base + 0x2000,
            status: base + 0x3000,
            tickets: 0,
            next_frame: base + 0x1_0000,
        }
    }

    /// A unit in legacy mode that is on, where every context entry of bus 0 is absent.
    pub fn on(config: Config) -> Self {
        let mut rig = Self::off(config);
        rig.enable_queue();
        rig.store(rig.root, rig.contexts | 1);
        rig.point_at_root(rig.root);
        rig.invalidate_all();
        rig.command(QIE | TE);
        rig
    }

    /// Likewise in scalable mode, with descriptors of 256 bits.
    pub fn scalable(config: Config) -> Self {
        let mut rig = Self::off(config);
        rig.step = 32;
        rig.enable_queue();
        rig.store(rig.root, rig.contexts | 1);
        rig.point_at_root(rig.root | 1 << 10);
        rig.push(ALL_CONTEXTS);
        rig.push(ALL_PASIDS);
        rig.push(ALL_TRANSLATIONS);
        rig.sync();
        rig.command(QIE | TE);
        rig
    }

    pub fn enable_queue(&mut self) {
        self.tail = 0;
        self.regs.write64(0x88, 0);
        self.regs.write64(0x90, self.queue | if self.step == 32 { 1 << 11 } else { 0 });
        self.command(QIE);
    }

    pub fn point_at_root(&mut self, root: u64) {
        self.regs.write64(0x20, root);
        let levels = self.regs.read32(0x1c) & (TE | QIE);
        self.command(levels | SRTP);
    }

    pub fn invalidate_all(&mut self) {
        self.push(ALL_CONTEXTS);
        self.push(ALL_TRANSLATIONS);
        self.sync();
    }

    /// Writes GCMD and waits for GSTS; whether it was acknowledged. The root pointer stays set.
    pub fn try_command(&mut self, value: u32) -> bool {
        let before = self.regs.read32(0x1c) & (1 << 30 | 1 << 24);
        self.regs.write32(0x18, value);
        let wanted = value & !(1 << 27) | before;
        self.until(|rig| rig.regs.read32(0x1c) == wanted)
    }

    pub fn command(&mut self, value: u32) {
        assert!(self.try_command(value), "GCMD {value:#x}, GSTS {:#x}", self.regs.read32(0x1c));
    }

    pub fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let clock = self.clock.clone();
        let deadline = Deadline::after(&clock, 1_000_000);
        while !done(self) {
            if deadline.expired(&clock) {
                return false;
            }
        }
        true
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

    /// Puts a descriptor into the queue and tells the unit.
    pub fn push(&mut self, descriptor: [u64; 2]) {
        self.place(descriptor);
        self.tell();
    }

    /// Puts a descriptor into the queue.
    pub fn place(&mut self, descriptor: [u64; 2]) {
        let at = self.queue + self.tail;
        self.mem.write(PhysAddr(at), descriptor[0]);
        self.mem.write(PhysAddr(at + 8), descriptor[1]);
        self.mem.publish();
        self.tail = (self.tail + self.step) & 0xfff;
    }

    pub fn tell(&mut self) {
        self.regs.write64(0x88, self.tail);
    }

    /// Whether a wait descriptor completed in time.
    pub fn try_sync(&mut self) -> bool {
        self.tickets += 1;
        let ticket = self.tickets;
        self.push([0x25 | ticket << 32, self.status]);
        self.until(|rig| rig.mem.read(PhysAddr(rig.status)) & 0xffff_ffff == ticket)
    }

    pub fn sync(&mut self) {
        assert!(self.try_sync());
    }

    /// A frame of zeros.
    pub fn frame(&mut self) -> u64 {
        self.next_frame += 0x1000;
        self.next_frame
    }

    /// Root, level 2 and level 1 for the first 2 MiB of 39 bits.
    pub fn tables(&mut self) -> (u64, u64, u64) {
        let (root, middle, last) = (self.frame(), self.frame(), self.frame());
        self.store(root, middle | 0b11);
        self.store(middle, last | 0b11);
        (root, middle, last)
    }

    /// The entry of a device on bus 0.
    pub fn entry_at(&self, device: StreamId) -> u64 {
        self.contexts + 16 * u64::from(device.0)
    }

    /// Fills an absent legacy context entry, present last: 39 bits from `root` under domain id `domain`.
    pub fn attach(&mut self, device: StreamId, root: u64, domain: u64) {
        self.attach_raw(device, [root | 1, 1 | domain << 8]);
    }

    pub fn attach_raw(&mut self, device: StreamId, entry: [u64; 2]) {
        let at = self.entry_at(device);
        self.store(at + 8, entry[1]);
        self.store(at, entry[0]);
    }

    /// Takes the record at the first place, if there is one.
    pub fn fault(&mut self) -> Option<[u64; 2]> {
        self.record(0)
    }

    pub fn record(&mut self, index: u32) -> Option<[u64; 2]> {
        let at = 0x220 + 16 * index;
        let record = [self.regs.read64(at), self.regs.read64(at + 8)];
        (record[1] >> 63 == 1).then(|| {
            self.regs.write32(at + 12, 1 << 31);
            record
        })
    }

    pub fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        self.bench.dma_write(DEVICE, iova, bytes)
    }

    pub fn read(&self, iova: u64) -> Result<[u8; 4], Blocked> {
        self.read_as(DEVICE, iova)
    }

    pub fn read_as(&self, device: StreamId, iova: u64) -> Result<[u8; 4], Blocked> {
        let mut bytes = [0; 4];
        self.bench.dma_read(device, iova, &mut bytes).map(|()| bytes)
    }

    pub fn peek(&self, at: u64) -> [u8; 4] {
        let mut bytes = [0; 4];
        self.bench.memory().peek(at, &mut bytes);
        bytes
    }
}

/// Context-cache invalidation of one device under a domain id.
pub fn forget_context(device: StreamId, domain: u64) -> [u64; 2] {
    [0x31 | domain << 16 | u64::from(device.0) << 32, 0]
}

/// IOTLB invalidation of one page, tables too.
pub fn forget_page(domain: u64, iova: u64) -> [u64; 2] {
    [0xf2 | domain << 16, iova]
}

/// IOTLB invalidation of a domain.
pub fn forget_domain(domain: u64) -> [u64; 2] {
    [0xe2 | domain << 16, 0]
}

/// The reason that blocked an access.
pub fn blocked_by(result: Result<impl Sized, Blocked>) -> Option<u8> {
    result.err().expect("the access is blocked").reason
}
