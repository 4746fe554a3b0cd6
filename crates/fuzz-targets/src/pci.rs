//! Configuration space whose functions lie, before the PCI host; drivers that ask it for anything; an IOMMU server that
//! answers as it likes.
//!
//! A function that does not lie masters the bus only once the server said that it is attached.

use std::{cell::RefCell, collections::BTreeMap};

use iommu_client::Call;
use iommu_protocol::{DeviceIndex, Request as ServerRequest, Status as ServerStatus, Words, pci};
use pci_host::{
    ConfigSpace, Host, MAX_WITHDRAWN, Requester,
    policy::{BarEntry, FunctionEntry, Header, MAGIC, NO_CHANNEL, PciPolicy},
};

use zerocopy::IntoBytes;

use crate::{
    input::{Input, Shared},
    server::aligned,
};

const MASTER: u32 = 1 << 2;
const BUSES: u16 = 2;
const MAX_OPS: u32 = 200;

/// More accesses to configuration space than bring-up makes: each bus, each function, its capabilities, its BARs.
const MAX_ACCESSES: u32 = BUSES as u32 * 256 * 8 + 8 * 256;

struct Function {
    registers: [u32; 64],
    writable: [u32; 64],
    lies: bool,
}

struct Space<'a> {
    functions: BTreeMap<u16, Function>,
    lies: Input<'a>,
    accesses: u32,
}

impl<'a> Space<'a> {
    fn new(input: &mut Input<'a>) -> Self {
        let lies = usize::from(input.u16() & 0xfff);
        let lies = Input::new(input.split(lies));
        let mut functions = BTreeMap::new();
        for _ in 0..input.byte() & 7 {
            // Near each other, so that some share a device.
            let at = u16::from(input.byte());
            let how = input.byte();
            let mut function = Function { registers: [0; 64], writable: [0; 64], lies: how & 1 != 0 };
            function.registers[0] = 0x11e8_1234;
            function.registers[1] = if how & 2 != 0 { 0x0010_0007 } else { 0xf900_0407 };
            function.registers[3] = u32::from(how & 0x0c) << 14 | u32::from(how & 0x10) << 19;
            function.registers[13] = u32::from(how & 0xe0);
            function.writable[1] = 0x547;
            for _ in 0..input.byte() & 0xf {
                let index = usize::from(input.byte() & 63);
                match input.byte() {
                    // A BAR of a power of two, in the upper half of the range of 64 bits.
                    kind @ 0..0x40 => {
                        let (bar, wide) = (4 + index % 6, kind & 0x20 != 0);
                        function.writable[bar] = u32::MAX << (kind & 0x1f).max(4);
                        function.registers[bar] = if wide { 4 } else { 0 };
                        if wide {
                            function.writable[bar + 1] = u32::MAX;
                        }
                    }
                    0x40..0x80 => function.writable[index] = input.u32(),
                    _ => function.registers[index] = input.u32(),
                }
            }
            // Command and status are what they are.
            function.writable[1] = 0x547;
            functions.insert(at, function);
        }
        Self { functions, lies, accesses: 0 }
    }
}

impl Space<'_> {
    /// Functions that master the bus, of those that do not lie and that a host finds: in a device whose function 0
    /// does not lie either.
    fn masters(&self) -> Vec<u16> {
        let there =
            |at: u16| self.functions.get(&at).filter(|of| !of.lies && of.registers[0] as u16 != u16::MAX);
        let found = |at: u16| {
            let first = there(at & !7)?;
            there(at).filter(|_| at & 7 == 0 || first.registers[3] & 1 << 23 != 0)
        };
        let master = |at: u16| found(at).is_some_and(|of| of.registers[1] & MASTER != 0);
        self.functions.keys().copied().filter(|&at| master(at)).collect()
    }
}

struct Config<'s, 'a>(&'s RefCell<Space<'a>>);

impl ConfigSpace for Config<'_, '_> {
    fn buses(&self) -> u16 {
        BUSES
    }

    fn read(&mut self, function: Requester, register: u16) -> u32 {
        assert!(function.bus() < BUSES && register.is_multiple_of(4) && register < 4096);
        let space = &mut *self.0.borrow_mut();
        space.accesses += 1;
        let Some(function) = space.functions.get(&function.0) else { return u32::MAX };
        let honest = function.registers.get(usize::from(register / 4)).copied().unwrap_or(0);
        match space.lies.byte() {
            lie @ 0xc0.. if function.lies => match lie & 3 {
                0 => u32::MAX,
                1 => honest ^ 1 << (space.lies.byte() & 31),
                2 => 0,
                _ => space.lies.u32(),
            },
            _ => honest,
        }
    }

    fn write(&mut self, function: Requester, register: u16, value: u32) {
        assert!(function.bus() < BUSES && register.is_multiple_of(4) && register < 4096);
        let space = &mut *self.0.borrow_mut();
        space.accesses += 1;
        let Some(function) = space.functions.get_mut(&function.0) else { return };
        let index = usize::from(register / 4);
        let Some(mask) = function.writable.get(index) else { return };
        assert!(index != 1 || value >> 16 == 0, "the status is written");
        function.registers[index] = function.registers[index] & !mask | value & mask;
    }
}

/// The streams that a server had withdrawn, and whether it came to an end with them: else all are.
#[derive(Default)]
struct Withdrawn {
    streams: Vec<u32>,
    ended: bool,
}

/// The IOMMU server: answers from the input, and keeps what it said last.
struct Server<'s, 'a> {
    input: &'s Shared<'a>,
    attached: Option<u32>,
    withdrawn: Withdrawn,
    calls: u32,
}

impl Call for Server<'_, '_> {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.calls += 1;
        let request = ServerRequest::decode(label, words).expect("a request of the server's");
        let input = self.input;
        let how = input.byte();
        let answer: Vec<u64> = match how & 0xf0 {
            0x00..=0x20 => vec![1],
            0x30..=0x40 => vec![0],
            0x50..=0x60 => vec![u64::from(how & 3), 0x10 + u64::from(how >> 2 & 3)],
            0x70 => vec![0, 0],
            _ => (0..how & 7).map(|_| input.number()).collect(),
        };
        let label = if how & 0xc0 == 0xc0 { input.number() } else { ServerStatus::Ok.label() };
        let ok = label == ServerStatus::Ok.label();
        match (request, &*answer) {
            (ServerRequest::IsAttached { stream }, [1]) if ok => self.attached = Some(stream),
            (ServerRequest::NextWithdrawn, [0, _]) if ok => self.withdrawn.ended = true,
            (ServerRequest::NextWithdrawn, [count @ (1 | 2), stream]) if ok => {
                if let Ok(stream) = u32::try_from(*stream) {
                    self.withdrawn.streams.push(stream);
                    self.withdrawn.ended = *count == 1;
                }
            }
            _ => {}
        }
        (label, Words::from_slice(&answer))
    }
}

/// The body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let space = RefCell::new(Space::new(&mut input));
    let entry = |requester, channel, successor_channel, stream| FunctionEntry {
        requester,
        channel,
        successor_channel,
        stream,
    };
    // The last is on a bus that there is not.
    let functions = [
        entry(input.byte().into(), 1, 3, 0x10),
        entry(input.byte().into(), 1, 3, 0x11),
        entry(input.byte().into(), 2, NO_CHANNEL, 0x12),
        entry(0xff00, 2, NO_CHANNEL, 0x13),
    ];
    let bars: Vec<BarEntry> = (0..input.byte() & 7)
        .map(|_| {
            let which = input.byte();
            let (paddr, bytes) = (input.number(), input.number());
            BarEntry { paddr, bytes, function: u32::from(which & 3), bar: u32::from(which >> 2) % 6 }
        })
        .collect();
    let header = Header { magic: MAGIC, functions: functions.len() as u32, bars: bars.len() as u32 };
    let blob = aligned(&[header.as_bytes(), functions.as_bytes(), bars.as_bytes()].concat());
    let Ok(policy) = PciPolicy::parse(blob.as_bytes()) else {
        let mut requesters = functions.map(|of| of.requester);
        requesters.sort_unstable();
        return assert!(requesters.windows(2).any(|pair| pair[0] == pair[1]), "a good policy is refused");
    };
    let mut report = |line: core::fmt::Arguments<'_>| assert!(!line.to_string().contains('\n'), "one line");
    let mut host = Host::bring_up(Config(&space), policy, &mut report);
    assert!(space.borrow().accesses <= MAX_ACCESSES, "bring-up walks too far");
    let masters = || space.borrow().masters();
    assert!(masters().is_empty(), "what is found and does not lie loses bus mastering");
    let input = Shared::new(input);
    let mut server = Server { input: &input, attached: None, withdrawn: Withdrawn::default(), calls: 0 };
    let mut granted: Vec<u16> = vec![];
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let (op, name) = (input.byte(), input.byte());
        (server.attached, server.calls) = (None, 0);
        let function = DeviceIndex(u16::from(name & 7));
        let request = match op & 7 {
            0..3 => Some(pci::Request::Enable { function }),
            3 => Some(pci::Request::Disable { function }),
            4 => Some(pci::Request::Info { function }),
            _ => None,
        };
        match request {
            Some(request) => {
                let (opcode, words) = request.encode();
                ask(&mut host, &mut server, name >> 4, opcode.label(), &words);
            }
            None if op & 7 == 5 => {
                server.withdrawn = Withdrawn::default();
                host.settle(&mut server);
                assert!(server.calls as usize <= MAX_WITHDRAWN);
                let Withdrawn { streams, ended } = &server.withdrawn;
                let taken = functions.iter().filter(|of| !ended || streams.contains(&of.stream));
                let taken: Vec<u16> = taken.map(|of| of.requester).collect();
                granted.retain(|at| !taken.contains(at));
            }
            None => {
                let label = input.number();
                let words: Vec<u64> = (0..name & 7).map(|_| input.number()).collect();
                ask(&mut host, &mut server, name, label, &Words::from_slice(&words));
            }
        }
        let attached =
            functions.iter().filter(|of| Some(of.stream) == server.attached).map(|of| of.requester);
        granted.extend(attached);
        let now = masters();
        assert!(now.iter().all(|at| granted.contains(at)), "{now:x?} master the bus, of {granted:x?}");
        granted = now;
    }
}

fn ask(
    host: &mut Host<'_, Config<'_, '_>>,
    server: &mut Server<'_, '_>,
    channel: u8,
    label: u64,
    words: &Words,
) {
    let (label, words) = host.request(server, channel, label, words);
    let status = pci::Status::from_label(label).expect("a status");
    assert!(status == pci::Status::Ok || words.as_slice().is_empty(), "a refusal has no words");
    assert!(server.calls <= 1, "one call to the server at most");
}
