//! Policy blobs of any content: the server's, the PCI host's, a supervisor's. One that is accepted is also obeyed.
//!
//! Byte 0 chooses whose; with its highest bit the magic number is the input's too.

use std::fmt;

use iommu_client::Call;
use iommu_core::Storage;
use iommu_hal::{Registers, StreamId, TableMemory};
use iommu_model::{VirtualClock, intel_vtd, smmu_v3};
use iommu_pgtable::FrameMeta;
use iommu_protocol::{ClientIndex, DeviceIndex, RegionSlot, Request, Status, VERSION, Words, pci};
use iommu_server::{
    Roll,
    policy::{self as server, MAX_REGIONS, Policy},
    server::Server,
    start::Parts,
};
use pci_host::{
    ConfigSpace, Host, Requester,
    policy::{self as pci_policy, PciPolicy},
};
use supervisor::{
    Fault, Machine, Supervisor,
    policy::{self as children, ChildEntry, NAME_BYTES, NO_CHANNEL, NO_CLIENT},
};
use zerocopy::IntoBytes;

use crate::{
    input::Input,
    server::{Nowhere, Page, aligned},
};

const TABLE_BYTES: u64 = 0x4_0000;

/// The body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let mut blob = input.rest().to_vec();
    let magic = [server::MAGIC, pci_policy::MAGIC, children::MAGIC][usize::from(choice & 0x7f) % 3];
    if choice & 0x80 == 0 && blob.len() >= 8 {
        blob[..8].copy_from_slice(&magic.to_le_bytes());
    }
    let words = aligned(&blob);
    let blob = &words.as_bytes()[..blob.len()];
    match usize::from(choice & 0x7f) % 3 {
        0 => servers(blob),
        1 => pci_hosts(blob),
        _ => supervisors(blob),
    }
}

fn servers(blob: &[u8]) {
    let policy = match Policy::parse(blob) {
        Ok(policy) => policy,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // A board is what its policy says; the model of another kind of unit would refuse the driver's accesses.
    match policy.units.first().map(|unit| unit.kind) {
        Some(server::KIND_INTEL_VTD) => {
            let bench =
                intel_vtd::Bench::new(intel_vtd::Config { table_bytes: TABLE_BYTES, ..Default::default() });
            over(blob, bench.ports(), |stream| {
                bench.dma_write(StreamId(stream), 0x1000, &[0; 8]).expect_err("nothing is mapped");
            });
        }
        _ => {
            let bench = smmu_v3::Bench::new(smmu_v3::Config {
                table_bytes: TABLE_BYTES,
                event_queue_lg2: 2,
                ..Default::default()
            });
            over(blob, bench.ports(), |stream| {
                bench.inject_event([u64::from(stream) << 32 | 0x10, 0, 0x1000, 0])
            });
        }
    }
}

/// Starts a server over a board and asks it of everything that the policy names; `fault` has a device's fault recorded.
fn over<R: Registers, M: TableMemory>(
    blob: &[u8],
    (registers, memory, clock): (R, M, VirtualClock),
    mut fault: impl FnMut(u32),
) {
    let policy = Policy::parse(blob).expect("it was good");
    let (clients, wards) = (policy.clients.len(), policy.wards.len());
    // Region 30 ends where addresses do, region 31 has none.
    let mut region_paddrs =
        core::array::from_fn::<_, MAX_REGIONS, _>(|number| 0x8000_0000 + ((number as u64) << 24));
    (region_paddrs[30], region_paddrs[31]) = (!0xfff, 0);
    let parts = Parts { registers: heapless::Vec::from_iter([registers]), memory, clock, region_paddrs };
    let mut storage = Box::new(const { Storage::<9>::NEW });
    let mut frames = [FrameMeta::NEW; 64];
    let mut roll = Box::new(Roll::NEW);
    let started =
        Server::start(blob, parts, &mut storage, &mut frames, &mut roll, |_| Page::new(), &mut Nowhere);
    let mut started = match started {
        Ok(started) => started,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // The entries were checked; a channel that a client has is answered as a client's.
    let requests = [
        Request::IoasAlloc,
        Request::Attach { space: iommu_protocol::SpaceId(1), device: DeviceIndex(0) },
        Request::DeviceInfo { device: DeviceIndex(0) },
        Request::RegionInfo { slot: RegionSlot(0) },
        Request::Claim,
        Request::NextWithdrawn,
        Request::Teardown { client: ClientIndex(wards as u16) },
        Request::Hold { client: ClientIndex(0), deadline_ms: 0 },
        Request::Reset,
    ];
    let channels = policy.clients.iter().map(|client| client.channel);
    let channels = channels
        .chain(policy.supervisors.iter().map(|of| of.channel))
        .chain([policy.header.pci_host_channel, 7]);
    for channel in channels {
        for request in requests {
            let (opcode, words) = request.encode();
            let answer = started.call(channel, opcode.label(), &words);
            for told in answer.notify {
                assert!(told <= 61 || told == iommu_server::server::Channels::WAKE);
            }
        }
    }
    for device in policy.devices.iter().filter(|device| device.client < clients as u8) {
        (0..3).for_each(|_| fault(device.stream));
    }
    let steps = (0..1000).find(|_| !started.work(&mut Nowhere).more);
    assert!(steps.is_some(), "the server's own work comes to no end");
}

/// Configuration space with a function everywhere, which keeps nothing that is written.
struct Stubborn(u16);

impl ConfigSpace for Stubborn {
    fn buses(&self) -> u16 {
        self.0
    }

    fn read(&mut self, function: Requester, register: u16) -> u32 {
        assert!(function.bus() < self.0 && register.is_multiple_of(4) && register < 4096);
        if function.device() < 4 && register < 0x10 { 0x10_0000 } else { u32::MAX }
    }

    fn write(&mut self, function: Requester, register: u16, _: u32) {
        assert!(function.bus() < self.0 && register.is_multiple_of(4) && register < 4096);
    }
}

/// A server that agrees to everything.
struct Yes;

impl Call for Yes {
    fn call(&mut self, label: u64, _: &Words) -> (u64, Words) {
        let version = Request::Version.encode().0.label();
        (Status::Ok.label(), Words::new([if label == version { VERSION } else { 1 }]))
    }
}

fn pci_hosts(blob: &[u8]) {
    let policy = match PciPolicy::parse(blob) {
        Ok(policy) => policy,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut host = Host::bring_up(Stubborn(1), policy, &mut |line| assert!(!line.to_string().is_empty()));
    for channel in [0, 1, 2, 61, 62, 0xff] {
        for function in [0, 1, 63, u16::MAX].map(DeviceIndex) {
            for request in [pci::Request::Info { function }, pci::Request::Enable { function }] {
                let (opcode, words) = request.encode();
                let (label, _) = host.request(&mut Yes, channel, opcode.label(), &words);
                assert!(pci::Status::from_label(label).is_some());
            }
        }
    }
    host.settle(&mut Yes);
}

/// A machine that does all that it is asked.
struct Willing;

impl Machine for Willing {
    type Error = fmt::Error;

    fn stop(&mut self, child: u8) -> Result<(), fmt::Error> {
        assert!(child <= children::MAX_ID);
        Ok(())
    }

    fn restart(&mut self, child: u8, entry: u64) -> Result<(), fmt::Error> {
        assert!(child <= children::MAX_ID && entry != 0);
        Ok(())
    }

    fn report(&mut self, line: fmt::Arguments<'_>) {
        assert!(!line.to_string().is_empty());
    }
}

fn supervisors(blob: &[u8]) {
    let family = match children::parse(blob) {
        Ok(family) => family,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let Ok(mut supervisor) = Supervisor::new(Willing, Some(Yes), family) else {
        panic!("the version is right")
    };
    for child in 0..=children::MAX_ID {
        supervisor.died(child, Fault { label: 6, words: [1, 2, 3, 4] });
    }
    supervisor.signalled(|_| true);
}

/// A good policy of a supervisor: two children that are clients, one that is none.
pub fn supervisor_blob() -> Vec<u8> {
    let entry = |id, client, channel, name: &str| {
        let mut bytes = [0; NAME_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        ChildEntry { entry: 0x20_0000 + u64::from(id), id, client, channel, reserved: [0; 5], name: bytes }
    };
    let entries = [entry(4, 0, 7, "disk"), entry(5, 1, 8, "net"), entry(6, NO_CLIENT, NO_CHANNEL, "clock")];
    let header = children::Header { magic: children::MAGIC, children: entries.len() as u64 };
    [header.as_bytes(), entries.as_bytes()].concat()
}
