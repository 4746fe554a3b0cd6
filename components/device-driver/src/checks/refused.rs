//! What the server refuses, each with its own status.

use iommu_client::{Call, Space};
use iommu_protocol::{DeviceIndex, MapFlags, Opcode, RegionSlot, Request, SpaceId, Status, Words};

use crate::{
    driver::{CONSTANTS_SLOT, DEVICE, Driver, MEMORY_SLOT, Machine, PAGE, REST_OFFSET},
    failure::{Failure, Value, same},
};

/// Where two pages are mapped that the refusals run into.
const TAKEN_AT: u64 = 0x0300_0000;
/// Where nothing is mapped.
const FREE_AT: u64 = 0x0310_0000;

/// A slot, a device and a label that nobody has.
const NO_SLOT: RegionSlot = RegionSlot(2);
const NO_DEVICE: DeviceIndex = DeviceIndex(1);
const NO_OPCODE: u64 = 0x7fff;

impl<M: Machine> Driver<'_, M> {
    #[inline(never)] // Its tables are not to lie on the stack below the other checks.
    pub(super) fn refused(&mut self, space: &Space) {
        let generation = match self.iommu.region_info(MEMORY_SLOT) {
            Ok(info) => info.generation,
            Err(error) => {
                let failure = Failure::new("a region slot", "granted", error);
                return self.tell(format_args!("what is refused"), Err(failure));
            }
        };
        let taken = Map { iova: TAKEN_AT, length: 2 * PAGE, ..Map::good(space, generation) };
        let outcome = self.expect(taken.request(), Status::Ok);
        self.tell(format_args!("two pages are mapped that refusals run into"), outcome);
        self.refused_maps(space, generation);
        self.refused_ids(space);
        self.refused_messages(space);
        let outcome = self.all_still_there(space);
        self.tell(format_args!("what was refused changed nothing"), outcome);
    }

    fn refused_maps(&mut self, space: &Space, generation: u16) {
        let (bytes, _) = self.region_bytes();
        let good = Map::good(space, generation);
        let both = MapFlags { read: true, write: true, ..good.flags };
        let neither = MapFlags { read: false, ..good.flags };
        let next = generation.wrapping_add(1);
        let mut cases = [
            ("a slot that is not granted", Map { slot: NO_SLOT, ..good }, Status::NoSuchRegion),
            ("a slot of another generation", Map { generation: next, ..good }, Status::StaleRegion),
            ("an offset outside the region", Map { offset: bytes, ..good }, Status::OutOfRegion),
            (
                "a length that leaves the region",
                Map { offset: bytes - PAGE, length: 2 * PAGE, ..good },
                Status::OutOfRegion,
            ),
            (
                "more rights than granted",
                Map { slot: CONSTANTS_SLOT, offset: 0, flags: both, ..good },
                Status::NotPermitted,
            ),
            ("no rights", Map { flags: neither, ..good }, Status::NoRights),
            ("a misaligned IOVA", Map { iova: FREE_AT + 8, ..good }, Status::Misaligned),
            ("a misaligned offset", Map { offset: good.offset + 8, ..good }, Status::Misaligned),
            ("a misaligned length", Map { length: PAGE - 8, ..good }, Status::Misaligned),
            ("a length of zero", Map { length: 0, ..good }, Status::ZeroLength),
            (
                "an IOVA range past the last address",
                Map { iova: u64::MAX - (PAGE - 1), length: 2 * PAGE, ..good },
                Status::Overflow,
            ),
            ("an overlap", Map { iova: TAKEN_AT + PAGE, length: 2 * PAGE, ..good }, Status::Overlap),
            ("an address space that is not ours", Map { space: other(space), ..good }, Status::NoSuchSpace),
            ("an IOVA outside the address space", good, Status::Reserved),
        ];
        let known = match space.last().checked_add(1) {
            Some(iova) => {
                cases[cases.len() - 1].1.iova = iova;
                &cases[..]
            }
            None => &cases[..cases.len() - 1],
        };
        for (what, map, status) in known {
            let outcome = self.expect(map.request(), *status);
            self.tell(format_args!("refused: {what} ({status:?})"), outcome);
        }
    }

    fn refused_ids(&mut self, space: &Space) {
        let whole = |space| Request::Unmap { space, first: 0, last: u64::MAX };
        let ids = space.id();
        let cases = [
            (
                "attaching a device that is not ours",
                Request::Attach { space: ids, device: NO_DEVICE },
                Status::NoSuchDevice,
            ),
            (
                "detaching a device that is not ours",
                Request::Detach { device: NO_DEVICE },
                Status::NoSuchDevice,
            ),
            (
                "attaching a device twice",
                Request::Attach { space: ids, device: DEVICE },
                Status::AlreadyAttached,
            ),
            ("unmapping a space that is not ours", whole(other(space)), Status::NoSuchSpace),
            (
                "destroying a space that is not ours",
                Request::IoasDestroy { space: other(space) },
                Status::NoSuchSpace,
            ),
            ("destroying a space in use", Request::IoasDestroy { space: ids }, Status::Busy),
            (
                "unmapping a part of a mapping",
                Request::Unmap { space: ids, first: TAKEN_AT, last: TAKEN_AT + (PAGE - 1) },
                Status::WouldSplit,
            ),
            (
                "unmapping nothing",
                Request::Unmap { space: ids, first: FREE_AT, last: FREE_AT + (PAGE - 1) },
                Status::NotMapped,
            ),
            (
                "a question that only the PCI host may ask",
                Request::IsAttached { stream: self.stream as u32 },
                Status::NotAllowed,
            ),
        ];
        for (what, request, status) in cases {
            let outcome = self.expect(request, status);
            self.tell(format_args!("refused: {what} ({status:?})"), outcome);
        }
    }

    fn refused_messages(&mut self, space: &Space) {
        let label = Opcode::Detach.label();
        let cases = [
            ("an unknown request", NO_OPCODE, Words::new([]), Status::UnknownRequest),
            ("a reserved bit", label, Words::new([1 << 16]), Status::BadMessage),
            ("a word too few", label, Words::new([]), Status::BadMessage),
            ("a word too many", label, Words::new([space.id().0.into(), 0]), Status::BadMessage),
        ];
        for (what, label, words, status) in cases {
            let (found, words) = self.iommu.raw().call(label, &words);
            let mut outcome = same("the reply's label", status.label(), found);
            if outcome.is_ok() {
                outcome = same("the reply's words", 0, words.as_slice().len() as u64);
            }
            self.tell(format_args!("refused: {what} ({status:?})"), outcome);
        }
    }

    /// Holds when the two pages are still mapped, and nothing else.
    fn all_still_there(&mut self, space: &Space) -> Result<(), Failure> {
        let all = Request::Unmap { space: space.id(), first: 0, last: u64::MAX };
        let reply = self.iommu.request(all);
        let reply = reply.map_err(|error| Failure::new("unmapping all", Status::Ok, error))?;
        same("the bytes that were mapped", 2 * PAGE, reply.bytes)
    }

    /// Holds when the server answers `request` with `status`.
    pub(super) fn expect(&mut self, request: Request, status: Status) -> Result<(), Failure> {
        let found = match self.iommu.request(request) {
            Ok(_) => Value::from(Status::Ok),
            Err(error) => error.into(),
        };
        same("the answer", status.into(), found)
    }
}

/// An address space that this client does not have.
fn other(space: &Space) -> SpaceId {
    SpaceId(space.id().0 ^ 1)
}

/// A MAP, field by field.
#[derive(Debug, Clone, Copy)]
struct Map {
    space: SpaceId,
    slot: RegionSlot,
    generation: u16,
    flags: MapFlags,
    iova: u64,
    offset: u64,
    length: u64,
}

impl Map {
    /// A page that could be mapped.
    fn good(space: &Space, generation: u16) -> Self {
        let flags = MapFlags { read: true, fixed: true, ..MapFlags::default() };
        let (slot, iova, offset) = (MEMORY_SLOT, FREE_AT, REST_OFFSET);
        Self { space: space.id(), slot, generation, flags, iova, offset, length: PAGE }
    }

    fn request(self) -> Request {
        let Self { space, slot, generation, flags, iova, offset, length } = self;
        Request::Map { space, slot, generation, flags, iova, offset, length }
    }
}
