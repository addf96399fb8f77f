//! A virtual card for a reader of a scene; a function decides how it behaves.
//!
//! It plays the card in vpcd's protocol (vsmartcard, `src/vpcd/vpcd.c`), in a thread:
//!
//! ```text
//! message = length u16 BE | body     body of 1 byte: 00 power off, 01 power on, 02 reset: no answer; 04: answer the ATR
//!                                    longer: a command APDU, answer the response APDU
//! ```
//!
//! A message without a body would hang vpcd until the card leaves (its `recv` of 0 bytes waits). So the ATR
//! of a mute card is one byte that begins no ATR; pcscd takes it for a card that does not answer.
//!
//! vpcd sends length and body in two writes. Unless the card acknowledges the first at once, each message
//! waits for 40 ms.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::linux::net::TcpStreamExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::scene::Scene;

/// ATR of a card that speaks T=0 and nothing else, without historical bytes.
pub const ATR_T0: &[u8] = &[0x3B, 0x60, 0x00, 0x00];
/// The bytes that the reader receives from a card that gives no ATR.
pub const ATR_NONE: &[u8] = &[0x00];
/// ATR of a card that speaks T=1 and nothing else.
pub const ATR_T1: &[u8] = &[0x3B, 0xE0, 0x00, 0x00, 0x81, 0x31, 0x20, 0x45, 0x35];

/// The reaction of a card to a command.
pub enum Act {
    /// The card answers.
    Answer(Vec<u8>),
    /// The card stops, like a process that gets SIGSTOP, and gives this answer when it goes on.
    Freeze(Vec<u8>),
    /// The card is pulled out.
    Leave,
}

impl From<Vec<u8>> for Act {
    fn from(response: Vec<u8>) -> Self {
        Self::Answer(response)
    }
}

/// The behaviour of a card: its reaction to each command APDU.
type Behaviour = Box<dyn FnMut(&[u8]) -> Act + Send>;

/// A card that is not in a reader yet.
pub struct Card {
    atr: Vec<u8>,
    act: Behaviour,
}

impl Card {
    /// A card with this ATR and this behaviour.
    pub fn new(atr: &[u8], act: impl FnMut(&[u8]) -> Act + Send + 'static) -> Self {
        Self { atr: atr.to_vec(), act: Box::new(act) }
    }

    /// Answers every command with its own data field and 9000.
    pub fn echo(atr: &[u8]) -> Self {
        Self::new(atr, |command| Act::Answer([command.get(5..).unwrap_or_default(), &[0x90, 0x00]].concat()))
    }

    /// Puts the card into reader `n`. Does not wait until vpcd has noticed it.
    pub fn insert(self, scene: &Scene, n: usize) -> Inserted {
        let port = scene.port(n);
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let thread = scene.thread(move || {
            let stream = connect(port);
            tell.send(stream.try_clone().unwrap()).unwrap();
            live(self, stream, &state);
        });
        Inserted { stream: told.recv().unwrap(), shared, thread: Some(thread) }
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// The events that the card has noticed.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Command APDUs.
    pub commands: Vec<Vec<u8>>,
    /// Number of times that the power came on after it was off.
    pub powered: usize,
    /// Number of warm resets.
    pub resets: usize,
    /// Whether the card stands still.
    pub frozen: bool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn set_frozen(&self, frozen: bool) {
        self.seen().frozen = frozen;
        self.changed.notify_all();
    }
}

/// A card in a reader; dropping it pulls it out.
pub struct Inserted {
    stream: TcpStream,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Inserted {
    /// The events that the card has noticed so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }

    /// Stops the card before its next message.
    pub fn freeze(&self) {
        self.shared.set_frozen(true);
    }

    /// Lets the card go on.
    pub fn thaw(&self) {
        self.shared.set_frozen(false);
    }

    /// Waits until the card stands still.
    pub fn await_frozen(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.seen().frozen {
            assert!(Instant::now() < until, "the card does not get as far as that");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Inserted {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.thaw();
        // A panic of the behaviour has printed its message already.
        let _ = self.thread.take().unwrap().join();
    }
}

/// Connects to a reader. A pcscd that was just started may not have opened it yet.
fn connect(port: u16) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < until, "no reader at port {port}: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Serves the card until the reader or the card itself ends the connection.
fn live(mut card: Card, mut stream: TcpStream, shared: &Shared) {
    let mut on = false;
    while let Some(message) = receive(&mut stream) {
        drop(shared.changed.wait_while(shared.seen(), |seen| seen.frozen).unwrap());
        let answer = match message.as_slice() {
            [0] => {
                on = false;
                continue;
            }
            [1] => {
                shared.seen().powered += usize::from(!on);
                on = true;
                continue;
            }
            [2] => {
                shared.seen().resets += 1;
                continue;
            }
            [4] => card.atr.clone(),
            command => {
                shared.seen().commands.push(command.to_vec());
                match (card.act)(command) {
                    Act::Answer(response) => response,
                    Act::Freeze(response) => {
                        shared.set_frozen(true);
                        drop(shared.changed.wait_while(shared.seen(), |seen| seen.frozen).unwrap());
                        response
                    }
                    Act::Leave => break,
                }
            }
        };
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.set_quickack(true).ok()?;
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.set_quickack(true).ok()?;
    stream.read_exact(&mut body).ok()?;
    Some(body)
}
