//! A server that answers its clients, supervisors and the PCI host's drivers as it likes.
#![allow(unsafe_code)] // A buffer is made of memory whose address alone counts.

use std::{cell::Cell, fmt, ptr::NonNull};

use iommu_client::{
    Call, ClientError, DmaBuffer, Iommu, IovaRange, MAX_CALLS, Mapped, PciHost, Placement, Rights, Space,
    Supervisor,
};
use iommu_protocol::{ClientIndex, DeviceIndex, RegionSlot, SpaceId, Status, VERSION, Words};
use supervisor::{Fault, Machine, policy as children};

use crate::{
    input::{Input, Shared},
    policy::supervisor_blob,
};

/// The most that an input asks for.
const MAX_OPS: u32 = 200;

/// Answers from the input; past its end every request is refused.
struct Hostile<'a> {
    input: &'a Shared<'a>,
    calls: &'a Cell<u32>,
}

impl Call for Hostile<'_> {
    fn call(&mut self, _: u64, _: &Words) -> (u64, Words) {
        self.calls.set(self.calls.get() + 1);
        let input = self.input;
        if input.is_empty() {
            return (Status::UnknownRequest.label(), Words::new([]));
        }
        let how = input.byte();
        let label = match how >> 3 {
            0..20 => Status::Ok.label(),
            20..26 => Status::Again.label(),
            26..30 => u64::from(input.byte() % 40),
            _ => input.number(),
        };
        let words: Vec<u64> = (0..how & 7).map(|_| input.number()).collect();
        (label, Words::from_slice(&words))
    }
}

/// The body. Byte 0 chooses the client; what follows are its requests and the answers to them, mixed.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.byte() % 4;
    let (input, calls) = (Shared::new(input), Cell::new(0));
    let server = || Hostile { input: &input, calls: &calls };
    match kind {
        0 => driver(&input, &calls, server()),
        1 => supervisor(&input, server()),
        2 => component(&input, server()),
        _ => pci_host(&input, server()),
    }
}

/// `bytes` bytes of memory that nobody reads or writes.
fn buffer(bytes: usize, slot: u8, offset: u64) -> DmaBuffer {
    // SAFETY: the buffer is mapped and unmapped, but no word of it is accessed, here or by any device.
    unsafe { DmaBuffer::new(NonNull::dangling(), bytes, RegionSlot(slot.into()), 1, offset) }
}

fn driver<'a>(input: &'a Shared<'a>, calls: &Cell<u32>, server: Hostile<'a>) {
    let mut iommu = match Iommu::connect(server) {
        Ok(iommu) => iommu,
        Err(ClientError::Version(version)) => return assert_ne!(version, VERSION),
        Err(_) => return,
    };
    let (mut space, mut mapped): (Option<Space>, Vec<Mapped>) = (None, vec![]);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        calls.set(0);
        let (op, name) = (input.byte(), input.byte());
        let (device, id) = (DeviceIndex(name.into()), SpaceId(name.into()));
        match op % 20 {
            0 => space = iommu.alloc_space().ok().or(space),
            1 => space = iommu.space_info(id).ok().or(space),
            2 => drop(iommu.destroy_space(id)),
            3 => drop(iommu.detach(device)),
            4 => drop(iommu.device_info(device)),
            5 => drop(iommu.region_info(RegionSlot(name.into()))),
            6 => drop(iommu.reset()),
            7 => drop(iommu.enable(device)),
            8 => drop(iommu.hw_info(device, 1)),
            9 => drop(iommu.stats(name.into())),
            10 => {
                if let Ok(claimed) = iommu.claim() {
                    assert!(
                        claimed.spaces().all(|id| id.0 < 64) && claimed.devices().all(|device| device.0 < 64)
                    );
                }
            }
            11 => {
                let from = input.number();
                if let Ok(found) = iommu.next_mapping(id, from) {
                    assert!(found.range.first <= found.range.last && from <= found.range.last);
                }
            }
            12 => {
                if let Ok((range, count)) = iommu.iova_range(id, name.into()) {
                    assert!(range.first <= range.last && count > u64::from(name));
                }
            }
            13 => drop(iommu.allow_iovas(id, &[IovaRange { first: 0, last: 0xfff }; 3])),
            _ => {
                if let Some(space) = &space {
                    with_space(&mut iommu, input, space, &mut mapped, op, name);
                }
            }
        }
        // Continued requests end, whatever the server says; the longest is a list of ranges.
        assert!(calls.get() <= 5 * MAX_CALLS);
    }
}

fn with_space<'a>(
    iommu: &mut Iommu<Hostile<'a>>,
    input: &'a Shared<'a>,
    space: &Space,
    mapped: &mut Vec<Mapped>,
    op: u8,
    name: u8,
) {
    let bytes = [0, 8, 4096, 1 << 20][usize::from(name & 3)];
    let placement = || match name & 4 {
        0 => Placement::Any,
        _ => Placement::At(input.number()),
    };
    assert!(space.granule().is_power_of_two());
    match op % 20 {
        14 => drop(iommu.attach(space, DeviceIndex(name.into()))),
        15 => drop(iommu.replace(space, DeviceIndex(name.into()))),
        16 | 17 => {
            let placement = placement();
            if let Ok(new) = iommu.map(space, buffer(bytes, name, 0), Rights::READ_WRITE, placement) {
                assert_eq!(new.last().checked_sub(new.iova()), (bytes as u64).checked_sub(1));
                assert!(!matches!(placement, Placement::At(iova) if iova != new.iova()));
                mapped.push(new);
            }
        }
        18 => {
            let first = input.number();
            let offset = input.number().min(u64::MAX >> 1);
            if let Ok(adopted) = iommu.adopt(space, buffer(bytes, name >> 3, offset), first) {
                assert_eq!(adopted.last().checked_sub(first), (bytes as u64).checked_sub(1));
                mapped.push(adopted);
            }
        }
        _ => {
            let Some(source) = mapped.pop() else { return };
            let back = match name & 8 {
                0 => iommu.unmap(source).map(|buffer| assert_eq!(buffer.words() * 8, buffer.bytes())).is_ok(),
                _ => match iommu.copy(source, space, Rights::READ, placement()) {
                    Ok(copied) => iommu.uncopy(copied).map(|source| mapped.push(source)).is_ok(),
                    Err(failed) => failed.source.map(|source| mapped.push(source)).is_some(),
                },
            };
            _ = back;
        }
    }
}

fn supervisor<'a>(input: &'a Shared<'a>, server: Hostile<'a>) {
    let Ok(mut supervisor) = Supervisor::connect(server) else { return };
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let (op, name) = (input.byte(), input.byte());
        let (client, slot) = (ClientIndex(name.into()), RegionSlot(op.into()));
        match op % 5 {
            0 => drop(supervisor.teardown(client)),
            1 => drop(supervisor.hold(client, 1)),
            2 => drop(supervisor.revoke(client, slot)),
            3 => drop(supervisor.regrant(client, slot)),
            _ => drop(supervisor.stats(client, 0)),
        }
    }
}

/// The machine of the supervisor PD: a kernel that refuses now and then.
struct Kernel<'a> {
    input: &'a Shared<'a>,
    /// Children that were stopped and not restarted since.
    stopped: u64,
}

struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Machine for Kernel<'_> {
    type Error = Refused;

    fn stop(&mut self, child: u8) -> Result<(), Refused> {
        let refuses = self.input.byte() > 0xe0;
        self.stopped |= u64::from(!refuses) << child;
        if refuses { Err(Refused) } else { Ok(()) }
    }

    fn restart(&mut self, child: u8, entry: u64) -> Result<(), Refused> {
        assert!(self.stopped & 1 << child != 0 && entry != 0, "child {child} is restarted as it runs");
        self.stopped &= !(1 << child);
        if self.input.byte() > 0xe0 { Err(Refused) } else { Ok(()) }
    }

    fn report(&mut self, line: fmt::Arguments<'_>) {
        assert!(!line.to_string().contains('\n'), "one line");
    }
}

fn component<'a>(input: &'a Shared<'a>, server: Hostile<'a>) {
    let children = children::parse(&supervisor_blob()).expect("the blob is good");
    let kernel = Kernel { input, stopped: 0 };
    let server = (input.byte() & 7 != 0).then_some(server);
    let Ok(mut component) = supervisor::Supervisor::new(kernel, server, children) else { return };
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let (op, name) = (input.byte(), input.byte());
        match op % 3 {
            0 => {
                let label = input.number();
                let words = core::array::from_fn(|_| input.number());
                component.died(name % 8, Fault { label, words });
            }
            1 => component.signalled(|channel| name & 1 << (channel & 7) != 0),
            _ => component.unclaimed(),
        }
    }
}

fn pci_host<'a>(input: &'a Shared<'a>, server: Hostile<'a>) {
    let mut host = PciHost::new(server);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let (op, name) = (input.byte(), input.byte());
        let function = DeviceIndex(name.into());
        match op % 3 {
            0 => drop(host.info(function)),
            1 => drop(host.enable(function)),
            _ => drop(host.disable(function)),
        }
    }
}
