//! Golden vectors: the words of every request, as another implementer would write them.

use iommu_protocol::{
    AllowStep, ClientIndex, DeviceIndex, MapFlags, MessageError, Opcode, RegionSlot, Request, SpaceId, Words,
    ring,
};

const MAP: Request = Request::Map {
    space: SpaceId(0x1111),
    slot: RegionSlot(0x2222),
    generation: 0x3333,
    flags: MapFlags { read: true, write: false, fixed: true, resume: false },
    iova: 0x4000,
    offset: 0x5000,
    length: 0x6000,
};

const COPY: Request = Request::Copy {
    target: SpaceId(0x1111),
    source: SpaceId(0x2222),
    flags: MapFlags { read: false, write: true, fixed: false, resume: true },
    iova: 0x4000,
    first: 0x5000,
    length: 0x6000,
};

const ALLOW: Request =
    Request::AllowIovas { space: SpaceId(3), step: AllowStep::Add, first: 0x1000, last: 0x1fff };

const GOLDEN: [(Request, u64, &[u64]); 26] = [
    (Request::Version, 1, &[]),
    (Request::IoasAlloc, 2, &[]),
    (Request::IoasDestroy { space: SpaceId(0xabcd) }, 3, &[0xabcd]),
    (MAP, 4, &[0x0005_3333_2222_1111, 0x4000, 0x5000, 0x6000]),
    (Request::Unmap { space: SpaceId(7), first: 0, last: u64::MAX }, 5, &[7, 0, 0xffff_ffff_ffff_ffff]),
    (Request::Attach { space: SpaceId(1), device: DeviceIndex(2) }, 6, &[0x0002_0001]),
    (Request::Detach { device: DeviceIndex(2) }, 7, &[2]),
    (Request::Replace { space: SpaceId(1), device: DeviceIndex(2) }, 8, &[0x0002_0001]),
    (Request::RegionInfo { slot: RegionSlot(9) }, 9, &[9]),
    (Request::DeviceInfo { device: DeviceIndex(3) }, 10, &[3]),
    (Request::Reset, 11, &[]),
    (Request::IsAttached { stream: 0xffff_ffff }, 12, &[0xffff_ffff]),
    (COPY, 13, &[0x000a_0000_2222_1111, 0x4000, 0x5000, 0x6000]),
    (Request::IovaRanges { space: SpaceId(3), index: 0x102 }, 14, &[0x0102_0003]),
    (ALLOW, 15, &[0x0001_0003, 0x1000, 0x1fff]),
    (Request::NextMapping { space: SpaceId(3), from: u64::MAX }, 16, &[3, u64::MAX]),
    (Request::Enable { device: DeviceIndex(7) }, 17, &[7]),
    (Request::HwInfo { device: DeviceIndex(7), index: 1 }, 18, &[0x0001_0007]),
    (Request::Stats { group: 4, client: Some(ClientIndex(2)) }, 19, &[0x0003_0004]),
    (Request::Claim, 20, &[]),
    (Request::Teardown { client: ClientIndex(9) }, 21, &[9]),
    (Request::Hold { client: ClientIndex(9), deadline_ms: 0x1234_5678 }, 22, &[0x1234_5678_0000_0009]),
    (Request::Revoke { client: ClientIndex(9), slot: RegionSlot(1) }, 23, &[0x0001_0009]),
    (Request::Regrant { client: ClientIndex(9), slot: RegionSlot(1) }, 24, &[0x0001_0009]),
    (Request::SpaceInfo { space: SpaceId(0xabcd) }, 25, &[0xabcd]),
    (Request::NextWithdrawn, 26, &[]),
];

#[test]
fn the_steps_of_a_list_have_their_words() {
    let step = |step| Request::AllowIovas { space: SpaceId(3), step, first: 0, last: 0 };
    for (request, word) in [(step(AllowStep::Begin), 3), (step(AllowStep::Commit), 0x0002_0003)] {
        assert_eq!(request.encode().1.as_slice(), [word, 0, 0]);
        assert_eq!(Request::decode(15, &Words::new([word, 0, 0])), Ok(request));
        for words in [[word, 1, 0], [word, 0, 1]] {
            assert_eq!(Request::decode(15, &Words::new(words)), Err(MessageError::ReservedBits));
        }
    }
    assert_eq!(Request::decode(15, &Words::new([0x0003_0003, 0, 0])), Err(MessageError::ReservedBits));
}

#[test]
fn counters_are_the_callers_own_or_a_clients() {
    let own = Request::Stats { group: 4, client: None };
    assert_eq!(own.encode().1.as_slice(), [4]);
    assert_eq!(Request::decode(19, &Words::new([4])), Ok(own));
}

#[test]
fn every_request_has_its_words() {
    for ((request, label, words), opcode) in GOLDEN.into_iter().zip(Opcode::ALL) {
        let (got, encoded) = request.encode();
        assert_eq!((got, got.label()), (opcode, label));
        assert_eq!(encoded.as_slice(), words);
        assert_eq!(Request::decode(label, &Words::from_slice(words)), Ok(request));
    }
}

/// The table in docs/design.md, for those who read rather than compile.
#[test]
fn the_design_shows_the_same_words() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let design = std::fs::read_to_string(format!("{folder}/../../docs/design.md")).unwrap();
    for ((_, label, words), opcode) in GOLDEN.into_iter().zip(Opcode::ALL) {
        let words: Vec<_> = words.iter().map(|word| format!("{word:#x}")).collect();
        let row = format!("| {opcode:?} | {label} | {} |", words.join(", "));
        assert!(design.lines().any(|line| line == row), "docs/design.md lacks the line\n{row}");
    }
}

#[test]
fn a_wrong_number_of_words_is_refused() {
    for (_, label, words) in GOLDEN {
        let mut longer = words.to_vec();
        longer.push(0);
        let wrong = Request::decode(label, &Words::from_slice(&longer));
        assert_eq!(wrong, Err(MessageError::WrongCount), "label {label} with a word too many");
        if let Some((_, shorter)) = words.split_last() {
            let wrong = Request::decode(label, &Words::from_slice(shorter));
            assert_eq!(wrong, Err(MessageError::WrongCount), "label {label} with a word too few");
        }
    }
    let endless = vec![0; 120];
    assert_eq!(Request::decode(4, &Words::from_slice(&endless)), Err(MessageError::WrongCount));
}

#[test]
fn every_reserved_bit_is_refused() {
    for (request, label, words) in GOLDEN {
        for bit in 0..64 * words.len() {
            let mut flipped = words.to_vec();
            flipped[bit / 64] ^= 1 << (bit % 64);
            match Request::decode(label, &Words::from_slice(&flipped)) {
                Ok(other) => assert_ne!(other, request, "bit {bit} of label {label} means nothing"),
                Err(error) => assert_eq!(error, MessageError::ReservedBits),
            }
        }
    }
}

#[test]
fn an_iova_that_the_server_is_to_choose_is_zero() {
    for label in [4, 13] {
        for (flags, iova, decodes) in [
            (0b0011, 0, true),
            (0b0011, 1, false),
            (0b0000, 1 << 63, false),
            (0b0111, 1, true),
            (0b1011, 1, true),
        ] {
            let message = Words::new([flags << 48, iova, 0, 0]);
            assert_eq!(
                Request::decode(label, &message).is_ok(),
                decodes,
                "label {label}, {flags:#b} {iova:#x}"
            );
        }
    }
}

#[test]
fn unknown_labels_are_refused() {
    for label in [0, 27, u64::MAX] {
        assert_eq!(Request::decode(label, &Words::new([])), Err(MessageError::UnknownLabel(label)));
    }
}

#[test]
fn fault_records_unpack_what_they_pack() {
    let what = ring::Record::pack(0x1234, ring::reason::PERMISSION, ring::access::WRITE, true);
    assert_eq!(what, 0x0000_0102_0002_1234);
    let record =
        ring::Record { what, sequence: 1, iova: 0x8000, count: 1, stream: 16, time_ns: 0, raw: [0; 2] };
    assert_eq!((record.device(), record.reason(), record.access()), (0x1234, 2, 2));
    assert_eq!(record.iova(), Some(0x8000));
}

#[test]
fn words_pass_through_message_registers() {
    let mut registers = [9; 120];
    assert_eq!(Words::new([1, 2, 3]).store(&mut registers), 3);
    assert_eq!(registers[..5], [1, 2, 3, 0, 9]);
    assert_eq!(Words::load(2, &registers), Words::new([1, 2]));
    assert_ne!(Words::load(2, &registers), Words::new([1, 2, 3]));
    assert_eq!(Words::load(120, &registers).as_slice(), [1, 2, 3, 0]);
    assert_eq!(Request::decode(4, &Words::load(120, &registers)), Err(MessageError::WrongCount));
    for (request, label, words) in GOLDEN {
        let mut registers = [u64::MAX; 120];
        registers[..words.len()].copy_from_slice(words);
        let loaded = Words::load(words.len(), &registers);
        assert_eq!(Request::decode(label, &loaded), Ok(request), "what lies past the count means nothing");
    }
}
