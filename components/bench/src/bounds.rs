//! Driving every request that a client may send to the bounds of what it can cost.

use iommu_client::{Call, ClientError};
use iommu_protocol::{AllowStep, MAX_ALLOWED, MAX_COPIED, RegionSlot, Request, SpaceId, stats};

use crate::{
    Time,
    meter::Between,
    random::Random,
    session::{DEVICE, PAGE, Report, Rows, Session},
};

/// How often what costs the same each time is asked for, and what varies.
const TIMES: u64 = 1000;
const FEW: u64 = 20;

/// Where spaces begin: above the page that the server itself never chooses.
const FIRST: u64 = PAGE;

/// Shapes of a space, with the number of mappings: dense; a table for each mapping; tables of all levels for each;
/// mappings of many entries, in tables that others use too.
pub const SHAPES: [(Rows, u64); 4] = [
    (DENSE, 10_000),
    (Rows { first: FIRST, stride: 1 << 21, bytes: PAGE }, 192),
    (Rows { first: FIRST, stride: 1 << 30, bytes: PAGE }, 192),
    (Rows { first: FIRST, stride: 16 * PAGE, bytes: 9 * PAGE }, 192),
];

/// Mappings side by side, as many as one COPY takes from: small enough to share tables; larger; blocks.
const COPIED: [Rows; 3] = [
    Rows { first: FIRST, stride: PAGE, bytes: PAGE },
    Rows { first: FIRST, stride: 9 * PAGE, bytes: 9 * PAGE },
    Rows { first: 1 << 21, stride: 1 << 21, bytes: 1 << 21 },
];

/// Mappings that one request copies at most, and ranges that a list has at most.
const MOST_COPIED: u64 = MAX_COPIED as u64;
const MOST_ALLOWED: u64 = MAX_ALLOWED as u64;

/// One page in two.
const DENSE: Rows = Rows { first: FIRST, stride: 2 * PAGE, bytes: PAGE };

/// A mapping that takes single pages all through, as the offset in the region and the IOVA disagree below 2 MiB, and
/// more entries than one message may write.
pub const SCATTERED: Rows = Rows { first: 0x4000_0000 + PAGE, stride: 0, bytes: 0x40_0000 };

impl<C: Call, T: Time, B: Between, R: Report> Session<'_, C, T, B, R> {
    /// Makes every request in the ways that cost most, so that the meter has seen the worst. What the client had is
    /// given back first.
    pub fn drive_to_bounds(&mut self) -> Result<(), ClientError> {
        self.start_over()?;
        for _ in 0..TIMES {
            self.small()?;
        }
        self.attach()?;
        for _ in 0..FEW {
            self.fill(SCATTERED, 0, 1)?;
            self.copy(SCATTERED, 1)?;
            self.unmap_everything()?;
        }
        for rows in COPIED {
            self.fill(rows, 0, MOST_COPIED)?;
            self.copy(rows, MOST_COPIED)?;
            self.unmap_everything()?;
        }
        for (rows, count) in SHAPES {
            self.take_down(rows, count)?;
        }
        self.find_room()
    }

    /// The requests that are not of mappings.
    fn small(&mut self) -> Result<(), ClientError> {
        let space = self.space;
        self.request(Request::Version)?;
        self.request(Request::RegionInfo { slot: RegionSlot(0) })?;
        self.request(Request::DeviceInfo { device: DEVICE })?;
        self.request(Request::HwInfo { device: DEVICE, index: 0 })?;
        for group in 0..stats::GROUPS {
            self.request(Request::Stats { group, client: None })?;
        }
        self.request(Request::SpaceInfo { space })?;
        self.request(Request::IovaRanges { space, index: 0 })?;
        let other = self.alloc()?;
        self.attach()?;
        self.request(Request::Replace { space: other, device: DEVICE })?;
        self.request(Request::Replace { space, device: DEVICE })?;
        self.request(Request::IoasDestroy { space: other })?;
        self.detach()?;
        Ok(())
    }

    /// Builds up a space and takes it down by each of the requests that do. Leaves an empty one, attached.
    fn take_down(&mut self, rows: Rows, count: u64) -> Result<(), ClientError> {
        self.fill(rows, 0, count)?;
        self.unmap_everything()?;
        self.fill(rows, 0, count)?;
        self.detach()?;
        self.request(Request::IoasDestroy { space: self.space })?;
        self.space = self.alloc()?;
        self.attach()?;
        self.fill(rows, 0, count)?;
        self.start_over()?;
        self.attach()?;
        Ok(())
    }

    /// COPY of the `count` mappings of `rows`, which are side by side, to another space, and their UNMAP there.
    fn copy(&mut self, rows: Rows, count: u64) -> Result<(), ClientError> {
        let (source, flags) = (self.space, Self::flags(false));
        let target = self.alloc()?;
        let length = count * rows.bytes;
        self.request(Request::Copy { target, source, flags, iova: 0, first: rows.first, length })?;
        self.request(Request::IoasDestroy { space: target })?;
        Ok(())
    }

    /// MAP where the server likes, in a space that has holes from its beginning on, all of them too small; also where
    /// it may choose between the most ranges that a space can have, of which only the last has room.
    fn find_room(&mut self) -> Result<(), ClientError> {
        self.fill(DENSE, 0, TIMES)?;
        for _ in 0..FEW {
            self.map(None, 0, 2 * PAGE)?;
        }
        let mut random = Random::NEW;
        for _ in 0..TIMES {
            let from = DENSE.at(random.below(TIMES));
            self.request(Request::NextMapping { space: self.space, from })?;
        }
        for _ in 0..FEW {
            self.allow(self.space)?;
            self.map(None, 0, 2 * PAGE)?;
        }
        self.start_over()
    }

    /// Allows the most ranges that can be: all but the last are among the single pages.
    fn allow(&mut self, space: SpaceId) -> Result<(), ClientError> {
        let mut step = |step, first, last| self.request(Request::AllowIovas { space, step, first, last });
        step(AllowStep::Begin, 0, 0)?;
        let among = TIMES / MOST_ALLOWED;
        for index in 1..MOST_ALLOWED {
            step(AllowStep::Add, DENSE.at((index - 1) * among), DENSE.at(index * among) - 1)?;
        }
        // Below what units of some kinds never translate.
        step(AllowStep::Add, DENSE.at(TIMES), (1 << 31) - 1)?;
        step(AllowStep::Commit, 0, 0)?;
        Ok(())
    }
}
