//! Typed calls against a scripted server.
#![allow(unsafe_code)] // Buffers are made of leaked memory.

use std::{collections::VecDeque, ptr::NonNull};

use iommu_client::{
    Call, ClientError, DeviceInfo, DmaBuffer, Iommu, MAX_CALLS, PciHost, Placement, RegionInfo, Rights,
};
use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status, VERSION, Words, pci};

/// Answers from a script and keeps what it was asked.
#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<(u64, Vec<u64>)>,
    asked: Vec<Request>,
    forever: Option<(u64, Vec<u64>)>,
    calls: u32,
}

impl Call for Script {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.calls += 1;
        if self.calls < 100 {
            self.asked.push(Request::decode(label, words).expect("a request"));
        }
        let reply = self.replies.pop_front().or_else(|| self.forever.clone()).expect("no more replies");
        (reply.0, Words::from_slice(&reply.1))
    }
}

/// The label and words of a reply.
type ReplyWords = (u64, &'static [u64]);

const AGAIN: u64 = Status::Again.label();

fn script(replies: &[(u64, &[u64])]) -> Iommu<Script> {
    let mut replies: VecDeque<_> = replies.iter().map(|(label, words)| (*label, words.to_vec())).collect();
    replies.push_front((0, vec![VERSION]));
    Iommu::connect(Script { replies, ..Script::default() }).expect("the version is right")
}

fn refused(status: Status) -> ClientError {
    ClientError::Refused(status)
}

fn buffer(pages: usize) -> DmaBuffer {
    let memory = Vec::leak(vec![0_u64; 512 * pages]);
    // SAFETY: leaked, aligned, and used by nothing else.
    unsafe { DmaBuffer::new(NonNull::from(memory).cast(), 4096 * pages, RegionSlot(2), 7, 0x3000) }
}

const SPACE: ReplyWords = (0, &[5, 0xffff_ffff, 0x4020_1000]);

#[test]
fn another_version_is_refused() {
    let replies = VecDeque::from([(0, vec![VERSION + 1])]);
    let error = Iommu::connect(Script { replies, ..Script::default() }).err();
    assert_eq!(error, Some(ClientError::Version(VERSION + 1)));
}

#[test]
fn replies_become_types() {
    let mut iommu = script(&[
        SPACE,
        (0, &[0x1234_0001, 0x1000]),
        (0, &[0x10, 1, 5]),
        (0, &[0x10, 0, 0]),
        (0, &[]),
        (0, &[]),
        (0, &[]),
        (0, &[0, 0x2000]),
    ]);
    let space = iommu.alloc_space().expect("a space");
    assert_eq!((space.id(), space.last(), space.granule()), (SpaceId(5), 0xffff_ffff, 0x1000));
    let region = RegionInfo { rights: Rights::READ, generation: 0x1234, bytes: 0x1000 };
    assert_eq!(iommu.region_info(RegionSlot(1)), Ok(region));
    let device = DeviceIndex(0);
    assert_eq!(
        iommu.device_info(device),
        Ok(DeviceInfo { stream: 0x10, attached: Some(SpaceId(5)), stopped: false })
    );
    assert_eq!(iommu.device_info(device), Ok(DeviceInfo { stream: 0x10, attached: None, stopped: false }));
    assert_eq!(iommu.attach(&space, device), Ok(()));
    assert_eq!(iommu.replace(&space, device), Ok(()));
    assert_eq!(iommu.detach(device), Ok(()));
    assert_eq!(iommu.destroy_space(space.id()), Ok(0x2000));
    assert_eq!(
        iommu.raw().asked[1..],
        [
            Request::IoasAlloc,
            Request::RegionInfo { slot: RegionSlot(1) },
            Request::DeviceInfo { device },
            Request::DeviceInfo { device },
            Request::Attach { space: SpaceId(5), device },
            Request::Replace { space: SpaceId(5), device },
            Request::Detach { device },
            Request::IoasDestroy { space: SpaceId(5) },
        ]
    );
}

#[test]
fn replies_that_do_not_fit_are_refused() {
    let bad = Err(ClientError::BadReply);
    for words in [&[][..], &[1], &[1, 2, 3], &[4, 0x1000], &[0x1_0000_0001, 0x1000]] {
        assert_eq!(script(&[(0, words)]).region_info(RegionSlot(0)), bad, "{words:x?}");
    }
    let bad = Err(ClientError::BadReply);
    for words in [&[0, 0][..], &[1 << 32, 0, 0], &[0, 3, 0], &[0, 1, 1 << 16], &[0, 0, 0, 0]] {
        assert_eq!(script(&[(0, words)]).device_info(DeviceIndex(0)), bad, "{words:x?}");
    }
    for words in [&[1 << 16, 9, 0x1000][..], &[0, 9, 0], &[0, 9]] {
        let error = script(&[(0, words)]).alloc_space().err();
        assert_eq!(error, Some(ClientError::BadReply), "{words:x?}");
    }
    assert_eq!(script(&[(99, &[])]).reset(), Err(ClientError::UnknownStatus(99)));
    assert_eq!(script(&[(6, &[])]).detach(DeviceIndex(1)), Err(refused(Status::NoSuchDevice)));
    assert_eq!(script(&[(AGAIN, &[])]).detach(DeviceIndex(1)), Err(ClientError::BadReply));
}

#[test]
fn map_gives_the_buffer_to_the_device_and_unmap_takes_it_back() {
    let mut iommu = script(&[SPACE, (0, &[0x8000, 0x2000]), (0, &[0, 0x2000])]);
    let space = iommu.alloc_space().expect("a space");
    let mapped = iommu.map(&space, buffer(2), Rights::READ, Placement::Any).expect("mapped");
    assert_eq!((mapped.iova(), mapped.last(), mapped.space()), (0x8000, 0x9fff, SpaceId(5)));
    let buffer = iommu.unmap(mapped).expect("unmapped");
    assert_eq!(buffer.bytes(), 0x2000);
    assert_eq!(
        iommu.raw().asked[2..],
        [
            Request::Map {
                space: SpaceId(5),
                slot: RegionSlot(2),
                generation: 7,
                flags: MapFlags { read: true, ..MapFlags::default() },
                iova: 0,
                offset: 0x3000,
                length: 0x2000,
            },
            Request::Unmap { space: SpaceId(5), first: 0x8000, last: 0x9fff },
        ]
    );
}

#[test]
fn a_map_is_continued_where_the_server_put_it() {
    let mut iommu =
        script(&[SPACE, (AGAIN, &[0x8000, 0x1000]), (AGAIN, &[0x8000, 0x1000]), (0, &[0x8000, 0x1000])]);
    let space = iommu.alloc_space().expect("a space");
    let mapped = iommu.map(&space, buffer(3), Rights::READ_WRITE, Placement::Any).expect("mapped");
    assert_eq!((mapped.iova(), mapped.last()), (0x8000, 0xafff));
    let flags = |request: &Request| match *request {
        Request::Map { flags, iova, length, .. } => (flags.fixed, flags.resume, iova, length),
        _ => panic!("{request:?}"),
    };
    let asked: Vec<_> = iommu.raw().asked[2..].iter().map(flags).collect();
    let resumed = (true, true, 0x8000, 0x3000);
    assert_eq!(asked, [(false, false, 0, 0x3000), resumed, resumed]);
}

#[test]
fn an_unmap_is_continued_and_its_bytes_are_added() {
    let mut iommu = script(&[(AGAIN, &[0, 0x20_0000]), (AGAIN, &[0, 0x20_0000]), (0, &[0, 0x1000])]);
    assert_eq!(iommu.reset(), Ok(0x40_1000));
    assert_eq!(iommu.raw().asked[1..], [Request::Reset; 3]);
}

#[test]
fn a_server_that_never_ends_is_given_up() {
    let mut iommu = script(&[]);
    iommu.raw().forever = Some((AGAIN, vec![0, 0]));
    assert_eq!(iommu.reset(), Err(ClientError::Endless));
    assert_eq!(iommu.raw().calls, MAX_CALLS + 1);
}

#[test]
fn bytes_that_pass_the_last_number_are_refused() {
    let mut iommu = script(&[(AGAIN, &[0, u64::MAX]), (0, &[0, 1])]);
    assert_eq!(iommu.reset(), Err(ClientError::BadReply));
}

#[test]
fn a_refused_buffer_comes_back() {
    let mut iommu = script(&[SPACE, (Status::Overlap.label(), &[])]);
    let space = iommu.alloc_space().expect("a space");
    let failed = iommu.map(&space, buffer(1), Rights::READ, Placement::At(0x1000)).expect_err("refused");
    assert_eq!((failed.error, failed.buffer.is_some()), (refused(Status::Overlap), true));
}

#[test]
fn a_buffer_that_may_be_mapped_stays_the_devices() {
    let scripts: [(&[ReplyWords], ClientError); 6] = [
        (&[(AGAIN, &[0x1000, 0x1000]), (Status::Overlap.label(), &[])], ClientError::BadReply),
        (
            &[(AGAIN, &[0x1000, 0x1000]), (Status::HardwareTimeout.label(), &[])],
            refused(Status::HardwareTimeout),
        ),
        (&[(Status::HardwareFailed.label(), &[])], refused(Status::HardwareFailed)),
        (&[(0, &[0x2000, 0x1000])], ClientError::BadReply),
        (&[(0, &[])], ClientError::BadReply),
        (&[(77, &[])], ClientError::UnknownStatus(77)),
    ];
    for (replies, error) in scripts {
        let mut iommu = script(&[&[SPACE], replies].concat());
        let space = iommu.alloc_space().expect("a space");
        let failed = iommu.map(&space, buffer(1), Rights::READ, Placement::At(0x1000)).expect_err("failed");
        assert_eq!((failed.error, failed.buffer.is_none()), (error, true));
    }
}

#[test]
fn a_mapping_past_the_last_address_is_no_mapping() {
    let mut iommu = script(&[SPACE, (0, &[u64::MAX - 0xffe, 0x1000])]);
    let space = iommu.alloc_space().expect("a space");
    let failed = iommu.map(&space, buffer(1), Rights::READ, Placement::Any).expect_err("wraps");
    assert_eq!(failed.error, ClientError::BadReply);
}

#[test]
fn what_is_not_all_unmapped_stays_the_devices() {
    for (reply, error) in [
        ((0, &[0_u64, 0x1000][..]), ClientError::BadReply),
        ((Status::HardwareTimeout.label(), &[]), refused(Status::HardwareTimeout)),
        ((Status::NotMapped.label(), &[]), refused(Status::NotMapped)),
    ] {
        let mut iommu = script(&[SPACE, (0, &[0x8000, 0x2000]), reply]);
        let space = iommu.alloc_space().expect("a space");
        let mapped = iommu.map(&space, buffer(2), Rights::READ, Placement::At(0x8000)).expect("mapped");
        let failed = iommu.unmap(mapped).expect_err("not all of it");
        assert_eq!((failed.error, failed.mapped.iova()), (error, 0x8000));
    }
}

#[test]
fn a_buffer_is_read_written_and_split_in_words() {
    let mut whole = buffer(2);
    whole.fill(|index| index as u64 * 3);
    assert_eq!((whole.read(1023), whole.find_difference(|index| index as u64 * 3)), (3069, None));
    let (mut first, rest) = whole.split(4096);
    first.write(511, 9);
    assert_eq!(first.find_difference(|index| index as u64 * 3), Some((511, 9)));
    assert_eq!((rest.read(0), rest.source()), (1536, (RegionSlot(2), 7, 0x4000)));
    assert_eq!((first.words(), rest.words()), (512, 512));
}

#[test]
#[should_panic(expected = "word 512 of a buffer of 512")]
fn a_buffer_ends() {
    buffer(1).read(512);
}

/// A PCI host with one answer.
struct Pci(u64, &'static [u64]);

impl Call for Pci {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        assert!(pci::Request::decode(label, words).is_ok());
        (self.0, Words::from_slice(self.1))
    }
}

#[test]
fn the_pci_host_is_asked_in_its_own_words() {
    let device = DeviceIndex(0);
    let info = PciHost::new(Pci(0, &[0x3_0010, 0x11e8_1234])).info(device).expect("known");
    assert_eq!((info.requester, info.usable, info.bus_master), (0x10, true, true));
    assert_eq!(PciHost::new(Pci(0, &[0])).info(device), Err(ClientError::BadReply));
    assert_eq!(PciHost::new(Pci(0, &[])).enable(device), Ok(()));
    let refused = Err(ClientError::Refused(pci::Status::NotAttached));
    assert_eq!(PciHost::new(Pci(5, &[])).enable(device), refused);
    assert_eq!(PciHost::new(Pci(99, &[])).disable(device), Err(ClientError::UnknownStatus(99)));
}
