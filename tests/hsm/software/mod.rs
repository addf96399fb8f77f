//! The suite of `tests/hsm`, run against the software HSM. Another HSM has a folder like this one: its
//! device, its maker, and the suite.

use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, StoreSide};

use crate::file::KEYS;

/// The device under test.
pub type Device = SoftHsm;

/// Makes a new device that holds [`KEYS`].
pub fn make() -> Device {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::create_test(KEYS, &folder.path().join("store"), StoreSide::Bureau).unwrap();
    SoftHsm::new(store).unwrap()
}

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
#[path = "../personalize.rs"]
mod personalize;
#[path = "../roles.rs"]
mod roles;
#[path = "../verify.rs"]
mod verify;
