//! Children that die and ask, a server and a kernel that are played.

use std::{cell::RefCell, collections::VecDeque, fmt, rc::Rc};

use iommu_client::Call;
use iommu_protocol::{ClientIndex, Request, Status, VERSION, Words};
use supervisor::{
    Fault, HOLD_MS, MAX_DEATHS, Machine, Supervisor,
    policy::{
        ChildEntry, Children, Header, MAGIC, MAX_CHILDREN, NAME_BYTES, NO_CHANNEL, NO_CLIENT, PolicyError,
        parse,
    },
};
use zerocopy::IntoBytes;

const MEMORY: Fault = Fault { label: 6, words: [0x20_1000, 0, 0, 0x46] };

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Stop(u8),
    Restart(u8, u64),
    Asked(Request),
    Line(String),
}

/// All that is played.
#[derive(Clone, Default)]
struct World {
    events: Rc<RefCell<Vec<Event>>>,
    /// What the server answers next; then OK.
    answers: Rc<RefCell<VecDeque<Status>>>,
    /// Whether the kernel refuses to stop, to restart.
    refuses: Rc<RefCell<(bool, bool)>>,
}

impl World {
    fn happened(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// What happened since the last look, without lines; and the lines.
    fn take(&self) -> (Vec<Event>, Vec<String>) {
        let (lines, events): (Vec<_>, Vec<_>) =
            self.events.take().into_iter().partition(|event| matches!(event, Event::Line(_)));
        let text = |event| if let Event::Line(line) = event { line } else { String::new() };
        (events, lines.into_iter().map(text).collect())
    }
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Machine for World {
    type Error = Refused;

    fn stop(&mut self, child: u8) -> Result<(), Refused> {
        self.happened(Event::Stop(child));
        if self.refuses.borrow().0 { Err(Refused) } else { Ok(()) }
    }

    fn restart(&mut self, child: u8, entry: u64) -> Result<(), Refused> {
        self.happened(Event::Restart(child, entry));
        if self.refuses.borrow().1 { Err(Refused) } else { Ok(()) }
    }

    fn report(&mut self, line: fmt::Arguments<'_>) {
        self.happened(Event::Line(line.to_string()));
    }
}

impl Call for World {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let request = Request::decode(label, words).expect("a request");
        if request == Request::Version {
            return (Status::Ok.label(), Words::new([VERSION]));
        }
        self.happened(Event::Asked(request));
        let status = self.answers.borrow_mut().pop_front().unwrap_or(Status::Ok);
        let words = match (status, request) {
            (Status::Ok | Status::Again, Request::Teardown { .. }) => Words::new([0, 0x1000]),
            _ => Words::new([]),
        };
        (status.label(), words)
    }
}

fn entry(id: u8, client: u8, channel: u8, name: &str) -> ChildEntry {
    let mut bytes = [0; NAME_BYTES];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    ChildEntry { entry: 0x20_0000 + u64::from(id), id, client, channel, reserved: [0; 5], name: bytes }
}

fn blob(entries: &[ChildEntry]) -> Vec<u8> {
    let header = Header { magic: MAGIC, children: entries.len() as u64 };
    [header.as_bytes(), entries.as_bytes()].concat()
}

fn family() -> Children {
    parse(&blob(&[entry(4, 0, 7, "disk"), entry(5, 1, 8, "net"), entry(6, NO_CLIENT, NO_CHANNEL, "clock")]))
        .unwrap()
}

fn supervisor(world: &World) -> Supervisor<World, World> {
    Supervisor::new(world.clone(), Some(world.clone()), family()).ok().unwrap()
}

fn teardown(client: u16) -> Event {
    Event::Asked(Request::Teardown { client: ClientIndex(client) })
}

fn hold(client: u16) -> Event {
    Event::Asked(Request::Hold { client: ClientIndex(client), deadline_ms: HOLD_MS })
}

#[test]
fn a_dead_driver_is_ended_before_it_starts_again() {
    let world = World::default();
    supervisor(&world).died(5, MEMORY);
    let (events, lines) = world.take();
    assert_eq!(events, [Event::Stop(5), teardown(1), Event::Restart(5, 0x20_0005)]);
    assert_eq!(lines, ["'net' died: a memory access at 0x0 that is not allowed (pc 0x201000)"]);
}

#[test]
fn what_the_server_ends_in_steps_is_continued() {
    let world = World::default();
    world.answers.borrow_mut().extend([Status::Again; 3]);
    supervisor(&world).died(4, MEMORY);
    let steps = [teardown(0), teardown(0), teardown(0), teardown(0)];
    let expected: Vec<_> =
        [Event::Stop(4)].into_iter().chain(steps).chain([Event::Restart(4, 0x20_0004)]).collect();
    assert_eq!(world.take().0, expected);
}

#[test]
fn a_driver_that_asks_is_held_before_it_is_stopped() {
    let world = World::default();
    supervisor(&world).signalled(|channel| channel == 7);
    let (events, lines) = world.take();
    assert_eq!(events, [hold(0), Event::Stop(4), Event::Restart(4, 0x20_0004)]);
    assert_eq!(lines, ["'disk' replaced, 1 time so far"]);
}

#[test]
fn only_who_signals_is_replaced() {
    let world = World::default();
    let mut supervisor = supervisor(&world);
    supervisor.signalled(|channel| ![7, 8].contains(&channel));
    assert_eq!(world.take().0, []);
    supervisor.signalled(|channel| [7, 8].contains(&channel));
    let stopped: Vec<_> =
        world.take().0.into_iter().filter(|event| matches!(event, Event::Stop(_))).collect();
    assert_eq!(stopped, [Event::Stop(4), Event::Stop(5)]);
}

#[test]
fn without_a_hold_nothing_is_stopped() {
    let world = World::default();
    world.answers.borrow_mut().push_back(Status::Busy);
    supervisor(&world).signalled(|channel| channel == 7);
    let (events, lines) = world.take();
    assert_eq!(events, [hold(0)]);
    assert!(
        lines[0].starts_with("'disk' is not replaced: the server does not hold what it has: "),
        "{lines:?}"
    );
}

#[test]
fn what_the_server_cannot_end_does_not_start_again() {
    let world = World::default();
    world.answers.borrow_mut().push_back(Status::HardwareTimeout);
    supervisor(&world).died(4, MEMORY);
    let (events, lines) = world.take();
    assert_eq!(events, [Event::Stop(4), teardown(0)]);
    assert!(
        lines[1].starts_with("'disk' stays stopped: the server has not ended what it has: "),
        "{lines:?}"
    );
}

#[test]
fn the_kernels_refusals_are_said() {
    let world = World::default();
    *world.refuses.borrow_mut() = (true, true);
    let mut supervisor = supervisor(&world);
    supervisor.died(4, MEMORY);
    supervisor.signalled(|channel| channel == 8);
    let (events, lines) = world.take();
    assert_eq!(events, [Event::Stop(4), hold(1), Event::Stop(5)]);
    assert_eq!(lines[1..], ["'disk' cannot be stopped: refused", "'net' cannot be stopped: refused"]);
    *world.refuses.borrow_mut() = (false, true);
    supervisor.died(6, MEMORY);
    assert_eq!(world.take().1[1..], ["'clock' cannot be restarted: refused"]);
}

#[test]
fn a_child_that_is_no_client_is_restarted_without_the_server() {
    let world = World::default();
    supervisor(&world).died(6, MEMORY);
    assert_eq!(world.take().0, [Event::Stop(6), Event::Restart(6, 0x20_0006)]);
    let mut alone: Supervisor<World, World> = Supervisor::new(world.clone(), None, family()).ok().unwrap();
    alone.died(4, MEMORY);
    assert_eq!(world.take().0, [Event::Stop(4), Event::Restart(4, 0x20_0004)]);
}

#[test]
fn a_child_that_dies_again_and_again_is_given_up() {
    let world = World::default();
    let mut supervisor = supervisor(&world);
    for _ in 0..MAX_DEATHS {
        supervisor.died(4, MEMORY);
        assert_eq!(world.take().0.last(), Some(&Event::Restart(4, 0x20_0004)));
    }
    supervisor.died(4, MEMORY);
    let (events, lines) = world.take();
    assert_eq!(events, [Event::Stop(4), teardown(0)], "its devices are stopped all the same");
    assert_eq!(lines[1], "'disk' died 64 times before; it stays stopped");
    supervisor.died(5, MEMORY);
    assert_eq!(world.take().0.last(), Some(&Event::Restart(5, 0x20_0005)), "the others are restarted");
}

#[test]
fn a_driver_that_asks_often_does_not_fill_the_console() {
    let world = World::default();
    let mut supervisor = supervisor(&world);
    (0..100).for_each(|_| supervisor.signalled(|channel| channel == 7));
    let (events, lines) = world.take();
    assert_eq!(events.len(), 300);
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[6], "'disk' replaced, 64 times so far");
}

#[test]
fn a_deadline_that_has_passed_is_said() {
    let world = World::default();
    supervisor(&world).unclaimed();
    let said = "the IOMMU server has ended what a replaced driver had: it was not claimed within 5000 ms";
    assert_eq!(world.take(), (vec![], vec![said.to_string()]));
}

#[test]
fn an_unknown_child_is_said() {
    let world = World::default();
    supervisor(&world).died(9, Fault { label: 77, words: [0; 4] });
    assert_eq!(
        world.take(),
        (vec![], vec!["a child that is not in the policy (id 9) died: fault 77".to_string()])
    );
}

#[test]
fn faults_are_told() {
    let told = |label, words| Fault { label, words }.to_string();
    assert_eq!(told(6, [1, 2, 1, 0]), "an instruction fetch at 0x2 that is not allowed (pc 0x1)");
    assert_eq!(told(1, [1, 512, 0, 0]), "a system call with capability 512 (pc 0x1)");
    assert_eq!(told(2, [0; 4]), "an unknown system call");
    assert_eq!(told(3, [1, 0, 0, 0]), "an exception (pc 0x1), such as a panic's end");
    assert_eq!(told(4, [1, 0, 0, 0]), "a breakpoint (pc 0x1), such as a panic's end");
}

#[test]
fn malformed_policies_are_refused() {
    let good = blob(&[entry(4, 0, 7, "disk"), entry(5, 1, 8, "net")]);
    for length in 0..good.len() {
        assert_eq!(parse(&good[..length]).err(), Some(PolicyError::Truncated), "{length} bytes");
    }
    let mut longer = good.clone();
    longer.resize(4096, 0);
    assert_eq!(parse(&longer).unwrap().iter().map(|child| child.name()).collect::<Vec<_>>(), ["disk", "net"]);
    let mut bad = good;
    bad[0] ^= 1;
    assert_eq!(parse(&bad).err(), Some(PolicyError::BadMagic));
    let many = vec![entry(0, NO_CLIENT, NO_CHANNEL, ""); MAX_CHILDREN + 1];
    assert_eq!(parse(&blob(&many)).err(), Some(PolicyError::TooManyChildren));
    assert!(parse(&blob(&many[1..])).is_ok());
    for bad in [entry(62, 0, 7, "x"), entry(0, 0, 62, "x"), ChildEntry { entry: 0, ..entry(0, 0, 7, "x") }] {
        assert_eq!(parse(&blob(&[many[0], bad])).err(), Some(PolicyError::BadEntry(1)));
    }
}
