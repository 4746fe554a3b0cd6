//! Makes the seeds of fuzz/corpus again. What was found there stays.

use std::{fs, io, path::Path};

use fuzz_targets::{TARGETS, seeds::seeds};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for target in &TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds(target.name) {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
