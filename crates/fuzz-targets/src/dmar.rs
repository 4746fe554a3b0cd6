//! A DMAR table or a dmar.toml of any bytes: refused for one thing, or read, and then every function has an answer.
//!
//! Byte 0 is [`TABLE`], [`SEALED`] or [`FILE`].

use xtask::dmar::{Behind, Dmar, Function, parse, report, text};

/// A table follows.
pub const TABLE: u8 = 0;

/// A table follows, whose length and checksum are made right.
pub const SEALED: u8 = 1;

/// The text of a dmar.toml follows.
pub const FILE: u8 = 2;

/// The distance of the requester ids that are asked for: a prime, so that all buses, devices and functions come.
const STEP: usize = 97;

/// The body.
pub fn run(bytes: &[u8]) {
    match bytes.split_first() {
        Some((&TABLE, bytes)) => table(bytes),
        Some((&SEALED, bytes)) => table(&sealed(bytes.to_vec())),
        Some((&FILE, bytes)) => match Dmar::parse("dmar.toml", &String::from_utf8_lossy(bytes)) {
            Ok(dmar) => ask(&dmar),
            Err(refusal) => assert_eq!(refusal.to_string().lines().count(), 1, "one line: {refusal}"),
        },
        _ => {}
    }
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() > 9 {
        bytes[..4].copy_from_slice(b"DMAR");
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes[9] = 0;
        bytes[9] = bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
    }
    bytes
}

fn table(bytes: &[u8]) {
    match parse(bytes) {
        Ok(table) => {
            let text = text(&table).expect("a table has a file");
            assert_eq!(Dmar::parse("dmar.toml", &text).as_ref(), Ok(&table.dmar), "{text}");
            assert!(report(&table, &[("device".into(), Function::of_requester(0x100))], None).is_ascii());
            ask(&table.dmar);
        }
        Err(malformed) => {
            assert!(
                malformed.offset <= bytes.len() && malformed.to_string().lines().count() == 1,
                "{malformed}"
            );
        }
    }
}

fn ask(dmar: &Dmar) {
    for id in (0..=u16::MAX).step_by(STEP) {
        let function = Function::of_requester(id);
        let known = |unit: usize| dmar.units.get(unit).is_some_and(|unit| unit.segment == 0);
        assert!(match dmar.behind(function) {
            Behind::Unit(unit, _) => known(unit),
            Behind::OneOf(units) => units.len() > 1 && units.iter().flatten().all(|&unit| known(unit)),
            Behind::None => true,
        });
        assert!(dmar.reserved_for(function).iter().all(|(range, _)| range.first <= range.last));
    }
}
