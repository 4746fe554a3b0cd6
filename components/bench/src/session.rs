//! What the measurements have in common: a client's space, its requests, and what is printed of them.

use core::fmt;

use iommu_client::{Call, ClientError, Iommu};
use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId};

use crate::{Figure, Meter, Time, meter::Between};

/// Bytes of a page.
pub const PAGE: u64 = 0x1000;

/// The device, and the region that is mapped from: 6 MiB, aligned to 2 MiB.
pub const DEVICE: DeviceIndex = DeviceIndex(0);
pub const REGION: RegionSlot = RegionSlot(0);

/// Where results go.
pub trait Report {
    /// One line of text.
    fn line(&mut self, line: fmt::Arguments<'_>);
}

/// Mappings alike: the n-th is of the region's first `bytes` bytes, at `first` plus n times `stride`.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// The first IOVA.
    pub first: u64,
    /// Bytes from one to the next.
    pub stride: u64,
    /// Bytes of each.
    pub bytes: u64,
}

impl Rows {
    /// Where the mapping `index` is.
    pub const fn at(&self, index: u64) -> u64 {
        self.first + index * self.stride
    }
}

/// The client whose calls are measured.
pub struct Session<'a, C, T, B, R> {
    iommu: Iommu<Meter<C, T, B>>,
    report: &'a mut R,
    generation: u16,
    /// The space that requests are for.
    pub space: SpaceId,
    done: u64,
}

impl<'a, C: Call, T: Time, B: Between, R: Report> Session<'a, C, T, B, R> {
    /// Has `measure` make its measurements with a space and nothing attached, as the protection domain `name`.
    pub fn run(
        meter: Meter<C, T, B>,
        name: &str,
        report: &'a mut R,
        measure: impl FnOnce(&mut Self) -> Result<(), ClientError>,
    ) {
        let iommu = match Iommu::connect(meter) {
            Ok(iommu) => iommu,
            Err(error) => return report.line(format_args!("FAIL {name}: no server: {error}")),
        };
        let mut session = Self { iommu, report, generation: 0, space: SpaceId(0), done: 0 };
        if let Err(error) = session.open().and_then(|()| measure(&mut session)) {
            session.fail(format_args!("{error}"));
        }
        let done = session.done;
        session.report.line(format_args!("done {name}: {done} checks"));
    }

    fn open(&mut self) -> Result<(), ClientError> {
        self.refresh()?;
        self.start_over()
    }

    /// Asks for the region's generation anew.
    pub fn refresh(&mut self) -> Result<(), ClientError> {
        self.generation = self.iommu.region_info(REGION)?.generation;
        Ok(())
    }

    /// Gives everything back, and takes a new space.
    pub fn start_over(&mut self) -> Result<(), ClientError> {
        self.iommu.reset()?;
        self.space = self.alloc()?;
        Ok(())
    }

    /// The meter.
    pub fn meter(&mut self) -> &mut Meter<C, T, B> {
        self.iommu.raw()
    }

    /// Prints a row.
    pub fn print(&mut self, name: impl fmt::Display, figure: &Figure) {
        let (mean, min, max, count) = (figure.mean(), figure.min(), figure.max(), figure.count());
        self.done += 1;
        self.report
            .line(format_args!("ok bench: {name}: mean {mean} min {min} max {max} instructions of {count}"));
    }

    /// Prints that something failed.
    pub fn fail(&mut self, what: fmt::Arguments<'_>) {
        self.done += 1;
        self.report.line(format_args!("FAIL bench: {what}"));
    }

    /// The instructions that `request` takes, all its messages together.
    #[inline]
    pub fn request(&mut self, request: Request) -> Result<u64, ClientError> {
        let before = self.iommu.raw().spent();
        self.iommu.request(request)?;
        Ok(self.iommu.raw().spent() - before)
    }

    /// A new space.
    pub fn alloc(&mut self) -> Result<SpaceId, ClientError> {
        Ok(self.iommu.alloc_space()?.id())
    }

    /// Both rights, at a fixed place or where the server likes.
    #[inline]
    pub const fn flags(fixed: bool) -> MapFlags {
        MapFlags { read: true, write: true, fixed, resume: false }
    }

    /// Maps `length` bytes of the region from `offset`, at `iova` or, at `None`, where the server likes.
    #[inline]
    pub fn map(&mut self, iova: Option<u64>, offset: u64, length: u64) -> Result<u64, ClientError> {
        self.request(self.map_request(iova, offset, length))
    }

    /// The request of [`Session::map`].
    #[inline]
    pub const fn map_request(&self, iova: Option<u64>, offset: u64, length: u64) -> Request {
        let (space, generation, flags) = (self.space, self.generation, Self::flags(iova.is_some()));
        let iova = match iova {
            Some(iova) => iova,
            None => 0,
        };
        Request::Map { space, slot: REGION, generation, flags, iova, offset, length }
    }

    /// Unmaps `length` bytes at `iova`.
    #[inline]
    pub fn unmap(&mut self, iova: u64, length: u64) -> Result<u64, ClientError> {
        self.request(Request::Unmap { space: self.space, first: iova, last: iova + (length - 1) })
    }

    /// Unmaps the whole space.
    pub fn unmap_everything(&mut self) -> Result<u64, ClientError> {
        self.request(Request::Unmap { space: self.space, first: 0, last: u64::MAX })
    }

    /// Attaches the device to the space.
    pub fn attach(&mut self) -> Result<u64, ClientError> {
        self.request(Request::Attach { space: self.space, device: DEVICE })
    }

    /// Detaches the device.
    pub fn detach(&mut self) -> Result<u64, ClientError> {
        self.request(Request::Detach { device: DEVICE })
    }

    /// Makes the mappings `from` to `to`, that one left out, of `rows`.
    pub fn fill(&mut self, rows: Rows, from: u64, to: u64) -> Result<(), ClientError> {
        for index in from..to {
            self.map(Some(rows.at(index)), 0, rows.bytes)?;
        }
        Ok(())
    }
}
