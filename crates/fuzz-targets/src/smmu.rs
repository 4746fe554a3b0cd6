//! An SMMUv3 that answers as it likes: registers that lie, fall silent or count wrongly, records of any content.
//!
//! The input is the lies, then what the driver is asked. Without lies the unit is a plain one, so that the driver gets
//! somewhere. Every call must end within its deadlines, touch table memory alone, and leave a unit that is given up
//! with entries that all abort.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use arm_smmu_v3::{
    Config, SmmuV3, Stage, decode,
    spec::{events::EVENT_BYTES, registers::offset},
};
use iommu_hal::{
    Binding, Carver, Clock, DomainTag, Format, Geometry, IovaRange, PhysAddr, REGISTER_LIMIT_NS, Registers,
    StreamId, TableMemory, Unit, UnitError,
};

use crate::input::Input;

const BASE: u64 = 0x5000_0000;
const BYTES: u64 = 0x5_0000;

/// Where the driver's callers keep their own tables.
const ROOT: PhysAddr = PhysAddr(0x6000_0000);

/// What the clock moves on by at each look.
const STEP_NS: u64 = 1_000_000;

/// More waits than one call has: of each, one for a place in the command queue, one for its end.
const MAX_WAITS: u64 = 64;

/// More register accesses than those waits take.
const MAX_ACCESSES: u64 = MAX_WAITS * (REGISTER_LIMIT_NS / STEP_NS) * 16;

const STREAMS: [StreamId; 3] = [StreamId(0x10), StreamId(0x18), StreamId(0x118)];

/// The most that an input asks of the driver.
const MAX_OPS: u32 = 200;

/// The unit's insides.
struct Insides<'a> {
    lies: Input<'a>,
    registers: HashMap<u32, u32>,
    /// Registers that say the same for ever.
    stuck: HashMap<u32, u32>,
    event_base: u64,
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

    /// What a unit would say that obeys.
    fn honest(&self, register: u32) -> u32 {
        match register {
            offset::CR0ACK => self.get(offset::CR0),
            offset::IRQ_CTRLACK => self.get(offset::IRQ_CTRL),
            offset::GBPA => self.get(offset::GBPA) & !(1 << 31),
            offset::CMDQ_CONS => self.get(offset::CMDQ_PROD),
            other => self.get(other),
        }
    }

    fn read(&mut self, register: u32) -> u32 {
        self.accesses += 1;
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

    fn index(&self, at: PhysAddr, bytes: u64) -> usize {
        let from = at.0.checked_sub(BASE).expect("below the table memory");
        assert!(
            bytes <= BYTES && from <= BYTES - bytes && from.is_multiple_of(8),
            "{at:x?} is outside the table memory"
        );
        (from / 8) as usize
    }
}

impl Registers for Port<'_> {
    fn read32(&mut self, offset: u32) -> u32 {
        self.0.borrow_mut().read(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        let mut insides = self.0.borrow_mut();
        insides.accesses += 1;
        insides.registers.insert(offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    fn write64(&mut self, offset: u32, value: u64) {
        if offset == offset::EVENTQ_BASE {
            self.0.borrow_mut().event_base = value & 0x000f_ffff_ffff_ffe0;
        }
        self.write32(offset, value as u32);
        self.write32(offset + 4, (value >> 32) as u32);
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

/// What the unit is: a usual one with some bits of IDR0, IDR1, IDR3 and IDR5 turned over.
fn identify(input: &mut Input<'_>, registers: &mut HashMap<u32, u32>) {
    let usual = [0x0d44_101b_u32, 0x0273_0010, 0, 0x1404, 0, 0x74];
    for (number, usual) in usual.into_iter().enumerate() {
        let mut value = usual;
        for _ in 0..input.byte() & 3 {
            value ^= 1 << (input.byte() & 31);
        }
        registers.insert(offset::IDR0 + 4 * number as u32, value);
    }
}

/// The body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let lies = usize::from(input.u16());
    let lies = Input::new(input.split(lies));
    let mut registers = HashMap::new();
    identify(&mut input, &mut registers);
    let found = input.byte();
    registers.insert(offset::CR0, u32::from(found & 0x1f));
    let insides = Insides {
        lies,
        registers,
        stuck: HashMap::new(),
        event_base: BASE,
        memory: vec![0; (BYTES / 8) as usize],
        now_ns: 0,
        accesses: 0,
    };
    let port = Port(Rc::new(RefCell::new(insides)));
    let stage = [None, None, Some(Stage::One), Some(Stage::Two)][usize::from(found >> 6)];
    let config = Config { streams: &STREAMS, stage, record_unknown: found & 0x20 != 0 };
    let (mut memory, clock) = (port.clone(), port.clone());
    let mut carver = Carver::new(PhysAddr(BASE), BYTES);
    let unit = port.bounded(|| SmmuV3::bring_up(port.clone(), &mut memory, &clock, &mut carver, &config));
    match unit {
        Ok(unit) => {
            // Nothing that the unit says stops the report from being written.
            assert!(!unit.report().to_string().is_empty());
            Driver { unit, port, memory, clock }.obey(&mut input);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

struct Driver<'a> {
    unit: SmmuV3<Port<'a>>,
    port: Port<'a>,
    memory: Port<'a>,
    clock: Port<'a>,
}

impl Driver<'_> {
    fn obey(mut self, input: &mut Input<'_>) {
        let entries = self.entries();
        let mut given_up = false;
        for _ in 0..MAX_OPS {
            if input.is_empty() {
                return;
            }
            let port = self.port.clone();
            let answer = port.bounded(|| self.step(input));
            given_up |= matches!(answer, Err(UnitError::OutOfOrder | UnitError::Timeout { .. }));
            if given_up {
                let abort = |entry: &PhysAddr| self.memory.read(*entry) & 0xf == 1;
                assert!(
                    entries.iter().all(abort),
                    "a unit that was given up has an entry that does not abort"
                );
            }
        }
    }

    /// Where the streams' entries are: of a unit just brought up, the words that say abort and nothing else.
    fn entries(&self) -> Vec<PhysAddr> {
        let base = u64::from(self.port.0.borrow().get(offset::STRTAB_BASE)) & !0x3f;
        let two_level = self.unit.report().two_level;
        let entry = |stream: &StreamId| match two_level {
            false => PhysAddr(base + 64 * u64::from(stream.0)),
            true => {
                let level_2 = self.memory.read(PhysAddr(base + 8 * u64::from(stream.0 >> 8))) & !0x3f;
                PhysAddr(level_2 + 64 * u64::from(stream.0 & 0xff))
            }
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
                format: if tag.0 & 1 == 0 { Format::ArmStage1 } else { Format::ArmStage2 },
                input_bits: 21 + input.byte() % 28,
                output_bits: input.byte() % 49,
                page_sizes: 1 << 12,
            },
        };
        match op & 7 {
            0 | 1 => unit.attach(memory, clock, stream, &Binding { tag, geometry, root: ROOT }),
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
                    assert_eq!(decode(fault.raw), fault);
                }
                Ok(())
            }
            _ => {
                port.0.borrow_mut().registers.insert(offset::GERROR, input.u32());
                let errors = unit.service_errors(memory, clock);
                if errors.out_of_order { Err(UnitError::OutOfOrder) } else { Ok(()) }
            }
        }
    }
}

/// The unit writes a record, of any content, somewhere in its queue, and says that there are so many.
fn record(port: &Port<'_>, input: &mut Input<'_>) {
    let mut insides = port.0.borrow_mut();
    let at = PhysAddr(insides.event_base + u64::from(input.byte()) * EVENT_BYTES);
    if at.0 >= BASE && at.0 + EVENT_BYTES <= BASE + BYTES && input.byte() & 1 == 0 {
        let index = insides.index(at, EVENT_BYTES);
        // Only where the queue is: a unit writes nowhere else.
        let room = 1_u64 << (insides.get(offset::EVENTQ_BASE) & 0x1f).min(11);
        if at.0 < insides.event_base + room * EVENT_BYTES {
            let words: [u64; 4] = core::array::from_fn(|_| input.number());
            insides.memory[index..index + 4].copy_from_slice(&words);
        }
    }
    let prod = input.number() as u32;
    insides.registers.insert(offset::EVENTQ_PROD, prod);
}
