//! The measurements.

use core::fmt;

use iommu_client::{Call, ClientError, Iommu};
use iommu_protocol::{DeviceIndex, MapFlags, Opcode, RegionSlot, Request, SpaceId};

use crate::{Figure, Meter, Time};

/// Measurements of each kind, at least; also those of the slow ones.
const TIMES: u64 = 1000;
const FEW: u64 = 20;

/// The device, and the region that is mapped from: 4 MiB, aligned to 2 MiB.
const DEVICE: DeviceIndex = DeviceIndex(0);
const REGION: RegionSlot = RegionSlot(0);

/// Where the measured mapping goes, and where the others begin: one page in two.
const MEASURED: u64 = 0x4000_0000;
const OTHERS: u64 = 0x1_0000_0000;
const OTHERS_STRIDE: u64 = 0x2000;

/// Where results go.
pub trait Report {
    /// One line of text.
    fn line(&mut self, line: fmt::Arguments<'_>);
}

/// The measurements over one space.
struct Bench<'a, C, T, R> {
    iommu: Iommu<Meter<C, T>>,
    report: &'a mut R,
    generation: u16,
    space: SpaceId,
    done: u64,
}

/// Makes every measurement through `call` and prints a line for each.
pub fn run<C: Call, T: Time, R: Report>(call: C, time: T, name: &str, report: &mut R) {
    let meter = Meter::new(call, time);
    match Iommu::connect(meter) {
        Ok(iommu) => {
            let mut bench = Bench { iommu, report, generation: 0, space: SpaceId(0), done: 0 };
            if let Err(error) = bench.all() {
                bench.report.line(format_args!("FAIL {name}: {error}"));
                bench.done += 1;
            }
            let done = bench.done;
            report.line(format_args!("done {name}: {done} checks"));
        }
        Err(error) => report.line(format_args!("FAIL {name}: no server: {error}")),
    }
}

impl<C: Call, T: Time, R: Report> Bench<'_, C, T, R> {
    fn all(&mut self) -> Result<(), ClientError> {
        self.generation = self.iommu.region_info(REGION)?.generation;
        self.empty_call()?;
        let space = self.iommu.alloc_space()?;
        self.space = space.id();
        self.attach_and_detach("empty space")?;
        self.request(Request::Attach { space: self.space, device: DEVICE })?;
        for (name, bytes) in [("4 KiB", 0x1000), ("64 KiB", 0x1_0000), ("2 MiB", 0x20_0000)] {
            self.map_and_unmap(&name, bytes)?;
        }
        let mut others = 0;
        for (name, count) in [("100", 100), ("1000", 1000), ("10000", 10_000)] {
            self.add_others(&mut others, count)?;
            self.map_and_unmap(&Among { count: name }, 0x1000)?;
        }
        self.request(Request::Detach { device: DEVICE })?;
        self.unmap_others()?;
        self.add_others(&mut 0, 1000)?;
        self.attach_and_detach("space of 1000 mappings")?;
        self.unmap_all()?;
        self.worst_of_each()
    }

    fn print(&mut self, name: impl fmt::Display, figure: &Figure) {
        let (mean, min, max, count) = (figure.mean(), figure.min(), figure.max(), figure.count());
        self.done += 1;
        self.report
            .line(format_args!("ok bench: {name}: mean {mean} min {min} max {max} instructions of {count}"));
    }

    /// The instructions that `request` takes, all its messages together.
    #[inline]
    fn request(&mut self, request: Request) -> Result<u64, ClientError> {
        self.iommu.request(request)?;
        Ok(self.iommu.raw().last())
    }

    fn map_request(&self, iova: u64, length: u64) -> Request {
        let flags = MapFlags { read: true, write: true, fixed: true, resume: false };
        let (space, generation) = (self.space, self.generation);
        Request::Map { space, slot: REGION, generation, flags, iova, offset: 0, length }
    }

    fn unmap_request(&self, first: u64, last: u64) -> Request {
        Request::Unmap { space: self.space, first, last }
    }

    fn empty_call(&mut self) -> Result<(), ClientError> {
        let mut figure = Figure::NEW;
        for round in 0..TIMES + 2 {
            let took = self.request(Request::Version)?;
            if round >= 2 {
                figure.add(took);
            }
        }
        self.print("empty call", &figure);
        Ok(())
    }

    fn map_and_unmap(&mut self, name: &dyn fmt::Display, bytes: u64) -> Result<(), ClientError> {
        let (mut map, mut unmap, mut pair) = (Figure::NEW, Figure::NEW, Figure::NEW);
        for round in 0..TIMES + 2 {
            let mapped = self.request(self.map_request(MEASURED, bytes))?;
            let unmapped = self.request(self.unmap_request(MEASURED, MEASURED + (bytes - 1)))?;
            if round >= 2 {
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

    /// Maps single pages until there are `count`.
    fn add_others(&mut self, others: &mut u64, count: u64) -> Result<(), ClientError> {
        while *others < count {
            self.request(self.map_request(OTHERS + *others * OTHERS_STRIDE, 0x1000))?;
            *others += 1;
        }
        Ok(())
    }

    fn unmap_others(&mut self) -> Result<(), ClientError> {
        self.iommu.request(self.unmap_request(0, u64::MAX)).map(|_| ())
    }

    fn attach_and_detach(&mut self, name: &str) -> Result<(), ClientError> {
        let (mut attach, mut detach) = (Figure::NEW, Figure::NEW);
        for round in 0..TIMES + 2 {
            let attached = self.request(Request::Attach { space: self.space, device: DEVICE })?;
            let detached = self.request(Request::Detach { device: DEVICE })?;
            if round >= 2 {
                attach.add(attached);
                detach.add(detached);
            }
        }
        self.print(format_args!("attach, {name}"), &attach);
        self.print(format_args!("detach, {name}"), &detach);
        Ok(())
    }

    /// UNMAP of a whole space of 1,000 mappings, with a device attached: all of its messages together.
    fn unmap_all(&mut self) -> Result<(), ClientError> {
        let mut figure = Figure::NEW;
        self.request(Request::Attach { space: self.space, device: DEVICE })?;
        for _ in 0..FEW {
            self.unmap_others()?;
            self.add_others(&mut 0, 1000)?;
            let request = self.unmap_request(0, u64::MAX);
            let started = self.iommu.raw().now_ns();
            self.iommu.request(request)?;
            figure.add(self.iommu.raw().now_ns() - started);
        }
        self.print("unmap of everything, 1000 mappings", &figure);
        Ok(())
    }

    /// The largest single message of each kind so far, after driving those that vary to their bounds.
    fn worst_of_each(&mut self) -> Result<(), ClientError> {
        // Nothing but 4 KiB pages: offset and IOVA disagree below 2 MiB.
        for _ in 0..FEW {
            self.iommu.request(self.map_request(MEASURED + 0x1000, 0x40_0000))?;
            self.iommu.request(self.unmap_request(MEASURED, MEASURED + 0x40_0fff))?;
        }
        for opcode in [
            Opcode::Version,
            Opcode::IoasAlloc,
            Opcode::Map,
            Opcode::Unmap,
            Opcode::Attach,
            Opcode::Detach,
            Opcode::RegionInfo,
        ] {
            let mut figure = Figure::NEW;
            figure.add(self.iommu.raw().worst(opcode));
            self.print(format_args!("largest {opcode:?}"), &figure);
        }
        Ok(())
    }
}

/// "4 KiB among N".
struct Among<'a> {
    count: &'a str,
}

impl fmt::Display for Among<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "4 KiB, {} other mappings", self.count)
    }
}
