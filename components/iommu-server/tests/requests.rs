//! Every refusal by message, and who may ask what. Over every unit.

mod bench;

use bench::{
    ALICE, ALICES_DEVICE, ALICES_MEMORY, BOBS_DEVICE, CONSTANTS_BYTES, MEMORY_BYTES, NOBODY, PCI_HOST,
    PolicyParts, READ, READ_WRITE, STRANGER, SUPERVISOR, Unit, World, map, map_with, over_every_unit,
    policy_with, start, unmap,
};
use iommu_hal::StreamId;
use iommu_protocol::{DeviceIndex, MapFlags, Opcode, RegionSlot, Request, SpaceId, Status, VERSION, Words};
use iommu_server::{
    policy::{KIND_ARM_SMMU_V3, KIND_INTEL_VTD, PolicyError, ReservedEntry, UnitEntry},
    start::StartError,
};
use proptest::prelude::*;

const SLOT0: RegionSlot = RegionSlot(0);

fn a_client_learns_what_it_has(unit: &Unit) {
    let mut world = World::new(unit);
    assert_eq!(world.ok(ALICE, Request::Version).as_slice(), [VERSION]);
    assert_eq!(world.ok(ALICE, Request::RegionInfo { slot: SLOT0 }).as_slice(), [0x1_0003, MEMORY_BYTES]);
    let constants = world.ok(ALICE, Request::RegionInfo { slot: RegionSlot(1) });
    assert_eq!(constants.as_slice(), [0x1_0001, CONSTANTS_BYTES]);
    let device = Request::DeviceInfo { device: DeviceIndex(0) };
    assert_eq!(world.ok(ALICE, device).as_slice(), [ALICES_DEVICE.0.into(), 0, 0]);
    let space = world.attached_space(ALICE);
    assert_eq!(world.ok(ALICE, device).as_slice(), [ALICES_DEVICE.0.into(), 1, space.0.into()]);
}

fn each_broken_rule_of_map_has_its_status(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.space(ALICE);
    let aperture_last = world.ok(ALICE, Request::IoasAlloc).get(1);
    assert_eq!(aperture_last, world.facts.aperture());
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x2000));
    let stale = |generation| Request::Map {
        space,
        slot: SLOT0,
        generation,
        flags: READ,
        iova: 0x1000,
        offset: 0,
        length: 0x1000,
    };
    let none = MapFlags { fixed: true, ..MapFlags::default() };
    for (request, status) in [
        (map(SpaceId(0), 0x1000, 0, 0x1000), Status::NoSuchSpace),
        (map(SpaceId(9), 0x1000, 0, 0x1000), Status::NoSuchSpace),
        (map_with(space, RegionSlot(2), READ, [0x1000, 0, 0x1000]), Status::NoSuchRegion),
        (map_with(space, RegionSlot(u16::MAX), READ, [0x1000, 0, 0x1000]), Status::NoSuchRegion),
        (stale(0), Status::StaleRegion),
        (stale(2), Status::StaleRegion),
        (map(space, 0x1000, MEMORY_BYTES, 0x1000), Status::OutOfRegion),
        (map(space, 0x1000, MEMORY_BYTES - 0x1000, 0x2000), Status::OutOfRegion),
        (map(space, 0x1000, !0xfff, 0x2000), Status::OutOfRegion),
        (map_with(space, RegionSlot(1), READ_WRITE, [0x1000, 0, 0x1000]), Status::NotPermitted),
        (map(space, 0x1001, 0, 0x1000), Status::Misaligned),
        (map(space, 0x1000, 0x10, 0x1000), Status::Misaligned),
        (map(space, 0x1000, 0, 0x1800), Status::Misaligned),
        (map(space, 0x1000, 0, 0), Status::ZeroLength),
        (map(space, !0xfff, 0, 0x2000), Status::Overflow),
        (map(space, aperture_last + 1, 0, 0x1000), Status::Reserved),
        (map(space, aperture_last - 0xfff, 0, 0x2000), Status::Reserved),
        (map(space, !0xfff, 0, 0x1000), Status::Reserved),
        (map(space, 0x10_0000, 0, 0x1000), Status::Overlap),
        (map(space, 0x10_1000, 0, 0x1000), Status::Overlap),
        (map(space, 0xf_f000, 0, 0x2000), Status::Overlap),
        (map(space, 0xf_f000, 0, 0x4000), Status::Overlap),
        (map_with(space, SLOT0, none, [0x1000, 0, 0x1000]), Status::NoRights),
    ] {
        assert_eq!(world.status(ALICE, request), status, "{request:?}");
    }
    for &(first, last) in world.facts.reserved {
        for iova in [first - 0x1000, first, last - 0xfff] {
            assert_eq!(world.status(ALICE, map(space, iova, 0, 0x2000)), Status::Reserved, "{iova:#x}");
        }
        for beside in [first - 0x1000, last + 1] {
            world.ok(ALICE, map(space, beside, 0, 0x1000));
            world.ok(ALICE, unmap(space, beside, 0x1000));
        }
    }
    // Nothing of what was refused is there.
    assert_eq!(world.ok(ALICE, unmap(space, 0x10_0000, 0x2000)).get(1), 0x2000);
    assert_eq!(world.status(ALICE, unmap(space, 0x1000, 0x2000)), Status::NotMapped);
    world.ok(ALICE, map(space, aperture_last - 0xfff, 0, 0x1000));
}

fn write_only_is_refused_where_the_format_cannot_say_it(unit: &Unit) {
    let write_only = MapFlags { write: true, fixed: true, ..MapFlags::default() };
    for kind in unit.kinds() {
        let mut world = World::new(&kind);
        let space = world.attached_space(ALICE);
        let status = if world.facts.write_only { Status::Ok } else { Status::NotExpressible };
        let request = map_with(space, SLOT0, write_only, [0x1000, 0, 0x1000]);
        assert_eq!(world.status(ALICE, request), status, "{}", kind.name);
        let reaches = [false, true].map(|write| world.bench.translate(ALICES_DEVICE, 0x1000, write).is_ok());
        assert_eq!(reaches, [false, world.facts.write_only], "{}", kind.name);
    }
}

fn any_placement_finds_holes_and_never_zero(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.space(ALICE);
    let anywhere = MapFlags { fixed: false, ..READ_WRITE };
    let mut place = |length| world.ok(ALICE, map_with(space, SLOT0, anywhere, [0, 0, length])).get(0);
    assert_eq!(
        [place(0x1000), place(0x2000), place(0x1000), place(0x20_0000)],
        [0x1000, 0x2000, 0x4000, 0x20_0000]
    );
}

fn unmap_takes_whole_mappings_or_nothing(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.space(ALICE);
    for page in [0x10_0000, 0x10_4000, 0x10_8000] {
        world.ok(ALICE, map(space, page, 0, 0x2000));
    }
    for (first, length, status) in [
        (0x10_0000, 0x1000, Status::WouldSplit),
        (0x10_1000, 0x1000, Status::WouldSplit),
        (0x10_0000, 0x9000, Status::WouldSplit),
        (0x10_1000, 0x9000, Status::WouldSplit),
        (0x10_2000, 0x2000, Status::NotMapped),
        (0x20_0000, 0x1000, Status::NotMapped),
    ] {
        assert_eq!(world.status(ALICE, unmap(space, first, length)), status, "{first:#x}");
    }
    assert_eq!(world.ok(ALICE, unmap(space, 0, 1 << 40)).get(1), 0x6000, "nothing was removed before");
    let all = Request::Unmap { space, first: 0, last: u64::MAX };
    assert_eq!(world.ok(ALICE, all).as_slice(), [0, 0], "the whole space may be empty");
    let reversed = Request::Unmap { space, first: 0x2000, last: 0x1000 };
    assert!(!matches!(world.status(ALICE, reversed), Status::Ok | Status::Again));
}

fn each_broken_rule_of_devices_has_its_status(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.space(ALICE);
    let device = DeviceIndex(0);
    for (request, status) in [
        (Request::Attach { space: SpaceId(9), device }, Status::NoSuchSpace),
        (Request::Attach { space, device: DeviceIndex(1) }, Status::NoSuchDevice),
        (Request::Replace { space, device }, Status::NotAttached),
        (Request::Detach { device }, Status::NotAttached),
        (Request::Detach { device: DeviceIndex(u16::MAX) }, Status::NoSuchDevice),
        (Request::Attach { space, device }, Status::Ok),
        (Request::Attach { space, device }, Status::AlreadyAttached),
        (Request::IoasDestroy { space }, Status::Busy),
        (Request::Detach { device }, Status::Ok),
        (Request::IoasDestroy { space }, Status::Ok),
        (Request::IoasDestroy { space }, Status::NoSuchSpace),
    ] {
        assert_eq!(world.status(ALICE, request), status, "{request:?}");
    }
}

fn a_long_map_is_continued_and_a_half_done_one_is_nobodys(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    // 4 KiB pages only: the offset and the IOVA disagree below 2 MiB.
    let (iova, offset, length) = (0x1000, 0, MEMORY_BYTES);
    let begin = world.call(ALICE, map(space, iova, offset, length));
    assert_eq!((begin.status, begin.words.get(0)), (Status::Again, iova));
    let done = begin.words.get(1);
    assert!(done > 0 && done < length);
    // Another request that meets it is not told to wait.
    assert_eq!(world.status(ALICE, map(space, iova + done, 0, 0x1000)), Status::Overlap);
    let resume = map_with(space, SLOT0, MapFlags { resume: true, ..READ_WRITE }, [iova, offset, length]);
    let mut rounds = 0;
    loop {
        rounds += 1;
        let answer = world.call(ALICE, resume);
        match answer.status {
            Status::Again => assert!(rounds < 10, "it comes to an end"),
            status => {
                assert_eq!((status, answer.words.get(1)), (Status::Ok, length));
                break;
            }
        }
    }
    world.bench.dma_write(ALICES_DEVICE, iova + length - 4, b"last").expect("mapped to its end");
    let mut bytes = 0;
    loop {
        let answer = world.call(ALICE, unmap(space, iova, length));
        bytes += answer.words.get(1);
        if answer.status == Status::Ok {
            break;
        }
        assert_eq!(answer.status, Status::Again);
    }
    assert_eq!(bytes, length);

    assert_eq!(world.status(ALICE, map(space, iova, offset, length)), Status::Again);
    assert_eq!(world.status(ALICE, resume_elsewhere(space)), Status::NotMapped);
    while world.status(ALICE, unmap(space, iova, length)) == Status::Again {}
    world.ok(ALICE, map(space, iova, offset, 0x1000));
}

fn resume_elsewhere(space: SpaceId) -> Request {
    map_with(space, SLOT0, MapFlags { resume: true, ..READ_WRITE }, [0x80_0000, 0, 0x1000])
}

fn quotas_are_the_clients_own(unit: &Unit) {
    let mut world = World::new(unit);
    let mut spaces = 0;
    let status = loop {
        match world.status(ALICE, Request::IoasAlloc) {
            Status::Ok => spaces += 1,
            status => break status,
        }
        assert!(spaces <= 16);
    };
    assert_eq!((status, spaces), (Status::QuotaExceeded, 16));
    world.ok(bench::BOB, Request::IoasAlloc);
    let space = SpaceId(1);
    let mut areas = 0;
    let status = loop {
        match world.status(ALICE, map(space, 0x1000 + (areas << 12), 0, 0x1000)) {
            Status::Ok => areas += 1,
            status => break status,
        }
        assert!(areas <= 1000);
    };
    assert_eq!((status, areas), (Status::QuotaExceeded, 1000));
}

fn the_pci_host_asks_what_is_attached_and_nothing_else(unit: &Unit) {
    let mut world = World::new(unit);
    let asks = |stream: StreamId| Request::IsAttached { stream: stream.0 };
    assert_eq!(world.ok(PCI_HOST, asks(ALICES_DEVICE)).as_slice(), [0]);
    world.attached_space(ALICE);
    assert_eq!(world.ok(PCI_HOST, asks(ALICES_DEVICE)).as_slice(), [1]);
    assert_eq!(world.ok(PCI_HOST, asks(BOBS_DEVICE)).as_slice(), [0]);
    assert_eq!(world.ok(PCI_HOST, asks(STRANGER)).as_slice(), [0]);
    assert_eq!(world.status(PCI_HOST, Request::IoasAlloc), Status::NotAllowed);
    assert_eq!(world.status(ALICE, asks(ALICES_DEVICE)), Status::NotAllowed);
    assert_eq!(world.status(ALICE, Request::NextWithdrawn), Status::NotAllowed);
    // What is attached again is not withdrawn.
    let space = world.ok(ALICE, Request::DeviceInfo { device: DeviceIndex(0) }).get(2) as u16;
    world.ok(ALICE, Request::Detach { device: DeviceIndex(0) });
    world.ok(ALICE, Request::Attach { space: SpaceId(space), device: DeviceIndex(0) });
    assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [0, 0]);
    world.ok(ALICE, Request::Detach { device: DeviceIndex(0) });
    assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [1, ALICES_DEVICE.0.into()]);
    assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [0, 0]);
    for channel in [NOBODY, 61, 62, 255] {
        assert_eq!(world.status(channel, Request::Version), Status::NotAllowed);
    }
}

fn messages_that_are_no_request_are_refused(unit: &Unit) {
    let mut world = World::new(unit);
    let mut status = |label, words: &[u64]| world.server.call(ALICE, label, &Words::from_slice(words)).status;
    assert_eq!(status(0, &[]), Status::UnknownRequest);
    assert_eq!(status(u64::MAX, &[1, 2, 3, 4]), Status::UnknownRequest);
    assert_eq!(status(Opcode::Map.label(), &[1, 2, 3]), Status::BadMessage);
    assert_eq!(status(Opcode::Map.label(), &[0; 120]), Status::BadMessage);
    assert_eq!(status(Opcode::Detach.label(), &[1 << 16]), Status::BadMessage);
}

fn a_promise_of_more_frames_than_are_free_is_said(unit: &Unit) {
    let free = World::new(unit).server.frame_counts().1;
    let log = |frames| World::changed(unit, |p| (p.clients[0].frames, p.clients[1].frames) = (frames, 1)).log;
    assert!(!log(free - 1).contains("promised"));
    let promised = format!("the clients are promised {} table frames, more than are free", free + 1);
    assert!(log(free).contains(&promised), "{}", log(free));
}

fn a_policy_that_does_not_fit_stops_the_start(unit: &Unit) {
    let refused = |bytes: Vec<u8>| start(&*unit.board(), &bytes).map(|_| ()).unwrap_err();
    let policy = |change: fn(&mut PolicyParts)| refused(policy_with(unit, change));
    let good = policy_with(unit, |_| {});
    assert!(matches!(refused(vec![]), StartError::Policy(PolicyError::Truncated)));
    assert!(matches!(refused(vec![0; 64]), StartError::Policy(PolicyError::BadMagic(0))));
    assert!(matches!(refused(good[..good.len() - 8].to_vec()), StartError::Policy(PolicyError::Truncated)));
    assert!(matches!(policy(|p| p.units.clear()), StartError::Policy(PolicyError::BadEntry("devices", 0))));
    assert!(matches!(
        policy(|p| {
            p.units.clear();
            p.devices.clear()
        }),
        StartError::UnitCount { policy: 0, .. }
    ));
    let pci_host = policy(|p| p.header.pci_host_channel = 62);
    assert!(matches!(pci_host, StartError::Policy(PolicyError::BadPciHost(62))));
    assert!(matches!(policy(|p| p.units[0].kind = 9), StartError::Policy(PolicyError::BadEntry("units", 0))));
    // An SMMU tells by wires; a VT-d unit's message goes to a CPU or nowhere.
    for (kind, fault_data, fault_address) in [
        (KIND_ARM_SMMU_V3, 0, 0xfee0_0000),
        (KIND_ARM_SMMU_V3, 0x58, 0),
        (KIND_INTEL_VTD, 0x58, 0x1_fee0_0000),
        (KIND_INTEL_VTD, 0x58, 0xfee0_0002),
        (KIND_INTEL_VTD, 0x58, 0x1000),
    ] {
        let entry = UnitEntry { kind, fault_data, fault_address };
        let found = refused(policy_with(unit, |parts| parts.units[0] = entry));
        assert!(matches!(found, StartError::Policy(PolicyError::BadEntry("units", 0))), "{fault_address:#x}");
    }
    let twice = policy(|p| p.clients[1].channel = p.clients[0].channel);
    assert!(matches!(twice, StartError::Policy(PolicyError::BadEntry("clients", 1))));
    let stream = policy(|p| p.devices[1].stream = p.devices[0].stream);
    assert!(matches!(stream, StartError::Policy(PolicyError::BadEntry("devices", 1))));
    assert!(matches!(policy(|p| p.grants[0].region = 31), StartError::NoRegionAddress(31)));
    let bad = |table, index, change: fn(&mut PolicyParts)| {
        let found = policy(change);
        assert!(
            matches!(found, StartError::Policy(PolicyError::BadEntry(of, at)) if (of, at) == (table, index)),
            "{table} {index}: {found:?}"
        );
    };
    bad("clients", 0, |p| p.clients[0].flags = 2);
    bad("clients", 1, |p| p.clients[1].predecessor = 2);
    bad("clients", 1, |p| p.clients[1].predecessor = 1);
    bad("clients", 0, |p| (p.clients[0].predecessor, p.clients[1].predecessor) = (1, 0));
    bad("devices", 1, |p| p.clients[1].predecessor = 0);
    bad("devices", 0, |p| p.devices[0].fault_client = 2);
    bad("devices", 0, |p| (p.devices[0].fault_client, p.devices[0].fault_index) = (1, 64));
    bad("devices", 1, |p| p.devices[1].max_faults_per_second = 0);
    bad("supervisors", 0, |p| p.supervisors[0].channel = ALICE);
    bad("supervisors", 0, |p| p.supervisors[0].channel = PCI_HOST);
    bad("supervisors", 0, |p| p.supervisors[0].channel = 62);
    bad("supervisors", 1, |p| p.supervisors.push(p.supervisors[0]));
    bad("wards", 1, |p| p.wards[1].client = p.wards[0].client);
    bad("wards", 0, |p| p.wards[0].client = 2);
    bad("wards", 1, |p| p.wards[1].supervisor = 1);
    let range = |first, last, device| {
        move |p: &mut PolicyParts| p.reserved.push(ReservedEntry { first, last, device, reserved: [0; 7] })
    };
    for (first, last, device) in [(2, 1, 0), (1, 1, 2)] {
        let found = refused(policy_with(unit, range(first, last, device)));
        assert!(
            matches!(found, StartError::Policy(PolicyError::BadEntry("reserved ranges", 0))),
            "{found:?}"
        );
    }
    let five =
        policy(|p| p.reserved = vec![ReservedEntry { first: 0, last: 0, device: 0, reserved: [0; 7] }; 5]);
    assert!(matches!(five, StartError::Client(0, iommu_core::ConfigError::TooManyReserved)), "{five:?}");
    let rights = policy(|p| p.grants[2].rights = 4);
    assert!(matches!(rights, StartError::Policy(PolicyError::BadEntry("grants", 2))));
}

fn a_unit_that_does_not_answer_stops_the_start_with_its_name_and_everything_aborts(unit: &Unit) {
    for kind in unit.kinds() {
        let board = kind.clone().clock_step_ns(10_000).board();
        board.stand_still(0);
        let policy = policy_with(unit, |_| {});
        let error = start(&*board, &policy).map(|_| ()).unwrap_err();
        assert!(matches!(error, StartError::BringUp(0, _)), "{}: {error}", kind.name);
        let told = error.to_string();
        assert!(told.starts_with("unit 0: the ") && told.contains("did not answer: waited 100 ms"), "{told}");
        for stream in [ALICES_DEVICE, BOBS_DEVICE, STRANGER] {
            let reaches = board.translate(stream, ALICES_MEMORY, true);
            assert!(reaches.is_err(), "{}: {stream:?} {reaches:x?}", kind.name);
        }
    }
}

/// Nothing that a client sends panics the server, and its devices stay as they were.
fn random_messages_do_no_harm(unit: &Unit) {
    let word = prop_oneof![
        0_u64..4,
        any::<u64>(),
        Just(u64::MAX),
        (0_u64..64).prop_map(|page| page << 12),
        (0_u64..4, 0_u64..3, 0_u64..3, 0_u64..16)
            .prop_map(|(space, slot, generation, flags)| space | slot << 16 | generation << 32 | flags << 48),
    ];
    let channel = prop_oneof![9 => 0_u8..4, 3 => Just(SUPERVISOR)];
    let messages = prop::collection::vec((channel, 0_u64..28, prop::collection::vec(word, 0..6)), 1..200);
    proptest!(ProptestConfig { cases: 64, ..ProptestConfig::default() }, |(messages in messages)| {
        let mut world = World::new(unit);
        world.attached_space(ALICE);
        for (channel, label, words) in messages {
            let answer = world.server.call(channel, label, &Words::from_slice(&words));
            prop_assert!(answer.words.as_slice().len() <= 4);
            world.work();
        }
        let foreign = world.bench.dma_write(STRANGER, 0x1000, b"x");
        prop_assert!(foreign.is_err());
    });
}

over_every_unit!(
    a_client_learns_what_it_has,
    each_broken_rule_of_map_has_its_status,
    write_only_is_refused_where_the_format_cannot_say_it,
    any_placement_finds_holes_and_never_zero,
    unmap_takes_whole_mappings_or_nothing,
    each_broken_rule_of_devices_has_its_status,
    a_long_map_is_continued_and_a_half_done_one_is_nobodys,
    quotas_are_the_clients_own,
    the_pci_host_asks_what_is_attached_and_nothing_else,
    messages_that_are_no_request_are_refused,
    a_promise_of_more_frames_than_are_free_is_said,
    a_policy_that_does_not_fit_stops_the_start,
    a_unit_that_does_not_answer_stops_the_start_with_its_name_and_everything_aborts,
    random_messages_do_no_harm,
);
