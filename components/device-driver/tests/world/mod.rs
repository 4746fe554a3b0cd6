//! Two drivers' world, played: an IOMMU server, a PCI host, two edu devices, and what is wrong with them.

mod edu;
mod server;

use std::{cell::RefCell, collections::BTreeMap, fmt, ptr::NonNull, rc::Rc};

use ::edu::{Edu, Registers};
use device_driver::{CONSTANTS_SLOT, MEMORY_SLOT, Machine, Notes, Parts, Signal, Signals, start};
use iommu_client::{Call, DmaBuffer, RingMemory};
use iommu_protocol::{Words, ring};

pub const PAGE: u64 = 4096;
/// Bytes of a driver's memory here.
pub const MEMORY: u64 = 16 * PAGE;
pub const NAMES: [&str; 2] = ["edu0_driver", "edu1_driver"];
/// Steps of both drivers together after which something goes round in circles.
const MOST_STEPS: u32 = 10_000;

/// What is wrong with the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    /// Nothing is: the devices were made with all address bits.
    WideMask,
    /// Accesses that no mapping allows go to the driver's own memory.
    NothingStopped,
    /// Read-only mappings can be written.
    ReadOnlyWritten,
    /// Translations outlive their mapping.
    StaleTranslations,
    /// A read that was stopped leaves the buffer as it was.
    ReadsLeak,
    /// A write is stopped as a whole when a part of it is.
    AllOrNothing,
    /// Mapped writes are forgotten.
    WritesForgotten,
    /// Faults leave no record.
    NoRecord,
    /// The hardware drops every other attack's records, and says so.
    DropsSome,
    /// The hardware drops all records, and says so.
    DropsAll,
    /// Records tell the wrong page.
    OtherIova,
    /// Records tell another reason.
    OtherReason,
    /// Records tell the other access.
    OtherAccess,
    /// Every record goes to both drivers.
    RecordsToBoth,
    /// A device reaches what the other driver has mapped.
    SharedMappings,
    /// The PCI host enables what is not attached.
    EnabledUnattached,
    /// DETACH leaves bus mastering on.
    StaysBusMaster,
    /// A refused UNMAP removes its part.
    SplitRemoves,
    /// A stale generation is taken.
    GenerationIgnored,
    /// Other drivers' spaces are forbidden rather than unknown.
    SpacesKnown,
    /// The constants may be written.
    ConstantsWritable,
    /// The server speaks another version.
    OtherVersion,
    /// There is no room for an address space.
    NoSpace,
    /// The device's interrupt has another status too.
    OtherInterrupt,
}

/// One page that a device reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub slot: usize,
    pub offset: u64,
    pub read: bool,
    pub write: bool,
}

/// An address space: its pages by IOVA, and its mappings from first to last IOVA.
#[derive(Debug, Default, Clone)]
pub struct Space {
    pub pages: BTreeMap<u64, Page>,
    pub areas: BTreeMap<u64, u64>,
}

/// One driver's share of the world.
#[derive(Debug)]
pub struct Side {
    pub regions: [(NonNull<u8>, u64); 2],
    pub spaces: BTreeMap<u16, Space>,
    pub next_space: u16,
    pub attached: Option<u16>,
    pub bus_master: bool,
    pub cached: BTreeMap<u64, Page>,
    pub ring: [u64; ring::BYTES / 8],
    pub edu: edu::Device,
    pub masked: bool,
    pub pending: Vec<Signal>,
    pub attacks: u32,
    pub lines: Vec<String>,
}

#[derive(Debug)]
pub struct World {
    pub wrong: Wrong,
    pub sides: [Side; 2],
    /// The region slots' generation.
    pub generation: u16,
}

/// Memory that lives for ever: the drivers' buffers point into it, as the devices do.
fn memory(bytes: u64) -> NonNull<u64> {
    NonNull::from(Vec::leak(vec![0_u64; bytes as usize / 8])).cast()
}

impl Side {
    fn new(number: u16) -> Self {
        let mut ring = [0; ring::BYTES / 8];
        ring[0] = ring::MAGIC;
        Self {
            regions: [(memory(MEMORY).cast(), MEMORY), (memory(PAGE).cast(), PAGE)],
            spaces: BTreeMap::new(),
            next_space: number,
            attached: None,
            bus_master: false,
            cached: BTreeMap::new(),
            ring,
            edu: edu::Device::default(),
            masked: false,
            pending: Vec::new(),
            attacks: 0,
            lines: Vec::new(),
        }
    }

    pub fn signal(&mut self, signal: Signal) {
        if !self.pending.contains(&signal) {
            self.pending.push(signal);
        }
    }

    /// Interrupts, if the device wants to and the interrupt was acknowledged.
    fn interrupt(&mut self) {
        if self.edu.status != 0 && !self.masked {
            self.masked = true;
            self.signal(Signal::Device);
        }
    }
}

/// One driver's way into the world.
#[derive(Clone)]
pub struct Port {
    world: Rc<RefCell<World>>,
    side: usize,
}

impl Port {
    fn with<T>(&self, f: impl FnOnce(&mut World, usize) -> T) -> T {
        f(&mut self.world.borrow_mut(), self.side)
    }
}

pub struct PciPort(Port);

impl Machine for Port {
    type Iommu = Port;
    type PciHost = PciPort;
    type Registers = Port;
    type Ring = Port;
    type Notes = NoNotes;

    fn report(&mut self, line: fmt::Arguments<'_>) {
        self.with(|world, side| world.sides[side].lines.push(line.to_string()));
    }

    fn acknowledge_interrupt(&mut self) {
        self.with(|world, side| {
            world.sides[side].masked = false;
            world.sides[side].interrupt();
        });
    }

    fn notify_peer(&mut self) {
        self.with(|world, side| {
            let peer = &mut world.sides[1 - side];
            assert!(!peer.pending.contains(&Signal::Peer), "two signals to the peer become one");
            peer.signal(Signal::Peer);
        });
    }

    fn ask_to_be_replaced(&mut self) {
        unreachable!("nobody restarts this driver");
    }

    fn die(&mut self) {
        unreachable!("nobody restarts this driver");
    }
}

/// Nobody restarts these drivers.
pub enum NoNotes {}

impl Notes for NoNotes {
    fn load(&self, _: usize) -> u64 {
        match *self {}
    }

    fn store(&mut self, _: usize, _: u64) {
        match *self {}
    }
}

impl Call for Port {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.with(|world, side| world.server(side, label, words))
    }
}

impl Call for PciPort {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.0.with(|world, side| world.pci_host(side, label, words))
    }
}

impl RingMemory for Port {
    fn load(&self, index: usize) -> u64 {
        self.with(|world, side| world.sides[side].ring[index])
    }
}

impl Registers for Port {
    fn read32(&mut self, register: u32) -> u32 {
        self.with(|world, side| world.sides[side].edu.read32(register))
    }

    fn write32(&mut self, register: u32, value: u32) {
        self.with(|world, side| {
            let wrong = world.wrong == Wrong::OtherInterrupt;
            world.sides[side].edu.write32(register, if wrong { value | 1 << 9 } else { value });
            world.sides[side].interrupt();
        });
    }

    fn read64(&mut self, register: u32) -> u64 {
        self.with(|world, side| world.sides[side].edu.read64(register))
    }

    fn write64(&mut self, register: u32, value: u64) {
        self.with(|world, side| world.sides[side].edu.write64(register, value));
    }
}

/// How both drivers are run.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Who goes first where both can.
    pub first: usize,
    /// Everything that is pending is told at once, not one by one.
    pub together: bool,
    /// The other one starts this many transfers later, or when the first cannot go on alone.
    pub head_start: u32,
}

/// Runs both drivers to the end; their lines.
pub fn run(wrong: Wrong, schedule: Schedule) -> [Vec<String>; 2] {
    let sides = [Side::new(7), Side::new(7)];
    let world = Rc::new(RefCell::new(World { wrong, sides, generation: 3 }));
    let signals = [const { Signals::new() }; 2];
    let buffer = |side: usize, slot: usize| {
        let (at, bytes) = world.borrow().sides[side].regions[slot];
        let slot = if slot == 0 { MEMORY_SLOT } else { CONSTANTS_SLOT };
        // SAFETY: leaked, aligned, and touched only by this buffer and the device that is played.
        unsafe { DmaBuffer::new(at.cast(), bytes as usize, slot, 0, 0) }
    };
    let mut tasks = [0, 1].map(|side| {
        let port = Port { world: world.clone(), side };
        let parts = Parts {
            name: NAMES[side],
            machine: port.clone(),
            iommu: port.clone(),
            pci_host: PciPort(port.clone()),
            edu: Edu::new(port.clone()),
            ring: port,
            memory: buffer(side, 0),
            constants: buffer(side, 1),
            peer_memory: 0x4020_0000 - 0x10_0000 * side as u64,
            notes: None,
        };
        start(parts, &signals[side])
    });
    let mut head_start = schedule.head_start;
    for _ in 0..MOST_STEPS {
        let late = |side: usize| side != schedule.first && head_start != 0;
        let ready = |side: &usize| !late(*side) && !world.borrow().sides[*side].pending.is_empty();
        let next = [schedule.first, 1 - schedule.first].into_iter().find(ready);
        let Some(side) = next else {
            if world.borrow_mut().finish_transfer(schedule.first) {
                head_start = head_start.saturating_sub(1);
            } else if head_start != 0 {
                head_start = 0;
            } else {
                return world.borrow_mut().sides.each_mut().map(|side| std::mem::take(&mut side.lines));
            }
            continue;
        };
        {
            let pending = &mut world.borrow_mut().sides[side].pending;
            let count = if schedule.together { pending.len() } else { 1 };
            pending.drain(..count).for_each(|signal| signals[side].raise(signal));
        }
        tasks[side].step();
    }
    panic!("the drivers go round in circles");
}
