//! DMAR tables: QEMU's, and others that are built here from the specification (Intel D51397, chapter 8), byte by byte.

use proptest::prelude::*;
use xtask::{
    board::Interval,
    dmar::{Behind, Dmar, Function, Holds, Hop, Kind, Table, Why, parse, report, text},
};

const Q35: &[u8] = include_bytes!("dmar/q35.bin");
const Q35_ATS: &[u8] = include_bytes!("dmar/q35_ats.bin");

/// A scope: type, enumeration id, start bus, path.
fn scope(kind: u8, id: u8, bus: u8, path: &[(u8, u8)]) -> Vec<u8> {
    let mut bytes = vec![kind, 6 + 2 * path.len() as u8, 0, 0, id, bus];
    path.iter().for_each(|&(device, function)| bytes.extend([device, function]));
    bytes
}

/// A structure: type, what follows its length.
fn structure(kind: u16, body: &[Vec<u8>]) -> Vec<u8> {
    let body = body.concat();
    let length = 4 + body.len() as u16;
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), &body].concat()
}

fn drhd(flags: u8, segment: u16, base: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    sized_drhd(flags, 0, segment, base, scopes)
}

fn sized_drhd(flags: u8, size: u8, segment: u16, base: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [&[flags, size][..], &segment.to_le_bytes(), &base.to_le_bytes()].concat();
    structure(0, &[fixed, scopes.concat()])
}

fn rmrr(segment: u16, base: u64, limit: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [&[0, 0][..], &segment.to_le_bytes(), &base.to_le_bytes(), &limit.to_le_bytes()].concat();
    structure(1, &[fixed, scopes.concat()])
}

/// The table of these structures, its length and checksum right.
fn table(structures: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[..4].copy_from_slice(b"DMAR");
    bytes[8] = 1;
    bytes[10..16].copy_from_slice(b"MAKER ");
    bytes[16..24].copy_from_slice(b"SERVER\0\x1b");
    bytes[36] = 38;
    bytes[37] = 0b101;
    bytes.extend(structures.concat());
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(length) = bytes.len().try_into().ok().filter(|_| bytes.len() >= 10) {
        let length: u32 = length;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes[9] = 0;
        bytes[9] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    }
    bytes
}

const ENDPOINT: u8 = 1;
const BRIDGE: u8 = 2;

/// A server: a unit for graphics, one for a bridge and a function two bridges deep, one for all others; reserved memory of
/// USB, of the bridge, and of nobody; a unit of another segment; all that is skipped.
fn server() -> Vec<u8> {
    table(&[
        drhd(0, 0, 0xfed9_0000, &[scope(ENDPOINT, 0, 0, &[(2, 0)]), scope(9, 0, 0, &[(2, 0)])]),
        sized_drhd(
            0,
            1,
            0,
            0xfed9_2000,
            &[scope(BRIDGE, 0, 0, &[(0x1c, 0)]), scope(ENDPOINT, 0, 0, &[(0x1d, 0), (0, 0), (4, 1)])],
        ),
        drhd(0, 1, 0xfed9_5000, &[scope(ENDPOINT, 0, 0, &[(3, 0)])]),
        drhd(
            1,
            0,
            0xfed9_1000,
            &[scope(3, 8, 0xf0, &[(0x1f, 0)]), scope(4, 1, 0, &[(0x1f, 0)]), scope(5, 2, 0, &[(0x15, 0)])],
        ),
        rmrr(0, 0x3e2e_0000, 0x3e2f_ffff, &[scope(ENDPOINT, 0, 0, &[(0x14, 0)])]),
        rmrr(
            0,
            0x3b80_0000,
            0x3fff_ffff,
            &[scope(ENDPOINT, 0, 0, &[(2, 0)]), scope(BRIDGE, 0, 0, &[(0x1c, 0)])],
        ),
        rmrr(0, 0x1000, 0x1fff, &[]),
        structure(2, &[vec![0, 0, 0, 0], scope(BRIDGE, 0, 0, &[(0x1c, 0)])]),
        structure(3, &[vec![0; 16]]),
        structure(4, &[vec![0, 0, 0, 1], b"\\_SB.I2C0\0".to_vec()]),
        structure(5, &[vec![1, 0, 0, 0]]),
        structure(6, &[vec![0; 4]]),
        structure(77, &[vec![0xff; 5]]),
    ])
}

fn good(bytes: &[u8]) -> Table {
    parse(bytes).unwrap_or_else(|malformed| panic!("{malformed}"))
}

fn at(bus: u8, device: u8, function: u8) -> Function {
    Function { bus, at: Hop { device, function } }
}

#[test]
fn qemus_tables_are_read() {
    let table = good(Q35);
    assert_eq!(
        (table.maker.as_str(), table.skipped.len()),
        ("BOCHS BXPC, OEM revision 0x1, DMAR revision 1", 0)
    );
    let [unit] = &*table.dmar.units else { panic!("one unit") };
    assert_eq!((unit.registers, unit.bytes, unit.segment), (0xfed9_0000, 0x1000, 0));
    assert_eq!((table.dmar.address_bits, table.dmar.interrupt_remapping), (48, true));
    assert!(!unit.include_pci_all && table.dmar.reserved.is_empty() && table.dmar.ats.is_empty());
    let apic = &unit.scopes[0];
    assert_eq!(
        (apic.kind, apic.bus, apic.to_string().as_str()),
        (Kind::Ioapic, 0xff, "I/O APIC 0 at ff:00.0")
    );
    assert_eq!(table.dmar.behind(at(0, 2, 0)), Behind::Unit(0, Why::Named));
    assert_eq!(table.dmar.behind(at(0, 5, 0)), Behind::None);

    let ats = good(Q35_ATS).dmar;
    assert!(ats.ats.len() == 1 && ats.ats[0].all_ports);
    // Behind the root port, or behind another bridge that no scope names.
    assert_eq!(ats.behind(at(1, 0, 0)), Behind::OneOf(vec![None, Some(0)]));
    assert_eq!(ats.behind(at(0, 5, 0)), Behind::Unit(0, Why::Bridge));
}

#[test]
fn the_boards_file_is_what_its_table_makes_but_for_what_is_by_hand() {
    let file = xtask::root().join("platform/boards/x86_64_generic/dmar.toml");
    let file = std::fs::read_to_string(file).unwrap();
    let (by_hand, rest): (Vec<_>, Vec<_>) = file.lines().partition(|line| line.starts_with("# By hand: "));
    assert!(by_hand.len() == 1 && by_hand[0].contains("include_pci_all"));
    let made = text(&good(Q35)).unwrap().replace("include_pci_all = false", "include_pci_all = true");
    assert_eq!(rest, made.lines().collect::<Vec<_>>());
}

#[test]
fn a_file_says_what_the_table_did() {
    for bytes in [Q35, Q35_ATS, &*server()] {
        let table = good(bytes);
        let text = text(&table).unwrap();
        assert_eq!(Dmar::parse("dmar.toml", &text).unwrap(), table.dmar, "{text}");
    }
}

#[test]
fn the_file_is_for_people() {
    let text = text(&good(&server())).unwrap();
    for line in [
        "# Made by: MAKER SERVER, OEM revision 0x0, DMAR revision 1.",
        "# Not in here: at 0x48: device scope of unknown type 9, 8 bytes.",
        "registers = 0xfed92000",
        "bytes = 0x2000",
        "first = 0x3b800000",
        "path = [\"1d.0\", \"00.0\", \"04.1\"]",
        "id = 8",
    ] {
        assert!(text.lines().any(|of| of == line), "{line} is not in\n{text}");
    }
    let skipped = ["RHSA", "ANDD", "SATC", "SIDP", "unknown type 77, 9 bytes"];
    assert!(skipped.iter().all(|what| text.contains(what)), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn scopes_say_which_unit_a_function_is_behind() {
    let mut dmar = good(&server()).dmar;
    assert_eq!((dmar.address_bits, dmar.dma_opt_in, dmar.x2apic_opt_out), (39, true, false));
    assert_eq!(dmar.behind(at(0, 2, 0)), Behind::Unit(0, Why::Named));
    assert_eq!(dmar.behind(at(0, 2, 1)), Behind::Unit(3, Why::IncludePciAll));
    // An I/O APIC's or an ACPI device's number is no scope of a function.
    assert_eq!(dmar.behind(at(0, 0x15, 0)), Behind::Unit(3, Why::IncludePciAll));
    // No bus behind a bridge has the number 0; the next ones may be behind it.
    assert_eq!(dmar.behind(at(0, 0x1c, 0)), Behind::Unit(1, Why::Bridge));
    assert_eq!(dmar.behind(at(1, 0, 0)), Behind::OneOf(vec![Some(1), Some(3)]));
    // A unit of another segment has no part in this one.
    assert_eq!(dmar.behind(at(0, 3, 0)), Behind::Unit(3, Why::IncludePciAll));

    // Said where the buses are, all is certain.
    dmar.units[1].scopes[0].buses = Some([1, 3]);
    dmar.units[1].scopes[1].buses = Some([6, 6]);
    assert_eq!(dmar.behind(at(3, 9, 0)), Behind::Unit(1, Why::Bridge));
    assert_eq!(dmar.behind(at(6, 4, 1)), Behind::Unit(1, Why::Named));
    assert_eq!(dmar.behind(at(6, 4, 0)), Behind::Unit(3, Why::IncludePciAll));
    assert_eq!(dmar.behind(at(4, 0, 0)), Behind::Unit(3, Why::IncludePciAll));
}

#[test]
fn a_path_of_three_steps_leads_two_buses_down_or_more() {
    let bytes = table(&[
        drhd(0, 0, 0x1000, &[scope(ENDPOINT, 0, 4, &[(1, 0), (2, 0), (3, 0)])]),
        drhd(1, 0, 0x2000, &[]),
    ]);
    let dmar = good(&bytes).dmar;
    assert_eq!(dmar.behind(at(5, 3, 0)), Behind::Unit(1, Why::IncludePciAll));
    assert_eq!(dmar.behind(at(6, 3, 0)), Behind::OneOf(vec![Some(0), Some(1)]));
    assert_eq!(dmar.behind(at(6, 4, 0)), Behind::Unit(1, Why::IncludePciAll));
    assert_eq!(dmar.behind(at(255, 3, 0)), Behind::OneOf(vec![Some(0), Some(1)]));
}

#[test]
fn the_one_unit_that_can_have_a_function_has_it() {
    let dmar = good(&table(&[drhd(1, 0, 0x1000, &[scope(BRIDGE, 0, 0, &[(1, 0)])])])).dmar;
    assert_eq!(dmar.behind(at(7, 0, 0)), Behind::Unit(0, Why::NoOther));
}

#[test]
fn the_closest_bridge_has_a_bus() {
    let units = [
        drhd(0, 0, 0x1000, &[scope(BRIDGE, 0, 0, &[(1, 0)])]),
        drhd(0, 0, 0x2000, &[scope(BRIDGE, 0, 2, &[(0, 0)])]),
    ];
    let mut dmar = good(&table(&units)).dmar;
    dmar.units[0].scopes[0].buses = Some([1, 9]);
    dmar.units[1].scopes[0].buses = Some([3, 4]);
    let unit = |bus| dmar.behind(at(bus, 0, 1));
    assert_eq!([unit(2), unit(3), unit(5)], [0, 1, 0].map(|unit| Behind::Unit(unit, Why::Bridge)));
}

#[test]
fn reserved_memory_is_of_its_devices_and_of_those_that_may_be() {
    let dmar = good(&server()).dmar;
    let graphics = Interval { first: 0x3b80_0000, last: 0x3fff_ffff };
    assert_eq!(dmar.reserved_for(at(0, 2, 0)), [(graphics, Holds::Yes)]);
    assert_eq!(dmar.reserved_for(at(5, 0, 0)), [(graphics, Holds::Maybe)]);
    assert_eq!(
        dmar.reserved_for(at(0, 0x14, 0)),
        [(Interval { first: 0x3e2e_0000, last: 0x3e2f_ffff }, Holds::Yes)]
    );
    assert_eq!(dmar.reserved_for(at(0, 0x14, 1)), []);
}

#[test]
fn the_report_says_what_goes_where() {
    let devices = [("gpu".to_string(), at(0, 2, 0)), ("nic".to_string(), at(5, 0, 0))];
    let text = report(&good(&server()), &devices, Some(Interval { first: 0, last: 0x3eff_ffff }));
    for part in [
        "<memory_region name=\"vtd1_registers\" size=\"0x2000\" phys_addr=\"0xfed92000\" />",
        "setvar_vaddr=\"unit_registers_2\" setvar_size=\"unit_registers_bytes_2\"",
        "registers = \"vtd2_registers\"",
        "no device of a policy is in this segment: leave the unit out",
        "behind it: function 00:1d.0/00.0/04.1",
        "used by: no device",
        "it lies in [memory] ram of board.toml: take it out of there",
        "gpu (00:02.0): behind the unit at 0xfed90000: a scope names it\n    reserved: 0x3b800000 to 0x3fffffff\n",
        "nic (05:00.0): behind the unit at 0xfed92000 or the unit at 0xfed91000: the table does not say",
        "reserved: 0x3b800000 to 0x3fffffff, as it may be behind that bridge",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// What is said of `bytes`.
fn refusal(bytes: &[u8]) -> String {
    parse(bytes).expect_err("refused").to_string()
}

/// `table` with `byte` at `offset`, and sealed again.
fn patched(mut table: Vec<u8>, offset: usize, byte: u8) -> Vec<u8> {
    table[offset] = byte;
    sealed(table)
}

#[test]
fn malformed_headers_are_refused() {
    let bytes = server();
    assert!(refusal(b"").starts_with("offset 0x0: the signature is not 'DMAR'"));
    assert!(refusal(b"FACP").starts_with("offset 0x0: the signature is not 'DMAR'"));
    assert_eq!(refusal(b"DMAR12"), "offset 0x0: 6 bytes are too short for the header, 48 bytes");
    for length in [bytes.len() - 1, bytes.len() + 1] {
        let mut other = bytes.clone();
        other.resize(length, 0);
        let expected =
            format!("offset 0x4: the table says that it has {} bytes, the file has {length}", bytes.len());
        assert!(refusal(&other).starts_with(&expected), "{}", refusal(&other));
    }
    assert_eq!(refusal(&patched(bytes.clone(), 8, 0)), "offset 0x8: revision 0; known are 1 and 2");
    assert_eq!(refusal(&patched(bytes.clone(), 8, 3)), "offset 0x8: revision 3; known are 1 and 2");
    assert!(parse(&patched(bytes.clone(), 8, 2)).is_ok());
    let mut wrong = bytes.clone();
    wrong[9] ^= 1;
    assert!(refusal(&wrong).starts_with("offset 0x9: the checksum is wrong"));
    for width in [0, 30, 52, 255] {
        let refused = refusal(&patched(bytes.clone(), 36, width));
        assert!(refused.starts_with("offset 0x24: the host address width is "), "{refused}");
    }
    assert!(refusal(&table(&[])).starts_with("offset 0x0: there is no unit"));
}

#[test]
fn malformed_structures_are_refused() {
    let first = |bytes: &[u8]| refusal(&table(&[bytes.to_vec()]));
    assert!(first(&[0, 0, 0, 0]).starts_with("offset 0x30: a structure of length 0"));
    assert!(first(&[0, 0, 3, 0]).starts_with("offset 0x30: a structure of 3 bytes"));
    assert!(first(&[0, 0, 4]).starts_with("offset 0x30: 3 bytes are too short for the type and length"));
    assert!(first(&[0, 0, 200, 0]).contains("of 200 bytes passes the table's end, which is 4 bytes on"));
    for (kind, name) in [(0, "a DRHD"), (1, "an RMRR"), (2, "an ATSR")] {
        let short = first(&structure(kind, &[vec![0; 3]]));
        assert!(short.starts_with(&format!("offset 0x30: 7 bytes are too short for {name}")), "{short}");
    }
    let scope_of = |bytes: &[u8]| first(&drhd(1, 0, 0x1000, &[bytes.to_vec()]));
    assert!(scope_of(&[1, 0, 0, 0, 0, 0, 1, 0]).starts_with("offset 0x40: a device scope of length 0"));
    assert!(
        scope_of(&[1, 7, 0, 0, 0, 0, 1, 0]).starts_with("offset 0x40: a device scope of 7 bytes, an odd")
    );
    assert!(scope_of(&[1, 6, 0, 0, 0, 0]).contains("of 6 bytes has no path"));
    assert!(scope_of(&[1, 2, 0, 0, 0, 0]).contains("of 2 bytes has no path"));
    assert!(scope_of(&[1, 10, 0, 0, 0, 0, 1, 0]).contains("passes its structure's end, 8 bytes on"));
    assert!(scope_of(&[1, 8, 0]).contains("3 bytes are too short for a device scope"));
    assert!(
        scope_of(&scope(1, 0, 0, &[(0, 0), (32, 0)])).starts_with("offset 0x48: device 0x20, function 0x0")
    );
    assert!(scope_of(&scope(1, 0, 0, &[(0, 8)])).starts_with("offset 0x46: device 0x0, function 0x8"));
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let unit = || drhd(0, 0, 0x10_0000, &[]);
    let of = |structures: &[Vec<u8>]| refusal(&table(structures));
    let cases = [
        (
            of(&[drhd(0, 0, 0x1800, &[])]),
            "offset 0x30: the registers are at 0x1800, which is 0 or no multiple",
        ),
        (of(&[drhd(0, 0, 0, &[])]), "offset 0x30: the registers are at 0x0, which is 0 or no multiple"),
        (of(&[unit(), unit()]), "offset 0x40: the registers at 0x100000 are those of unit 0 already"),
        (
            of(&[sized_drhd(0, 1, 0, 0xf_f000, &[]), unit()]),
            "offset 0x40: the registers at 0x100000 overlap those of unit 0 at 0xff000",
        ),
        (
            of(&[drhd(0, 0, 1 << 39, &[])]),
            "offset 0x30: the registers at 0x8000000000 end above the host address",
        ),
        (
            of(&[sized_drhd(0, 1, 0, 0x7f_ffff_f000, &[])]),
            "offset 0x30: the registers at 0x7ffffff000 end above",
        ),
        (of(&[drhd(0, 0, !0xfff, &[])]), "offset 0x30: the registers at 0xfffffffffffff000 end above"),
        (
            of(&[drhd(1, 3, 0x1000, &[]), drhd(1, 3, 0x2000, &[])]),
            "offset 0x40: a second unit with INCLUDE_PCI_ALL in segment 3",
        ),
        (
            of(&[drhd(1, 0, 0x1000, &[]), drhd(1, 1, 0x2000, &[]), unit()]),
            "offset 0x50: unit 0 has INCLUDE_PCI_ALL and must be the last of segment 0",
        ),
        (
            of(&[
                drhd(0, 0, 0x1000, &[scope(ENDPOINT, 0, 0, &[(2, 0)])]),
                drhd(0, 0, 0x2000, &[scope(ENDPOINT, 0, 0, &[(2, 0)])]),
            ]),
            "offset 0x48: function 00:02.0 is behind unit 0 already",
        ),
        (
            of(&[unit(), rmrr(0, 0x5000, 0x4fff, &[])]),
            "offset 0x40: the reserved range begins at 0x5000, above",
        ),
        (
            of(&[unit(), rmrr(0, 0x5800, 0x5fff, &[])]),
            "offset 0x40: the reserved range 0x5800 to 0x5fff does not",
        ),
        (
            of(&[unit(), rmrr(0, 0x5000, 0x5ffe, &[])]),
            "offset 0x40: the reserved range 0x5000 to 0x5ffe does not",
        ),
        (
            of(&[unit(), rmrr(0, 0x5000, u64::MAX, &[])]),
            "offset 0x40: the reserved range 0x5000 to 0xffffffffffffffff ends",
        ),
    ];
    for (said, expected) in cases {
        assert!(said.starts_with(expected), "expected: {expected}\n   found: {said}");
    }
    // What is one segment's is not another's.
    let scopes = [scope(ENDPOINT, 0, 0, &[(2, 0)])];
    let fine = [drhd(1, 0, 0x1000, &scopes), drhd(1, 1, 0x2000, &scopes), drhd(0, 2, 0x3000, &[])];
    assert_eq!(good(&table(&fine)).dmar.units.len(), 3);
}

#[test]
fn a_file_that_was_edited_badly_is_refused_where_it_is() {
    let text = text(&good(&server())).unwrap();
    let says = |from: &str, to: &str| {
        assert_ne!(text.replacen(from, to, 1), text, "{from}");
        Dmar::parse("dmar.toml", &text.replacen(from, to, 1)).unwrap_err()
    };
    let line = |refusal: &xtask::refusal::Refusal| text.lines().nth(refusal.place.line as usize - 1).unwrap();
    let base = says("0xfed92000", "0xfed92800");
    assert_eq!((line(&base), base.place.line > 20), ("[[unit]]", true), "{base}");
    let limit = says("0x3fffffff", "0x3ffffff0");
    assert!(line(&limit) == "[[reserved]]" && limit.rule.contains("0x3b800000 to 0x3ffffff0"), "{limit}");
    assert!(line(&says("address_bits = 39", "address_bits = 99")).starts_with("address_bits"));
    assert!(says("\"1c.0\"", "\"1c.8\"").rule.contains("'1c.8' is not DEVICE.FUNCTION"));
    assert!(says("[\"1c.0\"]", "[]").rule.contains("empty path"));
    assert!(says("[\"1c.0\"]", "[\"1c.0\"]\nbuses = [0, 3]").rule.contains("the first is 0x01 or above"));
    assert!(says("[\"1c.0\"]", "[\"1c.0\"]\nbuses = [4, 3]").rule.contains("not above the last"));
    assert!(says("[\"02.0\"]", "[\"02.0\"]\nbuses = [1, 1]").rule.contains("its own bus twice"));
    assert!(says("segment = 0", "segmnt = 0").rule.contains("segmnt"));
}

/// What must hold of any bytes.
fn survives(bytes: &[u8]) {
    match parse(bytes) {
        Ok(table) => {
            let text = text(&table).unwrap();
            assert_eq!(Dmar::parse("dmar.toml", &text).unwrap(), table.dmar);
            for id in (0..=u16::MAX).step_by(1021) {
                let function = Function::of_requester(id);
                _ = (table.dmar.behind(function), table.dmar.reserved_for(function));
            }
            assert!(report(&table, &[], None).starts_with("DMAR of "));
        }
        Err(malformed) => {
            assert!(malformed.offset <= bytes.len() && malformed.to_string().lines().count() == 1)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
        survives(&sealed([&b"DMAR\0\0\0\0\x01"[..], &bytes].concat()));
    }

    #[test]
    fn edited_tables_are_refused_or_read(
        which in 0..3_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..5_usize, prop::collection::vec(any::<u8>(), 0..5)), 1..6),
    ) {
        let mut bytes = [Q35.to_vec(), Q35_ATS.to_vec(), server()][which].clone();
        for (index, taken, put) in edits {
            let from = index.index(bytes.len() + 1);
            let to = (from + taken).min(bytes.len());
            bytes.splice(from..to, put);
        }
        survives(&bytes);
        survives(&sealed(bytes));
    }
}
