//! Every mistake that the image builder refuses, one file each: tests/refusals/KIND/MISTAKE.toml has the edits that
//! make the mistake in the good system of tests/refusals/base, and the exact message.

use std::{fs, path::Path};

use serde::Deserialize;
use xtask::{
    board::{self, Board},
    builder::{Source, describe},
    dmar::Dmar,
};

/// How many files there are: one that is not found is not run.
const CASES: usize = 256;

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

fn base(file: &str) -> String {
    fs::read_to_string(Path::new("tests/refusals/base").join(file)).unwrap()
}

fn board() -> Board {
    Board::read(&xtask::root(), board::DEFAULT).unwrap()
}

/// What the builder says to `system` and `policy`, on a board with this dmar.toml, if any.
fn says(system: String, policy: String, dmar: Option<String>) -> Result<(), String> {
    let system = Source { name: "system.xml".into(), text: system };
    let policy = Source { name: "policy.toml".into(), text: policy };
    let mut board = board();
    if let Some(text) = dmar {
        board.dmar = Some(Dmar::parse("dmar.toml", &text).map_err(|refusal| refusal.to_string())?);
    }
    match describe(&system, Some(&policy), &board, vec!["tests/refusals/base".into()]) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn run(path: &Path) -> Result<(), String> {
    let case: Case = toml::from_str(&fs::read_to_string(path).unwrap()).map_err(|error| error.to_string())?;
    let (mut system, mut policy, mut dmar) = (base("system.xml"), base("policy.toml"), None);
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
    match says(system, policy, dmar) {
        Err(refusal) if refusal == case.refusal => Ok(()),
        Err(refusal) => Err(format!("expected: {}\n   found: {refusal}", case.refusal)),
        Ok(()) => Err("nothing was refused".into()),
    }
}

#[test]
fn the_base_is_good() {
    says(base("system.xml"), base("policy.toml"), None).unwrap();
}

#[test]
fn every_mistake_is_refused_with_its_message() {
    let mut cases = 0;
    let mut wrong = vec![];
    for kind in ["sdf", "policy"] {
        let mut paths: Vec<_> = fs::read_dir(Path::new("tests/refusals").join(kind))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            cases += 1;
            if let Err(reason) = run(&path) {
                wrong.push(format!("{}:\n{reason}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(cases, CASES);
}
