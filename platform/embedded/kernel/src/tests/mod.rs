//! The core on a machine of arrays.

mod calls;
mod children;
mod faults;
mod ports;
mod random;
mod schedule;
mod setup;
mod signals;
mod x86_64;

use core::ops::Range;
use std::collections::BTreeMap;
use std::string::String;
use std::vec;
use std::vec::Vec;

use embedded_image::{
    Channel, Header, Image, ImageError, IoPorts, Irq, MAGIC, MAX_PDS, NO_PARENT, PAGE_BYTES, Pd, Table,
    VERSION, board, channel, config, source,
};
use zerocopy::IntoBytes;

use crate::caps::SetupError;
use crate::domain::State;
use crate::{AARCH64, Abi, Cause, Exception, Kernel, Machine, PdSet, PortWidth, Register};

const CALL: i64 = -1;
const REPLY_RECV: i64 = -2;
const NB_SEND_RECV: i64 = -3;
const SEND: i64 = -5;
const RECV: i64 = -7;
const NB_RECV: i64 = -8;
const WAIT: i64 = -9;
const YIELD: i64 = -11;

/// Counter ticks of a microsecond.
const TICKS_PER_US: u64 = 10;

const INPUT: u64 = 1;
const REPLY: u64 = 4;
const MONITOR: u64 = 5;
/// The slot to signal channel `id`.
fn notification(id: u64) -> u64 {
    10 + id
}
/// The slot to call channel `id`.
fn endpoint(id: u64) -> u64 {
    74 + id
}
/// The slot of interrupt `id`.
fn irq(id: u64) -> u64 {
    138 + id
}
/// The badge of a call on the receiver's channel `id`.
fn call_badge(id: u64) -> u64 {
    1 << 63 | id
}
fn info(label: u64, words: u64) -> u64 {
    label << 12 | words
}

/// A system to boot.
#[derive(Default)]
struct Plan {
    pds: Vec<Pd>,
    channels: Vec<Channel>,
    irqs: Vec<Irq>,
    io_ports: Vec<IoPorts>,
    config: Option<u32>,
}

impl Plan {
    fn pd(mut self, priority: u8) -> Self {
        self.pds.push(Pd {
            name: [0; 64],
            priority,
            passive: 0,
            parent: NO_PARENT,
            child: 0,
            fpu: 1,
            reserved: [0; 3],
            budget_us: 1000,
            entry: 0,
            stack_top: 0,
            ipc_buffer: PAGE_BYTES,
        });
        self
    }

    fn passive(mut self, priority: u8) -> Self {
        self = self.pd(priority);
        self.pds.last_mut().unwrap().passive = 1;
        self
    }

    /// Makes PD `pd` the child `id` of PD `parent`.
    fn child(mut self, pd: usize, parent: u8, id: u8) -> Self {
        (self.pds[pd].parent, self.pds[pd].child) = (parent, id);
        self
    }

    /// PD `a` may signal and call PD `b`, and `b` signal `a`.
    fn channel(mut self, a: u32, a_id: u8, b: u32, b_id: u8) -> Self {
        let flags = channel::A_NOTIFIES | channel::A_CALLS | channel::B_NOTIFIES;
        self.channels.push(Channel { a_pd: a, b_pd: b, a_id, b_id, reserved: [0; 2], flags });
        self
    }

    fn irq(mut self, pd: u32, number: u32, id: u8) -> Self {
        let (edge, source, reserved) = (0, source::LINE, [0; 2]);
        self.irqs.push(Irq { pd, number, id, edge, source, io_apic: 0, pin: 0, low: 0, reserved });
        self
    }

    fn io_ports(mut self, pd: u32, id: u8, first: u16, last: u16) -> Self {
        self.io_ports.push(IoPorts { pd, first, last, id, reserved: [0; 7] });
        self
    }

    /// Boots, or says why not.
    fn try_boot(self) -> Result<Bench, SetupError> {
        let words = self.image();
        let image = Image::parse(words.as_bytes()).unwrap();
        let mut kernel = Kernel::new(&image, TICKS_PER_US * 1_000_000)?;
        let mut machine = Arrays { registers: vec![[0; 9]; MAX_PDS], ..Arrays::default() };
        kernel.start(&mut machine);
        Ok(Bench { kernel, machine })
    }

    /// Why it is not even an image.
    fn parse_error(self) -> Option<ImageError> {
        Image::parse(self.image().as_bytes()).err()
    }

    /// The image, in words.
    fn image(self) -> Vec<u64> {
        let mut offset = size_of::<Header>();
        let mut table = |bytes: usize, count: usize| {
            let table = Table { offset: offset as u64, count: count as u64 };
            offset += bytes;
            table
        };
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            board: board::QEMU_VIRT_AARCH64,
            config: self.config.unwrap_or(config::RELEASE),
            reserved: 0,
            pds: table(size_of_val(&self.pds[..]), self.pds.len()),
            maps: table(0, 0),
            loads: table(0, 0),
            channels: table(size_of_val(&self.channels[..]), self.channels.len()),
            irqs: table(size_of_val(&self.irqs[..]), self.irqs.len()),
            io_ports: table(size_of_val(&self.io_ports[..]), self.io_ports.len()),
            total_bytes: 0,
        };
        let header = Header { total_bytes: offset as u64, ..header };
        let tables = [self.pds.as_bytes(), self.channels.as_bytes(), self.irqs.as_bytes()];
        let bytes: Vec<u8> = [header.as_bytes(), &tables.concat(), self.io_ports.as_bytes()].concat();
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
    }

    fn boot(self) -> Bench {
        self.try_boot().unwrap()
    }
}

/// A machine of arrays.
#[derive(Default)]
struct Arrays {
    /// By PD.
    registers: Vec<[u64; 9]>,
    /// Words of `seL4_UserContext`, but for x0 to x8, by PD and word.
    contexts: BTreeMap<(usize, usize), u64>,
    /// What the exceptions are that come.
    exception: Option<Exception>,
    buffers: Vec<Vec<u64>>,
    now: u64,
    armed: Option<u64>,
    masked: BTreeMap<u32, bool>,
    /// What was written to ports; a port that is read has its own number.
    written: Vec<(u16, u32, u32)>,
    output: String,
    reports: Vec<(usize, Cause, PdSet)>,
}

fn index(register: Register) -> usize {
    match register {
        Register::Capability => 0,
        Register::Info => 1,
        Register::Word(word) => 2 + word,
        Register::Reply => 6,
        Register::Destination => 8,
        Register::Context(word) => word - 3,
    }
}

impl Arrays {
    fn buffer(&mut self, pd: usize) -> &mut Vec<u64> {
        self.buffers.resize(MAX_PDS, Vec::new());
        self.buffers[pd].resize(120, 0);
        &mut self.buffers[pd]
    }
}

impl Machine for Arrays {
    const ABI: &'static Abi = &AARCH64;

    fn register(&self, pd: usize, register: Register) -> u64 {
        match register {
            Register::Context(word) if !(3..12).contains(&word) => {
                self.contexts.get(&(pd, word)).copied().unwrap_or(0)
            }
            _ => self.registers[pd][index(register)],
        }
    }
    fn set_register(&mut self, pd: usize, register: Register, value: u64) {
        match register {
            Register::Context(word) if !(3..12).contains(&word) => {
                self.contexts.insert((pd, word), value);
            }
            _ => self.registers[pd][index(register)] = value,
        }
    }
    fn buffer_word(&self, pd: usize, index: usize) -> u64 {
        self.buffers.get(pd).and_then(|buffer| buffer.get(index)).copied().unwrap_or(0)
    }
    fn set_buffer_word(&mut self, pd: usize, index: usize, value: u64) {
        self.buffer(pd)[index] = value;
    }
    fn exception(&self, _: usize) -> Exception {
        self.exception.unwrap_or(Exception::Other { number: 0, code: 0 })
    }
    fn copy_words(&mut self, from: usize, to: usize, words: Range<usize>) {
        let copied = self.buffer(from)[words.clone()].to_vec();
        self.buffer(to)[words].copy_from_slice(&copied);
    }
    fn now(&mut self) -> u64 {
        self.now
    }
    fn arm(&mut self, at: Option<u64>) {
        self.armed = at;
    }
    fn mask(&mut self, irq: u32, masked: bool) {
        self.masked.insert(irq, masked);
    }
    fn read_port(&mut self, port: u16, width: PortWidth) -> u32 {
        u32::from(port) << 8 | width.bytes()
    }
    fn write_port(&mut self, port: u16, width: PortWidth, value: u32) {
        self.written.push((port, width.bytes(), value));
    }
    fn put_char(&mut self, _pd: usize, byte: u8) {
        self.output.push(char::from(byte));
    }
    fn report(&mut self, pd: usize, cause: Cause, waiting: PdSet) {
        self.reports.push((pd, cause, waiting));
    }
}

/// A booted system.
struct Bench {
    kernel: Kernel,
    machine: Arrays,
}

impl Bench {
    fn running(&self) -> Option<usize> {
        self.kernel.current()
    }

    /// `pd`, which has to be the one that runs, makes a system call with x0, x1, x6 = reply, x8 = monitor.
    fn system_call(&mut self, pd: usize, number: i64, capability: u64, info: u64) {
        assert_eq!(self.running(), Some(pd), "PD {pd} is to run");
        let registers = &mut self.machine.registers[pd];
        (registers[0], registers[1], registers[6], registers[8]) = (capability, info, REPLY, MONITOR);
        self.kernel.system_call(&mut self.machine, number);
        self.check();
    }

    fn call(&mut self, pd: usize, channel: u64, words: &[u64]) {
        self.machine.registers[pd][2..2 + words.len()].copy_from_slice(words);
        self.system_call(pd, CALL, endpoint(channel), info(7, words.len() as u64));
    }

    fn recv(&mut self, pd: usize) {
        self.system_call(pd, RECV, INPUT, 0);
    }

    fn reply_recv(&mut self, pd: usize, label: u64) {
        self.system_call(pd, REPLY_RECV, INPUT, info(label, 0));
    }

    /// A passive PD gives its scheduling context away and receives.
    fn become_passive(&mut self, pd: usize) {
        self.system_call(pd, NB_SEND_RECV, INPUT, 0);
    }

    fn signal(&mut self, pd: usize, channel: u64) {
        self.system_call(pd, SEND, notification(channel), 0);
    }

    fn interrupt(&mut self, number: u32) {
        self.kernel.interrupt(&mut self.machine, number);
        self.check();
    }

    /// Lets `ticks` pass, and the timer interrupt come if it is due.
    fn pass(&mut self, ticks: u64) {
        self.machine.now += ticks;
        if self.machine.armed.is_some_and(|at| at <= self.machine.now) {
            self.kernel.tick(&mut self.machine);
        }
        self.check();
    }

    fn badge(&self, pd: usize) -> u64 {
        self.machine.registers[pd][0]
    }

    fn info(&self, pd: usize) -> u64 {
        self.machine.registers[pd][1]
    }

    fn state(&self, pd: usize) -> State {
        self.kernel.domains[pd].state
    }

    /// Whose scheduling context `pd` runs on.
    fn context(&self, pd: usize) -> Option<usize> {
        self.kernel.domains[pd].runs_on
    }

    /// What has to hold after every step.
    fn check(&self) {
        let domains = &self.kernel.domains;
        for (pd, domain) in domains.iter().enumerate() {
            if let Some(context) = domain.runs_on {
                assert_eq!(domains[context].holder, Some(pd), "PD {pd} holds context {context}");
            }
            if let Some(holder) = domain.holder {
                assert_eq!(domains[holder].runs_on, Some(pd), "context {pd} is held by PD {holder}");
            }
            if domain.fault.is_some() {
                let waits = matches!(domain.state, State::Sending { .. } | State::AwaitingReply { .. });
                assert!(waits || domain.state == State::Stopped, "PD {pd} runs with a fault");
            }
            if let Some(caller) = domain.caller {
                assert_eq!(domains[caller].state, State::AwaitingReply { from: pd });
            }
            match domain.state {
                State::AwaitingReply { from } => assert_eq!(domains[from].caller, Some(pd)),
                State::Sending { to, .. } => assert!(domains[to].senders.contains(&(pd as u8))),
                _ => {}
            }
            for &sender in &domain.senders {
                let state = domains[usize::from(sender)].state;
                assert!(matches!(state, State::Sending { to, .. } if to == pd));
            }
        }
        let ready =
            |domain: &crate::domain::Domain| domain.state == State::Running && domain.runs_on.is_some();
        match self.running() {
            Some(current) => {
                assert!(ready(&domains[current]));
                let highest =
                    domains.iter().filter(|domain| ready(domain)).map(|domain| domain.priority).max();
                assert_eq!(Some(domains[current].priority), highest);
                let rivals = domains
                    .iter()
                    .filter(|domain| ready(domain) && domain.priority == domains[current].priority);
                assert_eq!(
                    self.machine.armed.is_some(),
                    rivals.count() > 1,
                    "a slice is timed only for rivals"
                );
            }
            None => assert!(!domains.iter().any(ready)),
        }
    }
}
