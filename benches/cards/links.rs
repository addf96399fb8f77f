//! Cost of a card for the controller at its device links: the real drivers against machines that answer at
//! once. Only the CPU time of the controller's end counts.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use drivers::link::{CardLink, CommandStep, Protocols, Reset, SessionLimits};
use drivers::sim::{SimDevice, SimLink, SimReader};
use drivers::transport::Transport;
use drivers::wire::{ACK, ETX, STX, SW_DONE, reader, status};

use crate::support::cpu_of_thread;

const LIMIT: Duration = Duration::from_secs(5);
/// More bytes than any message of this bench has.
const ROOM: usize = 16 << 10;

/// CPU time of sending each card's messages through a simulated reader, and of moving it: feed, take, park,
/// stack.
pub fn cards(folder: &Path, cards: &[Vec<Vec<Vec<u8>>>]) -> Duration {
    let socket = machine(&folder.join("reader.sock"), |request, answer| {
        let mut say = |kind, body: &[u8]| {
            answer.push(kind);
            answer.extend((body.len() as u32).to_be_bytes());
            answer.extend(body);
        };
        match request[0] {
            reader::POWER_ON => say(reader::ATR, &[0x3B, 0x00]),
            reader::TRANSMIT_ALL => {
                let mut rest = &request[5..];
                while let [0, high, low, more @ ..] = rest {
                    say(reader::RESPONSE, &SW_DONE);
                    rest = &more[usize::from(u16::from_be_bytes([*high, *low]))..];
                }
            }
            _ => say(reader::OFF, &[]),
        }
    });
    let mut reader = SimReader::connect(&socket, "chip-1").unwrap();
    let socket = machine(&folder.join("transport.sock"), |request, answer| {
        // The acknowledgement of the last answer may come alone, or together with the next command.
        if let [ACK, STX, command, ..] | [STX, command, ..] = request {
            let bcc = command ^ status::DONE ^ ETX;
            answer.extend([ACK, STX, *command, status::DONE, ETX, bcc]);
        }
    });
    let mut transport = Transport::new(SimLink::connect(&socket, "output", SimDevice::Transport).unwrap());

    let before = cpu_of_thread();
    for (messages, number) in cards.iter().zip(1..) {
        transport.feed().unwrap();
        reader.power_on(Reset::Cold, Protocols::ANY, LIMIT).unwrap();
        for commands in messages {
            let steps: Vec<CommandStep<'_>> =
                commands.iter().map(|command| CommandStep { command, go_on: &[] }).collect();
            let mut responses = Vec::new();
            reader.transmit_all(&steps, SessionLimits { each: LIMIT, all: LIMIT }, &mut responses).unwrap();
            assert_eq!(responses.len(), commands.len());
        }
        reader.power_off(LIMIT).unwrap();
        transport.take("chip-1").unwrap();
        transport.park(1).unwrap();
        transport.stack(1, number).unwrap();
    }
    cpu_of_thread() - before
}

/// A machine for one connection: a thread that answers each message until the other end hangs up.
fn machine(socket: &Path, answer: impl Fn(&[u8], &mut Vec<u8>) + Send + 'static) -> PathBuf {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        hello(&mut stream);
        let (mut request, mut out) = ([0; ROOM], Vec::new());
        loop {
            // The other end sends each message in one piece and waits for the answer.
            let length = stream.read(&mut request).unwrap();
            if length == 0 {
                return;
            }
            out.clear();
            answer(&request[..length], &mut out);
            stream.write_all(&out).unwrap();
        }
    });
    socket.to_owned()
}

fn hello(stream: &mut UnixStream) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    let answer = br#"{"simulated": true}"#;
    stream.write_all(&(answer.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(answer).unwrap();
}
