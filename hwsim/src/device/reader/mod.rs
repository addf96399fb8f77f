//! Simulated chip reader (`drivers::wire` section 1): power on, transmit, power off. It carries the commands
//! and responses of the card's protocol as they are.
//!
//! A card that was pulled, or a blank that is jammed in the feed, does not touch the contacts: "no card" at
//! power on. A transmit to a card without power is "card removed". A malformed request ends the connection.
//! If a request holds several commands, each answer is sent as soon as its time has passed; if nothing takes
//! time, they are sent together.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use drivers::wire::{READER_BODY_MAX, SW_DONE, reader};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;

use super::link::forget;
use crate::blank::SimulatedBlank;
use crate::faults::{FaultKind, InjectedFault};
use crate::pace::LinkPace;
use crate::sync::lock;
use crate::world::{SimulatedLine, SimulatedStation};

/// Pause between two looks at the place.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// INS of INITIALIZE UPDATE, where a wrong supplier or cryptogram shows.
const INITIALIZE_UPDATE: u8 = 0x50;
/// INS of STORE DATA, where an injected status shows.
const STORE_DATA: u8 = 0xE2;
/// INS of READ RECORD, where a corrupt record shows.
const READ_RECORD: u8 = 0xB2;
/// SW1 over T=0: there is more to fetch.
const MORE: u8 = 0x61;

/// Serves the reader of a station until the other end hangs up.
pub fn serve(stream: &UnixStream, world: &SimulatedLine, station: &SimulatedStation) -> io::Result<()> {
    let mut requests = BufReader::new(stream);
    let mut answers = stream;
    let mut contacts = ChipContacts::new(world, station);
    contacts.controller = getsockopt(stream, PeerCredentials).ok().map(|peer| Pid::from_raw(peer.pid()));
    let mut body = Vec::new();
    let mut answer = Vec::new();
    let device = world.wiring.linked(&station.name);
    loop {
        if requests.buffer().is_empty() && device.is_cut(stream)? {
            return Ok(());
        }
        let mut header = [0; 5];
        match requests.read_exact(&mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > READER_BODY_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "request too long"));
        }
        body.resize(length, 0);
        requests.read_exact(&mut body)?;
        answer.clear();
        let last = match (kind, &body[..]) {
            (reader::POWER_ON, [_, _]) => contacts.power_on(),
            (reader::TRANSMIT, command) => contacts.transmit(command),
            (reader::TRANSMIT_ALL, commands) => all(&mut contacts, commands, &mut answer, &mut answers)?,
            (reader::POWER_OFF, []) => contacts.power_off(),
            (reader::PROBE, []) => ContactsReply::Said(reader::READY, Vec::new()),
            (reader::LOOK, [wanted, wait @ ..]) => {
                let wait = wait.try_into().map(u32::from_be_bytes).map_err(|_| no_request())?;
                contacts.look(*wanted, Duration::from_millis(wait.into())).ok_or_else(no_request)?
            }
            _ => return Err(no_request()),
        };
        match last {
            ContactsReply::Said(kind, said) => put(&mut answer, kind, &said),
            ContactsReply::Never => {
                answers.write_all(&answer)?;
                return forget(stream);
            }
        }
        answers.write_all(&answer)?;
    }
}

/// Sends commands to the card, and the answers to all but the last one, until one of them ends the session;
/// returns the last answer.
fn all(
    contacts: &mut ChipContacts<'_>,
    commands: &[u8],
    answer: &mut Vec<u8>,
    answers: &mut impl Write,
) -> io::Result<ContactsReply> {
    let mut commands = split(commands).ok_or_else(no_request)?.into_iter().peekable();
    loop {
        let (command, go_on) = commands.next().ok_or_else(no_request)?;
        let reply = contacts.transmit(command);
        match &reply {
            ContactsReply::Said(reader::RESPONSE, response)
                if commands.peek().is_some() && goes_on_after(response, go_on) =>
            {
                put(answer, reader::RESPONSE, response);
            }
            _ => return Ok(reply),
        }
        if !contacts.pace.is_instant() {
            answers.write_all(answer)?;
            answer.clear();
        }
    }
}

fn no_request() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a request of a reader")
}

fn put(answer: &mut Vec<u8>, kind: u8, said: &[u8]) {
    answer.push(kind);
    answer.extend(u32::try_from(said.len()).unwrap_or(u32::MAX).to_be_bytes());
    answer.extend(said);
}

/// Whether the next command is sent: after 9000, or after a status word in the command's own list (2 bytes
/// each).
fn goes_on_after(response: &[u8], go_on: &[u8]) -> bool {
    let (words, _) = go_on.as_chunks::<2>();
    response.ends_with(&SW_DONE) || words.iter().any(|sw| response.ends_with(sw))
}

/// Splits `{ n u8 | n x status word | length u16 BE | command }+` into commands with their status words.
fn split(mut body: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut commands = Vec::new();
    while let Some((n, rest)) = body.split_first() {
        let (go_on, rest) = rest.split_at_checked(2 * usize::from(*n))?;
        let (length, rest) = rest.split_first_chunk()?;
        let (command, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        commands.push((command, go_on));
        body = rest;
    }
    (!commands.is_empty()).then_some(commands)
}

/// The answer of the contacts to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum ContactsReply {
    /// Kind and body of an answer.
    Said(u8, Vec<u8>),
    /// No answer: the card hangs.
    Never,
}

fn failed(why: u8) -> ContactsReply {
    ContactsReply::Said(reader::FAILED, vec![why])
}

/// The contacts of a chip station, and the time that its card takes.
pub struct ChipContacts<'a> {
    world: &'a SimulatedLine,
    station: &'a SimulatedStation,
    pace: LinkPace,
    /// When the card that has power was reset.
    reset: Option<Instant>,
    /// Process of the controller, if it is connected to the line's own socket.
    controller: Option<Pid>,
}

impl<'a> ChipContacts<'a> {
    /// The contacts of this station.
    pub fn new(world: &'a SimulatedLine, station: &'a SimulatedStation) -> Self {
        Self { world, station, pace: LinkPace::new(world.speed), reset: None, controller: None }
    }

    /// What the reader sees, once that is what is asked for, and after `wait` at the latest; `None` if nothing
    /// known is asked for.
    fn look(&self, wanted: u8, wait: Duration) -> Option<ContactsReply> {
        let until = Instant::now() + wait;
        loop {
            let sees = self.sees();
            let met = match wanted {
                reader::FOR_ANYTHING => true,
                reader::FOR_NO_CARD => !sees,
                reader::FOR_CARD => sees,
                _ => return None,
            };
            if met || Instant::now() >= until {
                let presence = if sees { reader::SEES_CARD } else { reader::SEES_NONE };
                // Nothing is counted: a link that ended is made again by another name.
                return Some(ContactsReply::Said(reader::SEEN, vec![presence, 0, 0]));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn sees(&self) -> bool {
        let wiring = &self.world.wiring;
        let place = &self.station.name;
        wiring.always_sees(place) || self.station.touches_since(wiring.lateness(place))
    }

    /// Resets the card and returns its ATR.
    pub fn power_on(&mut self) -> ContactsReply {
        let (world, station) = (self.world, self.station);
        if !self.sees() {
            return failed(reader::NO_CARD);
        }
        let slot = station.slot();
        let Some(card) = slot.card() else { return failed(reader::NO_CARD) };
        let mut blank = lock(card);
        if blank.pulled || blank.jammed {
            return failed(reader::NO_CARD);
        }
        if hangs(&blank, station) {
            return ContactsReply::Never;
        }
        if !blank.powered {
            self.reset = None;
        }
        let atr = blank.chip.power_on();
        blank.powered = atr.is_some();
        match atr {
            Some(atr) => {
                for kind in [FaultKind::WrongAtr, FaultKind::GarbledAtr, FaultKind::WrongProtocol] {
                    world.strikes(&mut blank, kind, station);
                }
                drop(blank);
                self.reset.get_or_insert_with(Instant::now);
                self.pace.work(world.chip_timing.reset(&atr));
                ContactsReply::Said(reader::ATR, atr)
            }
            None if blank.fault(FaultKind::Mute).is_some() => {
                world.strikes(&mut blank, FaultKind::Mute, station);
                failed(reader::MUTE)
            }
            None => {
                self.pull(&mut blank);
                failed(reader::NO_CARD)
            }
        }
    }

    /// Lets the card leave the contacts, because of its fault.
    fn pull(&self, blank: &mut SimulatedBlank) {
        blank.powered = false;
        blank.pulled = true;
        self.world.strikes(blank, FaultKind::CardPulled, self.station);
    }

    /// Sends one command APDU to the card and returns its response.
    pub fn transmit(&mut self, command: &[u8]) -> ContactsReply {
        let (world, station) = (self.world, self.station);
        let slot = station.slot();
        let Some(card) = slot.card() else { return failed(reader::REMOVED) };
        let (response, cost, late) = {
            let mut blank = lock(card);
            if !blank.powered {
                return failed(reader::REMOVED);
            }
            let over = |fault: Option<InjectedFault>, commands| fault.is_some_and(|f| commands > f.after);
            // Faults are counted in APDUs: what fetches an answer over T=0 belongs to the command before.
            let fetches = blank.chip.fetches(command);
            blank.commands += u32::from(!fetches);
            if over(blank.fault(FaultKind::Hang), blank.commands)
                && world.strikes(&mut blank, FaultKind::Hang, station)
            {
                blank.hangs_in = Some(station.name.clone());
            }
            if hangs(&blank, station) {
                return ContactsReply::Never;
            }
            let Some(response) = blank.chip.transmit(command) else {
                self.pull(&mut blank);
                return failed(reader::REMOVED);
            };
            self.note(&mut blank, command, &response);
            // The worst moment: the card has carried out the command, and the answer is lost.
            if let Some(controller) = self.controller
                && !fetches
                && world.is_last_apdu(&blank, station)
            {
                if let Err(error) = kill(controller, Signal::SIGKILL) {
                    tracing::error!(%controller, %error, "the controller cannot be killed");
                }
                return ContactsReply::Never;
            }
            let is_late = over(blank.fault(FaultKind::Late), blank.commands);
            let late = if is_late { world.strike(&mut blank, FaultKind::Late, station) } else { None };
            (response, blank.chip.take_cost(), late)
        };
        self.pace.work(world.chip_timing.exchange(command, &response, &cost));
        lock(card).worked = Instant::now();
        drop(slot); // a card whose answer is late can be thrown out
        if let Some(fault) = late {
            std::thread::sleep(fault.pause());
        }
        ContactsReply::Said(reader::RESPONSE, response)
    }

    /// The ATR of the card without a reset, empty if it is mute; `None` if no card touches the contacts.
    pub fn atr(&self) -> Option<Vec<u8>> {
        let slot = self.station.slot();
        let blank = lock(slot.card()?);
        (!blank.pulled && !blank.jammed).then(|| blank.chip.atr().unwrap_or_default().to_vec())
    }

    /// Notifies the witness of chip faults that show in this exchange.
    fn note(&self, blank: &mut SimulatedBlank, command: &[u8], response: &[u8]) {
        let mut strikes = |kind| self.world.strikes(blank, kind, self.station);
        // Over T=0 the answer of a command with data is still to be fetched.
        let to_fetch = matches!(response, [.., MORE, _]);
        if to_fetch {
            strikes(FaultKind::AnswerPieces);
            strikes(FaultKind::AnswerLength);
        }
        let done = to_fetch || response.ends_with(&SW_DONE);
        match command.get(1) {
            Some(&INITIALIZE_UPDATE) if done => {
                strikes(FaultKind::UnknownKmc);
                strikes(FaultKind::WrongCryptogram);
                strikes(FaultKind::CounterPerApplication);
            }
            Some(&READ_RECORD) if done => {
                strikes(FaultKind::ChipCorrupt);
            }
            Some(&STORE_DATA)
                if blank.fault(FaultKind::Status).is_some_and(|f| response == f.sw.to_be_bytes()) =>
            {
                self.world.strikes(blank, FaultKind::Status, self.station);
            }
            _ => {}
        }
    }

    /// Takes the power off, once the chip work has taken as long as in the profile.
    pub fn power_off(&mut self) -> ContactsReply {
        let slot = self.station.slot();
        if let Some(card) = slot.card() {
            let powered = lock(card).powered;
            if let Some(reset) = self.reset.take().filter(|_| powered) {
                self.pace.until(reset, self.world.sim.chip_s);
                lock(card).worked = Instant::now();
            }
            lock(card).power_off();
        }
        ContactsReply::Said(reader::OFF, Vec::new())
    }
}

/// Whether the chip gives no more answers in this station.
fn hangs(blank: &SimulatedBlank, station: &SimulatedStation) -> bool {
    blank.hangs_in.as_ref() == Some(&station.name)
}

#[cfg(test)]
mod tests;
