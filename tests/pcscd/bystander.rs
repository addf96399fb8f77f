//! Another program that uses a reader. It is this test binary, started once more, because the PC/SC library
//! uses the first socket that it finds for the whole process.

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

/// The body of the other program; in a normal run of the tests it does nothing.
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
    // A connect fails while pcscd is noticing a change of cards.
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
    // Holds the reader until this process is ended, or until the tests die.
    let _ = std::io::stdin().read(&mut [0]);
}
