//! What a supervisor is told of its children, and which programs can be restarted.

mod elf;

use std::{collections::HashMap, fs, path::Path};

use elf::{Elf, Segment};
use pd_restart::MAX_DATA_BYTES;
use supervisor::policy::{Children, parse};
use xtask::{
    board::Arch,
    restart::{Supervisor, fill, restart_entry},
    sdf::{Files, System},
};

/// Where the ELF headers are in memory.
const HEADERS: u64 = 0x1f_0000;

/// A program that can be restarted, with so many bytes of data.
fn restartable(data: u64) -> Elf {
    let good = Elf::good(&[]);
    let symbol = |name: &str, at| (name.to_string(), at, 0);
    let mut segments = good.segments.clone();
    segments[1].bytes = data;
    segments.push(Segment { at: HEADERS, bytes: 0x100, flags: 4 });
    let symbols = vec![
        symbol("_start", elf::CODE),
        symbol("_first_start", elf::CODE + 4),
        symbol("_restart", elf::CODE + 8),
        symbol("__ehdr_start", HEADERS),
    ];
    Elf { entry: elf::CODE + 4, segments, symbols: [good.symbols, symbols].concat(), ..Elf::good(&[]) }
}

fn without(symbol: &str) -> Elf {
    let mut elf = restartable(8);
    elf.symbols.retain(|(name, ..)| name != symbol);
    elf
}

#[test]
fn a_program_that_can_be_restarted_says_where() {
    for data in [8, MAX_DATA_BYTES as u64] {
        assert_eq!(restart_entry(&restartable(data).bytes(), Arch::Aarch64), Ok(elf::CODE + 8));
    }
}

#[test]
fn programs_that_cannot_be_restarted_are_refused_by_what_they_lack() {
    let unlinked = "cannot be restarted: link 'pd-restart', and with --entry=_first_start";
    let headers = "cannot be restarted: its ELF headers are not loaded; link them into a segment";
    let cases = [
        (without("_restart"), unlinked),
        (without("_first_start"), unlinked),
        (Elf { entry: elf::CODE, ..restartable(8) }, unlinked),
        (without("__ehdr_start"), headers),
        (Elf { segments: Elf::good(&[]).segments, ..restartable(8) }, headers),
        (
            restartable(MAX_DATA_BYTES as u64 + 1),
            "has 8193 bytes of data, but one that is restarted at most 8192",
        ),
    ];
    for (elf, expected) in cases {
        assert_eq!(restart_entry(&elf.bytes(), Arch::Aarch64), Err(expected.to_string()));
    }
    assert!(
        restart_entry(b"#!/bin/sh\n", Arch::Aarch64).unwrap_err().starts_with("is not a 64-bit ELF file")
    );
}

const SYSTEM: &str = r#"<system>
    <memory_region name="told" size="0x2000" prefill_path="founder_children.bin" />
    <protection_domain name="other" priority="1"><program_image path="pd.elf" /></protection_domain>
    <protection_domain name="founder" priority="9">
        <program_image path="pd.elf" />
        <map mr="told" vaddr="0x20000000" perms="r" />
        <protection_domain name="disk" id="5">
            <program_image path="disk.elf" />
            <protection_domain name="grandchild" id="6"><program_image path="pd.elf" /></protection_domain>
        </protection_domain>
        <protection_domain name="clock" id="61"><program_image path="disk.elf" /></protection_domain>
        <protection_domain name="net" id="0"><program_image path="disk.elf" /></protection_domain>
    </protection_domain>
    <channel><end pd="founder" id="3" notify="false" /><end pd="disk" id="0" /></channel>
    <channel><end pd="net" id="0" notify="false" /><end pd="founder" id="4" /></channel>
    <channel><end pd="other" id="0" /><end pd="founder" id="7" /></channel>
</system>
"#;

/// Tells the supervisor of its children, whose program is `child`.
fn told(test: &str, child: &Elf) -> Result<Children, String> {
    let files = Files { folders: vec![], generated: vec!["founder_children.bin".into()] };
    let mut system = System::parse("system.xml", SYSTEM, &files, Arch::Aarch64).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("restart-{test}.elf"));
    fs::write(&file, child.bytes()).unwrap();
    let supervisors = ["nobody", "founder"].map(|pd| Supervisor {
        pd: pd.into(),
        clients: ["net", "other", "disk"].map(str::to_string).to_vec(),
    });
    let programs = HashMap::from([("disk.elf".to_string(), file)]);
    fill(&mut system, &supervisors, &programs, Arch::Aarch64).map_err(|error| format!("{error:#}"))?;
    let bytes = system.regions[0].prefill.as_ref().unwrap().bytes.as_ref().unwrap();
    assert_eq!(bytes.len(), 0x2000);
    Ok(parse(bytes).unwrap())
}

#[test]
fn a_supervisor_is_told_of_its_own_children() {
    let children = told("good", &restartable(8)).unwrap();
    let seen: Vec<_> = children
        .iter()
        .map(|child| (child.name(), child.id(), child.entry(), child.client(), child.channel()))
        .collect();
    let entry = elf::CODE + 8;
    assert_eq!(
        seen,
        [
            ("disk", 5, entry, Some(2), Some(3)),
            ("clock", 61, entry, None, None),
            // It may not signal, so that it cannot ask.
            ("net", 0, entry, Some(0), None),
        ]
    );
}

#[test]
fn a_child_that_cannot_be_restarted_is_refused_by_name() {
    let refusal = told("unlinked", &Elf::good(&[])).unwrap_err();
    assert_eq!(
        refusal,
        "system.xml:8:13: 'disk.elf' cannot be restarted: link 'pd-restart', and with --entry=_first_start; 'founder' \
         restarts 'disk'"
    );
}
