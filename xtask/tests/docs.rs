//! The Rust in docs/microkit.md is code that compiles: it stands, line by line, in a file that does.

use std::fs;

const QUOTED: [&str; 2] = ["examples/one-driver/src/main.rs", "crates/iommu-client/src/ask.rs"];

/// The blocks of Rust in `text`.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let (mut found, mut block) = (vec![], None::<Vec<&str>>);
    for line in text.lines() {
        block = match (block, line) {
            (None, "```rust") => Some(vec![]),
            (None, _) => None,
            (Some(lines), "```") => {
                found.push(lines);
                None
            }
            (Some(mut lines), line) => {
                lines.push(line.trim());
                Some(lines)
            }
        };
    }
    assert!(block.is_none(), "a block has no end");
    found
}

/// The lines of `source`, those of examples in its documentation among them.
fn lines(source: &str) -> Vec<&str> {
    source.lines().map(|line| line.trim().trim_start_matches("///").trim()).collect()
}

#[test]
fn the_snippets_of_the_microkit_guide_are_code() {
    let read = |file: &str| fs::read_to_string(xtask::root().join(file)).unwrap();
    let (guide, sources) = (read("docs/microkit.md"), QUOTED.map(read));
    let sources = sources.each_ref().map(|source| lines(source));
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 7, "{} blocks", blocks.len());
    for block in blocks {
        let stands = |source: &Vec<&str>| source.windows(block.len()).any(|window| window == block);
        assert!(sources.iter().any(stands), "this is in none of {QUOTED:?}:\n{}", block.join("\n"));
    }
}
