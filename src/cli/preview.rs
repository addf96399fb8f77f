//! `cardwright-prep preview`: what each medium of one card will show, with the account number and codes hidden.
//!
//! Not here: the preview (`prep::preview`).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::common::store_path;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::prep::preview::{CardPreview, PreviewOrder, preview};
use crate::prep::write_output;
use crate::stdout;

/// Arguments of `cardwright-prep preview`.
#[derive(Debug, clap::Args)]
pub struct PreviewArgs {
    /// The card: its number in the input, from 1, or its card_ref
    record: String,
    /// Cardholder data, as for `run`
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Product: a shipped one by name, or a .toml file
    #[arg(long)]
    product: String,
    /// The issuer's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    keys: PathBuf,
    /// KEK as issuer identifier and version, as 476173FF:1 [default: the issuer's strongest and newest]
    #[arg(long, value_name = "ISSUER:VERSION")]
    kek: Option<String>,
    /// Folder for pictures of the card: front.png, and back.png if it has a back; they hold name and photo
    #[arg(long, value_name = "FOLDER")]
    picture: Option<PathBuf>,
}

/// Prints the preview, and writes the pictures if a folder for them is named.
pub fn run(args: &PreviewArgs) -> Result<Exit, Failure> {
    let PreviewArgs { record, input, product, keys, kek, picture } = args;
    let order = PreviewOrder { record, input, product, keys, kek: kek.as_deref() };
    let card = preview(&order)?;
    if let Some(folder) = picture {
        draw(&card, folder)?;
    }
    stdout::print(&card.text()).map(|()| Exit::Ok)
}

fn draw(card: &CardPreview, folder: &Path) -> Result<(), Failure> {
    let pictures = card.pictures()?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| {
        Failure::new(Exit::Io, format!("operator: folder {}: {}", folder.display(), files::trouble(&e)))
    })?;
    write_output(&folder.join("front.png"), &pictures.front)?;
    match pictures.back {
        Some(back) => write_output(&folder.join("back.png"), &back),
        None => Ok(()),
    }
}
