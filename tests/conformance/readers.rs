//! The reader's suite over the link that a bureau uses: a station host on a real pcscd, with a `hwsim card`
//! in its virtual reader.

use std::time::Duration;

use drivers::conformance::{self, ChipUnderTest, ReaderSuite};
use drivers::host::{HostReader, HostedDevice};
use drivers::link::Protocols;

use crate::pcscd_support::machines::Hwsim;
use crate::pcscd_support::scene::Scene;
use crate::{LONG, PAYMENT, hold, hosted};

/// How long a power-on waits for a card.
const WAIT: Duration = Duration::from_secs(10);
/// An ATR of a card that speaks T=1 and nothing else.
const ATR_T1: &str = "3BE000008131204535";

/// Runs the suite on an empty reader, then on one with a card made from these arguments.
fn reader(more: &[&str], protocols: Protocols, extended: bool) {
    let scene = Scene::start(1);
    let spec = scene.reader(0, WAIT);
    let mut link = HostReader::new(hosted(HostedDevice::Reader(spec), Some(scene.socket())));
    let what = format!("reader, card {more:?}");
    hold(&what, &conformance::reader(&mut link, &ReaderSuite { timeout: LONG, card: None }));
    let _card = Hwsim::card(&scene, 0, &[&["--speed", "0"], more].concat());
    let card = Some(ChipUnderTest { protocols, aid: PAYMENT, extended });
    hold(&what, &conformance::reader(&mut link, &ReaderSuite { timeout: LONG, card }));
}

/// The shipped cards speak T=0. A command of extended length whose data fit is sent as a short one.
#[test]
fn t0() {
    reader(&[], Protocols::ANY, true);
}

#[test]
fn t1_with_extended_length() {
    reader(&["--atr", ATR_T1], Protocols::ANY, true);
}
