//! `cargo xtask decode`: what it prints, for every kind, is what xtask/tests/decode and docs/decode.md say.
//!
//! With DECODE_BLESS=1 the files are written anew; read the difference before it is committed.

#[path = "decode/drivers.rs"]
mod drivers;

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::Parser;
use proptest::prelude::*;
use xtask::decode::{Decode, kind};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    decode: Decode,
}

const PROMPT: &str = "$ cargo xtask decode ";

/// What the command prints for these arguments; errors as the terminal shows them.
fn run(arguments: &[&str]) -> String {
    match Arguments::try_parse_from([&["decode"], arguments].concat()) {
        Ok(Arguments { decode }) => decode.run().unwrap_or_else(|error| format!("error: {error:#}\n")),
        Err(error) => panic!("{arguments:?}: {error}"),
    }
}

/// The arguments in a line, where what stands in single quotes is one.
fn arguments(line: &str) -> Vec<&str> {
    let mut found = vec![];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            found.push(part);
        } else {
            found.extend(part.split_whitespace());
        }
    }
    found
}

/// `text` with what the commands in it print, which stands up to the next command or to a line `end`, if there is one.
fn answered(text: &str, end: Option<&str>) -> String {
    let (mut answered, mut inside) = (String::new(), false);
    for line in text.lines() {
        if inside && Some(line) == end {
            inside = false;
        }
        if let Some(command) = line.strip_prefix(PROMPT) {
            inside = true;
            answered += &format!("{line}\n{}", run(&arguments(command)));
        } else if !inside {
            answered += &format!("{line}\n");
        }
    }
    answered
}

fn check(path: &PathBuf, end: Option<&str>) {
    let text = fs::read_to_string(path).unwrap();
    let expected = answered(&text, end);
    if std::env::var_os("DECODE_BLESS").is_some() {
        fs::write(path, &expected).unwrap();
    } else if text != expected {
        let different = text.lines().zip(expected.lines()).find(|(is, should)| is != should);
        panic!("{}: {different:#?} and so on: this is in the file, and that is printed", path.display());
    }
}

fn goldens() -> Vec<PathBuf> {
    let folder = xtask::root().join("xtask/tests/decode");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    paths.sort();
    paths
}

#[test]
fn what_is_printed_is_as_written() {
    for path in goldens() {
        check(&path, None);
    }
}

#[test]
fn the_examples_of_the_guide_print_what_it_says() {
    check(&xtask::root().join("docs/decode.md"), Some("```"));
}

#[test]
fn every_kind_has_an_example() {
    let texts: Vec<_> = goldens().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let shown: BTreeSet<_> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix(PROMPT)?.split_whitespace().next())
        .collect();
    for kind in kind::all() {
        assert!(shown.contains(kind.name), "{} has no example", kind.name);
    }
}

#[test]
fn words_are_read_as_people_have_them() {
    let plain = run(&["vtd-root", "48001001", "0"]);
    assert_eq!(run(&["vtd-root", "0x0000_0000_4800_1001,", "0x0"]), plain);
    assert_eq!(run(&["vtd-root", "48000000:", "0X48001001", "00000000000000000000"]), plain);
    assert_eq!(run(&["vtd-root", "--halves", "0x48001001", "0", "0", "0"]), plain);
    assert_eq!(run(&["vtd-root", "48001001 0 48001001 0"]), format!("{plain}\n{plain}"));
}

#[test]
fn an_unknown_kind_is_answered_by_all_kinds() {
    let answer = run(&["stream-table-entry", "1"]);
    assert!(answer.starts_with("error: there is no kind 'stream-table-entry'; the kinds are:\n"));
    for kind in kind::all() {
        assert!(answer.contains(&format!("\n{} ", kind.name)), "{}", kind.name);
    }
}

fn kinds() -> Vec<&'static kind::Kind> {
    kind::all().collect()
}

proptest! {
    #[test]
    fn any_words_of_any_kind_are_explained(
        index in 0..kinds().len(),
        words in prop::array::uniform8(any::<u64>()),
        sparse in any::<u64>(),
        level in 0_u8..6,
        granule in prop::sample::select(vec!["4k", "16k", "64k"]),
    ) {
        let kind = kinds()[index];
        let mask = if kind.word_bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
        for words in [words, words.map(|word| word & sparse)] {
            let words = words[..kind.words].iter().map(|word| format!("{:x}", word & mask)).collect();
            let (level, granule) = (kind.levels.map(|_| level), granule.to_string());
            for all in [false, true] {
                let decode =
                    Decode { kind: kind.name.into(), level, granule: granule.clone(), all, ..Decode::default() };
                let printed = Decode { words: Vec::clone(&words), ..decode }.run();
                if let Ok(text) = printed {
                    prop_assert_eq!(text.matches("In short: ").count(), 1);
                } else {
                    prop_assert!(kind.levels.is_some(), "{} {:?}", kind.name, words);
                }
            }
        }
    }

    #[test]
    fn any_text_is_explained_or_refused(kind in ".{0,20}", words in prop::collection::vec(".{0,30}", 0..9)) {
        prop_assume!(kind != "-" && words != ["-"]);
        let _ = Decode { kind, words, ..Decode::default() }.run();
    }

    #[test]
    fn any_words_after_a_kind_are_explained_or_refused(
        index in 0..kinds().len(),
        words in prop::collection::vec("(0x)?[0-9a-g_,:# ]{0,20}", 0..20),
        halves in any::<bool>(),
    ) {
        let kind = kinds()[index];
        let level = kind.levels.map(|(lowest, _)| lowest);
        let decode = Decode { kind: kind.name.into(), words, level, halves, ..Decode::default() };
        if let Err(error) = decode.run() {
            let text = format!("{error:#}");
            prop_assert!(text.contains("words of") || text.contains("1 word of") || text.contains("word "), "{}", text);
        }
    }

    #[test]
    fn any_trace_line_is_explained_or_refused(
        name in prop::sample::select(vec![
            "vtd_inv_desc", "vtd_frr_new", "vtd_dmar_fault", "vtd_iotlb_cc_hit", "vtd_iotlb_page_hit", "vtd_reg_write",
            "vtd_reg_write_gcmd", "smmu_ptw_level", "smmuv3_write_gerror", "smmuv3_read_mmio", "vtd_replay_ce_valid",
        ]),
        rest in "[ a-z=:]{0,10}((high|low|hi|lo|sid|fault|addr|write|slpte|status|value|size|stage|level|pte|GERROR|val)\
                 [ =:]{1,2}(0x)?[0-9a-f]{0,18} ?){0,6}",
    ) {
        let _ = Decode { kind: "trace".into(), words: vec![name.into(), rest], ..Decode::default() }.run();
    }

    #[test]
    fn any_fault_line_is_explained_or_refused(at in ".{0,10}", device in ".{0,5}", stream in ".{0,8}", why in ".{0,10}") {
        let line = format!("a read at {at} by device {device} (stream 0x{stream}), {why}");
        let _ = Decode { kind: "fault-line".into(), words: vec![line], ..Decode::default() }.run();
    }
}
