//! The image of the embedded kernel: where everything lies, the patched programs, and one file of it all.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context, Result};

use crate::{board::Board, sdf::System};

pub mod elf;
pub mod layout;
mod pack;
mod patch;

pub use pack::{flatten, pack};

/// The kernel configurations of Microkit, and their numbers in the image.
pub const CONFIGS: [(&str, u32); 3] = [
    ("debug", embedded_image::config::DEBUG),
    ("release", embedded_image::config::RELEASE),
    ("benchmark", embedded_image::config::BENCHMARK),
];

/// The configuration that images are built for when none is named, but for benchmarks.
pub const DEFAULT_CONFIG: &str = "debug";

/// Builds the image of `system`: `programs` has the ELF file of each program that it names, `config` is one of
/// [`CONFIGS`]' numbers.
///
/// # Errors
/// A program does not fit the system, or the system does not fit the board.
pub fn build(
    system: &System,
    board: &Board,
    config: u32,
    programs: &HashMap<String, PathBuf>,
) -> Result<Vec<u8>> {
    let mut elves = vec![];
    for pd in &system.pds {
        let path = programs.get(&pd.program);
        let path =
            path.with_context(|| pd.program_place.refuse(format!("no program '{}' was built", pd.program)))?;
        let bytes = std::fs::read(path).with_context(|| {
            pd.program_place.refuse(format!(
                "the program '{}' cannot be read from {}",
                pd.program,
                path.display()
            ))
        })?;
        let program = elf::Program::parse(&bytes, board.arch);
        let program = program.map_err(|rule| pd.program_place.refuse(format!("'{}' {rule}", pd.program)))?;
        elf::check(system, board, pd, &program)?;
        elves.push(program);
    }
    let layout = layout::Layout::place(system, board, &elves)?;
    for (index, program) in elves.iter_mut().enumerate() {
        patch::patch(system, index, &layout, program)?;
    }
    Ok(pack(system, board, config, &elves, &layout))
}
