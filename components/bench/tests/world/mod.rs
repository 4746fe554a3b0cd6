//! A server that keeps mappings and nothing else, and a clock on which each kind of message has its price.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};

use bench::{Neighbour, Neighbours, Report, Supervisor, Time};
use iommu_client::Call;
use iommu_protocol::{
    AllowStep, ClientIndex, Opcode, RegionSlot, Request, SpaceId, Status, VERSION, Words, stats,
};

/// What a message with `opcode` takes.
pub fn price(opcode: Opcode) -> u64 {
    opcode.label() * 1000
}

/// Areas that one UNMAP takes out at most, as the server's bound is.
pub const AREAS_PER_REQUEST: usize = 64;

/// Pages that one MAP or COPY writes at most.
const PAGES_PER_REQUEST: u64 = 640;

/// The number of client 0's supervisor.
pub const SUPERVISOR: u8 = 0xff;

#[derive(Default)]
pub struct World {
    now: u64,
    clients: BTreeMap<u8, Client>,
    /// The requests of each client, by label.
    pub asked: BTreeMap<u8, BTreeMap<u64, u64>>,
    /// Where pages were mapped between two others, while there were so many.
    pub squeezed: BTreeMap<usize, BTreeSet<u64>>,
    /// For each TEARDOWN and REVOKE: how many mappings it found.
    pub found: BTreeMap<u64, BTreeSet<usize>>,
    /// For each CLAIM: the requests that it found half done.
    pub claimed: BTreeSet<Option<u64>>,
    /// What the client with this number is refused from now on.
    pub refuse: Option<(u8, Status)>,
}

#[derive(Default)]
struct Client {
    /// By first address: the last one.
    spaces: BTreeMap<u16, BTreeMap<u64, u64>>,
    attached: Option<u16>,
    /// Ranges that were added to the list of each space.
    allowed: BTreeMap<u16, u64>,
    named: u16,
    /// How often its region was withdrawn, and whether it is.
    revoked: u16,
    withdrawn: bool,
    /// What the server does about it by itself.
    ending: bool,
    held: bool,
    /// The label of a request that is half done.
    half_done: Option<u64>,
}

impl Client {
    fn space(&mut self, id: SpaceId) -> Result<&mut BTreeMap<u64, u64>, Status> {
        self.spaces.get_mut(&id.0).ok_or(Status::NoSuchSpace)
    }

    fn areas(&self) -> usize {
        self.spaces.values().map(BTreeMap::len).sum()
    }

    /// Takes out as much as one message does; whether there is more.
    fn remove_some(&mut self) -> bool {
        let space = self.spaces.values_mut().find(|space| !space.is_empty());
        space.is_some_and(|space| take_out(space, 0, u64::MAX).0 == Status::Again) || self.areas() != 0
    }

    /// One step of what is to be done about it; the answer to a request that is one.
    fn step(&mut self) -> Status {
        if !self.ending && !self.withdrawn {
            return Status::Ok;
        }
        if self.remove_some() {
            return Status::Again;
        }
        if std::mem::take(&mut self.ending) {
            (self.attached, self.spaces) = (None, BTreeMap::new());
        }
        Status::Ok
    }
}

pub type Shared = Rc<RefCell<World>>;

/// The channel of client `.1`.
#[derive(Clone)]
pub struct Port(pub Shared, pub u8);

impl Time for Port {
    fn now_ns(&self) -> u64 {
        let mut world = self.0.borrow_mut();
        world.now += 3;
        world.now
    }
}

impl Call for Port {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let mut world = self.0.borrow_mut();
        *world.asked.entry(self.1).or_default().entry(label).or_default() += 1;
        if let Some((_, status)) = world.refuse.filter(|(client, _)| *client == self.1) {
            return (status.label(), Words::default());
        }
        world.now += price(Opcode::from_label(label).unwrap());
        let request = Request::decode(label, words).unwrap();
        let answer = match self.1 {
            SUPERVISOR => world.supervise(request),
            number => world.answer(number, request),
        };
        match answer {
            Ok((status, words)) => (status.label(), words),
            Err(status) => (status.label(), Words::default()),
        }
    }
}

impl World {
    /// An answer to the supervisor of client 0.
    fn supervise(&mut self, request: Request) -> Result<(Status, Words), Status> {
        let client = self.clients.get_mut(&0).ok_or(Status::NoSuchClient)?;
        let mut found = || self.found.entry(request.encode().0.label()).or_default().insert(client.areas());
        match request {
            Request::Version => Ok((Status::Ok, Words::new([VERSION]))),
            Request::Teardown { client: ClientIndex(0) } => {
                found();
                client.ending = true;
                Ok((client.step(), Words::new([0, 0])))
            }
            Request::Hold { client: ClientIndex(0), .. } => {
                client.held = true;
                Ok((Status::Ok, Words::new([])))
            }
            Request::Revoke { client: ClientIndex(0), slot: RegionSlot(0) } => {
                found();
                client.revoked += 1;
                client.withdrawn = true;
                Ok((client.step(), Words::new([u64::from(client.revoked), 0])))
            }
            Request::Regrant { client: ClientIndex(0), slot: RegionSlot(0) } => {
                if !client.withdrawn {
                    return Err(Status::NotRevoked);
                }
                if client.areas() != 0 {
                    return Err(Status::Busy);
                }
                client.withdrawn = false;
                Ok((Status::Ok, Words::new([u64::from(client.revoked)])))
            }
            Request::Stats { group, client: Some(ClientIndex(0)) } => {
                // Meanwhile it goes on by itself.
                client.step();
                let areas = if group == stats::MEMORY { client.areas() as u64 } else { 0 };
                Ok((Status::Ok, Words::new([areas, 2, 3, 4])))
            }
            _ => Err(Status::NotAllowed),
        }
    }

    fn answer(&mut self, number: u8, request: Request) -> Result<(Status, Words), Status> {
        let client = self.clients.entry(number).or_default();
        if (client.held && request != Request::Claim) || client.ending {
            return Err(Status::Busy);
        }
        let words = match request {
            Request::Version => Words::new([VERSION]),
            Request::RegionInfo { .. } => Words::new([3 | u64::from(client.revoked) << 16, 0x60_0000]),
            Request::DeviceInfo { .. } => Words::new([16, 0, 0]),
            Request::HwInfo { .. } | Request::Stats { .. } => Words::new([1, 2, 3, 4]),
            Request::SpaceInfo { space: id } => {
                client.space(id)?;
                Words::new([id.0.into(), (1 << 44) - 1, 1 << 12])
            }
            Request::IovaRanges { space: id, .. } => {
                client.space(id)?;
                Words::new([0, (1 << 44) - 1, 1, 0x1000])
            }
            Request::AllowIovas { space: id, step, .. } => {
                let added = client.allowed.entry(id.0).or_default();
                match step {
                    AllowStep::Begin => *added = 0,
                    AllowStep::Add => *added += 1,
                    AllowStep::Commit => assert_eq!(*added, 8),
                }
                Words::new([])
            }
            Request::NextMapping { space: id, from } => {
                let mut above = client.space(id)?.range(from..);
                let (&first, &last) = above.next().ok_or(Status::NotMapped)?;
                Words::new([first, last, 0, 3 << 16])
            }
            Request::Copy { target, source, flags, first, length, .. } => {
                let copied: Vec<_> =
                    client.space(source)?.range(first..first + length).map(|(&a, &b)| (a, b)).collect();
                assert_eq!(copied.iter().map(|(first, last)| last - first + 1).sum::<u64>(), length);
                client.space(target)?.extend(copied);
                if length / 0x1000 > PAGES_PER_REQUEST && !flags.resume {
                    client.half_done = Some(Opcode::Copy.label());
                    return Ok((Status::Again, Words::new([first, PAGES_PER_REQUEST * 0x1000])));
                }
                client.half_done = None;
                Words::new([first, length])
            }
            Request::IoasAlloc => {
                client.named += 1;
                client.spaces.insert(client.named, BTreeMap::new());
                Words::new([client.named.into(), (1 << 44) - 1, 1 << 12 | 1 << 21 | 1 << 30])
            }
            Request::Map { space: id, generation, flags, iova, offset, length, .. } => {
                if flags.resume {
                    client.half_done = None;
                    return Ok((Status::Ok, Words::new([iova, length])));
                }
                let half_done = length / 0x1000 > PAGES_PER_REQUEST;
                client.half_done = half_done.then_some(Opcode::Map.label());
                let current = !client.withdrawn && generation == client.revoked;
                let space = client.space(id)?;
                assert!(current && flags.read && flags.write && offset + length <= 0x60_0000);
                let iova = if flags.fixed { iova } else { gap(space, length) };
                let last = iova + (length - 1);
                if space.range(..=last).next_back().is_some_and(|(_, &other)| other >= iova) {
                    return Err(Status::Overlap);
                }
                let below = space.range(..iova).next_back().is_some_and(|(_, &other)| other + 1 == iova);
                if below && space.contains_key(&(last + 1)) {
                    self.squeezed.entry(space.len()).or_default().insert(iova);
                }
                space.insert(iova, last);
                if half_done {
                    return Ok((Status::Again, Words::new([iova, PAGES_PER_REQUEST * 0x1000])));
                }
                Words::new([iova, length])
            }
            Request::Unmap { space: id, first, last } => {
                let space = client.space(id)?;
                let whole = first == 0 && last == u64::MAX;
                return match take_out(space, first, last) {
                    (_, 0) if !whole => Err(Status::NotMapped),
                    (status, bytes) => Ok((status, Words::new([0, bytes]))),
                };
            }
            Request::Attach { space: id, .. } => {
                client.space(id)?;
                match client.attached.replace(id.0) {
                    None => Words::new([]),
                    Some(_) => return Err(Status::AlreadyAttached),
                }
            }
            Request::Replace { space: id, .. } => {
                client.space(id)?;
                client.attached.replace(id.0).map(|_| Words::new([])).ok_or(Status::NotAttached)?
            }
            Request::Detach { .. } => {
                client.attached.take().map(|_| Words::new([])).ok_or(Status::NotAttached)?
            }
            Request::IoasDestroy { space: id } => {
                client.space(id)?;
                if client.attached == Some(id.0) {
                    return Err(Status::Busy);
                }
                client.spaces.remove(&id.0);
                Words::new([0, 0])
            }
            Request::Claim => {
                if !client.held {
                    return Err(Status::NothingHeld);
                }
                let withdrawn = client.withdrawn.then_some(Opcode::Revoke.label());
                self.claimed.insert(client.half_done.take().or(withdrawn));
                if client.step() == Status::Again {
                    return Ok((Status::Again, Words::new([0, 0])));
                }
                client.held = false;
                Words::new([1, 1])
            }
            Request::Enable { .. } => {
                client.attached.ok_or(Status::NotAttached)?;
                Words::new([])
            }
            Request::Reset => {
                (client.attached, client.spaces) = (None, BTreeMap::new());
                Words::new([0, 0])
            }
            _ => return Err(Status::NotAllowed),
        };
        Ok((Status::Ok, words))
    }
}

fn gap(space: &BTreeMap<u64, u64>, length: u64) -> u64 {
    let mut first = 0x1000;
    for (&at, &last) in space {
        if at - first >= length {
            break;
        }
        first = last + 1;
    }
    first
}

fn take_out(space: &mut BTreeMap<u64, u64>, first: u64, last: u64) -> (Status, u64) {
    let firsts: Vec<u64> = space.range(first..=last).map(|(&first, _)| first).collect();
    let taken = firsts.iter().take(AREAS_PER_REQUEST);
    let bytes = taken.map(|first| space.remove(first).unwrap() - first + 1).sum();
    (if firsts.len() > AREAS_PER_REQUEST { Status::Again } else { Status::Ok }, bytes)
}

/// What was printed.
#[derive(Default)]
pub struct Lines(pub Vec<String>);

impl Report for Lines {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.0.push(line.to_string());
    }
}

impl Lines {
    /// The names of the rows, and mean, minimum and maximum of each.
    pub fn rows(&self) -> Vec<(String, [u64; 3])> {
        let rows = self.0.iter().filter_map(|line| {
            let (name, figures) = line.strip_prefix("ok bench: ")?.split_once(": ")?;
            let words: Vec<&str> = figures.split(' ').collect();
            let number = |index: usize| words[index].parse().unwrap();
            Some((name.to_string(), [number(1), number(3), number(5)]))
        });
        rows.collect()
    }

    /// The figures of the row `name`.
    pub fn row(&self, name: &str) -> [u64; 3] {
        let rows = self.rows();
        rows.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("no row '{name}'")).1
    }
}

/// The supervisor of client 0, as that reaches it.
pub struct Office(Supervisor<Port, Port>);

impl Office {
    pub fn new(world: &Shared) -> Self {
        world.borrow_mut().clients.entry(0).or_default();
        let port = Port(world.clone(), SUPERVISOR);
        Self(Supervisor::connect(port.clone(), port).unwrap())
    }
}

impl Call for Office {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.0.answer(label, words)
    }
}

/// Neighbours, the first with number 1.
pub struct Street(pub Vec<Neighbour<Port>>);

impl Street {
    pub fn new(world: &Shared, count: u8) -> Self {
        let neighbour = |number| Neighbour::connect(Port(world.clone(), number)).unwrap();
        Self((1..=count).map(neighbour).collect())
    }
}

impl Neighbours for Street {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn turn(&mut self, index: usize) -> u64 {
        self.0[index].answer()
    }
}
