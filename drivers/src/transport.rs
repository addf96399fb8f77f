//! Transport: moves cards from the hopper through the stations to the stackers (wire section 5).
//!
//! One link for each station and one for the output. Not here: the decision which card goes where and in
//! which order.

use std::time::Duration;

use crate::error::{Condition, DeviceError};
use crate::framed::FramedLink;
use crate::link::ByteLink;

/// Time for one movement of a card; a line moves a card in well under a second.
const MOVE_WORK: Duration = Duration::from_secs(15);

/// The command that throws a card out.
const REJECT: u8 = b'R';

/// The transport's end at one station, or at the output.
pub struct Transport<L> {
    framed: FramedLink<L>,
    work: Duration,
    /// Name of the station that it must belong to.
    station: Option<String>,
    /// It has said that it belongs there, since the connection was made.
    identified: bool,
}

impl<L: ByteLink> Transport<L> {
    /// Takes the link over.
    pub fn new(link: L) -> Self {
        Self { framed: FramedLink::new(link), work: MOVE_WORK, station: None, identified: false }
    }

    /// Before its first movement on a connection, the transport has to say that it belongs to this station
    /// ("chip-3"), or `output`: cables may be exchanged.
    pub fn of_station(self, station: &str) -> Self {
        Self { station: Some(station.to_owned()), ..self }
    }

    /// Changes the time limit for one movement, which is 15 s otherwise.
    pub fn with_work_time(self, work: Duration) -> Self {
        Self { work, ..self }
    }

    /// Feeds a blank from the hopper into this station; [`DeviceError::HopperEmpty`] if there is none.
    pub fn feed(&mut self) -> Result<(), DeviceError> {
        self.motion(b'F', &[]).map_err(|error| match error.condition() {
            Some(Condition::Supply) => DeviceError::HopperEmpty,
            _ => error,
        })
    }

    /// Lifts the card that lies in station `from` ("chip-3"). The card is then on its way to this station, or
    /// into the output's hand, and `from` is free.
    pub fn take(&mut self, from: &str) -> Result<(), DeviceError> {
        self.motion(b'T', from.as_bytes())
    }

    /// Waits until the card on its way lies in this station.
    pub fn arrive(&mut self) -> Result<(), DeviceError> {
        self.motion(b'A', &[])
    }

    /// Throws the card that lies in this station, or is on its way to it, into the reject bin; at the output,
    /// one card of the hand or the buffer places. Without a card: [`Condition::NoCard`].
    pub fn reject(&mut self) -> Result<(), DeviceError> {
        self.motion(REJECT, &[])
    }

    /// At the output: waits for the card on its way and puts it into buffer place `slot`.
    pub fn park(&mut self, slot: u16) -> Result<(), DeviceError> {
        self.motion(b'B', &slot.to_be_bytes())
    }

    /// At the output: stacks the card of buffer place `slot` with the good cards, as number `position`.
    pub fn stack(&mut self, slot: u16, position: u32) -> Result<(), DeviceError> {
        self.motion(b'K', &place(slot, position))
    }

    /// At the output: stacks the card of buffer place `slot` with the remakes, as number `position`.
    pub fn stack_remake(&mut self, slot: u16, position: u32) -> Result<(), DeviceError> {
        self.motion(b'M', &place(slot, position))
    }

    /// At the output: throws the card of buffer place `slot` into the reject bin.
    pub fn discard(&mut self, slot: u16) -> Result<(), DeviceError> {
        self.motion(REJECT, &slot.to_be_bytes())
    }

    /// Asks whether the transport is ready. Returns the name of its station, or `output`, followed by the
    /// model's name.
    pub fn status(&mut self) -> Result<String, DeviceError> {
        self.framed.model()
    }

    /// Checks that the transport is ready and belongs to its station.
    pub fn check(&mut self) -> Result<(), DeviceError> {
        let station = self.station.clone().unwrap_or_default();
        self.identify(&station, b'S')
    }

    /// Drops the connection and makes a new one, within `timeout`. A movement that was under way may still
    /// happen.
    pub fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.identified = false;
        self.framed.reopen(timeout)
    }

    fn motion(&mut self, cmd: u8, data: &[u8]) -> Result<(), DeviceError> {
        if let Some(station) = self.station.clone().filter(|_| !self.identified) {
            self.identify(&station, cmd)?;
        }
        self.framed.command(cmd, data, self.work).map(drop)
    }

    fn identify(&mut self, station: &str, cmd: u8) -> Result<(), DeviceError> {
        match self.status() {
            Ok(says) if says.split(' ').next() == Some(station) => {
                self.identified = true;
                Ok(())
            }
            Ok(says) => Err(DeviceError::OtherStation { station: station.to_owned(), says }),
            // A jammed transport does not say its name. It may throw out what lies there, wherever that is.
            Err(error) if error.is_jam() && cmd == REJECT => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// slot u16 BE, position u32 BE.
fn place(slot: u16, position: u32) -> [u8; 6] {
    let [a, b] = slot.to_be_bytes();
    let [c, d, e, f] = position.to_be_bytes();
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ByteLink;
    use crate::testing::{Script, frame};

    type Act = fn(&mut Transport<Box<dyn ByteLink>>) -> Result<(), DeviceError>;

    /// Every command and its body as wire section 5 gives it; slot 258, position 66,051.
    const COMMANDS: [(Act, &[u8]); 9] = [
        (|t| t.feed(), b"F"),
        (|t| t.take("chip-3"), b"Tchip-3"),
        (|t| t.arrive(), b"A"),
        (|t| t.reject(), b"R"),
        (|t| t.park(0x0102), b"B\x01\x02"),
        (|t| t.stack(0x0102, 0x0001_0203), b"K\x01\x02\x00\x01\x02\x03"),
        (|t| t.stack_remake(0x0102, 0x0001_0203), b"M\x01\x02\x00\x01\x02\x03"),
        (|t| t.discard(0x0102), b"R\x01\x02"),
        (|t| t.status().map(drop), b"S"),
    ];

    fn run(act: Act, body: &[u8], status: u8) -> Result<(), DeviceError> {
        let (link, check) = Script::new()
            .expect(&frame(body))
            .give(&[0x06])
            .give(&frame(&[body[0], status]))
            .expect(&[0x06])
            .build();
        let boxed: Box<dyn ByteLink> = Box::new(link);
        let outcome = act(&mut Transport::new(boxed));
        check.finished();
        outcome
    }

    #[test]
    fn every_command_is_sent_as_in_wire_section_5() {
        for (act, body) in COMMANDS {
            run(act, body, b'0').unwrap();
        }
    }

    #[test]
    fn every_status_of_every_command_is_reported() {
        for (act, body) in COMMANDS {
            for status in (0x20..=0x7E).filter(|s| *s != b'0') {
                let error = run(act, body, status).unwrap_err();
                match (body, status) {
                    (b"F", b'4') => assert_eq!(error, DeviceError::HopperEmpty),
                    _ => assert!(matches!(error, DeviceError::Status { status: s, .. } if s == status)),
                }
            }
        }
    }

    #[test]
    fn an_empty_hopper_is_no_jam() {
        let (act, body) = COMMANDS[0];
        assert!(run(act, body, b'1').unwrap_err().is_jam());
        assert!(!run(act, body, b'4').unwrap_err().is_jam());
    }

    /// A transport that says this name to each question, and then does what it is told.
    fn named(name: &str, commands: &[&[u8]]) -> (Transport<Box<dyn ByteLink>>, crate::testing::ScriptCheck) {
        let mut script = Script::new();
        for command in commands {
            let data = if *command == b"S" { name.as_bytes() } else { b"" };
            let answer = [&command[..1], b"0", data].concat();
            script = script.expect(&frame(command)).give(&[0x06]).give(&frame(&answer)).expect(&[0x06]);
        }
        let (link, check) = script.build();
        let boxed: Box<dyn ByteLink> = Box::new(link);
        (Transport::new(boxed).of_station("chip-3"), check)
    }

    #[test]
    fn it_moves_nothing_before_it_said_its_own_name_on_each_connection() {
        let (mut transport, check) = named("chip-3 model X", &[b"S", b"F", b"R", b"S", b"F"]);
        transport.feed().unwrap();
        transport.reject().unwrap();
        transport.reopen(Duration::from_secs(1)).unwrap();
        transport.feed().unwrap();
        check.finished();
        for name in ["chip-4 model X", "chip-33", "", "chip-3x y"] {
            let (mut transport, check) = named(name, &[b"S"]);
            let error = transport.feed().unwrap_err();
            assert!(matches!(error, DeviceError::OtherStation { .. }), "{error}");
            check.finished();
        }
    }

    #[test]
    fn a_broken_connection_is_made_anew() {
        let (link, check) = Script::new().done(b'F', b"").done(b'S', b"").build();
        let mut transport = Transport::new(link);
        transport.feed().unwrap();
        transport.reopen(Duration::from_secs(1)).unwrap();
        transport.status().unwrap();
        check.finished();
    }

    #[test]
    fn a_machine_that_stays_silent_ends_as_timeout() {
        let (link, check) = Script::new().expect(&frame(b"F")).give(&[0x06]).build();
        let work = Duration::from_secs(1);
        assert_eq!(Transport::new(link).with_work_time(work).feed(), Err(DeviceError::Timeout(work)));
        check.finished();
    }
}
