//! `key import-block`: a key comes in a partner's key block, under a ZMK of the store.
//!
//! Not here: key blocks (`crypto::key_block`), what one may become (`hsm::store`).

use std::path::Path;

use super::component::{confirm, stored};
use super::custody::{opened, terminal};
use super::terms;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::store::{ArrivedKey, KeyTerms, LockedStore, StoreSide, read_block};
use crate::ids::Kcv;

/// Most bytes of a file with a key block.
const MAX_BLOCK: u64 = 4096;

/// Imports a key. Returns what is stored.
pub(super) fn import(
    (store, side): (&Path, StoreSide),
    file: &Path,
    zmk: &str,
    key: KeyTerms,
    kcv: Kcv,
) -> Result<String, Failure> {
    let text = files::read_text(file, MAX_BLOCK).map_err(|error| {
        Failure::new(Exit::Io, format!("operator: key block {}: {}", file.display(), files::trouble(&error)))
    })?;
    let block = read_block(&text)?;
    let locked = LockedStore::to_change(store)?.of_side(side)?;
    locked.check_terms(&key)?;
    let mut terminal = terminal()?;
    let label = key.label.clone();
    terminal.say(&format!("Import of {label}: {}, KCV {kcv}.", terms::shown(&key)))?;
    let mut open = opened(&mut terminal, locked.collect())?;
    let arrived = open.arrive(block, key, kcv, zmk)?;
    terminal.say(&state(&arrived, zmk))?;
    if let Some(warning) = &arrived.warning {
        terminal.say(&format!("warning: {warning}"))?;
    }
    confirm(&mut terminal, "Type yes to store it: ")?;
    let text = stored(arrived.key());
    open.import(arrived)?;
    Ok(text)
}

/// What a block says of its key.
fn state(arrived: &ArrivedKey, zmk: &str) -> String {
    let (header, options) = (&arrived.header, &arrived.header.options);
    let mut text = format!(
        "Block: version {}, usage {}, mode {}, key version {}, exportability {}, under {zmk} (partner {}).",
        header.version, header.usage, header.mode, header.key_version, header.exportability, arrived.partner
    );
    for (what, said) in
        [("label", &options.label), ("key made", &options.made), ("block made", &options.wrapped)]
    {
        if let Some(said) = said {
            text.push_str(&format!(" Its sender says: {what} {said}."));
        }
    }
    text
}
