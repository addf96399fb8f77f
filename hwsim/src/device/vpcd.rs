//! A card in a vpcd virtual reader: the card's end of its TCP connection. The card connects, vpcd listens.
//!
//! ```text
//! message = length u16 BE | body      body of one byte: 00 power off, 01 power on, 02 reset (no answer)
//!                                                       04 the ATR is asked for, at any time; answered with it
//!                                     else a command APDU, answered with a response APDU
//! ```
//!
//! There is a connection exactly while the card touches the contacts; the reader reports a card during that
//! time. The ATR of a mute card is one byte that begins no ATR: for pcscd, a card that does not answer. An
//! empty answer would hang vpcd, which waits in `recv` for its 0 bytes until the card has left. vpcd sends
//! length and body in two writes. Without TCP_QUICKACK, which does not last and is set before every read, an
//! APDU takes 40 ms.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use drivers::wire::reader;
use rustix::net::sockopt::set_tcp_quickack;

use super::link::{MachineLink, forget};
use super::reader::{ChipContacts, ContactsReply};
use crate::world::{SimulatedLine, SimulatedStation};

const POWER_OFF: &[u8] = &[0x00];
const POWER_ON: &[u8] = &[0x01];
const RESET: &[u8] = &[0x02];
const GET_ATR: &[u8] = &[0x04];

/// ATR of a mute card: neither TS has this value (ISO 7816-3, 8.1).
const NO_ATR: &[u8] = &[0x00];

/// Pause between two attempts to reach a vpcd that does not listen.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);

/// Keeps the virtual reader at `address` as full or empty as the station, without end.
pub fn attend(world: &SimulatedLine, station: &SimulatedStation, address: &str) {
    loop {
        let n = station.wait_for_contact();
        match TcpStream::connect(address) {
            Ok(stream) if station.plug(n, &stream) => {
                if let Err(error) = serve(&stream, world, station)
                    && !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
                {
                    tracing::warn!(station = station.name, %error, "virtual reader");
                }
                station.unplug();
            }
            Ok(_) => continue, // the card has left meanwhile
            Err(error) => tracing::debug!(address, %error, "vpcd does not listen yet"),
        }
        std::thread::sleep(CONNECT_AGAIN / 10);
        if !station.touches(n) {
            continue;
        }
        std::thread::sleep(CONNECT_AGAIN);
    }
}

/// Serves one connection until it ends, or the card has left the contacts.
fn serve(stream: &TcpStream, world: &SimulatedLine, station: &SimulatedStation) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut contacts = ChipContacts::new(world, station);
    let mut body = Vec::new();
    let mut answer = Vec::new();
    loop {
        let mut length = [0; 2];
        match take(stream, &mut length) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        body.resize(u16::from_be_bytes(length).into(), 0);
        take(stream, &mut body)?;
        answer.clear();
        match &body[..] {
            POWER_OFF => {
                contacts.power_off();
            }
            POWER_ON | RESET => {
                if let ContactsReply::Never = contacts.power_on() {
                    return forget(stream);
                }
            }
            GET_ATR => {
                let Some(atr) = contacts.atr() else { return Ok(()) };
                put(&mut answer, if atr.is_empty() { NO_ATR } else { &atr });
            }
            command => match contacts.transmit(command) {
                ContactsReply::Said(reader::RESPONSE, response) => put(&mut answer, &response),
                ContactsReply::Said(..) => return Ok(()), // pulled, or without power
                ContactsReply::Never => return forget(stream),
            },
        }
        if !answer.is_empty() {
            stream.send(&answer)?;
        }
    }
}

fn put(answer: &mut Vec<u8>, body: &[u8]) {
    answer.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    answer.extend(body);
}

/// Fills the buffer, with the TCP acknowledgement sent at once.
fn take(stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        set_tcp_quickack(stream, true)?;
        match stream.receive(buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => buffer = buffer.get_mut(n..).unwrap_or_default(),
        }
    }
    Ok(())
}
