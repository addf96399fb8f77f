//! Every driver over the links that a bureau uses: its machine in `hwsim` is on a pseudo-terminal, a printer
//! receives its pictures over TCP, and each link is in a station host. The cards come over the transport's
//! own port.

use std::net::TcpListener;
use std::path::Path;

use drivers::conformance::{self, CardUnderTest};
use drivers::host::HostedDevice;
use drivers::registry::LinkRole;
use drivers::transport::Transport;

use crate::{PLASTIC, driver, hold, line, link};

/// Runs a driver against its machine, first without a card and then with one.
fn attached(name: &str) {
    let driver = driver(name);
    let folder = tempfile::tempdir().unwrap();
    let stream = free_address();
    let kind = format!("kind = \"{}\"", driver.family());
    let [machine, transport] = ["machine", "transport"].map(|port| folder.path().join(port));
    let mut attach =
        format!("[sim.attach.{}-1]\nmachine = {machine:?}\ntransport = {transport:?}\n", driver.family());
    if driver.wires().contains(&LinkRole::Stream) {
        attach += &format!("stream = {stream:?}\n");
    }
    let _line = line(&[
        (&kind, &format!("{kind}\ndriver = \"{name}\"")),
        ("[[sim.blanks]]", &format!("{attach}[[sim.blanks]]")),
    ]);

    let serial = |path: &Path| HostedDevice::Serial { path: path.display().to_string(), baud: driver.baud };
    let mut under_test = driver
        .open(|wire| match wire {
            LinkRole::Serial => link(serial(&machine)),
            LinkRole::Stream => link(HostedDevice::Tcp { address: stream.clone() }),
        })
        .unwrap();
    hold(name, &conformance::machine(driver, &mut under_test, CardUnderTest::None));
    Transport::new(link(serial(&transport)).unwrap()).feed().unwrap();
    hold(name, &conformance::machine(driver, &mut under_test, PLASTIC));
}

/// An address whose port was free a moment ago, so that no program listens there.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn msr605() {
    attached("msr605");
}

#[test]
fn mse630() {
    attached("mse630");
}

#[test]
fn card_printer() {
    attached("card-printer");
}

#[test]
fn embosser() {
    attached("embosser");
}
