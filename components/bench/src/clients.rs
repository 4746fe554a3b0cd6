//! One client among many: whether the worst that its calls cost depends on how many there are.

use core::fmt;

use iommu_client::{Call, ClientError, Iommu};
use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status};

use crate::{
    Meter, Time,
    meter::Between,
    random::Random,
    session::{PAGE, Report, Rows, Session},
};

/// The other clients, none of which does anything before its first turn.
pub trait Neighbours {
    /// How many there are: one or more.
    fn count(&self) -> usize;

    /// Lets the one at `index` have a turn: the label of [`Neighbour::answer`].
    fn turn(&mut self, index: usize) -> u64;
}

/// Label of an answer: all went well.
const WELL: u64 = 0;

/// Label of an answer: a failure that is no [`Status`].
const NO_STATUS: u64 = 0xffff;

/// Measures one client with all of `neighbours` at work, and its `supervisor`, as the protection domain `name`, and prints
/// the largest message of each kind.
pub fn run_among<C: Call, T: Time, R: Report>(
    call: C,
    time: T,
    mut supervisor: impl Call,
    neighbours: impl Neighbours,
    name: &str,
    report: &mut R,
) {
    let clients = Clients(neighbours.count() + 1);
    let crowd = Crowd { neighbours, next: 0, failed: None };
    Session::run(Meter::new(call, time, crowd), name, report, |session| {
        session.meter().others().all_around();
        session.drive_to_bounds()?;
        session.print_largest(clients);
        session.supervised(&mut supervisor, clients)?;
        if let Some((index, label)) = session.meter().others().failed {
            let number = index + 1;
            match Status::from_label(label) {
                Some(status) => session.fail(format_args!("other client {number} was refused: {status:?}")),
                None => session.fail(format_args!("other client {number} does not understand the server")),
            }
        }
        Ok(())
    });
}

/// The neighbours; one has a turn between any two calls.
struct Crowd<N> {
    neighbours: N,
    next: usize,
    /// The first that failed, and the label of its answer.
    failed: Option<(usize, u64)>,
}

impl<N: Neighbours> Crowd<N> {
    /// Lets each one have a turn.
    fn all_around(&mut self) {
        for _ in 0..self.neighbours.count() {
            self.between();
        }
    }
}

impl<N: Neighbours> Between for Crowd<N> {
    fn between(&mut self) {
        let index = self.next % self.neighbours.count().max(1);
        self.next = index + 1;
        let label = self.neighbours.turn(index);
        if label != WELL && self.failed.is_none() {
            self.failed = Some((index, label));
        }
    }
}

/// What a neighbour holds: single pages.
const HELD: Rows = Rows { first: PAGE, stride: 2 * PAGE, bytes: PAGE };
const HELD_COUNT: u64 = 100;

/// Turns after which a neighbour attaches its device anew.
const TURNS: u64 = 16;

/// A client beside the one that is measured.
#[derive(Debug)]
pub struct Neighbour<C> {
    iommu: Iommu<C>,
    /// What it holds, since its first turn.
    space: Option<SpaceId>,
    generation: u16,
    random: Random,
    turns: u64,
}

impl<C: Call> Neighbour<C> {
    /// A client that holds nothing yet.
    ///
    /// # Errors
    /// There is no server, or it speaks another version of the protocol.
    pub fn connect(call: C) -> Result<Self, ClientError> {
        let iommu = Iommu::connect(call)?;
        Ok(Self { iommu, space: None, generation: 0, random: Random::NEW, turns: 0 })
    }

    /// Has its turn: the first time it takes a space, attaches its device and maps 100 pages; from then on it maps one
    /// of them anew, and now and then attaches its device anew. Returns a label that says how it went: 0, the
    /// [`Status`] that it was refused with, or another.
    pub fn answer(&mut self) -> u64 {
        match self.turn() {
            Ok(()) => WELL,
            Err(ClientError::Refused(status)) => status.label(),
            Err(_) => NO_STATUS,
        }
    }

    fn turn(&mut self) -> Result<(), ClientError> {
        let Some(space) = self.space else { return self.settle() };
        self.turns += 1;
        let iova = HELD.at(self.random.below(HELD_COUNT));
        self.iommu.request(Request::Unmap { space, first: iova, last: iova + (PAGE - 1) })?;
        self.map(space, iova)?;
        if self.turns.is_multiple_of(TURNS) {
            self.iommu.detach(DeviceIndex(0))?;
            self.iommu.request(Request::Attach { space, device: DeviceIndex(0) })?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), ClientError> {
        self.generation = self.iommu.region_info(RegionSlot(0))?.generation;
        let space = self.iommu.alloc_space()?;
        self.iommu.attach(&space, DeviceIndex(0))?;
        for index in 0..HELD_COUNT {
            self.map(space.id(), HELD.at(index))?;
        }
        self.space = Some(space.id());
        Ok(())
    }

    fn map(&mut self, space: SpaceId, iova: u64) -> Result<(), ClientError> {
        let (slot, generation) = (RegionSlot(0), self.generation);
        let flags = MapFlags { read: true, write: true, fixed: true, resume: false };
        let request = Request::Map { space, slot, generation, flags, iova, offset: 0, length: PAGE };
        self.iommu.request(request).map(drop)
    }
}

/// ", N clients".
#[derive(Clone, Copy)]
struct Clients(usize);

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", {} clients", self.0)
    }
}
