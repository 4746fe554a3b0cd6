//! A VT-d unit that answers as it likes: registers that lie, fall silent or count wrongly, waits that are answered wrongly
//! or never, fault records of any content.
//!
//! The input is the lies, then what the driver is asked. Without lies the unit is a plain one, so that the driver gets
//! somewhere. Every call must end within its deadlines and touch table memory and one page of registers alone; translation
//! that was turned on stays on; and a unit that is given up has entries that all abort.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use intel_vtd::{
    Config, IntelVtd, Mode, decode,
    spec::registers::{FIXED_REGISTERS_END, Gcmd, REGISTER_BYTES, offset},
};
use iommu_hal::{
    Binding, Carver, Clock, DomainTag, FaultReason, Format, Geometry, IovaRange, PhysAddr, REGISTER_LIMIT_NS,
    Registers, StreamId, TableMemory, Unit, UnitError,
};

use crate::input::Input;

const BASE: u64 = 0x5000_0000;
const BYTES: u64 = 0x5_0000;

/// Where the driver's callers keep their own tables: the last of the table memory, of which the driver has no part.
const ROOTS: [PhysAddr; 2] = [PhysAddr(BASE + BYTES - 0x2000), PhysAddr(BASE + BYTES - 0x1000)];

/// What the clock moves on by at each look.
const STEP_NS: u64 = 1_000_000;

/// More waits than one call has: of each, one for a place in the queue, one for its end.
const MAX_WAITS: u64 = 64;

/// More register accesses than those waits take.
const MAX_ACCESSES: u64 = MAX_WAITS * (REGISTER_LIMIT_NS / STEP_NS) * 16;

/// Two of one bus, the second in its upper half, and one of another.
const STREAMS: [StreamId; 3] = [StreamId(0x10), StreamId(0x98), StreamId(0x118)];

/// The most that an input asks of the driver.
const MAX_OPS: u32 = 200;

/// An entry that aborts and records nothing: not present, FPD (9.3, 9.6).
const ABORT: u64 = 2;

/// FSTS: what is cleared by writing 1, and the summary of the records (11.4.7.1).
const FSTS_CLEARED: u32 = 0x7d;
const PPF: u32 = 1 << 1;
/// F of a record, in its last 32 bits.
const F: u32 = 1 << 31;

/// The unit's insides.
struct Insides<'a> {
    lies: Input<'a>,
    registers: HashMap<u32, u32>,
    /// Registers that say the same for ever.
    stuck: HashMap<u32, u32>,
    /// The driver knows that translation is on: it turned it on, or GSTS said so when it was first read.
    known_on: Option<bool>,
    /// What GSTS tells of what is done once: SRTP and SIRTP.
    taken: u32,
    head: u64,
    memory: Vec<u64>,
    now_ns: u64,
    accesses: u64,
}

#[derive(Clone)]
struct Port<'a>(Rc<RefCell<Insides<'a>>>);

impl Insides<'_> {
    fn get(&self, register: u32) -> u32 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    fn get64(&self, register: u32) -> u64 {
        u64::from(self.get(register)) | u64::from(self.get(register + 4)) << 32
    }

    /// Where the fault records are, as the unit says.
    fn records(&self) -> (u32, u32) {
        let cap = self.get64(offset::CAP);
        ((cap >> 24 & 0x3ff) as u32 * 16, (cap >> 40 & 0xff) as u32 + 1)
    }

    /// Whether `register` is the end of a fault record.
    fn ends_record(&self, register: u32) -> bool {
        let (first, count) = self.records();
        (first..first + 16 * count).contains(&register) && register % 16 == 12
    }

    /// What a unit would say that obeys.
    fn honest(&self, register: u32) -> u32 {
        match register {
            offset::GSTS => {
                let switches = Gcmd::new().with_te(true).with_eafl(true).with_qie(true).with_ire(true);
                self.get(offset::GCMD) & u32::from(switches.with_cfi(true)) | self.taken
            }
            offset::FSTS => {
                let (first, count) = self.records();
                let held = |&record: &u32| self.get(first + 16 * record + 12) & F != 0;
                let found = (0..count).find(held).map_or(0, |record| PPF | record << 8);
                self.get(offset::FSTS) & FSTS_CLEARED | found
            }
            offset::IQH => self.head as u32,
            offset::PMEN => self.get(offset::PMEN) & !1 | self.get(offset::PMEN) >> 31,
            other => self.get(other),
        }
    }

    fn read(&mut self, register: u32) -> u32 {
        self.accesses += 1;
        let told = self.tell(register);
        if register == offset::GSTS {
            self.known_on.get_or_insert(Gcmd::from(told).te());
        }
        told
    }

    /// What is read: the truth or a lie.
    fn tell(&mut self, register: u32) -> u32 {
        if let Some(&stuck) = self.stuck.get(&register) {
            return stuck;
        }
        let honest = self.honest(register);
        let lie = self.lies.byte();
        if lie & 0xe0 != 0xe0 {
            return honest;
        }
        match lie & 7 {
            0 => self.lies.u32(),
            1 => honest ^ 1 << (self.lies.byte() & 31),
            2 => 0,
            3 => u32::MAX,
            4 => honest.wrapping_add(self.lies.byte().into()),
            5 => honest.wrapping_sub(self.lies.byte().into()),
            6 => *self.stuck.entry(register).or_insert(honest),
            _ => {
                let value = self.lies.u32();
                *self.stuck.entry(register).or_insert(value)
            }
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        self.accesses += 1;
        match register {
            offset::GCMD => {
                let now = Gcmd::from(value);
                let known = self.known_on == Some(true);
                assert!(now.te() || !known, "GCMD {value:#x} turns translation off: everything passes");
                self.known_on = Some(known || now.te());
                self.taken |= value & u32::from(Gcmd::new().with_srtp(true).with_sirtp(true));
                if !now.qie() {
                    self.head = 0;
                }
            }
            offset::FSTS => {
                let left = self.get(register) & !(value & FSTS_CLEARED);
                self.registers.insert(register, left);
                return;
            }
            _ if self.ends_record(register) => {
                let left = self.get(register) & !(value & F);
                self.registers.insert(register, left);
                return;
            }
            // Invalidations through registers are done at once (11.4.6).
            _ if value & F != 0 && self.is_invalidation(register) => {
                self.registers.insert(register, value & !F);
                return;
            }
            _ => {}
        }
        self.registers.insert(register, value);
    }

    /// The upper halves of CCMD and IOTLB.
    fn is_invalidation(&self, register: u32) -> bool {
        let iotlb = (self.get64(offset::ECAP) >> 8 & 0x3ff) as u32 * 16 + 8;
        register == offset::CCMD + 4 || register == iotlb + 4
    }

    /// Takes descriptors up to the tail, and stores the status of each wait (6.5.2.8): where it says, or a lie.
    fn take_descriptors(&mut self) {
        let address = self.get64(offset::IQA);
        let (base, pages, wide) = (address & !0xfff, 1 << (address & 7), address & 1 << 11 != 0);
        let (bytes, entry) = (pages << 12, if wide { 32 } else { 16 });
        let tail = self.get64(offset::IQT);
        if base == 0 {
            // What firmware left, which ends where the unit says.
            return;
        }
        assert!(tail < bytes && tail.is_multiple_of(entry), "IQT {tail:#x} is outside the queue");
        while self.head != tail {
            let lie = self.lies.byte();
            if lie == 0xff {
                // It stands still here.
                return;
            }
            let at = self.index(PhysAddr(base + self.head), entry);
            let [low, high] = [self.memory[at], self.memory[at + 1]];
            self.head = (self.head + entry) % bytes;
            // A wait with status write.
            if low & 0xf == 5 && low & 1 << 5 != 0 && lie & 0xf0 != 0xf0 {
                let place = self.index(PhysAddr(high & !7), 8);
                let shift = if high & 4 == 0 { 0 } else { 32 };
                let kept = self.memory[place] & !(0xffff_ffff << shift);
                self.memory[place] = kept | (low >> 32) << shift;
            }
        }
    }

    fn index(&self, at: PhysAddr, bytes: u64) -> usize {
        let from = at.0.checked_sub(BASE).expect("below the table memory");
        assert!(
            bytes <= BYTES && from <= BYTES - bytes && from.is_multiple_of(8),
            "{at:x?} is outside the table memory"
        );
        (from / 8) as usize
    }
}

/// One page of registers is what the server maps.
fn within_the_page(register: u32, bytes: u32) {
    let inside = register.is_multiple_of(bytes) && register <= REGISTER_BYTES - bytes;
    assert!(inside, "{bytes} bytes at register {register:#x}");
}

impl Registers for Port<'_> {
    fn read32(&mut self, offset: u32) -> u32 {
        within_the_page(offset, 4);
        self.0.borrow_mut().read(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        within_the_page(offset, 4);
        self.0.borrow_mut().write(offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        within_the_page(offset, 8);
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    fn write64(&mut self, offset: u32, value: u64) {
        within_the_page(offset, 8);
        self.write32(offset, value as u32);
        self.write32(offset + 4, (value >> 32) as u32);
        let mut insides = self.0.borrow_mut();
        if offset == offset::IQT && Gcmd::from(insides.get(offset::GCMD)).qie() {
            insides.take_descriptors();
        }
    }
}

impl TableMemory for Port<'_> {
    fn base(&self) -> PhysAddr {
        PhysAddr(BASE)
    }

    fn bytes(&self) -> u64 {
        BYTES
    }

    fn read(&self, at: PhysAddr) -> u64 {
        let insides = self.0.borrow();
        insides.memory[insides.index(at, 8)]
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        let mut insides = self.0.borrow_mut();
        let index = insides.index(at, 8);
        insides.memory[index] = value;
    }

    fn publish(&mut self) {}

    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        self.0.borrow().index(at, bytes);
    }

    fn invalidate(&mut self, at: PhysAddr, bytes: u64) {
        self.0.borrow().index(at, bytes);
    }
}

impl Clock for Port<'_> {
    fn now_ns(&self) -> u64 {
        let mut insides = self.0.borrow_mut();
        insides.now_ns += STEP_NS;
        insides.now_ns
    }
}

impl<'a> Port<'a> {
    /// Does `call`, which must be done when its deadlines are.
    fn bounded<T>(&self, call: impl FnOnce() -> T) -> T {
        let (began, accesses) = (self.0.borrow().now_ns, self.0.borrow().accesses);
        let result = call();
        let insides = self.0.borrow();
        assert!(insides.now_ns - began <= MAX_WAITS * REGISTER_LIMIT_NS, "a call waited too long");
        assert!(insides.accesses - accesses <= MAX_ACCESSES, "a call looked too often");
        result
    }
}

/// What the unit is: one of four usual ones with some bits of CAP and ECAP turned over.
fn identify(input: &mut Input<'_>, kind: u8, registers: &mut HashMap<u32, u32>) {
    // QEMU's; in caching mode; in scalable mode; one with write buffers that snoops. All with 16 fault records.
    let (mut cap, mut ecap) = (0x00d2_0f8c_222f_0606_u64, 0xf0_0f0a_u64);
    match kind & 3 {
        0 => {}
        1 => cap |= 1 << 7,
        2 => ecap |= 1 << 43 | 1 << 46,
        _ => (cap, ecap) = (cap | 1 << 4, ecap | 1),
    }
    for word in [&mut cap, &mut ecap] {
        for _ in 0..input.byte() & 3 {
            *word ^= 1 << (input.byte() & 63);
        }
    }
    registers.insert(offset::VER, 0x10);
    for (register, word) in [(offset::CAP, cap), (offset::ECAP, ecap)] {
        registers.insert(register, word as u32);
        registers.insert(register + 4, (word >> 32) as u32);
    }
}

/// The body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let lies = usize::from(input.u16());
    let lies = Input::new(input.split(lies));
    let honest = lies.is_empty();
    let kind = input.byte();
    let mut registers = HashMap::new();
    identify(&mut input, kind, &mut registers);
    let mut found = Gcmd::new();
    if kind & 4 != 0 {
        let bits = input.byte();
        found = found.with_te(bits & 1 != 0).with_qie(bits & 2 != 0).with_ire(bits & 4 != 0);
        found = found.with_cfi(bits & 8 != 0).with_eafl(bits & 16 != 0);
        registers.insert(offset::RTADDR, u32::from(bits >> 5 & 3) << 10);
        registers.insert(offset::PMEN, u32::from(bits >> 7) << 31);
    }
    registers.insert(offset::GCMD, found.into());
    let insides = Insides {
        lies,
        registers,
        stuck: HashMap::new(),
        known_on: None,
        taken: 0,
        head: 0,
        memory: vec![0; (BYTES / 8) as usize],
        now_ns: 0,
        accesses: 0,
    };
    let port = Port(Rc::new(RefCell::new(insides)));
    let config = Config { streams: &STREAMS, record_unknown: kind & 8 != 0, fault_message: None };
    let (mut memory, clock) = (port.clone(), port.clone());
    let mut carver = Carver::new(PhysAddr(BASE), ROOTS[0].0 - BASE);
    let unit = port.bounded(|| IntelVtd::bring_up(port.clone(), &mut memory, &clock, &mut carver, &config));
    let translating = Gcmd::from(port.0.borrow().get(offset::GCMD)).te();
    match unit {
        Ok(unit) => {
            assert!(translating, "a unit that was brought up does not translate");
            // Nothing that the unit says stops the report from being written.
            assert!(!unit.report().to_string().is_empty());
            Driver { unit, port, memory, clock }.obey(&mut input);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let none = error == intel_vtd::BringUpError::NoUnit;
            assert!(translating || none || !honest, "a unit that obeys was left letting everything pass");
        }
    }
}

struct Driver<'a> {
    unit: IntelVtd<Port<'a>>,
    port: Port<'a>,
    memory: Port<'a>,
    clock: Port<'a>,
}

impl Driver<'_> {
    fn obey(mut self, input: &mut Input<'_>) {
        let entries = self.entries();
        let aborts = |memory: &Port<'_>| entries.iter().all(|entry| memory.read(*entry) == ABORT);
        assert!(aborts(&self.memory), "an entry of a unit just brought up does not abort");
        let mut given_up = false;
        for _ in 0..MAX_OPS {
            if input.is_empty() {
                return;
            }
            let port = self.port.clone();
            let answer = port.bounded(|| self.step(input));
            given_up |= matches!(answer, Err(UnitError::OutOfOrder | UnitError::Timeout { .. }));
            assert!(
                !given_up || aborts(&self.memory),
                "a unit that was given up has an entry that does not abort"
            );
        }
    }

    /// Where the streams' context entries are, by the root table that the unit was given (9.1 to 9.4).
    fn entries(&self) -> Vec<PhysAddr> {
        let root = self.port.0.borrow().get64(offset::RTADDR) & !0xfff;
        let scalable = self.unit.report().mode == Mode::Scalable;
        let entry = |stream: &StreamId| {
            let (bus, function) = (u64::from(stream.0) >> 8, u64::from(stream.0) & 0xff);
            let (half, place) =
                if scalable { (8 * (function >> 7), 32 * (function & 0x7f)) } else { (0, 16 * function) };
            let table = self.memory.read(PhysAddr(root + 16 * bus + half));
            assert!(table & 1 != 0, "{stream:?} has no context table");
            PhysAddr((table & !0xfff) + place)
        };
        STREAMS.iter().map(entry).collect()
    }

    fn step(&mut self, input: &mut Input<'_>) -> Result<(), UnitError> {
        let op = input.byte();
        let stream = STREAMS.get(usize::from(op >> 6)).copied().unwrap_or(StreamId(0x20));
        let Self { unit, memory, clock, port } = self;
        let tag = DomainTag(input.byte().into());
        let geometry = match op & 0x20 {
            0 => unit.geometry(),
            _ => Geometry {
                format: if tag.0 & 0x10 == 0 { Format::VtdSecondStage } else { Format::ArmStage2 },
                input_bits: 21 + input.byte() % 28,
                output_bits: 48,
                page_sizes: 1 << 12,
            },
        };
        match op & 7 {
            0 | 1 => {
                let root = ROOTS[usize::from(tag.0 & 1)];
                unit.attach(memory, clock, stream, &Binding { tag, geometry, root })
            }
            2 => unit.block(memory, clock, stream),
            3 => {
                let (first, last) = (input.number() & !0xfff, input.number() | 0xfff);
                let whole = geometry.aperture();
                let range = IovaRange::new(first.min(whole.last() & !0xfff), last.min(whole.last()));
                unit.invalidate(memory, clock, tag, &geometry, range.unwrap_or(whole), op & 8 != 0)
            }
            4 => unit.invalidate_all(memory, clock, tag, &geometry),
            5 => unit.sync(memory, clock).map(drop),
            6 => {
                record(port, input);
                for _ in 0..=op >> 3 {
                    let Some(fault) = unit.next_fault(memory) else { break };
                    let told = decode([fault.raw[0], fault.raw[1]]);
                    // The record alone does not tell an absent page from one without the right.
                    let absent =
                        fault.reason == FaultReason::NotMapped && told.reason == FaultReason::Permission;
                    assert!(absent || told.reason == fault.reason, "{told:?}");
                    assert_eq!(
                        (told.stream, told.iova, told.access),
                        (fault.stream, fault.iova, fault.access)
                    );
                }
                Ok(())
            }
            _ => {
                // PFO, AFO, APF, IQE, ICE, ITE.
                let errors = u32::from(input.byte()) & FSTS_CLEARED;
                port.0.borrow_mut().registers.insert(offset::FSTS, errors);
                let report = unit.service_errors(memory, clock);
                if report.out_of_order { Err(UnitError::OutOfOrder) } else { Ok(()) }
            }
        }
    }
}

/// Puts any content into one of the first fault records, as the unit would.
fn record(port: &Port<'_>, input: &mut Input<'_>) {
    let words = [input.number(), input.number() | u64::from(F) << 32];
    let mut insides = port.0.borrow_mut();
    let (first, count) = insides.records();
    assert!(first >= FIXED_REGISTERS_END, "a unit with records at {first:#x} is none to be used");
    let at = first + 16 * (u32::from(input.byte()) % count);
    for (number, word) in (0..).zip(words) {
        insides.registers.insert(at + 8 * number, word as u32);
        insides.registers.insert(at + 8 * number + 4, (word >> 32) as u32);
    }
}
