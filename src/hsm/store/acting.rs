//! The acts of custodians on a store that they have opened. Each act writes one file once, with its record in it.
//!
//! Not here: opening (`opening`), keys that come (`ceremony`), what an act changes in the body (`change`), copies of a store
//! (`copies`).

use super::acts::{ActKind, CustodyAct};
use super::body::GoneKey;
use super::change;
use super::custodians::NewCustodians;
use super::folder;
use super::seal::SealKey;
use super::{KeyStore, no_random, now, sealed_with};
use crate::exit::Failure;
use crate::hsm::Realm;
use crate::hsm::recipient::RecipientKey;

/// The next step for people if an act is done but its generation is not noted.
const DONE: &str = "the change itself is made: make room on the disk; the next command that changes the store writes the note";

/// A store that its custodians have opened. It has no `Debug`.
pub struct OpenStore {
    pub(super) keys: KeyStore,
    pub(super) master: SealKey,
    /// Who opened it; nobody, if nobody was asked.
    pub(super) by: Vec<String>,
    /// Wrong passphrases before: `anna 2, ben 3`.
    wrong: String,
}

impl OpenStore {
    pub(super) fn new(keys: KeyStore, master: SealKey, by: Vec<String>, wrong: String) -> Self {
        Self { keys, master, by, wrong }
    }

    /// Its keys and records.
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }

    /// Who opened it.
    pub fn by(&self) -> &[String] {
        &self.by
    }

    /// Its identifier, in hex.
    pub fn id(&self) -> String {
        hex::encode_upper(self.keys.header.id)
    }

    /// `2 of anna, ben, carla`; `None` for a TEST store.
    pub fn custody(&self) -> Option<String> {
        (self.keys.realm() == Realm::Live).then(|| self.keys.header.custody.to_string())
    }

    /// Destroys a key. Its identifier and its value never come back into this store.
    pub fn destroy(&mut self, label: &str) -> Result<GoneKey, Failure> {
        let act = change::destroy(&mut self.keys.body, label, now())?;
        self.record(vec![act])?;
        // The change put it at the end.
        self.keys.gone().last().cloned().ok_or_else(|| change::unknown(label))
    }

    /// Gives a LIVE store other custodians and another master key, and drops components of keys. Copies of before still open as
    /// they did.
    pub fn set_custodians(&mut self, new: &NewCustodians) -> Result<(), Failure> {
        let path = self.keys.folder.path();
        if self.keys.realm() == Realm::Test {
            return Err(folder::refuse(
                path,
                "a TEST store opens without custodians, so it has none to change",
            ));
        }
        let master = SealKey::draw().map_err(|_| no_random())?;
        let custody = new.custody(&self.keys.header.id, &master).ok_or_else(no_random)?;
        self.keys.header.custody = custody;
        self.master = master;
        let (time, note) = (now(), self.keys.header.custody.note());
        let mut acts = change::drop_all_components(&mut self.keys.body, time);
        acts.push(CustodyAct::of_store(time, ActKind::Custodians, note));
        self.record(acts)
    }

    /// Returns the recipient to which files for the owner are sealed (`age1...`), and makes its key the first time.
    pub fn recipient(&mut self) -> Result<String, Failure> {
        let recipient = RecipientKey::of(&self.keys.seal);
        if let Some(known) = recipient.public()? {
            return Ok(known);
        }
        if self.keys.acts().iter().any(|act| act.kind == ActKind::Recipient) {
            tracing::warn!("an earlier recipient's key is not there: files sealed to it do not open");
        }
        let (public, text) = RecipientKey::draw();
        // The record comes first: a key without a record is worse than a record of a key that was not kept.
        let act = CustodyAct::of_store(now(), ActKind::Recipient, &*public);
        self.record_or(vec![act], "give the command again")?;
        recipient.keep(text)?;
        Ok(public)
    }

    pub(super) fn record(&mut self, acts: Vec<CustodyAct>) -> Result<(), Failure> {
        self.record_or(acts, DONE)
    }

    /// Writes the store with these acts more, and wipes the file of before: a key that is destroyed later stands in it.
    fn record_or(&mut self, acts: Vec<CustodyAct>, unnoted: &str) -> Result<(), Failure> {
        let acts = self.signed(acts);
        let KeyStore { folder, header, body, .. } = &mut self.keys;
        let keys = sealed_with(folder.path(), header, body, &self.master, acts)?;
        folder.write(&keys, unnoted)
    }

    /// Acts of one change with the names of those who opened the store, and in the first one their wrong passphrases.
    pub(super) fn signed(&self, mut acts: Vec<CustodyAct>) -> Vec<CustodyAct> {
        acts.iter_mut().for_each(|act| act.by.clone_from(&self.by));
        if let Some(first) = acts.first_mut().filter(|_| !self.wrong.is_empty()) {
            let apart = if first.note.is_empty() { "" } else { "; " };
            first.note = format!("{}{apart}wrong passphrases before: {}", first.note, self.wrong);
        }
        acts
    }
}
