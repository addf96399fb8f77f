//! `key backup` and `key restore`.
//!
//! Not here: what a backup is (`hsm::store`).

use std::path::Path;

use super::custody::{opened, shown_time, terminal};
use super::list_text;
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::hsm::store::{KeyStore, LockedStore, OpenStore, StoreSide, back_up};

/// Makes a backup. Returns what it holds.
pub(super) fn backup(store: &Path, to: &Path) -> Result<String, Failure> {
    let made = back_up(store, to)?;
    let secret = match made.realm {
        Realm::Test => "TEST, no secret: a person who has it has its keys",
        Realm::Live => "sealed: custodians open it as they open the store",
    };
    let (id, generation, digest) = (made.id, made.generation, made.digest);
    Ok(format!("{}: store {id}, generation {generation}, SHA-256 of keys {digest}; {secret}\n", to.display()))
}

/// Makes a store of a backup. Returns what was made.
pub(super) fn restore(backup: &Path, store: &Path, side: StoreSide) -> Result<String, Failure> {
    let locked = LockedStore::of_backup(backup)?.of_side(side)?;
    KeyStore::check_new(store, locked.realm())?;
    let mut terminal = terminal()?;
    terminal.say(&format!("Restore of {} to {}.", backup.display(), store.display()))?;
    let open = opened(&mut terminal, locked.collect())?;
    terminal.say(&state(&open)?)?;
    let generation = open.keys().generation();
    if terminal.line("Type the generation to accept it: ")?.trim() != generation.to_string() {
        return Err(Failure::new(Exit::Custody, "operator: you typed another generation: nothing was made"));
    }
    let made = open.restored(store)?;
    let (id, generation) = (made.id(), made.keys().generation());
    Ok(format!("{} made: store {id}, generation {generation}\n", store.display()))
}

/// All that shows people which moment a backup is of.
fn state(open: &OpenStore) -> Result<String, Failure> {
    let last = open.keys().acts().last().map_or_else(
        || "none".to_owned(),
        |act| {
            format!(
                "{} by {}",
                shown_time(act.time),
                if act.by.is_empty() { "nobody".into() } else { act.by.join(", ") }
            )
        },
    );
    let ledgers: Vec<_> =
        open.keys().ledgers()?.iter().map(|place| format!("{} at event {}", place.ledger, place.n)).collect();
    let ledgers = if ledgers.is_empty() { "none".to_owned() } else { ledgers.join(", ") };
    Ok(format!(
        "Last act: {last}. Ledgers: {ledgers}. Keys:\n{}Compare with your last paper. The new store knows nothing of later \
         destructions, custodians, ledgers, accepted files and serial numbers. If the old store is still there, never use both.",
        list_text(open.keys())
    ))
}
