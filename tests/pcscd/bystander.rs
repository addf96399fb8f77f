//! Another program that uses a reader: this test binary again, because the PC/SC library keeps the socket
//! that it finds first for the whole process.

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::LONG;
use crate::pcscd_support::scene::Scene;

const ROLE: &str = "CARDWRIGHT_TEST_BYSTANDER";
const HOLDS: &str = "holds";

/// A program that holds a reader until it is dropped.
pub struct Bystander(Child);

impl Bystander {
    /// Connects to reader `n`: `exclusive`, or `transaction` (shared, inside a transaction).
    pub fn start(scene: &Scene, n: usize, how: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "bystander::role", "--nocapture"])
            .env(ROLE, format!("{how} {} {}", n % 2, scene.name(n)))
            .env("PCSCLITE_CSOCK_NAME", scene.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with(HOLDS)), "no bystander");
        Self(child)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other program does; nothing in a run of the tests.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.splitn(3, ' ');
    let (how, slot, name) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let context = pcsc::Context::establish(pcsc::Scope::System).unwrap();
    let full = CString::new(format!("{name} 00 0{slot}")).unwrap();
    let mut states = [pcsc::ReaderState::new(full.clone(), pcsc::State::UNAWARE)];
    while !states[0].event_state().contains(pcsc::State::PRESENT) {
        states[0].sync_current_state();
        context.get_status_change(None, &mut states).unwrap();
    }
    let mode = if how == "exclusive" { pcsc::ShareMode::Exclusive } else { pcsc::ShareMode::Shared };
    // While pcscd notices a change of cards, a connect fails.
    let until = Instant::now() + LONG;
    let mut card = loop {
        match context.connect(&full, mode, pcsc::Protocols::ANY) {
            Ok(card) => break card,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    let _transaction = (how == "transaction").then(|| card.transaction().unwrap());
    println!("{HOLDS}");
    std::io::stdout().flush().unwrap();
    // Until this process is ended, or the tests died.
    let _ = std::io::stdin().read(&mut [0]);
}
