//! The seed corpus: small inputs that each get somewhere, for the fuzzer to start from.

use crate::{
    builder::EDITS,
    dmar::{FILE, SEALED, TABLE},
    policy::supervisor_blob,
    server::policy,
    unit::VTD,
};
use iommu_server::policy::{KIND_ARM_SMMU_V3, KIND_INTEL_VTD};
use pci_host::policy::{BarEntry, FunctionEntry, Header, MAGIC, NO_CHANNEL};
use zerocopy::IntoBytes;

/// The files of fuzz/corpus/`target` that are made, not found: names and contents.
pub fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    match target {
        "builder" => builder(),
        "client" => client(),
        "dmar" => dmar(),
        "pci" => pci(),
        "policy" => vec![
            ("server", [&[0], &*policy(KIND_ARM_SMMU_V3)].concat()),
            ("server_vtd", [&[0], &*policy(KIND_INTEL_VTD)].concat()),
            ("pci_host", [&[1], &*pci_blob()].concat()),
            ("supervisor", [&[2], &*supervisor_blob()].concat()),
        ],
        "rings" => rings(),
        "server" => server(),
        "smmu" => smmu(),
        "vtd" => vtd(),
        _ => vec![],
    }
}

/// A system of one protection domain that maps one region.
const SYSTEM: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<system>
    <memory_region name="one" size="0x1000" />
    <protection_domain name="pd" priority="100">
        <program_image path="pd.elf" />
        <map mr="one" vaddr="0x2000000" perms="rw" setvar_vaddr="one" />
    </protection_domain>
</system>
"#;

fn builder() -> Vec<(&'static str, Vec<u8>)> {
    let edits = |edits: &[u8]| [&[EDITS], edits].concat();
    vec![
        ("base", edits(&[])),
        ("other_word", edits(&[0, 9, 0, 3, 0])),
        ("policy_word", edits(&[1, 5, 0, 8, 0])),
        ("line_less", edits(&[6, 20, 0])),
        ("line_twice", edits(&[9, 12, 0])),
        ("line_elsewhere", edits(&[10, 12, 0, 30])),
        ("bytes", edits(&[12, 100, 0, 2, 4, b'<', b'a', b'/', b'>'])),
        ("small_system", SYSTEM.as_bytes().to_vec()),
        ("with_policy", [SYSTEM.as_bytes(), b"\0[server]\npd = \"pd\"\n"].concat()),
    ]
}

/// An answer: a status's place in the target's table, and so many words.
const fn answer(label: u8, words: u8) -> u8 {
    label << 3 | words
}

const OK: u8 = 0;
const AGAIN: u8 = 20;
const PAGE: [u8; 2] = [0x20, 1];
const IOVA: [u8; 2] = [0x20, 0x10];

/// QEMU's tables, and the file of one.
fn dmar() -> Vec<(&'static str, Vec<u8>)> {
    let [q35, ats] = [
        &include_bytes!("../../../xtask/tests/dmar/q35.bin")[..],
        include_bytes!("../../../xtask/tests/dmar/q35_ats.bin"),
    ];
    let file = include_bytes!("../../../platform/boards/x86_64_generic/dmar.toml");
    vec![
        ("q35", [&[TABLE], q35].concat()),
        ("q35_ats", [&[SEALED], ats].concat()),
        ("file", [&[FILE], &file[..]].concat()),
    ]
}

fn client() -> Vec<(&'static str, Vec<u8>)> {
    let connect = [answer(OK, 1), 1];
    let space = [&[0, 0, answer(OK, 3), 1, 0xc0, 1][..], &PAGE].concat();
    let map = [&[16, 6][..], &IOVA, &[answer(OK, 2)], &IOVA, &PAGE].concat();
    let unmap = [&[19, 0, answer(OK, 2), 0][..], &PAGE].concat();
    let steps = [&[6, 0, answer(AGAIN, 2), 0][..], &PAGE, &[answer(OK, 2), 0], &PAGE].concat();
    vec![
        ("map_and_unmap", [&[0][..], &connect, &space, &map, &unmap, &steps].concat()),
        (
            "too_many_bytes",
            [&[0][..], &connect, &[6, 0, answer(AGAIN, 2), 0, 0x80, answer(OK, 2), 0, 1]].concat(),
        ),
        ("another_version", vec![0, answer(OK, 1), 2]),
        ("adopt", [&[0][..], &connect, &space, &[18, 2, 0, 0, answer(OK, 4), 0, 0x3f, 1, 0, 0]].concat()),
        ("supervise", [&[1][..], &connect, &[0, 1, answer(AGAIN, 2), 0, 0, answer(OK, 2), 0, 0]].concat()),
        ("children", [&[2, 1][..], &connect, &[0, 4, 6, 0, 0, 0, 0, 0, answer(OK, 2), 0, 0, 0]].concat()),
        ("bus_master", [&[3, 1, 0, answer(OK, 0), 0, 0, answer(OK, 2)][..], &[0x10, 0]].concat()),
    ]
}

fn pci_blob() -> Vec<u8> {
    let function = |requester, channel| FunctionEntry {
        requester,
        channel,
        successor_channel: NO_CHANNEL,
        stream: requester.into(),
    };
    let header = Header { magic: MAGIC, functions: 2, bars: 1 };
    let bar = BarEntry { paddr: 0x1000_0000, bytes: 0x10_0000, function: 0, bar: 0 };
    [header.as_bytes(), [function(0x10, 1), function(0x18, 2)].as_bytes(), bar.as_bytes()].concat()
}

fn pci() -> Vec<(&'static str, Vec<u8>)> {
    let word = |value: u64| [&[0xe0][..], &value.to_le_bytes()].concat();
    // One function with a BAR of 1 MiB, honest; the policy's functions; one BAR in its place.
    let place = [&[0x10, 0x18, 0x20, 1, 0][..], &word(0x1000_0000), &word(0x10_0000)].concat();
    let honest = [&[0, 0, 1, 0x10, 0, 1, 0, 20][..], &place].concat();
    let wide = [&[0, 0, 1, 0x10, 0, 1, 0, 0x34][..], &place].concat();
    let liar = [&[4, 0, 0xc0, 0xc1, 7, 0xc3, 1, 0x10, 1, 1, 0, 20][..], &place].concat();
    vec![
        ("enable_and_settle", [&honest[..], &[0, 0x10, 0, 5, 0, 0x51, 0x70, 4, 0x10, 3, 0x10]].concat()),
        ("wide_bar", [&wide[..], &[0, 0x10, 0, 5, 0, 0x80]].concat()),
        ("not_attached", [&honest[..], &[0, 0x10, 0x30, 0, 0x10, 0xff, 0]].concat()),
        ("liar", [&liar[..], &[0, 0x10, 0]].concat()),
        ("raw", [&honest[..], &[7, 0x11, 0xe0, 2, 1, 0, 0, 0, 0, 0, 0, 0]].concat()),
    ]
}

fn rings() -> Vec<(&'static str, Vec<u8>)> {
    let load = |bytes: &[u8]| bytes.repeat(40);
    vec![
        ("faults", [&[0][..], &load(&[0, 0x80, 1, 0, 0xc5])].concat()),
        (
            "reader",
            [&[1][..], &load(&[0x80, 12, 0x81, 9, 0xe0, 8, 0, 0, 0xff, b'a', b'b', 10, 0, 0, 0, 0, 0])]
                .concat(),
        ),
        (
            "printer",
            [&[2, 60, 0][..], &load(&[0x80, 7, 0x80, 7, 0, 0, 0xff, 10, 10, 65, 10, 65, 10, 65, 10])]
                .concat(),
        ),
        (
            "writer",
            [&[3, 0x1f, 0x1f, 1, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 6][..], b"hello\n", &[3, 200]].concat(),
        ),
        ("writer_past_the_end", vec![3, 0x80, 0x81, 0, 3, b'a', b'\n', b'b', 2]),
    ]
}

/// Places in the target's table of channels.
const ALICE: u8 = 0;
const BOB: u8 = 1;
const CAROL: u8 = 2;
const SUPERVISOR: u8 = 3;
const PCI_HOST: u8 = 4;

/// Steps of the target `server`: kinds that begin at bit 3.
const READ: u8 = 18 << 3;
const WRITE: u8 = 18 << 3 | 4;
const RECORD: u8 = 24 << 3;
const ERRORS: u8 = 25 << 3;
const TIME: u8 = 26 << 3;
const WORK: u8 = 28 << 3;
const VERIFY: u8 = 30 << 3;
const BREAK: u8 = 31 << 3;

fn server() -> Vec<(&'static str, Vec<u8>)> {
    // A space with the device in it, and two pages at the first address; for a channel.
    let attached = |channel: u8| [channel, 0, 0, channel, 1, 0, channel, 6, 0, 0, 0, 0, 1].to_vec();
    let used = [VERIFY, READ, 0, WRITE, 1];
    let of = |unit: u8, steps: &[&[u8]]| [&[unit], &*steps.concat()].concat();
    let alices = attached(ALICE);
    // The supervisor's second client is Alice, its third Carol.
    vec![
        ("map_and_unmap", of(0, &[&alices, &used, &[ALICE, 11, 0, 0, 1, READ, 0, WORK, VERIFY]])),
        ("blocks", of(3, &[&alices, &[ALICE, 6, 0, 0, 0x40, 0, 0x20, VERIFY, ALICE, 14, 0, VERIFY]])),
        ("stage_1", of(1, &[&alices, &used, &[ALICE, 3, 0, VERIFY, ALICE, 1, 0]])),
        ("stage_2", of(2, &[&alices, &attached(BOB), &used, &[ALICE, 5, 0, ALICE, 21, 0]])),
        ("small_queues", of(5, &[&alices, &used, &[READ, 9, READ, 9, READ, 9, READ, 9, WORK]])),
        ("copy", of(0, &[&alices, &[ALICE, 0, 0, ALICE, 15, 4, 0, 5, 0, 0, VERIFY, ALICE, 5, 4]])),
        ("replace", of(6, &[&alices, &[ALICE, 0, 0, ALICE, 4, 1, VERIFY, ALICE, 5, 0]])),
        (
            "allowed",
            of(0, &[&alices, &[ALICE, 17, 0, ALICE, 18, 0, 0, 3, ALICE, 19, 0, ALICE, 10, 0, 0, 0, 1]]),
        ),
        (
            "hold_and_claim",
            of(0, &[&alices, &[SUPERVISOR, 24, 0x10, 200, ALICE, 6, 0, CAROL, 22, 0, VERIFY]]),
        ),
        ("hold_and_expire", of(0, &[&alices, &[SUPERVISOR, 24, 0x10, 1, TIME, 200, WORK, WORK, VERIFY]])),
        ("revoke", of(7, &[&alices, &used, &[SUPERVISOR, 25, 0x10, WORK, VERIFY, SUPERVISOR, 26, 0x10]])),
        (
            "teardown",
            of(4, &[&alices, &used, &[SUPERVISOR, 23, 0x10, WORK, PCI_HOST, 28, 0, PCI_HOST, 27, 0]]),
        ),
        ("storm", of(0, &[&alices, &[READ, 9].repeat(9), &[WORK, VERIFY, ALICE, 20, 0, VERIFY]])),
        ("records", of(0, &[&alices, &[RECORD, 0x10, 0, 3, 0, ERRORS, 0x0c, WORK, VERIFY]])),
        ("no_completion", of(0x80, &[&alices, &[BREAK, 0, 0, ALICE, 11, 0, 0, 1, WORK, BREAK, 5, 0, WORK]])),
        ("refused_command", of(0x80, &[&alices, &[BREAK, 1, 1, ALICE, 11, 0, 0, 1, VERIFY, WORK]])),
        ("vtd", of(VTD, &[&alices, &used, &[ALICE, 11, 0, 0, 1, READ, 0, WORK, VERIFY]])),
        (
            "vtd_caching",
            of(VTD | 1, &[&[READ, 0, READ, 1], &alices, &used, &[ALICE, 3, 0, VERIFY, ALICE, 1, 0]]),
        ),
        ("vtd_scalable", of(VTD | 2, &[&alices, &attached(BOB), &used, &[ALICE, 5, 0, ALICE, 21, 0]])),
        ("vtd_replace", of(VTD | 3, &[&alices, &[ALICE, 0, 0, ALICE, 4, 1, VERIFY, ALICE, 5, 0]])),
        ("vtd_old", of(VTD | 4, &[&alices, &[ALICE, 6, 0, 0, 0x40, 0, 0x20, VERIFY, ALICE, 14, 0, VERIFY]])),
        ("vtd_storm", of(VTD | 5, &[&alices, &[READ, 9].repeat(9), &[WORK, VERIFY, ALICE, 20, 0, VERIFY]])),
        (
            "vtd_hold",
            of(VTD | 6, &[&alices, &[SUPERVISOR, 24, 0x10, 200, ALICE, 6, 0, CAROL, 22, 0, VERIFY]]),
        ),
        ("vtd_revoke", of(VTD | 7, &[&alices, &used, &[SUPERVISOR, 25, 0x10, WORK, VERIFY]])),
        ("vtd_records", of(VTD, &[&alices, &[RECORD, 5, 0, 3, 0, ERRORS, 0x71, WORK, VERIFY]])),
        (
            "vtd_no_completion",
            of(VTD | 0x80, &[&alices, &[BREAK, 0, 0, ALICE, 11, 0, 0, 1, WORK, BREAK, 5, 0, WORK]]),
        ),
        (
            "vtd_refused_command",
            of(VTD | 0x80, &[&alices, &[BREAK, 1, 1, ALICE, 11, 0, 0, 1, BREAK, 4, 0, VERIFY, WORK]]),
        ),
    ]
}

fn smmu() -> Vec<(&'static str, Vec<u8>)> {
    let usual = [0; 7];
    let work = [0, 1, 3, 1, 0x20, 1, 0x20, 9, 4, 1, 5, 1, 2, 1];
    let record = [0x1e, 0, 0, 0, 0x10, 0, 0x21, 0, 1];
    let lying =
        |lies: &[u8], rest: &[&[u8]]| [&(lies.len() as u16).to_le_bytes(), lies, &*rest.concat()].concat();
    // A register says the same for ever at the n-th look.
    let stuck = |looks: usize| [&vec![0; looks][..], &[0xe7, 1, 0, 0, 0]].concat();
    vec![
        ("obeys", lying(&[], &[&usual, &work, &record])),
        ("left_on", lying(&[], &[&[0; 6], &[0x0d], &work])),
        ("stage_1", lying(&[], &[&[0; 6], &[0x80], &work, &record])),
        ("no_snooping", lying(&[], &[&[1, 4, 0, 0, 0, 0, 0, 0], &work, &record])),
        ("errors", lying(&[], &[&usual, &[7, 0, 0xfc, 0, 0, 0, 7, 0, 1, 0, 0, 0, 5, 1]])),
        ("stuck_at_start", lying(&stuck(3), &[&usual, &work])),
        ("stuck_later", lying(&stuck(60), &[&usual, &work, &work])),
        ("lies", lying(&[0, 0, 0xe1, 3, 0, 0xe4, 9, 0, 0, 0, 0xe0, 1, 2, 3, 4], &[&usual, &work, &record])),
    ]
}

fn vtd() -> Vec<(&'static str, Vec<u8>)> {
    // Of its kind, with no bit turned over.
    let of = |kind: u8| [kind, 0, 0];
    let work = [0, 1, 3, 1, 0x20, 1, 0x20, 9, 5, 1, 0x40, 2, 4, 1, 5, 1, 2, 1];
    // A write that was not permitted, at 0x5000, of stream 0x10.
    let record = [0x1e, 0, 0x20, 5, 0xe0, 0x10, 0, 0, 0, 5, 0, 0, 0, 0];
    let lying =
        |lies: &[u8], rest: &[&[u8]]| [&(lies.len() as u16).to_le_bytes(), lies, &*rest.concat()].concat();
    // A register says the same for ever at the n-th look.
    let stuck = |looks: usize| [&vec![0; looks][..], &[0xe7, 1, 0, 0, 0]].concat();
    // The unit stands still at the n-th descriptor or look.
    let still = |looks: usize| [&vec![0; looks][..], &[0xff; 200]].concat();
    vec![
        ("obeys", lying(&[], &[&of(0), &work, &record])),
        ("caching_mode", lying(&[], &[&of(1), &work, &record])),
        ("scalable_mode", lying(&[], &[&of(2), &work, &record])),
        ("write_buffers", lying(&[], &[&of(3), &work, &record])),
        ("left_on", lying(&[], &[&of(4), &[0x83], &work])),
        ("left_on_in_another_mode", lying(&[], &[&of(4), &[0x61], &work])),
        ("no_queue", lying(&[], &[&[0, 0, 1, 1], &work])),
        ("records_out_of_reach", lying(&[], &[&[0, 1, 33, 0], &work])),
        ("errors", lying(&[], &[&of(0), &[0, 1, 7, 0, 0x11, 5, 1, 7, 0, 0x60, 4, 1, 5, 1]])),
        ("overflow", lying(&[], &[&of(2), &record, &[7, 0, 1], &record])),
        ("stuck_at_start", lying(&stuck(3), &[&of(0), &work])),
        ("stuck_later", lying(&stuck(100), &[&of(0), &work, &work])),
        ("stands_still", lying(&still(130), &[&of(1), &work, &work])),
        ("lies", lying(&[0, 0, 0xe1, 3, 0, 0xe4, 9, 0, 0, 0, 0xe0, 1, 2, 3, 4], &[&of(2), &work, &record])),
    ]
}
