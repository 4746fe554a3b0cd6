//! Driving every request that a client may send to the bounds of what it can cost.

use iommu_client::{Call, ClientError};
use iommu_protocol::{DeviceIndex, RegionSlot, Request};

use crate::{
    Time,
    meter::Between,
    session::{DEVICE, PAGE, Report, Rows, Session},
};

/// How often what costs the same each time is asked for, and what varies.
const TIMES: u64 = 1000;
const FEW: u64 = 20;

/// Where spaces begin: above the page that the server itself never chooses.
const FIRST: u64 = PAGE;

/// Shapes of a space, with the number of mappings: dense; a table for each mapping; tables of all levels for each;
/// mappings of many entries, in tables that others use too.
const SHAPES: [(Rows, u64); 4] = [
    (DENSE, 10_000),
    (Rows { first: FIRST, stride: 1 << 21, bytes: PAGE }, 192),
    (Rows { first: FIRST, stride: 1 << 30, bytes: PAGE }, 192),
    (Rows { first: FIRST, stride: 16 * PAGE, bytes: 9 * PAGE }, 192),
];

/// One page in two.
const DENSE: Rows = Rows { first: FIRST, stride: 2 * PAGE, bytes: PAGE };

/// A mapping that takes single pages all through, as the offset in the region and the IOVA disagree below 2 MiB, and
/// more entries than one message may write.
const SCATTERED: Rows = Rows { first: 0x4000_0000 + PAGE, stride: 0, bytes: 0x40_0000 };

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
        self.request(Request::DeviceInfo { device: DeviceIndex(0) })?;
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

    /// MAP where the server likes, in a space that has holes from its beginning on, all of them too small.
    fn find_room(&mut self) -> Result<(), ClientError> {
        self.fill(DENSE, 0, TIMES)?;
        for _ in 0..FEW {
            self.map(None, 0, 2 * PAGE)?;
        }
        self.unmap_everything()?;
        Ok(())
    }
}
