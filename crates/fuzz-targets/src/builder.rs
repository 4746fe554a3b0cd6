//! A system description and a policy of any text, before the image builder: it refuses one thing, or builds.
//!
//! Byte 0 is [`EDITS`], and what follows edits a good system and its policy; or the input is a system.xml, then, after a
//! byte 0, a policy.toml.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use xtask::{
    board::{self, Board},
    builder::{Source, describe, describe_for_sel4},
};

use crate::input::Input;

/// Byte 0 of an input that edits the good system.
pub const EDITS: u8 = 0xff;

/// Most edits: what has many mistakes is refused for the first.
const MAX_EDITS: usize = 6;

/// What the inputs share.
struct Base {
    board: Board,
    folder: PathBuf,
    texts: [String; 2],
    /// The strings that stand in the texts, and numbers at which things change.
    words: Vec<String>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let board = Board::read(&root, board::DEFAULT).expect("the default board");
        let folder = root.join("xtask/tests/refusals/base");
        let texts = ["system.xml", "policy.toml"];
        let texts = texts.map(|file| fs::read_to_string(folder.join(file)).expect("the good system"));
        let numbers = [
            "",
            "0",
            "-1",
            "1",
            "0x1000",
            "0x1001",
            "0x200000",
            "61",
            "62",
            "63",
            "254",
            "255",
            "256",
            "65536",
            "0x7fffffffff",
            "0xffffffff",
            "0xfffffffffffff000",
            "18446744073709551615",
            "18446744073709551616",
            "true",
            "false",
            "rw",
            "r",
            "w",
            "rwx",
        ];
        let mut words: Vec<String> = numbers.map(str::to_string).into();
        words.extend(
            texts.iter().flat_map(|text| quoted(text)).map(|(from, to, text)| text[from..to].to_string()),
        );
        words.sort_unstable();
        words.dedup();
        Base { board, folder, texts, words }
    })
}

/// The strings in `text`: from, to, and the text.
fn quoted(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    let marks: Vec<usize> = text.match_indices('"').map(|(at, _)| at).collect();
    marks
        .as_chunks::<2>()
        .0
        .iter()
        .map(move |&[from, to]| (from + 1, to, text))
        .collect::<Vec<_>>()
        .into_iter()
}

/// The body.
pub fn run(bytes: &[u8]) {
    if let Some((&EDITS, edits)) = bytes.split_first() {
        let mut texts = base().texts.clone();
        let mut input = Input::new(edits);
        for _ in 0..MAX_EDITS {
            if input.is_empty() {
                break;
            }
            edit(&mut texts, &mut input);
        }
        let [system, policy] = texts;
        return build(system, Some(policy));
    }
    let mut texts = bytes.splitn(2, |&byte| byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    build(texts.next().unwrap_or_default(), texts.next());
}

/// One edit: another word in a string's place, a line less or twice or elsewhere, or any bytes anywhere.
fn edit(texts: &mut [String; 2], input: &mut Input<'_>) {
    let (how, at) = (input.byte(), usize::from(input.u16()));
    let text = &mut texts[usize::from(how & 1)];
    match how >> 1 & 7 {
        0..3 => {
            let Some((from, to, _)) = quoted(text).nth(at % quoted(text).count().max(1)) else { return };
            let words = &base().words;
            text.replace_range(from..to, &words[usize::from(input.u16()) % words.len()]);
        }
        3..6 => {
            let mut lines: Vec<&str> = text.lines().collect();
            if lines.is_empty() {
                return;
            }
            let (at, to) = (at % lines.len(), usize::from(input.byte()));
            let line = lines[at];
            match how >> 1 & 7 {
                3 => drop(lines.remove(at)),
                4 => lines.insert(at, line),
                _ => {
                    let line = lines.remove(at);
                    lines.insert(to % (lines.len() + 1), line);
                }
            }
            *text = lines.join("\n");
        }
        _ => {
            let (mut from, mut to) = (at % (text.len() + 1), 0);
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            to += (from + usize::from(input.byte() & 0xf)).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            let length = usize::from(input.byte() & 0x1f);
            text.replace_range(from..to, &String::from_utf8_lossy(input.split(length)));
        }
    }
}

fn build(system: String, policy: Option<String>) {
    let system = Source { name: "system.xml".into(), text: system };
    let policy = policy.map(|text| Source { name: "policy.toml".into(), text });
    let Base { board, folder, .. } = base();
    match describe(&system, policy.as_ref(), board, vec![folder.clone()]) {
        Ok(described) => assert!(!described.system.pds.is_empty()),
        Err(refusal) => {
            let (text, place) = (refusal.to_string(), &refusal.place);
            assert!(["system.xml", "policy.toml"].contains(&&*place.file), "{text}");
            assert!(place.line > 0 && place.column > 0 && !refusal.rule.is_empty(), "{text}");
            assert_eq!(text.lines().count(), 1, "one line: {text}");
            // What seL4 takes may be more than the embedded kernel does.
            _ = describe_for_sel4(&system, policy.as_ref(), board, vec![folder.clone()]);
        }
    }
}
