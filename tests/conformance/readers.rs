//! The reader's suite over what a bureau has: a station host on a real pcscd. In its virtual reader lies a `hwsim card`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use drivers::conformance::{self, Chip, ReaderSuite};
use drivers::host::{Device, HostReader};
use drivers::link::Protocols;

use crate::pcscd_support::scene::Scene;
use crate::{LONG, PAYMENT, hold, hosted};

/// How long a power-on waits for a card.
const WAIT: Duration = Duration::from_secs(10);
/// An ATR of a card that speaks T=1 and nothing else.
const ATR_T1: &str = "3BE000008131204535";

/// A card that is pulled out when it is dropped.
struct Inserted(Child);

impl Inserted {
    /// Into reader 0, with more of `hwsim card`'s arguments.
    fn new(scene: &Scene, more: &[&str]) -> Self {
        let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        assert!(hwsim.exists(), "hwsim is not built: run `make build` first");
        let mut child = scene
            .command(hwsim)
            .args(["card", "--product", "multiapp", "--speed", "0", "--vpcd"])
            .arg(format!("127.0.0.1:{}", scene.port(0)))
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.contains("SIMULATED"), "hwsim did not start");
        Self(child)
    }
}

impl Drop for Inserted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty reader, then one with a card of these arguments.
fn reader(more: &[&str], protocols: Protocols, extended: bool) {
    let scene = Scene::start(1);
    let spec = scene.reader(0, WAIT);
    let mut link = HostReader::new(hosted(Device::Reader(spec), Some(scene.socket())));
    let what = format!("reader, card {more:?}");
    hold(&what, &conformance::reader(&mut link, &ReaderSuite { timeout: LONG, card: None }));
    let _card = Inserted::new(&scene, more);
    let card = Some(Chip { protocols, aid: PAYMENT, extended });
    hold(&what, &conformance::reader(&mut link, &ReaderSuite { timeout: LONG, card }));
}

/// The shipped cards'.
#[test]
fn t0() {
    reader(&[], Protocols::ANY, false);
}

#[test]
fn t0_with_get_response() {
    reader(&["--t0", "get-response"], Protocols::ANY, false);
}

#[test]
fn t1_with_extended_length() {
    reader(&["--atr", ATR_T1], Protocols::ANY, true);
}
