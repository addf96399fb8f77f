//! What acts of custody change in the body of a store: body in, body and record of the act out.
//!
//! Not here: who may do it (`opening`), writing it (`acting`).

use super::acts::{ActKind, CustodyAct};
use super::body::{GoneKey, StoreBody};
use super::entry::{KeyTerms, SecretEntry};
use super::pending::{KeyComponent, PendingKey};
use super::rules::{self, StoreRules};
use crate::crypto::KcvMethod;
use crate::exit::{Exit, Failure};
use crate::ids::Kcv;

/// Takes a key out. The store keeps its name, one check value, and a mark that recognizes its value.
pub(super) fn destroy(body: &mut StoreBody, label: &str, time: u64) -> Result<CustodyAct, Failure> {
    let at = body.entries.iter().position(|entry| entry.label() == label).ok_or_else(|| unknown(label))?;
    let entry = body.entries.remove(at);
    let kcv = entry.kcvs().first().copied().ok_or_else(|| unknown(label))?;
    let act = act_of(&entry.terms, time, ActKind::Destroyed, entry.kcvs(), "");
    // The value of one in a token was never here: its check value makes it known again.
    let mark = match entry.key() {
        Ok(key) => body.mark(key.expose()),
        Err(_) => [0; 32],
    };
    body.gone.push(GoneKey {
        usage: entry.usage(),
        id: entry.id().to_owned(),
        version: entry.version(),
        key_type: entry.key_type(),
        kcv,
        time,
        mark,
    });
    Ok(act)
}

/// Keeps a component. With the last one the key is stored, unless a rule refuses it; then the last component is not kept.
pub(super) fn give(
    body: &mut StoreBody,
    label: &str,
    component: KeyComponent,
    keeps: StoreRules,
    time: u64,
) -> Result<Vec<CustodyAct>, Failure> {
    let found = body.pending.iter().enumerate().find(|(_, key)| key.terms.label == label);
    let (at, key) = found.ok_or_else(|| unknown(label))?;
    key.check_giver(&component.by)?;
    // The rules compare the key with all others, so it must not be among them.
    let mut key = body.pending.remove(at);
    let (number, wanted, whole) = (key.next(), key.wanted(), key.stated().1);
    let note = format!("component {number} of {wanted} by {}, whole key {whole}", component.by);
    let mut acts = vec![act_of(&key.terms, time, ActKind::Component, vec![component.kcv], note)];
    let Some(sum) = key.whole(&component) else {
        key.components.push(component);
        body.pending.insert(at, key);
        return Ok(acts);
    };
    match stored(body, &key, &sum, keeps, time) {
        Ok(entry) => {
            acts.push(act_of(&entry.terms, time, ActKind::Stored, entry.kcvs(), ""));
            body.entries.push(entry);
            Ok(acts)
        }
        Err(failure) => {
            body.pending.insert(at, key);
            Err(failure)
        }
    }
}

/// The key that its components give.
fn stored(
    body: &StoreBody,
    key: &PendingKey,
    sum: &[u8],
    keeps: StoreRules,
    time: u64,
) -> Result<SecretEntry, Failure> {
    let terms = KeyTerms { made: time, ..key.terms.clone() };
    let value = rules::canonical(terms.key_type, sum);
    let whole = rules::cipher_key(terms.key_type, &value).map_err(rules::refuse)?;
    if let Err(other) = rules::method_of(&whole, key.stated().1) {
        let what = other.map_or_else(
            || "the components do not give the stated KCV: compare forms with the partner".to_owned(),
            |other| format!("the stated KCV is right by another method ({other}): ask for DES (TDES), AES-GP or AES-CMAC"),
        );
        let what = format!("key: {what}, or begin again with --drop");
        return Err(Failure::new(Exit::KeyMismatch, what));
    }
    rules::admit(terms, &value, Some(key.stated().1), keeps, body).map_err(|failure| {
        let what =
            format!("{}; its last component is not kept: drop the others with --drop", failure.message);
        Failure::new(failure.exit, what)
    })
}

/// Forgets the components of a key.
pub(super) fn drop_components(body: &mut StoreBody, label: &str, time: u64) -> Result<CustodyAct, Failure> {
    let at = body.pending.iter().position(|key| key.terms.label == label).ok_or_else(|| {
        let what = format!("no component of {label:?} is there: see `key list`");
        Failure::new(Exit::KeyUnknown, format!("key: {what}"))
    })?;
    Ok(dropped(&body.pending.remove(at), time))
}

/// Forgets the components of all keys, as a change of custodians does: a person with a new name could give a second component.
pub(super) fn drop_all_components(body: &mut StoreBody, time: u64) -> Vec<CustodyAct> {
    body.pending.drain(..).map(|key| dropped(&key, time)).collect()
}

fn dropped(key: &PendingKey, time: u64) -> CustodyAct {
    let note = format!("{} of {} components", key.next().saturating_sub(1), key.wanted());
    act_of(&key.terms, time, ActKind::Dropped, Vec::new(), note)
}

/// Takes a key that came in a key block.
pub(super) fn import(body: &mut StoreBody, entry: SecretEntry, note: String, time: u64) -> CustodyAct {
    let act = act_of(&entry.terms, time, ActKind::Imported, entry.kcvs(), note);
    body.entries.push(entry);
    act
}

/// An act about a key.
fn act_of(
    terms: &KeyTerms,
    time: u64,
    kind: ActKind,
    kcvs: Vec<(KcvMethod, Kcv)>,
    note: impl Into<String>,
) -> CustodyAct {
    CustodyAct {
        label: terms.label.clone(),
        usage: Some(terms.usage),
        id: terms.id.clone(),
        version: terms.version,
        kcvs,
        ..CustodyAct::of_store(time, kind, note)
    }
}

/// The failure for a label that no key has.
pub(super) fn unknown(label: &str) -> Failure {
    Failure::new(Exit::KeyUnknown, format!("key: no key of the store is called {label:?}: look at the list"))
}
