//! The suite of `tests/hsm`, run against the software HSM. Another HSM has a folder like this one: its
//! device, its maker, and the suite.

use std::path::Path;

use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, StoreSide};

use crate::file::KEYS;

/// The device under test.
pub type Device = SoftHsm;

/// Makes a new device that holds [`KEYS`].
pub fn make() -> Device {
    make_in(tempfile::tempdir().unwrap().path(), KEYS)
}

/// The device whose keys and memory lie in this folder. It is made with this list of keys if it is not there.
pub fn make_in(folder: &Path, keys: &str) -> Device {
    let store = folder.join("store");
    if !store.exists() {
        drop(KeyStore::create_test(keys, &store, StoreSide::Bureau).unwrap());
    }
    SoftHsm::new(KeyStore::open(&store).unwrap()).unwrap()
}

#[path = "../attempts.rs"]
mod attempts;
#[path = "../chain.rs"]
mod chain;
#[path = "../door.rs"]
mod door;
#[path = "../frames.rs"]
mod frames;
#[path = "../host.rs"]
mod host;
#[path = "../journal.rs"]
mod journal;
#[path = "../papers.rs"]
mod papers;
#[path = "../personalize.rs"]
mod personalize;
#[path = "../roles.rs"]
mod roles;
#[path = "../verify.rs"]
mod verify;
