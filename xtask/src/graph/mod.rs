//! `cargo xtask graph`: a picture (SVG) of a system and its policy, of who asks whom and which device reaches which
//! memory.
//!
//! [`model`] says what is shown, [`cards`] what each box says, [`layout`] where it is (`head`, `rows` and `links` its parts), [`bus`] and [`channels`] how
//! lines go, [`svg`] how all looks.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{
    board::Board,
    builder::{self, Source},
    refusal::Refusal,
};

pub mod bus;
pub mod cards;
pub mod channels;
mod head;
pub mod layout;
pub mod legend;
mod links;
pub mod model;
mod rows;
pub mod scene;
pub mod svg;
pub mod text;

use model::Model;
use scene::Scene;

/// A picture.
#[derive(Debug)]
pub struct Picture {
    /// Its shapes.
    pub scene: Scene,
    /// Why the image builder refuses what it shows, if it does.
    pub refusal: Option<Refusal>,
}

impl Picture {
    /// The picture as SVG.
    pub fn svg(&self) -> String {
        svg::write(&self.scene)
    }
}

/// Draws a system and its policy for the board `board_name`; prefill files come from `folders`.
///
/// # Errors
/// The files are malformed, or the policy names what there is not. A system that breaks another rule is drawn, and the
/// picture says which.
pub fn draw(
    system: &Source,
    policy: Option<&Source>,
    (board_name, board): (&str, &Board),
    folders: Vec<PathBuf>,
) -> Result<Picture, Refusal> {
    let (parsed, read) = builder::parse(system, policy, board, folders.clone())?;
    let outline = read.as_ref().map(|policy| policy.outline(&parsed)).transpose()?;
    let refusal = builder::describe_for_sel4(system, policy, board, folders).err();
    let model = Model::new(&parsed, outline.as_ref());
    let files = [Some(system), policy].into_iter().flatten().map(|source| file_name(&source.name));
    let caption = layout::Caption {
        files: format!("{}, board {board_name}", files.collect::<Vec<_>>().join(" and ")),
        refusal: refusal.as_ref().map(|refusal| {
            let place = &refusal.place;
            format!("{}:{}:{}: {}", file_name(&place.file), place.line, place.column, refusal.rule)
        }),
    };
    Ok(Picture { scene: layout::layout(&model, &caption), refusal })
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What to draw, and where to.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The repository.
    pub root: PathBuf,
    /// The system description.
    pub system: PathBuf,
    /// The policy, for a system with an IOMMU server.
    pub policy: Option<PathBuf>,
    /// The board's name.
    pub board: String,
    /// The file that the picture goes to; without one, the standard output.
    pub output: Option<PathBuf>,
}

impl Graph {
    /// Draws the picture and writes it. Returns why the image builder refuses the system, if it does.
    ///
    /// # Errors
    /// A file cannot be read or written, or what it says cannot be drawn.
    pub fn run(&self) -> Result<Option<Refusal>> {
        let board = Board::read(&self.root, &self.board)?;
        let system = Source::read(&self.system)?;
        let policy = self.policy.as_deref().map(Source::read).transpose()?;
        let folders = self.system.parent().map(PathBuf::from).into_iter().collect();
        let picture = draw(&system, policy.as_ref(), (&self.board, &board), folders)?;
        match &self.output {
            Some(file) => std::fs::write(file, picture.svg())
                .with_context(|| format!("cannot write {}", file.display()))?,
            None => print!("{}", picture.svg()),
        }
        Ok(picture.refusal)
    }
}
