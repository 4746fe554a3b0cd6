//! One client: what its calls cost, alone and among other mappings.

use core::fmt;

use iommu_client::{Call, ClientError};
use iommu_protocol::{Opcode, Request};

use crate::{
    Figure, Meter, Time,
    meter::Between,
    random::Random,
    session::{PAGE, Report, Rows, Session},
};

/// Measurements of each kind, those of whole spaces, and calls before those that are measured.
const TIMES: u64 = 1000;
const FEW: u64 = 20;
const WARM_UP: u64 = 2;

/// Where the measured mapping goes when it lies beside the others.
const MEASURED: u64 = 0x4000_0000;

/// The others: one page in two, so that between any two of them is a hole of one page.
const OTHERS: Rows = Rows { first: 0x1_0000_0000, stride: 2 * PAGE, bytes: PAGE };

/// How many others there are, most last.
const COUNTS: [u64; 3] = [100, 1000, 10_000];
const MOST: u64 = COUNTS[COUNTS.len() - 1];

/// The mappings of one space for what concerns a whole space.
const SPACE: u64 = 1000;

/// What is mapped: whole pages, whole blocks, and what lies in between.
const SIZES: [(&str, u64); 3] = [("4 KiB", PAGE), ("64 KiB", 0x1_0000), ("2 MiB", 0x20_0000)];

/// Mappings that a FIFO holds, and the hole among the others where it begins.
const IN_FLIGHT: u64 = 64;
const FIFO_HOLE: u64 = MOST / 2;
const _: () = assert!(FIFO_HOLE + IN_FLIGHT + TIMES + WARM_UP < MOST, "the FIFO stays among the others");

/// Makes every measurement through `call`, and through the channel to its [`Supervisor`](crate::Supervisor), as the
/// protection domain `name`, and prints a line for each.
pub fn run<C: Call, T: Time, R: Report>(
    call: C,
    time: T,
    mut supervisor: impl Call,
    name: &str,
    report: &mut R,
) {
    Session::run(Meter::new(call, time, ()), name, report, |session| {
        // First, as long as the server's memory is fresh.
        session.drive_to_bounds()?;
        session.start_over()?;
        session.empty_call()?;
        session.attach_and_detach("empty space")?;
        session.attach()?;
        session.beside("")?;
        session.fifo("", |n| MEASURED + n * PAGE)?;
        let mut others = 0;
        for count in COUNTS {
            session.fill(OTHERS, others, count)?;
            others = count;
            session.beside(Among(count))?;
        }
        session.among()?;
        session.fifo(Among(MOST), |n| hole(FIFO_HOLE + n))?;
        session.whole_spaces()?;
        session.print_largest("");
        session.supervised(&mut supervisor, "")
    });
}

/// The hole above the other `index`.
const fn hole(index: u64) -> u64 {
    OTHERS.at(index) + PAGE
}

impl<C: Call, T: Time, B: Between, R: Report> Session<'_, C, T, B, R> {
    fn empty_call(&mut self) -> Result<(), ClientError> {
        let mut figure = Figure::NEW;
        for round in 0..TIMES + WARM_UP {
            let took = self.request(Request::Version)?;
            if round >= WARM_UP {
                figure.add(took);
            }
        }
        self.print("empty call", &figure);
        Ok(())
    }

    /// MAP and UNMAP of each size where nothing else is near.
    fn beside(&mut self, others: impl fmt::Display) -> Result<(), ClientError> {
        for (size, bytes) in SIZES {
            self.pairs(format_args!("{size}{others}"), bytes, |_| MEASURED)?;
        }
        Ok(())
    }

    /// MAP and UNMAP of a page, each time in another hole among the others.
    fn among(&mut self) -> Result<(), ClientError> {
        let mut random = Random::NEW;
        self.pairs(format_args!("4 KiB, in a random hole of {MOST} other mappings"), PAGE, |_| {
            // Above the last one is no hole.
            hole(random.below(MOST - 1))
        })
    }

    /// MAP and UNMAP of `bytes` bytes, in round n where `place` says.
    fn pairs(
        &mut self,
        name: impl fmt::Display,
        bytes: u64,
        mut place: impl FnMut(u64) -> u64,
    ) -> Result<(), ClientError> {
        let (mut map, mut unmap, mut pair) = (Figure::NEW, Figure::NEW, Figure::NEW);
        for round in 0..TIMES + WARM_UP {
            let iova = place(round);
            let mapped = self.map(Some(iova), 0, bytes)?;
            let unmapped = self.unmap(iova, bytes)?;
            if round >= WARM_UP {
                map.add(mapped);
                unmap.add(unmapped);
                pair.add(mapped + unmapped);
            }
        }
        self.print(format_args!("map {name}"), &map);
        self.print(format_args!("unmap {name}"), &unmap);
        self.print(format_args!("map + unmap {name}"), &pair);
        Ok(())
    }

    /// A driver's queue: MAP of the newest and UNMAP of the oldest of [`IN_FLIGHT`] pages; page n is where `place`
    /// says.
    fn fifo(&mut self, others: impl fmt::Display, place: impl Fn(u64) -> u64) -> Result<(), ClientError> {
        for n in 0..IN_FLIGHT {
            self.map(Some(place(n)), n * PAGE, PAGE)?;
        }
        let mut pair = Figure::NEW;
        for round in 0..TIMES + WARM_UP {
            let newest = round + IN_FLIGHT;
            let mapped = self.map(Some(place(newest)), newest * PAGE, PAGE)?;
            let unmapped = self.unmap(place(round), PAGE)?;
            if round >= WARM_UP {
                pair.add(mapped + unmapped);
            }
        }
        for n in 0..IN_FLIGHT {
            self.unmap(place(TIMES + WARM_UP + n), PAGE)?;
        }
        self.print(format_args!("map newest + unmap oldest of {IN_FLIGHT} x 4 KiB{others}"), &pair);
        Ok(())
    }

    fn attach_and_detach(&mut self, name: impl fmt::Display) -> Result<(), ClientError> {
        let (mut attach, mut detach) = (Figure::NEW, Figure::NEW);
        for round in 0..TIMES + WARM_UP {
            let attached = self.attach()?;
            let detached = self.detach()?;
            if round >= WARM_UP {
                attach.add(attached);
                detach.add(detached);
            }
        }
        self.print(format_args!("attach, {name}"), &attach);
        self.print(format_args!("detach, {name}"), &detach);
        Ok(())
    }

    /// What concerns a space of [`SPACE`] mappings as a whole; UNMAP with all its messages, the device attached.
    fn whole_spaces(&mut self) -> Result<(), ClientError> {
        self.start_over()?;
        self.fill(OTHERS, 0, SPACE)?;
        self.attach_and_detach(format_args!("space of {SPACE} mappings"))?;
        self.attach()?;
        let mut figure = Figure::NEW;
        for round in 0..FEW {
            if round != 0 {
                self.fill(OTHERS, 0, SPACE)?;
            }
            figure.add(self.unmap_everything()?);
        }
        self.print(format_args!("unmap of everything, {SPACE} mappings"), &figure);
        Ok(())
    }

    /// Prints the largest single message of each kind so far.
    pub fn print_largest(&mut self, clients: impl fmt::Display) {
        for opcode in Opcode::ALL {
            let mut figure = Figure::NEW;
            figure.add(self.meter().worst(opcode));
            if figure.max() != 0 {
                self.print(format_args!("largest {opcode:?}{clients}"), &figure);
            }
        }
    }
}

/// ", N other mappings".
struct Among(u64);

impl fmt::Display for Among {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", {} other mappings", self.0)
    }
}
