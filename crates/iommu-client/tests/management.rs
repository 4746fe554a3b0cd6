//! Typed calls of COPY, of ranges and lists, and of a supervisor, against a scripted server.
#![allow(unsafe_code)] // Buffers are made of leaked memory.

use std::{collections::VecDeque, ptr::NonNull};

use iommu_client::{Call, ClientError, DmaBuffer, Iommu, IovaRange, Mapping, Placement, Rights, Supervisor};
use iommu_protocol::{
    AllowStep, ClientIndex, DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status, VERSION, Words,
    stats,
};

/// Answers from a script and keeps what it was asked.
#[derive(Debug)]
struct Script<'a> {
    replies: VecDeque<(u64, Vec<u64>)>,
    asked: &'a mut Vec<Request>,
}

impl Call for Script<'_> {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.asked.push(Request::decode(label, words).expect("a request"));
        let (label, words) = self.replies.pop_front().expect("no more replies");
        (label, Words::from_slice(&words))
    }
}

const AGAIN: u64 = Status::Again.label();
const SPACE: (u64, &[u64]) = (0, &[5, 0xffff_ffff, 0x4020_1000]);

fn script<'a>(asked: &'a mut Vec<Request>, replies: &[(u64, &[u64])]) -> Script<'a> {
    let mut replies: VecDeque<_> = replies.iter().map(|(label, words)| (*label, words.to_vec())).collect();
    replies.push_front((0, vec![VERSION]));
    Script { replies, asked }
}

fn buffer(pages: usize) -> DmaBuffer {
    let memory = Vec::leak(vec![0_u64; 512 * pages]);
    // SAFETY: leaked, aligned, and used by nothing else.
    unsafe { DmaBuffer::new(NonNull::from(memory).cast(), 4096 * pages, RegionSlot(2), 7, 0x3000) }
}

#[test]
fn a_copy_is_continued_and_keeps_what_it_was_made_of() {
    let mut asked = vec![];
    let mut iommu = Iommu::connect(script(
        &mut asked,
        &[
            SPACE,
            (0, &[6, 0xffff_ffff, 0x1000]),
            (0, &[0x8000, 0x2000]),
            (AGAIN, &[0x4000, 0x1000]),
            (0, &[0x4000, 0x2000]),
            (0, &[0, 0x2000]),
            (0, &[0, 0x2000]),
        ],
    ))
    .expect("the version is right");
    let source = iommu.alloc_space().expect("a space");
    let target = iommu.alloc_space().expect("a space");
    let mapped = iommu.map(&source, buffer(2), Rights::READ_WRITE, Placement::At(0x8000)).expect("mapped");
    let copied = iommu.copy(mapped, &target, Rights::READ, Placement::Any).expect("copied");
    assert_eq!((copied.iova(), copied.source().iova()), (0x4000, 0x8000));
    let mapped = iommu.uncopy(copied).expect("taken out");
    assert_eq!(iommu.unmap(mapped).expect("unmapped").bytes(), 0x2000);
    let read = MapFlags { read: true, ..MapFlags::default() };
    let copy = |flags, iova| Request::Copy {
        target: SpaceId(6),
        source: SpaceId(5),
        flags,
        iova,
        first: 0x8000,
        length: 0x2000,
    };
    assert_eq!(
        asked[4..7],
        [
            copy(read, 0),
            copy(MapFlags { fixed: true, resume: true, ..read }, 0x4000),
            Request::Unmap { space: SpaceId(6), first: 0x4000, last: 0x5fff },
        ]
    );
}

#[test]
fn a_refused_copy_gives_its_source_back_and_an_uncertain_one_keeps_it() {
    for (reply, back) in [
        ((Status::NotPermitted.label(), &[][..]), true),
        ((Status::HardwareTimeout.label(), &[]), false),
        ((0, &[0x5000, 0x1000][..]), false),
    ] {
        let mut asked = vec![];
        let replies = [SPACE, (0, &[0x8000, 0x1000]), reply];
        let mut iommu = Iommu::connect(script(&mut asked, &replies)).expect("the version is right");
        let space = iommu.alloc_space().expect("a space");
        let mapped = iommu.map(&space, buffer(1), Rights::READ, Placement::At(0x8000)).expect("mapped");
        let failed = iommu.copy(mapped, &space, Rights::READ, Placement::At(0x9000)).expect_err("refused");
        assert_eq!(failed.source.is_some(), back, "{reply:?}");
    }
    let mut asked = vec![];
    let replies = [SPACE, (0, &[0x8000, 0x1000]), (0, &[0x9000, 0x1000]), (0, &[0, 0])];
    let mut iommu = Iommu::connect(script(&mut asked, &replies)).expect("the version is right");
    let space = iommu.alloc_space().expect("a space");
    let mapped = iommu.map(&space, buffer(1), Rights::READ, Placement::At(0x8000)).expect("mapped");
    let copied = iommu.copy(mapped, &space, Rights::READ, Placement::At(0x9000)).expect("copied");
    let failed = iommu.uncopy(copied).expect_err("nothing was taken out");
    assert_eq!((failed.error, failed.copied.iova()), (ClientError::BadReply, 0x9000));
}

#[test]
fn a_list_is_staged_then_committed() {
    let mut asked = vec![];
    let replies: &[(u64, &[u64])] = &[(0, &[]), (0, &[]), (0, &[]), (Status::RangeInUse.label(), &[])];
    let mut iommu = Iommu::connect(script(&mut asked, replies)).expect("the version is right");
    let ranges = [(0x1000, 0x1fff), (0x8000, u64::MAX)].map(|(first, last)| IovaRange { first, last });
    let refused = Err(ClientError::Refused(Status::RangeInUse));
    assert_eq!(iommu.allow_iovas(SpaceId(3), &ranges), refused);
    let step = |step, first, last| Request::AllowIovas { space: SpaceId(3), step, first, last };
    assert_eq!(
        asked[1..],
        [
            step(AllowStep::Begin, 0, 0),
            step(AllowStep::Add, 0x1000, 0x1fff),
            step(AllowStep::Add, 0x8000, u64::MAX),
            step(AllowStep::Commit, 0, 0),
        ]
    );
}

#[test]
fn what_is_asked_becomes_types() {
    let mut asked = vec![];
    let replies: &[(u64, &[u64])] = &[
        (0, &[0x1000, 0x1fff, 2, 0x1000]),
        (0, &[0x1000, 0x1fff, 1, 0x1000]),
        (0, &[0x1000, 0x1fff, 0x3000, 0x6_0002]),
        (0, &[0x1000, 0x1fff, 0x3000, 1 << 19]),
        (0, &[]),
        (0, &[1, 2, 3, 4]),
        (AGAIN, &[0, 0]),
        (0, &[0b10_0010, 0b1]),
        (0, &[5, 0xffff, 0x1000]),
        (0, &[4, 3, 2, 1]),
        (0, &[0x10, 2, 5]),
    ];
    let mut iommu = Iommu::connect(script(&mut asked, replies)).expect("the version is right");
    let space = SpaceId(5);
    let range = IovaRange { first: 0x1000, last: 0x1fff };
    assert_eq!(iommu.iova_range(space, 1), Ok((range, 2)));
    assert_eq!(iommu.iova_range(space, 1), Err(ClientError::BadReply), "index 1 of 1");
    let mapping =
        Mapping { range, slot: RegionSlot(2), offset: 0x3000, rights: Rights::WRITE, half_done: true };
    assert_eq!(iommu.next_mapping(space, 0), Ok(mapping));
    assert_eq!(iommu.next_mapping(space, 0), Err(ClientError::BadReply));
    assert_eq!(iommu.enable(DeviceIndex(1)), Ok(()));
    assert_eq!(iommu.hw_info(DeviceIndex(1), 0), Ok([1, 2, 3, 4]));
    let claimed = iommu.claim().expect("held");
    assert_eq!(claimed.spaces().collect::<Vec<_>>(), [SpaceId(1), SpaceId(5)]);
    assert_eq!(claimed.devices().collect::<Vec<_>>(), [DeviceIndex(0)]);
    assert_eq!(iommu.space_info(space).expect("known").last(), 0xffff);
    assert_eq!(iommu.stats(stats::MEMORY), Ok([4, 3, 2, 1]));
    let device = iommu.device_info(DeviceIndex(0)).expect("known");
    assert_eq!((device.attached, device.stopped), (Some(space), true));
}

#[test]
fn a_claimed_buffer_is_adopted_only_where_it_is_mapped() {
    for (reply, found) in [
        ([0x8000_u64, 0x8fff, 0x3000, 0x3_0002], true),
        ([0x8000, 0x9fff, 0x3000, 0x3_0002], false),
        ([0x8000, 0x8fff, 0x4000, 0x3_0002], false),
        ([0x8000, 0x8fff, 0x3000, 0x3_0001], false),
        ([0x8000, 0x8fff, 0x3000, 0x7_0002], false),
        ([0x9000, 0x9fff, 0x3000, 0x3_0002], false),
    ] {
        let mut asked = vec![];
        let mut iommu =
            Iommu::connect(script(&mut asked, &[SPACE, (0, &reply)])).expect("the version is right");
        let space = iommu.alloc_space().expect("a space");
        let adopted = iommu.adopt(&space, buffer(1), 0x8000);
        assert_eq!(adopted.map(|mapped| mapped.iova()).ok(), found.then_some(0x8000), "{reply:x?}");
    }
}

#[test]
fn a_buffer_of_nothing_is_not_adopted_as_everything() {
    let mut asked = vec![];
    let everything: &[u64] = &[0, u64::MAX, 0x3000, 0x3_0002];
    let mut iommu =
        Iommu::connect(script(&mut asked, &[SPACE, (0, everything)])).expect("the version is right");
    let space = iommu.alloc_space().expect("a space");
    let adopted = iommu.adopt(&space, buffer(0), 0);
    assert_eq!(adopted.err(), Some(ClientError::Refused(Status::NotMapped)));
}

#[test]
fn a_supervisor_names_its_clients() {
    let mut asked = vec![];
    let replies: &[(u64, &[u64])] = &[
        (AGAIN, &[0, 0x1000]),
        (0, &[0, 0x2000]),
        (0, &[]),
        (AGAIN, &[2, 0x1000]),
        (0, &[2, 0]),
        (0, &[2]),
        (0, &[1, 2, 3, 4]),
        (Status::NoSuchClient.label(), &[]),
    ];
    let mut supervisor = Supervisor::connect(script(&mut asked, replies)).expect("the version is right");
    let (client, slot) = (ClientIndex(1), RegionSlot(3));
    assert_eq!(supervisor.teardown(client), Ok(0x3000));
    assert_eq!(supervisor.hold(client, 500), Ok(()));
    assert_eq!(supervisor.revoke(client, slot), Ok(2));
    assert_eq!(supervisor.regrant(client, slot), Ok(2));
    assert_eq!(supervisor.stats(client, stats::FAULTS), Ok([1, 2, 3, 4]));
    assert_eq!(supervisor.hold(ClientIndex(9), 1), Err(ClientError::Refused(Status::NoSuchClient)));
    let teardown = Request::Teardown { client };
    let revoke = Request::Revoke { client, slot };
    assert_eq!(
        asked[1..],
        [
            teardown,
            teardown,
            Request::Hold { client, deadline_ms: 500 },
            revoke,
            revoke,
            Request::Regrant { client, slot },
            Request::Stats { group: stats::FAULTS, client: Some(client) },
            Request::Hold { client: ClientIndex(9), deadline_ms: 1 },
        ]
    );
}
