//! What takes several lives of the driver: it is restarted, replaced, and dies.
//!
//! Where it stands, and what its predecessor left, the driver knows from its notes. A round of a handover or a death
//! is one life: it begins with what the predecessor left, and ends when it is stopped itself.

use edu::{Direction, FINISHED};
use iommu_client::{ClientError, DmaBuffer, Rights, Space};
use iommu_protocol::{DeviceIndex, Status, ring::access, ring::reason};

use crate::{
    driver::{CONSTANTS_SLOT, DEVICE, Driver, MEMORY_SLOT, Machine, PAGE, Pattern, Piece, unchanged},
    failure::{DONE, Failure, Fault, Value, same},
    marks,
    notes::{Note, Stage},
};

/// How often the driver is restarted, with nothing to hand over but an empty space.
const RESTARTS: u64 = 100;
/// How often it is replaced while its device has a transfer to do.
const REPLACED: u64 = 20;
/// How often it dies so.
const DIED: u64 = 20;
/// Rounds of one kind that may be too late to show anything, because the whole machine stood still for as long as a
/// transfer takes.
const MOST_LATE: u64 = 20;

/// Where the page is mapped that the device writes after its driver was replaced.
const REPLACED_AT: u64 = 0x0700_0000;
/// Where it is mapped when the driver dies for the first time.
const DIED_AT: u64 = 0x0710_0000;
/// How much further each next time: a burst's records may come late, and tell by their addresses whose they are.
const DIED_STEP: u64 = 0x1_0000;

/// How a life goes on.
enum Next {
    /// The same again; whether this round showed what it should.
    Again(Space, bool),
    /// With what comes after.
    Over(Space),
}

impl<M: Machine> Driver<'_, M> {
    /// At the end of the first life: begins the others, if there is somebody to restart the driver.
    pub(super) fn first_life(&mut self) {
        if self.notes.is_none() {
            return;
        }
        let symbols = self.symbols();
        self.note(Note::Symbols, symbols);
        let outcome = marks::pristine();
        if outcome.is_ok() {
            marks::spoil();
        }
        self.begin(Stage::Restarted);
        let outcome = outcome.and_then(|()| self.ask());
        self.told(Stage::Restarted, outcome);
    }

    /// All of a later life. Returns when there is no other.
    pub(super) async fn next_life(&mut self) {
        self.signals.take(crate::Signal::Server);
        let stage = Stage::of(self.noted(Note::Stage));
        let outcome = match self.as_at_first() {
            Ok(()) => self.live(stage).await,
            Err(failure) => Err(failure),
        };
        // With success a life ends elsewhere, but for the last one.
        let last = self.noted(Note::Stage);
        if let Err(failure) = outcome {
            self.told(Stage::of(last), Err(failure));
        }
    }

    /// Holds when this life began as the first one did, but for the notes.
    fn as_at_first(&mut self) -> Result<(), Failure> {
        marks::pristine()?;
        marks::spoil();
        same("what the builder's symbols are like", self.noted(Note::Symbols), self.symbols())?;
        self.known()
    }

    /// Learns again, by questions alone, what the first life learnt.
    fn known(&mut self) -> Result<(), Failure> {
        let info = self.iommu.device_info(DEVICE);
        let info = info.map_err(|error| Failure::new("the device at the server", "known", error))?;
        self.stream = info.stream.into();
        let mut generation = |slot| {
            let info = self.iommu.region_info(slot);
            info.map(|info| info.generation).map_err(|error| Failure::new("a region slot", "granted", error))
        };
        let (memory, constants) = (generation(MEMORY_SLOT)?, generation(CONSTANTS_SLOT)?);
        self.with_generations(memory, constants);
        Ok(())
    }

    async fn live(&mut self, stage: Stage) -> Result<(), Failure> {
        let next = match stage {
            Stage::First => return Err(Failure::new("the notes", "of a life before", "none")),
            Stage::Restarted => self.restarted()?,
            Stage::Replaced => self.replaced().await?,
            Stage::Died => self.died().await?,
        };
        let next = match next {
            Next::Again(space, shown) => self.count(stage, space, shown)?,
            over => over,
        };
        match (stage, next) {
            (Stage::Restarted, Next::Again(..)) => self.ask(),
            (Stage::Replaced, Next::Again(space, _)) => self.let_go(&space),
            (_, Next::Again(space, _)) => self.perish(&space),
            (Stage::Restarted, Next::Over(space)) => {
                self.told(Stage::Restarted, Ok(()));
                let secret = self.fresh();
                self.note(Note::Secret, secret.seed());
                self.load(&space, secret).await?;
                self.begin(Stage::Replaced);
                self.let_go(&space)
            }
            (Stage::Replaced, Next::Over(space)) => {
                self.told(Stage::Replaced, Ok(()));
                self.begin(Stage::Died);
                self.perish(&space)
            }
            (_, Next::Over(_)) => {
                self.told(Stage::Died, Ok(()));
                Ok(())
            }
        }
    }

    /// Counts a round of `stage`.
    fn count(&mut self, stage: Stage, space: Space, shown: bool) -> Result<Next, Failure> {
        let (note, most) = match (shown, stage) {
            (false, _) => (Note::Late, MOST_LATE),
            (_, Stage::Restarted) => (Note::Round, RESTARTS),
            (_, Stage::Replaced) => (Note::Round, REPLACED),
            (_, _) => (Note::Round, DIED),
        };
        let count = self.noted(note) + 1;
        self.note(note, count);
        match (shown, count < most) {
            (_, true) => Ok(Next::Again(space, shown)),
            (true, false) => Ok(Next::Over(space)),
            (false, false) => Err(Failure::new("rounds that came too late", "fewer", count)),
        }
    }

    /// A life after a restart: claims the empty space.
    fn restarted(&mut self) -> Result<Next, Failure> {
        Ok(Next::Again(self.claim()?, true))
    }

    /// Lets the device begin a transfer into a page, and asks to be replaced before it is done.
    fn let_go(&mut self, space: &Space) -> Result<(), Failure> {
        self.note(Note::Aim, REPLACED_AT);
        self.write_later(space)?;
        self.ask()
    }

    /// A life after a handover.
    async fn replaced(&mut self) -> Result<Next, Failure> {
        let before = Pattern::of(self.noted(Note::Before));
        let secret = Pattern::of(self.noted(Note::Secret));
        let page = self.left(Piece::Destination)?;
        // Looked at in this order: a transfer that runs now has not written.
        let untouched = unchanged("the page before the transfer", &page, before).is_ok();
        let in_time = untouched && self.edu.is_busy();
        while self.interrupt().await & FINISHED == 0 {}
        unchanged("the memory that the device wrote, before the claim", &page, secret)?;
        same("the last fault record", self.noted(Note::Seen), self.seen())?;
        self.no_fault()?;
        let space = self.claim()?;
        let mapped = self.iommu.adopt(&space, page, REPLACED_AT);
        let mapped =
            mapped.map_err(|error| Failure::new("the page in the claimed space", "mapped", error))?;
        let page = self.unmap(mapped)?;
        unchanged("the memory that the device wrote", &page, secret)?;
        self.put(Piece::Destination, page);
        Ok(Next::Again(space, in_time))
    }

    /// Lets the device begin a transfer into a page, and dies before it is done.
    fn perish(&mut self, space: &Space) -> Result<(), Failure> {
        let lives = self.noted(Note::Round) + self.noted(Note::Late);
        self.note(Note::Aim, DIED_AT + lives * DIED_STEP);
        self.write_later(space)?;
        self.machine.die();
        Err(Failure::new("the driver", "dead", "alive"))
    }

    /// A life after a death: has the device reach a space of its own before the transfer is done.
    async fn died(&mut self) -> Result<Next, Failure> {
        let before = Pattern::of(self.noted(Note::Before));
        let page = self.left(Piece::Destination)?;
        let claimed = self.iommu.claim().map(|_| ()).err().unwrap_or(ClientError::Refused(Status::Ok));
        same("CLAIM", Value::from(Status::NothingHeld), claimed.into())?;
        let space = self.iommu.alloc_space();
        let space = space.map_err(|error| Failure::new("an address space", "one", error))?;
        let attached = self.iommu.attach(&space, DEVICE);
        attached.map_err(|error| Failure::new("ATTACH", Status::Ok, error))?;
        let enabled = self.pci_host.enable(DeviceIndex(0));
        enabled.map_err(|error| Failure::new("bus mastering", "on", error))?;
        let in_time = self.edu.is_busy();
        while self.interrupt().await & FINISHED == 0 {}
        unchanged("the page of the driver that died", &page, before)?;
        let mut recorded = self.recorded()?;
        if !recorded && in_time {
            // The server has the time of an empty transfer.
            self.transfer(Direction::In, DIED_AT, 0).await?;
            recorded = self.recorded()?;
            if !self.take_dropped() {
                same("a fault record for the driver's successor", true, recorded)?;
            }
        }
        unchanged("the page of the driver that died", &page, before)?;
        self.put(Piece::Destination, page);
        Ok(Next::Again(space, recorded))
    }

    /// Whether the ring has a record of the write that the predecessor left behind. Those of the predecessor's own
    /// predecessors are passed over, and any other is none that may be there.
    fn recorded(&mut self) -> Result<bool, Failure> {
        let aim = self.noted(Note::Aim);
        while let Some(record) = self.next_fault()? {
            let iova = record.iova().unwrap_or(0);
            if (DIED_AT..aim).contains(&iova) {
                continue;
            }
            // Bursts are told by their pages: which of its records comes first is the hardware's.
            let expected = Fault {
                reason: reason::NOT_MAPPED,
                access: access::WRITE,
                iova: Some(if (aim..aim + PAGE).contains(&iova) { iova } else { aim }),
                device: DEVICE.0,
                stream: self.stream,
            };
            same("the fault record", expected, Fault::from(&record))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Maps a page and lets the device write its buffer there, in 100 ms.
    fn write_later(&mut self, space: &Space) -> Result<(), Failure> {
        let before = self.fresh();
        self.note(Note::Before, before.seed());
        let seen = self.seen();
        self.note(Note::Seen, seen);
        let page = self.take(Piece::Destination, before)?;
        let mapped = self.map(space, page, Rights::READ_WRITE, self.noted(Note::Aim))?;
        let started = self.edu.start(Direction::Out, mapped.iova(), PAGE as u32);
        started.map_err(|error| Failure::new("a transfer", "started", error))
    }

    /// Takes over the one space that is held, to which the device is attached.
    fn claim(&mut self) -> Result<Space, Failure> {
        let claimed = self.iommu.claim();
        let claimed = claimed.map_err(|error| Failure::new("CLAIM", Status::Ok, error))?;
        same("the spaces that are held", 1, claimed.spaces().count() as u64)?;
        same("the devices that are held", 1, claimed.devices().count() as u64)?;
        let id = claimed.spaces().next().ok_or(Failure::new("a space", "held", "none"))?;
        let space = self.iommu.space_info(id);
        let space = space.map_err(|error| Failure::new("the claimed space", DONE, error))?;
        let info = self.iommu.device_info(DEVICE);
        let info = info.map_err(|error| Failure::new("the device at the server", "known", error))?;
        same("the device attached to this space", true, info.attached == Some(space.id()))?;
        Ok(space)
    }

    /// Asks to be replaced. Whoever does that has the higher priority, so that this returns only if it does not.
    fn ask(&mut self) -> Result<(), Failure> {
        self.machine.ask_to_be_replaced();
        Err(Failure::new("the driver", "replaced", "not replaced"))
    }

    /// `piece` as the predecessor left it.
    fn left(&mut self, piece: Piece) -> Result<DmaBuffer, Failure> {
        self.take_as_is(piece)
    }

    fn begin(&mut self, stage: Stage) {
        self.note(Note::Stage, stage.word());
        self.note(Note::Round, 0);
        self.note(Note::Late, 0);
    }

    /// Tells how a stage ended.
    fn told(&mut self, stage: Stage, outcome: Result<(), Failure>) {
        match stage {
            Stage::First => self.tell(format_args!("a life after another"), outcome),
            Stage::Restarted => self.tell(
                format_args!(
                    "restarted {RESTARTS} times: .data and .bss as at first, the builder's symbols intact"
                ),
                outcome,
            ),
            Stage::Replaced => self.tell(
                format_args!(
                    "replaced {REPLACED} times while its device was about to write: each time the write is \
                     complete in memory before the successor claims the space, and nothing faults"
                ),
                outcome,
            ),
            Stage::Died => self.tell(
                format_args!(
                    "died {DIED} times so: each time the write is stopped and recorded for the successor; \
                     memory unchanged"
                ),
                outcome,
            ),
        }
    }
}
