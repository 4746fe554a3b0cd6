//! Every mistake that the image builder refuses, one file each: tests/refusals/KIND/MISTAKE.toml has the edits that
//! make the mistake in the good system of tests/refusals/base, of tests/refusals/base_x86 for x86, and the exact message.

use std::{fs, path::Path};

use serde::Deserialize;
use xtask::{
    board::{self, Board},
    builder::{Source, describe, describe_for_sel4},
    dmar::Dmar,
};

/// How many files there are: one that is not found is not run.
const CASES: usize = 292;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    refusal: String,
    edit: Vec<Edit>,
}

/// Replaces `from`, which must occur once; without it, the whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    from: Option<String>,
    to: String,
}

/// A good system, and the board that it is for.
#[derive(Clone, Copy)]
struct Base {
    folder: &'static str,
    board: &'static str,
    /// For the embedded kernel, which has rules of its own.
    embedded: bool,
}

const BASE: Base = Base { folder: "tests/refusals/base", board: board::DEFAULT, embedded: true };
const X86: Base = Base { folder: "tests/refusals/base_x86", board: "x86_64_generic", embedded: false };

const X86_EMBEDDED: Base = Base { embedded: true, ..X86 };

/// The kinds of mistakes, and the systems that they are made in.
const KINDS: [(&str, Base); 4] =
    [("sdf", BASE), ("policy", BASE), ("x86", X86), ("x86_embedded", X86_EMBEDDED)];

impl Base {
    fn read(self, file: &str) -> String {
        fs::read_to_string(Path::new(self.folder).join(file)).unwrap()
    }
}

/// What the builder says to `system` and `policy` for the board of `base`, with this dmar.toml, if any.
fn says(base: Base, system: String, policy: String, dmar: Option<String>) -> Result<(), String> {
    let system = Source { name: "system.xml".into(), text: system };
    let policy = Source { name: "policy.toml".into(), text: policy };
    let mut board = Board::read(&xtask::root(), base.board).unwrap();
    board.dmar = match dmar {
        Some(text) => Some(Dmar::parse("dmar.toml", &text).map_err(|refusal| refusal.to_string())?),
        None => board.dmar,
    };
    let describe = if base.embedded { describe } else { describe_for_sel4 };
    match describe(&system, Some(&policy), &board, vec![base.folder.into()]) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn run(base: Base, path: &Path) -> Result<(), String> {
    let case: Case = toml::from_str(&fs::read_to_string(path).unwrap()).map_err(|error| error.to_string())?;
    let (mut system, mut policy, mut dmar) = (base.read("system.xml"), base.read("policy.toml"), None);
    for edit in case.edit {
        let text = match &*edit.file {
            "system.xml" => &mut system,
            "policy.toml" => &mut policy,
            "dmar.toml" => dmar.get_or_insert_with(String::new),
            other => return Err(format!("no file '{other}'")),
        };
        *text = match edit.from {
            None => edit.to,
            Some(from) if text.matches(&from).count() == 1 => text.replacen(&from, &edit.to, 1),
            Some(from) => return Err(format!("'{from}' does not occur once")),
        };
    }
    match says(base, system, policy, dmar) {
        Err(refusal) if refusal == case.refusal => Ok(()),
        Err(refusal) => Err(format!("expected: {}\n   found: {refusal}", case.refusal)),
        Ok(()) => Err("nothing was refused".into()),
    }
}

#[test]
fn the_bases_are_good() {
    for base in [BASE, X86, X86_EMBEDDED] {
        says(base, base.read("system.xml"), base.read("policy.toml"), None).unwrap();
    }
}

#[test]
fn every_mistake_is_refused_with_its_message() {
    let mut cases = 0;
    let mut wrong = vec![];
    for (kind, base) in KINDS {
        let mut paths: Vec<_> = fs::read_dir(Path::new("tests/refusals").join(kind))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            cases += 1;
            if let Err(reason) = run(base, &path) {
                wrong.push(format!("{}:\n{reason}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(cases, CASES);
}
