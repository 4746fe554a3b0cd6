//! The PCI host over a configuration space that is played.

use std::collections::BTreeMap;

use iommu_client::Call;
use iommu_protocol::{
    DeviceIndex, Request as ServerRequest, Status as ServerStatus, Words,
    pci::{Info, Request, Status},
};
use pci_host::{
    ConfigSpace, Host, MAX_CAPABILITIES, Requester,
    policy::{BarEntry, FunctionEntry, NO_CHANNEL, PciPolicy},
};
use proptest::prelude::*;

const IO: u16 = 1;
const MEMORY: u16 = 2;
const MASTER: u16 = 4;
const INTX_OFF: u16 = 1 << 10;

/// One function: its registers, and which bits of them can be written.
#[derive(Debug, Clone)]
struct Function {
    registers: [u32; 64],
    writable: [u32; 64],
}

impl Function {
    fn new(ids: u32) -> Self {
        let mut function = Self { registers: [0; 64], writable: [0; 64] };
        function.registers[0] = ids;
        // What a boot loader may have left: everything on, errors noted in the status.
        function.registers[1] = 0xf900_0000 | u32::from(IO | MEMORY | MASTER | INTX_OFF);
        function.writable[1] = u32::from(IO | MEMORY | MASTER | INTX_OFF | 0x140);
        function.writable[12] = 0xffff_f801;
        function
    }

    /// An edu device: 1 MiB in BAR 0.
    fn edu() -> Self {
        Self::new(0x11e8_1234).bar(0, 0xfff0_0000, 0)
    }

    fn bar(mut self, number: usize, writable: u32, fixed: u32) -> Self {
        (self.writable[4 + number], self.registers[4 + number]) = (writable, fixed);
        self
    }

    fn several(mut self) -> Self {
        self.registers[3] |= 1 << 23;
        self
    }

    fn layout(mut self, layout: u32) -> Self {
        self.registers[3] |= layout << 16;
        self
    }

    fn command(&self) -> u16 {
        self.registers[1] as u16
    }
}

/// Configuration space of bus 0, and a count of its accesses.
#[derive(Debug, Default)]
struct Space {
    functions: BTreeMap<u16, Function>,
    accesses: u32,
}

impl Space {
    fn with(functions: impl IntoIterator<Item = (u16, Function)>) -> Self {
        Self { functions: functions.into_iter().collect(), accesses: 0 }
    }

    fn command(&self, at: u16) -> u16 {
        self.functions[&at].command()
    }
}

impl ConfigSpace for &mut Space {
    fn buses(&self) -> u16 {
        1
    }

    fn read(&mut self, function: Requester, register: u16) -> u32 {
        assert!(function.bus() == 0 && register.is_multiple_of(4));
        self.accesses += 1;
        let function = self.functions.get(&function.0);
        function.map_or(u32::MAX, |function| function.registers[usize::from(register / 4)])
    }

    fn write(&mut self, function: Requester, register: u16, value: u32) {
        assert!(function.bus() == 0 && register.is_multiple_of(4));
        self.accesses += 1;
        let Some(function) = self.functions.get_mut(&function.0) else { return };
        let index = usize::from(register / 4);
        let decodes = function.command() & (IO | MEMORY) != 0;
        assert!(!(decodes && (4..10).contains(&index)), "a BAR is changed while it is decoded");
        assert!(index != 1 || value >> 16 == 0, "the status is written");
        let mask = function.writable[index];
        function.registers[index] = function.registers[index] & !mask | value & mask;
    }
}

/// Answers of an IOMMU server: the streams that are attached.
#[derive(Debug, Default)]
struct Server {
    attached: Vec<u32>,
    asked: Vec<u32>,
    /// What is to be withdrawn, the next one last.
    withdrawn: Vec<u32>,
    broken: Option<(u64, Vec<u64>)>,
}

impl Call for Server {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let request = ServerRequest::decode(label, words);
        if let Some((label, words)) = &self.broken {
            return (*label, Words::from_slice(words));
        }
        let words = match request {
            Ok(ServerRequest::IsAttached { stream }) => {
                self.asked.push(stream);
                Words::new([self.attached.contains(&stream).into()])
            }
            Ok(ServerRequest::NextWithdrawn) => match self.withdrawn.pop() {
                Some(stream) => Words::new([1 + u64::from(!self.withdrawn.is_empty()), stream.into()]),
                None => Words::new([0, 0]),
            },
            other => panic!("the PCI host asks for nothing else: {other:?}"),
        };
        (ServerStatus::Ok.label(), words)
    }
}

const EDU: FunctionEntry =
    FunctionEntry { requester: 0x10, channel: 1, successor_channel: NO_CHANNEL, stream: 0x10 };
const BAR0: BarEntry = BarEntry { paddr: 0x1000_0000, bytes: 0x10_0000, function: 0, bar: 0 };

fn bring_up<'a>(
    space: &'a mut Space,
    functions: &'a [FunctionEntry],
    bars: &'a [BarEntry],
) -> (Host<'a, &'a mut Space>, Vec<String>) {
    let mut lines = Vec::new();
    let host = Host::bring_up(space, PciPolicy { functions, bars }, &mut |line| lines.push(line.to_string()));
    (host, lines)
}

/// The line about one edu with `function` in its place, brought up with `bars`.
fn line_about(function: Function, bars: &[BarEntry]) -> String {
    let mut space = Space::with([(0x10, function)]);
    let (_, lines) = bring_up(&mut space, &[EDU], bars);
    let usable = !lines[0].contains("left out");
    let decodes = space.command(0x10) & (IO | MEMORY | MASTER);
    assert_eq!(decodes, if usable { MEMORY } else { 0 }, "{lines:?}");
    assert_eq!(lines.len(), 1);
    lines[0].clone()
}

fn ask(host: &mut Host<'_, &mut Space>, server: &mut Server, channel: u8, request: Request) -> Status {
    let (opcode, words) = request.encode();
    let (label, words) = host.request(server, channel, opcode.label(), &words);
    let status = Status::from_label(label).expect("a status");
    let info = matches!(request, Request::Info { .. }) && status == Status::Ok;
    assert_eq!(words.as_slice().len(), if info { 2 } else { 0 });
    status
}

fn info(host: &mut Host<'_, &mut Space>, channel: u8, function: u16) -> Info {
    let (opcode, words) = Request::Info { function: DeviceIndex(function) }.encode();
    let (label, words) = host.request(&mut Server::default(), channel, opcode.label(), &words);
    assert_eq!(label, 0);
    Info::decode(&words).expect("an answer")
}

const ENABLE: Request = Request::Enable { function: DeviceIndex(0) };
const DISABLE: Request = Request::Disable { function: DeviceIndex(0) };

#[test]
fn every_function_loses_bus_mastering_and_the_named_ones_are_placed() {
    let mut space = Space::with([
        (0x00, Function::new(0x0008_1b36)),
        (0x08, Function::new(0x1000_1af4).several()),
        (0x0b, Function::new(0x1001_1af4)),
        (0x10, Function::edu()),
        (0x12, Function::new(0x2222_2222)),
        (0x18, Function::new(0x000c_1b36).layout(1)),
    ]);
    let (_, lines) = bring_up(&mut space, &[EDU], &[BAR0]);
    assert_eq!(
        lines,
        [
            "pci 00:00.0 1b36:0008: not in the policy, bus mastering off",
            "pci 00:01.0 1af4:1000: not in the policy, bus mastering off",
            "pci 00:01.3 1af4:1001: not in the policy, bus mastering off",
            "pci 00:03.0 1b36:000c: not in the policy, bus mastering off",
            "pci 00:02.0 1234:11e8: BAR 0 at 0x10000000, bus mastering off",
        ]
    );
    assert_eq!(space.command(0x10), MEMORY);
    assert_eq!(space.functions[&0x10].registers[4], 0x1000_0000);
    for other in [0x00, 0x08, 0x0b, 0x18] {
        assert_eq!(space.command(other), IO | MEMORY | INTX_OFF, "{other:#x}");
    }
    assert_eq!(space.command(0x12) & MASTER, MASTER, "a device of one function has no function 2");
}

#[test]
fn bus_mastering_that_stays_on_is_told() {
    let mut bridge = Function::new(0x0008_1b36);
    bridge.writable[1] = 0;
    let mut space = Space::with([(0, bridge)]);
    let (_, lines) = bring_up(&mut space, &[], &[]);
    assert_eq!(lines, ["pci 00:00.0 1b36:0008: bus mastering cannot be turned off"]);
}

#[test]
fn a_64_bit_bar_takes_two_registers() {
    let wide = Function::new(0x0010_1b36).bar(0, 0xffff_c000, 0x4).bar(1, u32::MAX, 0);
    let high = BarEntry { paddr: 0x80_0001_0000, bytes: 0x4000, ..BAR0 };
    let line = line_about(wide.clone(), &[high]);
    assert_eq!(line, "pci 00:02.0 1b36:0010: BAR 0 at 0x8000010000, bus mastering off");

    let mut space = Space::with([(0x10, wide)]);
    bring_up(&mut space, &[EDU], &[high]);
    assert_eq!(space.functions[&0x10].registers[4..6], [0x0001_0004, 0x80]);
}

#[test]
fn a_bar_may_be_as_large_as_half_of_all_addresses() {
    let huge = Function::new(0x11e8_1234).bar(0, 0, 4).bar(1, 0x8000_0000, 0);
    let line = line_about(huge, &[BarEntry { paddr: 1 << 63, bytes: u64::MAX, ..BAR0 }]);
    assert_eq!(line, "pci 00:02.0 1234:11e8: BAR 0 at 0x8000000000000000, bus mastering off");
}

#[test]
fn what_a_boot_loader_left_on_goes_off() {
    let mut edu = Function::edu();
    edu.registers[12] = 0xfeb0_0001;
    edu.registers[1] |= 1 << 20;
    edu.registers[13] = 0x40;
    edu.registers[16] = 0x0081_5005;
    edu.registers[20] = 0xc001_0011;
    edu.writable[16] = 0x007f_0000;
    edu.writable[20] = 0xc000_0000;
    let mut space = Space::with([(0x10, edu)]);
    bring_up(&mut space, &[EDU], &[BAR0]);
    let registers = &space.functions[&0x10].registers;
    assert_eq!((registers[12], registers[16], registers[20]), (0xfeb0_0000, 0x0080_5005, 0x4001_0011));
    assert_eq!(registers[1] as u16, MEMORY, "and INTx is on");
}

#[test]
fn a_capability_list_that_is_a_loop_ends() {
    let mut edu = Function::edu();
    edu.registers[1] |= 1 << 20;
    edu.registers[13] = 0x40;
    edu.registers[16] = 0x4009;
    let mut space = Space::with([(0x10, edu)]);
    let (_, lines) = bring_up(&mut space, &[EDU], &[BAR0]);
    assert!(!lines[0].contains("left out"), "{lines:?}");
    assert!(space.accesses < 32 + MAX_CAPABILITIES + 80, "{} accesses", space.accesses);
}

#[test]
fn what_cannot_be_placed_is_left_out_and_decodes_nothing() {
    let mut space = Space::default();
    let (mut host, lines) = bring_up(&mut space, &[EDU], &[BAR0]);
    assert_eq!(lines, ["pci 00:02.0: left out: there is no such function"]);
    let mut server = Server { attached: vec![0x10], ..Server::default() };
    assert_eq!(ask(&mut host, &mut server, 1, ENABLE), Status::NotUsable);
    assert_eq!(ask(&mut host, &mut server, 1, DISABLE), Status::NotUsable);
    let absent = Info { requester: 0x10, usable: false, bus_master: false, vendor: !0, device: !0 };
    assert_eq!(info(&mut host, 1, 0), absent);
    assert_eq!(server.asked, []);

    let beyond = FunctionEntry { requester: 0x110, ..EDU };
    let mut space = Space::default();
    let (_, lines) = bring_up(&mut space, &[beyond], &[]);
    let expected = "pci 01:02.0: left out: its bus is outside the mapped configuration space";
    assert_eq!(lines, [expected]);

    let mut bridge = Space::with([(0x10, Function::new(0x000c_1b36).layout(1))]);
    let (_, lines) = bring_up(&mut bridge, &[EDU], &[BAR0]);
    assert_eq!(lines, ["pci 00:02.0: left out: it has a header of layout 1"]);

    let edu = Function::edu;
    let blank = || Function::new(0x11e8_1234);
    let at = |paddr, bytes, bar| BarEntry { paddr, bytes, function: 0, bar };
    let cases = [
        (edu(), vec![at(0x1000_0000, 0x8_0000, 0)], "BAR 0 has 0x100000 bytes, more than its region"),
        (
            edu(),
            vec![at(0x1008_0000, 0x10_0000, 0)],
            "BAR 0 has 0x100000 bytes, and its region is not aligned to that",
        ),
        (edu(), vec![at(1 << 32, 0x10_0000, 0)], "BAR 0 has too few address bits for its region"),
        (edu(), vec![], "BAR 0 has no place in the policy"),
        (edu(), vec![BAR0, at(0x2000_0000, 0x1000, 3)], "BAR 3 does not exist"),
        (edu().bar(2, 0xffff_ff00, 1), vec![BAR0, at(0x2000_0000, 0x1000, 2)], "BAR 2 decodes IO addresses"),
        (blank().bar(0, 0xf0f0_0000, 0), vec![BAR0], "BAR 0 is no BAR of a known kind"),
        (blank().bar(0, 0xfff0_0000, 2), vec![BAR0], "BAR 0 is no BAR of a known kind"),
        (blank().bar(0, 0xfff0_0000, 6), vec![BAR0], "BAR 0 is no BAR of a known kind"),
        (blank().bar(0, 0, 8), vec![BAR0], "BAR 0 is no BAR of a known kind"),
        (edu().bar(5, 0xffff_0000, 4), vec![BAR0], "BAR 5 is no BAR of a known kind"),
        (
            blank().bar(0, 0xffff_c000, 4).bar(1, u32::MAX, 0),
            vec![BAR0, at(0x2000_0000, 0x1000, 1)],
            "BAR 1 does not exist",
        ),
        (blank().bar(0, 0, 4).bar(1, 0, 0), vec![BAR0], "BAR 0 is no BAR of a known kind"),
    ];
    for (function, bars, expected) in cases {
        let line = line_about(function, &bars);
        assert_eq!(line, format!("pci 00:02.0: left out: its {expected}"));
    }
}

#[test]
fn an_io_bar_that_nobody_names_stays_off() {
    let edu = Function::edu().bar(1, 0xffff_ff00, 1);
    assert!(line_about(edu, &[BAR0]).ends_with("BAR 0 at 0x10000000, bus mastering off"));
}

#[test]
fn only_what_the_server_says_is_attached_becomes_bus_master() {
    let mut space = Space::with([(0x10, Function::edu())]);
    let (mut host, _) = bring_up(&mut space, &[EDU], &[BAR0]);
    let mut server = Server::default();
    assert_eq!(ask(&mut host, &mut server, 1, ENABLE), Status::NotAttached);
    assert!(!info(&mut host, 1, 0).bus_master);
    server.attached.push(0x10);
    assert_eq!(ask(&mut host, &mut server, 1, ENABLE), Status::Ok);
    let expected = Info { requester: 0x10, usable: true, bus_master: true, vendor: 0x1234, device: 0x11e8 };
    assert_eq!(info(&mut host, 1, 0), expected);
    assert_eq!(ask(&mut host, &mut server, 1, DISABLE), Status::Ok);
    assert!(!info(&mut host, 1, 0).bus_master);
    assert_eq!(server.asked, [0x10, 0x10]);
}

#[test]
fn an_answer_that_is_none_enables_nothing_and_disables_all() {
    let answers = [(4, vec![]), (0, vec![2]), (0, vec![]), (0, vec![1, 1]), (99, vec![1]), (1, vec![1])];
    // Too wide for a stream, and a server that never comes to an end.
    let more = [(0, vec![1, 1 << 32]), (0, vec![2, 7]), (0, vec![3, 7])];
    for broken in answers.into_iter().chain(more) {
        let mut space = Space::with([(0x10, Function::edu())]);
        let (mut host, _) = bring_up(&mut space, &[EDU], &[BAR0]);
        // To the other question this is an answer: of a stream that is not here.
        let answers = broken == (0, vec![1, 1]);
        let mut server = Server { broken: Some(broken), ..Server::default() };
        assert_eq!(ask(&mut host, &mut server, 1, ENABLE), Status::NoAnswer);
        assert!(!info(&mut host, 1, 0).bus_master);

        let mut sound = Server { attached: vec![0x10], ..Server::default() };
        assert_eq!(ask(&mut host, &mut sound, 1, ENABLE), Status::Ok);
        host.settle(&mut server);
        assert_eq!(info(&mut host, 1, 0).bus_master, answers);
    }
}

#[test]
fn a_signal_takes_bus_mastering_from_what_is_no_longer_attached() {
    let second = FunctionEntry { requester: 0x18, channel: 2, successor_channel: NO_CHANNEL, stream: 0x118 };
    let third = FunctionEntry { requester: 0x20, channel: 2, successor_channel: NO_CHANNEL, stream: 0x120 };
    let functions = [EDU, second, third];
    let bars = [0, 1, 2].map(|n: u32| BarEntry {
        paddr: 0x1000_0000 + 0x10_0000 * u64::from(n),
        function: n,
        ..BAR0
    });
    let mut space = Space::with([0x10, 0x18, 0x20].map(|at| (at, Function::edu())));
    let (mut host, _) = bring_up(&mut space, &functions, &bars);
    let mut server = Server { attached: vec![0x10, 0x118], ..Server::default() };
    assert_eq!(ask(&mut host, &mut server, 1, ENABLE), Status::Ok);
    assert_eq!(ask(&mut host, &mut server, 2, ENABLE), Status::Ok);
    // The last is nobody's.
    server.withdrawn = vec![0x10, 0x120, 0x777];
    host.settle(&mut server);
    assert!(server.withdrawn.is_empty());
    assert!(!info(&mut host, 1, 0).bus_master);
    assert!(info(&mut host, 2, 0).bus_master, "another driver's function goes on");
    assert!(!info(&mut host, 2, 1).bus_master);
}

#[test]
fn a_successor_reaches_its_predecessors_functions() {
    let shared = FunctionEntry { successor_channel: 3, ..EDU };
    let other = FunctionEntry { requester: 0x18, channel: 2, successor_channel: NO_CHANNEL, stream: 0x18 };
    let bars =
        [0, 1].map(|n: u32| BarEntry { paddr: 0x1000_0000 + 0x10_0000 * u64::from(n), function: n, ..BAR0 });
    let mut space = Space::with([0x10, 0x18].map(|at| (at, Function::edu())));
    let functions = [shared, other];
    let (mut host, _) = bring_up(&mut space, &functions, &bars);
    let mut server = Server { attached: vec![0x10], ..Server::default() };
    assert_eq!(info(&mut host, 3, 0).requester, 0x10);
    assert_eq!(ask(&mut host, &mut server, 3, ENABLE), Status::Ok);
    assert!(info(&mut host, 1, 0).bus_master);
    assert_eq!(
        ask(&mut host, &mut server, 3, Request::Info { function: DeviceIndex(1) }),
        Status::NoSuchFunction
    );
}

#[test]
fn a_driver_has_its_own_functions_and_no_others() {
    let second = FunctionEntry { requester: 0x18, channel: 2, successor_channel: NO_CHANNEL, stream: 0x18 };
    let functions = [second, EDU];
    let bars =
        [0, 1].map(|n: u32| BarEntry { paddr: 0x1000_0000 + 0x10_0000 * u64::from(n), function: n, ..BAR0 });
    let mut space = Space::with([0x10, 0x18].map(|at| (at, Function::edu())));
    let (mut host, _) = bring_up(&mut space, &functions, &bars);
    assert_eq!((info(&mut host, 1, 0).requester, info(&mut host, 2, 0).requester), (0x10, 0x18));
    let mut server = Server { attached: vec![0x10, 0x18], ..Server::default() };
    for channel in 0..=u8::MAX {
        for function in [1, 2, 63, 64, u16::MAX].map(DeviceIndex) {
            for request in
                [Request::Info { function }, Request::Enable { function }, Request::Disable { function }]
            {
                assert_eq!(ask(&mut host, &mut server, channel, request), Status::NoSuchFunction);
            }
        }
    }
    assert_eq!(ask(&mut host, &mut server, 3, ENABLE), Status::NoSuchFunction);
    assert_eq!(server.asked, []);
}

#[test]
fn messages_that_are_no_requests_are_refused() {
    let mut space = Space::with([(0x10, Function::edu())]);
    let (mut host, _) = bring_up(&mut space, &[EDU], &[BAR0]);
    let mut server = Server::default();
    let mut status = |label, words: &[u64]| {
        let (label, words) = host.request(&mut server, 1, label, &Words::from_slice(words));
        assert_eq!(words.as_slice(), []);
        Status::from_label(label)
    };
    assert_eq!(status(1, &[]), Some(Status::UnknownRequest));
    assert_eq!(status(u64::MAX, &[0]), Some(Status::UnknownRequest));
    assert_eq!(status(0x102, &[]), Some(Status::BadMessage));
    assert_eq!(status(0x102, &[0; 120]), Some(Status::BadMessage));
    assert_eq!(status(0x102, &[1 << 16]), Some(Status::BadMessage));
}

/// Configuration space that answers at random.
struct Hostile {
    answers: Vec<u32>,
    accesses: usize,
}

impl ConfigSpace for &mut Hostile {
    fn buses(&self) -> u16 {
        1
    }

    fn read(&mut self, _: Requester, register: u16) -> u32 {
        assert!(register < 4096 && register.is_multiple_of(4));
        self.accesses += 1;
        self.answers[self.accesses % self.answers.len()]
    }

    fn write(&mut self, _: Requester, register: u16, _: u32) {
        assert!(register < 4096 && register.is_multiple_of(4));
        self.accesses += 1;
    }
}

proptest! {
    /// Whatever configuration space says, bring-up and requests end, in bounded accesses.
    #[test]
    fn hostile_functions_are_survived(
        answers in prop::collection::vec(prop_oneof![any::<u32>(), Just(0), Just(0x40), Just(!0)], 1..200),
        bars in prop::collection::vec((any::<u64>(), any::<u64>(), 0_u32..6), 0..6),
    ) {
        let bars: Vec<_> = bars
            .into_iter()
            .map(|(paddr, bytes, bar)| BarEntry { paddr, bytes, function: 0, bar })
            .collect();
        let mut space = Hostile { answers, accesses: 0 };
        let policy = PciPolicy { functions: &[EDU], bars: &bars };
        let mut host = Host::bring_up(&mut space, policy, &mut |_| ());
        let mut server = Server { attached: vec![0x10], ..Server::default() };
        for label in 0x101..=0x103 {
            host.request(&mut server, 1, label, &Words::new([0]));
        }
        host.settle(&mut server);
        prop_assert!(space.accesses < 32 * 8 * 6 + 200);
    }
}
