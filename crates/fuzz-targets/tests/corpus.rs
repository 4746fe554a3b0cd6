//! Every target over its corpus, over files of it with random edits, and over random bytes: what libFuzzer does, without
//! it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fuzz_targets::{TARGETS, run, seeds::seeds};
use proptest::prelude::*;

/// Inputs of each kind and target.
const CASES: u32 = 1500;

/// Longest random input, in bytes.
const LONGEST: usize = 400;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// The files of a target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(target)).expect("the corpus");
    let files = files.map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files
        .map(|path| (path.file_name().unwrap().display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A file of the corpus with some bytes replaced, left out, repeated or put in.
fn edited(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let files: Vec<_> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
    let edit = (any::<prop::sample::Index>(), 0_usize..6, prop::collection::vec(any::<u8>(), 0..6));
    (prop::sample::select(files), prop::collection::vec(edit, 1..8)).prop_map(|(mut bytes, edits)| {
        for (at, taken, put) in edits {
            let from = at.index(bytes.len() + 1);
            let to = (from + taken).min(bytes.len());
            bytes.splice(from..to, put);
        }
        bytes
    })
}

fn random(target: &'static str) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let inputs = prop_oneof![edited(target), prop::collection::vec(any::<u8>(), 0..LONGEST)];
    let result = runner.run(&inputs, |bytes| {
        run(target, &bytes);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{target}: {error}\nkeep the bytes as a file of fuzz/corpus/{target}");
    }
}

#[test]
fn every_file_of_the_corpus_runs() {
    for target in &TARGETS {
        for (name, bytes) in corpus(target.name) {
            println!("{}/{name}", target.name);
            run(target.name, &bytes);
        }
    }
}

/// `cargo run -p fuzz-targets --example seeds` makes them again.
#[test]
fn the_corpus_has_the_seeds_as_they_are_made() {
    for target in &TARGETS {
        let (files, seeds) = (corpus(target.name), seeds(target.name));
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (name, bytes) in seeds {
            let file = files.iter().find(|(file, _)| *file == name);
            assert_eq!(file.map(|(_, bytes)| bytes), Some(&bytes), "{}/{name}", target.name);
        }
    }
}

#[test]
fn every_target_has_its_program() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for target in &TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"\n", target.name)), "{}", target.name);
    }
}

#[test]
fn random_builder() {
    random("builder");
}

#[test]
fn random_client() {
    random("client");
}

#[test]
fn random_dmar() {
    random("dmar");
}

#[test]
fn random_pci() {
    random("pci");
}

#[test]
fn random_policy() {
    random("policy");
}

#[test]
fn random_rings() {
    random("rings");
}

#[test]
fn random_server() {
    random("server");
}

#[test]
fn random_smmu() {
    random("smmu");
}

#[test]
fn random_vtd() {
    random("vtd");
}
