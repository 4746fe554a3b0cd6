//! The checks, in their order.

mod attached;
mod lives;
mod peer;
mod refused;
mod stopped;

use core::future::Future;

use edu::{FINISHED, IDENTITY};
use iommu_client::{ClientError, RegionInfo, Rights, Space};
use iommu_protocol::{DeviceIndex, RegionSlot, Status, pci};

use crate::{
    Signals, Task,
    driver::{CONSTANTS_SLOT, DEVICE, Driver, MEMORY_SLOT, Machine, Parts},
    failure::{Failure, Value, same},
    notes::{Note, Stage},
};

/// The interrupt status that the driver begins with.
const BEGIN: u32 = 1 << 1;

/// What the liveness register is to return the complement of.
const LIVENESS: u32 = 0x1234_5678;

/// What the first check shows.
const CONNECTED: &str = "the server speaks this version of the protocol";

/// Makes the driver: from the first signal on, the task runs the checks.
///
/// The first signal is the device's: it is made to interrupt here, which shows that its interrupt arrives
/// before anything rests on it.
pub fn start<'s, M: Machine + 's>(
    mut parts: Parts<M>,
    signals: &'s Signals,
) -> Task<impl Future<Output = ()> + use<'s, M>> {
    parts.edu.raise_interrupt(BEGIN);
    Task::new(run(parts, signals))
}

async fn run<M: Machine>(parts: Parts<M>, signals: &Signals) {
    let name = parts.name;
    let mut driver = match Driver::connect(parts, signals) {
        Ok(driver) => driver,
        Err((mut machine, error)) => {
            machine.report(format_args!("FAIL {name}: {CONNECTED}: {error}"));
            machine.report(format_args!("done {name}: 1 checks"));
            return;
        }
    };
    if Stage::of(driver.noted(Note::Stage)) != Stage::First {
        driver.next_life().await;
        driver.done();
        return;
    }
    driver.tell(format_args!("{CONNECTED}"), Ok(()));
    let outcome = driver.device().await;
    driver.tell(format_args!("the device answers and interrupts"), outcome);
    let outcome = driver.grants();
    driver.tell(format_args!("two regions and a device are granted as the policy says"), outcome);
    let outcome = driver.not_yet_bus_master();
    driver.tell(format_args!("no bus mastering before the device is attached"), outcome);
    match driver.iommu.alloc_space() {
        Ok(space) => driver.with_space(&space).await,
        Err(error) => {
            let failure = Failure::new("an address space", "one", error);
            driver.tell(format_args!("an address space is made"), Err(failure));
        }
    }
    driver.done();
}

impl<M: Machine> Driver<'_, M> {
    async fn with_space(&mut self, space: &Space) {
        let outcome = self.attach(space);
        self.tell(format_args!("attached, the device becomes bus master"), outcome);
        self.reach(space).await;
        self.stopped(space).await;
        self.refused(space);
        self.detached(space).await;
        self.against_peer(space).await;
        let outcome = self.no_fault().and_then(|()| self.rest_unchanged());
        self.tell(
            format_args!("at the end no other fault is recorded, and no other memory changed"),
            outcome,
        );
        self.first_life();
    }

    async fn device(&mut self) -> Result<(), Failure> {
        same("the identification register", IDENTITY.into(), u64::from(self.edu.identity()))?;
        same("the liveness register", u64::from(!LIVENESS), self.edu.liveness(LIVENESS).into())?;
        let status = self.interrupt().await & !FINISHED;
        same("the interrupt status", BEGIN.into(), u64::from(status))
    }

    fn grants(&mut self) -> Result<(), Failure> {
        let (memory_bytes, constants_bytes) = self.region_bytes();
        let memory = self.grant(MEMORY_SLOT, Rights::READ_WRITE, memory_bytes)?;
        let constants = self.grant(CONSTANTS_SLOT, Rights::READ, constants_bytes)?;
        let info = self.iommu.device_info(DEVICE);
        let info = info.map_err(|error| Failure::new("the device at the server", "known", error))?;
        same("the device attached", false, info.attached.is_some())?;
        let function = self.pci_host.info(DEVICE);
        let function = function.map_err(|error| Failure::new("the PCI function", "known", error))?;
        same("the PCI function usable", true, function.usable)?;
        same("the stream id", u64::from(function.requester), info.stream.into())?;
        self.stream = info.stream.into();
        self.adopt(memory, constants);
        Ok(())
    }

    /// Holds when `slot` grants this; its generation.
    fn grant(&mut self, slot: RegionSlot, rights: Rights, bytes: u64) -> Result<u16, Failure> {
        let info = self.iommu.region_info(slot);
        let info: RegionInfo = info.map_err(|error| Failure::new("a region slot", "granted", error))?;
        same("a region's bytes", bytes, info.bytes)?;
        same("a region's right to read", rights.read, info.rights.read)?;
        same("a region's right to write", rights.write, info.rights.write)?;
        Ok(info.generation)
    }

    fn not_yet_bus_master(&mut self) -> Result<(), Failure> {
        let enabled = self.pci_host.enable(DEVICE);
        refused_by_pci_host("bus mastering before ATTACH", pci::Status::NotAttached, enabled)?;
        let enabled = self.pci_host.enable(DeviceIndex(1));
        refused_by_pci_host("another PCI function", pci::Status::NoSuchFunction, enabled)?;
        self.is_bus_master(false)
    }

    /// Holds when the PCI host says that the device is (not) bus master.
    fn is_bus_master(&mut self, expected: bool) -> Result<(), Failure> {
        let info = self.pci_host.info(DEVICE);
        let info = info.map_err(|error| Failure::new("the PCI function", "known", error))?;
        same("the device bus master", expected, info.bus_master)
    }

    /// Attaches the device to `space` and makes it bus master.
    fn attach(&mut self, space: &Space) -> Result<(), Failure> {
        let attached = self.iommu.attach(space, DEVICE);
        attached.map_err(|error| Failure::new("ATTACH", Status::Ok, error))?;
        let info = self.iommu.device_info(DEVICE);
        let info = info.map_err(|error| Failure::new("the device at the server", "known", error))?;
        same("the device attached to this space", true, info.attached == Some(space.id()))?;
        self.enable()
    }

    /// Makes the attached device bus master.
    fn enable(&mut self) -> Result<(), Failure> {
        let enabled = self.pci_host.enable(DEVICE);
        enabled.map_err(|error| Failure::new("bus mastering", pci::Status::Ok, error))?;
        self.is_bus_master(true)
    }
}

/// Holds when `found` is the refusal `expected`.
fn refused_by_pci_host(
    what: &'static str,
    expected: pci::Status,
    found: Result<(), ClientError<pci::Status>>,
) -> Result<(), Failure> {
    let found = found.err().unwrap_or(ClientError::Refused(pci::Status::Ok));
    same(what, Value::from(expected), found.into())
}
