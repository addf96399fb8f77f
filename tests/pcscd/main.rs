//! Station hosts on readers of a real pcscd, with virtual cards in them.
//!
//! | file | tests |
//! |---|---|
//! | `cards` | exchanges with good cards and with bad ones |
//! | `binding` | readers by name, several pcscd, a pcscd that is restarted |
//! | `stuck` | cards and readers that do not answer, and the programs that hold them |
//! | `garbage` | a program other than pcscd at pcscd's socket |
//! | `bystander` | another program that uses a reader |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod binding;
mod bystander;
mod cards;
mod garbage;
#[path = "../pcscd_support/mod.rs"]
mod pcscd_support;
mod stuck;

use std::time::Duration;

use drivers::host::{HostReader, HostSpec, HostedDevice};
use drivers::pcsc::ReaderSpec;
use pcscd_support::scene::Scene;

/// Longer than any exchange takes on a loaded machine.
const LONG: Duration = Duration::from_secs(20);
/// How long a power-on waits for a card.
const WAIT: Duration = Duration::from_secs(3);

/// A station's link to reader `n` of a scene.
fn station(scene: &Scene, n: usize) -> HostReader {
    waiting(scene, n, WAIT)
}

/// Like [`station`], with another time to wait for a card.
fn waiting(scene: &Scene, n: usize, wait: Duration) -> HostReader {
    by(scene, scene.reader(n, wait))
}

/// A station's link to a reader of a scene's pcscd.
fn by(scene: &Scene, reader: ReaderSpec) -> HostReader {
    HostReader::new(HostSpec {
        program: env!("CARGO_BIN_EXE_cardwright").into(),
        arguments: vec!["station-host".into()],
        pcscd: Some(scene.socket()),
        device: HostedDevice::Reader(reader),
    })
}
