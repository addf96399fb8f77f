//! How keys come into a store that its custodians have opened: in components, or in a partner's key block.
//!
//! ```text
//! begin ──► component ──► give ──► pending, or stored with the last        each `give` writes once
//! arrive (open the block, compare, admit) ──► import
//! ```
//!
//! Not here: what a component and a block must be (`pending`, `block_rules`), rules of every key (`rules`), prompts (`cli`).

use zeroize::Zeroizing;

use super::acting::OpenStore;
use super::entry::{KeyOrigin, KeyTerms, SecretEntry};
use super::header::StoreHeader;
use super::opening::LockedStore;
use super::pending::{self, KeyComponent, PendingKey};
use super::{KeyUsage, block_rules, change, now, rules};
use crate::crypto::key_block::{BlockHeader, KeyBlock};
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::ids::Kcv;

/// A key out of a key block that may be stored. It has no `Debug`.
pub struct ArrivedKey {
    entry: SecretEntry,
    zmk: String,
    /// What the block says of it.
    pub header: BlockHeader,
    /// The partner, who also has the ZMK.
    pub partner: String,
    /// A warning that people see before they store the key.
    pub warning: Option<String>,
}

impl ArrivedKey {
    /// The key.
    pub fn key(&self) -> &SecretEntry {
        &self.entry
    }
}

impl LockedStore {
    /// Checks the terms of a key that comes in so many components, as far as it goes before the store is opened.
    pub fn check_components(&self, terms: &KeyTerms, wanted: u8) -> Result<(), Failure> {
        pending::check_number(wanted)?;
        check_wanted(&self.file.header, wanted)?;
        self.check_terms(terms)
    }

    /// Checks the terms of a key, as far as it goes before the store is opened.
    pub fn check_terms(&self, terms: &KeyTerms) -> Result<(), Failure> {
        rules::check_own_terms(terms, self.file.header.rules()).map(drop)
    }
}

/// Refuses more components than the store has custodians.
fn check_wanted(header: &StoreHeader, wanted: u8) -> Result<(), Failure> {
    let custodians = header.custody.names().count();
    if header.realm() == Realm::Live && custodians < usize::from(wanted) {
        let what = format!(
            "{wanted} components need {wanted} different custodians, and the store has {custodians}: set more custodians"
        );
        return Err(Failure::new(Exit::Custody, format!("operator: {what}")));
    }
    Ok(())
}

impl OpenStore {
    /// The key of this label of which components are missing.
    pub fn pending(&self, label: &str) -> Option<&PendingKey> {
        self.keys.pending().iter().find(|key| key.terms.label == label)
    }

    /// Takes the terms and the check value of a key before its first component. The store keeps them with the first
    /// component.
    pub fn begin(&mut self, terms: KeyTerms, kcv: Kcv, wanted: u8) -> Result<(), Failure> {
        if self.pending(&terms.label).is_some() {
            let what = format!(
                "components of {:?} were given already: give the next one without its terms, or drop them and begin again",
                terms.label
            );
            return Err(Failure::new(Exit::Custody, format!("operator: {what}")));
        }
        rules::check_terms(&terms, self.keys.header.rules(), &self.keys.body)?;
        let terms = KeyTerms { origin: KeyOrigin::Components, made: 0, ..terms };
        let pending = PendingKey::new(terms, kcv, wanted)?;
        check_wanted(&self.keys.header, wanted)?;
        self.keys.body.pending.push(pending);
        Ok(())
    }

    /// Checks the component of a key that a custodian typed.
    pub fn component(
        &self,
        label: &str,
        by: &str,
        value: Zeroizing<Vec<u8>>,
        kcv: Kcv,
    ) -> Result<KeyComponent, Failure> {
        if !self.by.iter().any(|name| name == by) {
            return Err(Failure::new(Exit::Custody, format!("operator: {by} did not open the store")));
        }
        let key = self.pending(label).ok_or_else(|| change::unknown(label))?;
        key.component(by, value, kcv, (self.keys.realm(), now()))
    }

    /// Keeps a component, and with the last one the key. Returns the key if it is whole.
    pub fn give(&mut self, label: &str, component: KeyComponent) -> Result<Option<&SecretEntry>, Failure> {
        let keeps = self.keys.header.rules();
        let acts = change::give(&mut self.keys.body, label, component, keeps, now())?;
        self.record(acts)?;
        Ok(self.keys.entries().iter().find(|entry| entry.label() == label))
    }

    /// Forgets the components of a key.
    pub fn drop_components(&mut self, label: &str) -> Result<(), Failure> {
        let act = change::drop_components(&mut self.keys.body, label, now())?;
        self.record(vec![act])
    }

    /// Opens a key block with a ZMK of the store, and checks that the key is what the command says.
    pub fn arrive(
        &self,
        block: KeyBlock,
        mut terms: KeyTerms,
        kcv: Kcv,
        zmk: &str,
    ) -> Result<ArrivedKey, Failure> {
        let keeps = self.keys.header.rules();
        rules::check_terms(&terms, keeps, &self.keys.body)?;
        let zmk =
            self.keys.entries().iter().find(|entry| entry.usage() == KeyUsage::Zmk && entry.label() == zmk);
        let Some(zmk) = zmk else {
            let what =
                "no ZMK of the store is called {zmk:?}: look at the list, or give it in components first";
            return Err(Failure::new(Exit::KeyUnknown, format!("key: {what}")));
        };
        block_rules::check_partner(&mut terms, zmk, keeps.side)?;
        let opened = block_rules::opened(block, zmk)?;
        block_rules::check_block(&opened.header, opened.key_type, &terms, keeps.side)?;
        let warning = block_rules::check_strength(zmk, opened.key_type, keeps.realm)?;
        terms = KeyTerms { origin: KeyOrigin::Block, made: now(), ..terms };
        let entry = rules::admit(terms, opened.key.expose(), Some(kcv), keeps, &self.keys.body)?;
        let (zmk, partner) = (zmk.label().to_owned(), zmk.partner().to_owned());
        Ok(ArrivedKey { entry, zmk, header: opened.header, partner, warning })
    }

    /// Stores a key that arrived in a key block.
    pub fn import(&mut self, arrived: ArrivedKey) -> Result<(), Failure> {
        let ArrivedKey { entry, zmk, header, .. } = arrived;
        let BlockHeader { usage, mode, key_version, exportability, .. } = header;
        let note = format!("{usage} {mode} {key_version} {exportability} under {zmk}");
        let act = change::import(&mut self.keys.body, entry, note, now());
        self.record(vec![act])
    }
}
