//! What acts of custody change in the body of a store: body in, body and record of the act out.
//!
//! Not here: who may do it (`opening`), writing it (`acting`).

use super::acts::{ActKind, CustodyAct};
use super::body::{GoneKey, StoreBody};
use crate::exit::{Exit, Failure};

/// Takes a key out. The store keeps its name, one check value, and a mark that recognizes its value.
pub(super) fn destroy(body: &mut StoreBody, label: &str, time: u64) -> Result<CustodyAct, Failure> {
    let at = body.entries.iter().position(|entry| entry.label() == label).ok_or_else(|| unknown(label))?;
    let entry = body.entries.remove(at);
    let kcv = entry.kcvs().first().copied().ok_or_else(|| unknown(label))?;
    let act = CustodyAct {
        label: label.to_owned(),
        usage: Some(entry.usage()),
        id: entry.id().to_owned(),
        version: entry.version(),
        kcvs: entry.kcvs(),
        ..CustodyAct::of_store(time, ActKind::Destroyed, "")
    };
    let mark = body.mark(entry.key.expose());
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

/// The failure for a label that no key has.
pub(super) fn unknown(label: &str) -> Failure {
    Failure::new(Exit::KeyUnknown, format!("key: no key of the store is called {label:?}: look at the list"))
}
