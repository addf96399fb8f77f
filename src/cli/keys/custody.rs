//! `key init --live`, `custodians`, `destroy`, and the opening of a store by its custodians, who type at this terminal.
//!
//! Not here: what a terminal shows while a secret is typed (`terminal`), what an act does (`hsm::store`), copies (`copies`).

use std::path::Path;
use std::thread::sleep;

use super::component::confirm;
use super::kcvs;
use crate::cli::terminal::Terminal;
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::hsm::store::{
    Collecting, Given, GoneKey, KeyStore, LockedStore, NewCustodians, OpenStore, StoreSide,
};
use crate::laws::rfc3339_seconds;

/// The terminal at which custodians type.
pub(super) fn terminal() -> Result<Terminal, Failure> {
    let stopped = "stopped; `key acts` shows whether the last act was done";
    Terminal::open("custodians type at a terminal, and there is none", stopped)
}

/// `2026-11-30 10:00:00`, of Unix time in seconds.
pub(super) fn shown_time(unix: u64) -> String {
    let text = rfc3339_seconds(unix);
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// Opens a store to read it. Only a LIVE one asks for its custodians.
pub(super) fn read(store: &Path, side: StoreSide) -> Result<OpenStore, Failure> {
    unasked_if_test(LockedStore::to_read(store)?.of_side(side)?)
}

/// Opens a store to change it. A TEST store asks nobody.
pub(super) fn alone(store: &Path, side: StoreSide) -> Result<OpenStore, Failure> {
    unasked_if_test(LockedStore::to_change(store)?.of_side(side)?)
}

fn unasked_if_test(locked: LockedStore) -> Result<OpenStore, Failure> {
    match locked.realm() {
        Realm::Test => locked.open_test(),
        Realm::Live => opened(&mut terminal()?, locked.collect()),
    }
}

/// Asks custodians until there are enough.
pub(super) fn opened(terminal: &mut Terminal, mut collecting: Collecting) -> Result<OpenStore, Failure> {
    let store = collecting.store();
    let (threshold, written) = (store.threshold(), shown_time(store.written()));
    let who = match store.realm() {
        Realm::Test => "TEST store: names are not proved.".to_owned(),
        Realm::Live => format!("{threshold} of {} open it.", store.custodians().join(", ")),
    };
    let (id, generation) = (store.id(), store.generation());
    terminal.say(&format!("Store {id}, generation {generation}, written {written}. {who}"))?;
    while let Some(number) = collecting.next() {
        let name = terminal.line(&format!("Custodian {number} of {threshold}, name: "))?;
        let name = name.trim();
        if let Some(why) = collecting.refuse_name(name) {
            terminal.say(&why)?;
            continue;
        }
        let typed = match collecting.needs_passphrase() {
            true => terminal.secret(&format!("Passphrase of {name}: "))?,
            false => Some(Vec::new().into()),
        };
        let Some(passphrase) = typed else {
            terminal.say("it has a character that no passphrase has, or is too long: again")?;
            continue;
        };
        match collecting.give(name, &passphrase)? {
            Given::Right => {}
            Given::Wrong(wait) => {
                terminal.say(&format!("that is not {name}'s passphrase; wait {} s", wait.as_secs()))?;
                sleep(wait);
            }
        }
    }
    collecting.open()
}

/// Makes a LIVE store. Returns what was made.
pub(super) fn init(store: &Path, side: StoreSide, mut new: NewCustodians) -> Result<String, Failure> {
    KeyStore::check_new(store, Realm::Live)?;
    let mut terminal = terminal()?;
    let (all, some) = (new.names().len(), new.threshold());
    terminal.say(&format!("A LIVE store for {}. {all} custodians, of whom {some} open it.", owner(side)))?;
    choose(&mut terminal, &mut new)?;
    let made = KeyStore::create_live(store, side, &new)?;
    Ok(format!(
        "{} made: store {}, generation {}; {} open it\n",
        store.display(),
        made.id(),
        made.keys().generation(),
        made.custody().unwrap_or_default()
    ))
}

fn owner(side: StoreSide) -> &'static str {
    match side {
        StoreSide::Bureau => "a bureau",
        StoreSide::Issuer => "an issuer",
    }
}

/// Has each new custodian choose a passphrase.
fn choose(terminal: &mut Terminal, new: &mut NewCustodians) -> Result<(), Failure> {
    if new.names().len() == usize::from(new.threshold()) {
        terminal.say("No custodian is to spare: one lost passphrase loses all keys.")?;
    }
    while let Some(name) = new.next().map(str::to_owned) {
        let Some(first) = terminal.secret(&format!("New passphrase of {name}, 16 to 128 characters: "))?
        else {
            terminal.say("it has a character that no passphrase has, or is too long: again")?;
            continue;
        };
        let same = terminal.secret("The same again: ")?;
        if same.is_none_or(|same| *same != *first) {
            terminal.say("the two differ: again")?;
        } else if let Err(why) = new.choose(&first) {
            terminal.say(&format!("{why}: again"))?;
        }
    }
    Ok(())
}

/// Gives a LIVE store other custodians. Returns what is done.
pub(super) fn change(store: &Path, mut new: NewCustodians, side: StoreSide) -> Result<String, Failure> {
    let locked = LockedStore::to_change(store)?.of_side(side)?;
    if locked.realm() == Realm::Test {
        return Err(Failure::new(
            Exit::KeyStore,
            format!(
                "key store {}: a TEST store opens without custodians, so it has none to change",
                store.display()
            ),
        ));
    }
    let mut terminal = terminal()?;
    terminal.say(&format!(
        "New custodians: {} of {}. Old backups still open with the old passphrases.",
        new.threshold(),
        new.names().join(", ")
    ))?;
    let mut open = opened(&mut terminal, locked.collect())?;
    let pending: Vec<_> = open.keys().pending().iter().map(|key| key.terms().label.as_str()).collect();
    if !pending.is_empty() {
        let pending = pending.join(", ");
        confirm(&mut terminal, &format!("Pending components are dropped: {pending}. Type yes to go on: "))?;
    }
    choose(&mut terminal, &mut new)?;
    open.set_custodians(&new)?;
    Ok(format!(
        "{}: {} open it from now on (store {}, generation {})\n",
        store.display(),
        open.custody().unwrap_or_default(),
        open.id(),
        open.keys().generation()
    ))
}

/// Destroys a key. Returns the line to be kept on paper.
pub(super) fn destroy(store: &Path, label: &str, side: StoreSide) -> Result<String, Failure> {
    let locked = LockedStore::to_change(store)?.of_side(side)?;
    let mut terminal = terminal()?;
    terminal.say(&format!("Destroy {label}."))?;
    let mut open = opened(&mut terminal, locked.collect())?;
    let key = open.keys().entries().iter().find(|key| key.label() == label).ok_or_else(|| {
        Failure::new(
            Exit::KeyUnknown,
            format!("key: no key of the store is called {label:?}: see `key list`"),
        )
    })?;
    let (usage, id, version) = (key.usage(), key.id(), key.version());
    terminal.say(&format!(
        "{label}: {usage} {id}:{version}, {}. Backups keep it: destroy them too, or destroy it again after a restore.",
        kcvs(&key.kcvs())
    ))?;
    if terminal.line("Type its label to destroy it: ")? != label {
        return Err(Failure::new(Exit::Custody, "operator: you typed another label: nothing was changed"));
    }
    let gone = open.destroy(label)?;
    Ok(format!(
        "{} at {} by {} (store {}, generation {}). Keep this line on paper.\n",
        shown_gone(&gone),
        shown_time(gone.time),
        open.by().join(", "),
        open.id(),
        open.keys().generation()
    ))
}

/// `gone: KMC FFFFFF476173:1, DES B82EC5`
fn shown_gone(gone: &GoneKey) -> String {
    format!("gone: {} {}:{}, {}", gone.usage, gone.id, gone.version, kcvs(&[gone.kcv]))
}
