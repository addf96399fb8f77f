//! The suite of `tests/hsm`, run against an HSM whose KMCs and KEKs lie in a token of SoftHSM2. What the token cannot do is
//! done on the host.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};

use cardwright::hsm::pkcs11::{TokenChoice, TokenDevice, TokenHome, TokenPin};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, StoreSide};

use crate::file::KEYS;

/// The device under test.
pub type Device = SoftHsm;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "271828";
/// Where SoftHSM2 looks for its settings.
const SETTINGS: &str = "SOFTHSM2_CONF";

/// A token with the keys of [`KEYS`]. A module is started once in a process.
struct LoadedToken {
    device: Arc<TokenDevice>,
    /// The key list that names the objects.
    list: String,
    _folder: tempfile::TempDir,
}

static TOKEN: LazyLock<LoadedToken> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("tokens")).unwrap();
    let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\n", at("tokens").display());
    std::fs::write(at("softhsm2.conf"), settings).unwrap();
    std::fs::write(at("keys.toml"), KEYS).unwrap();
    std::fs::write(at("pin"), PIN).unwrap();
    let make = ["--init-token", "--free", "--label", "suite", "--pin", PIN, "--so-pin", "31415926"];
    ran(Command::new("softhsm2-util").args(make).env(SETTINGS, at("softhsm2.conf")));
    let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
    let mut load = Command::new(hwsim);
    load.args(["token-keys", "--module", MODULE, "--token", "suite", "--pin-file"]).arg(at("pin"));
    load.arg("--from").arg(at("keys.toml")).env(SETTINGS, at("softhsm2.conf"));
    let list = String::from_utf8(ran(&mut load).stdout).unwrap();
    settings_for_this_process(&at("softhsm2.conf"));
    let device = Arc::new(TokenDevice::find(Path::new(MODULE), &TokenChoice::Label("suite".into())).unwrap());
    LoadedToken { device, list, _folder: folder }
});

fn ran(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[allow(unsafe_code, reason = "the module reads its settings from the environment alone")]
fn settings_for_this_process(path: &Path) {
    // SAFETY: readers in Rust take a lock, and the only reader in C is the module, which is loaded after this.
    unsafe { std::env::set_var(SETTINGS, path) };
}

/// Makes a new device that holds [`KEYS`], all in the token.
pub fn make() -> Device {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::create_test(&TOKEN.list, &folder.path().join("store"), StoreSide::Bureau).unwrap();
    let terms: Vec<_> = store.token_keys().collect();
    assert_eq!(terms.len(), 6);
    let token = TokenHome::open(Arc::clone(&TOKEN.device), TokenPin::new(PIN), terms).unwrap();
    SoftHsm::with_token(store, token).unwrap()
}

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
