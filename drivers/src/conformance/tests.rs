//! Tests that the checks find the faults that they look for: machines with one fault each, and one without.

use std::collections::VecDeque;

use super::*;
use crate::link::{CardError, CardLink, CommandStep, Protocols, Reset, SessionLimits};
use crate::presence::{CardPresence, DeviceConnection, LookFor, ReaderSighting};
use crate::printer::CardPrinter;
use crate::registry::Capability;
use crate::stripe::{LeadingZeros, RawTracks, StripeEncoder, TrackNumber, Tracks, WriteCoercivity};

/// The names of the checks that failed.
fn failed(findings: &[ConformanceFinding]) -> Vec<&'static str> {
    findings.iter().filter(|f| f.outcome.is_err()).map(|f| f.check).collect()
}

/// An encoder with a card; it has one fault, or none.
struct Encoder {
    fault: &'static str,
    tracks: [Option<String>; 3],
    raw: [Vec<u8>; 3],
    set: Recording,
    asked: u32,
}

fn encoder(fault: &'static str) -> Encoder {
    let set = Recording {
        leading_zeros: Some(LeadingZeros { t13: 61, t2: 22 }),
        ..Recording::on(WriteCoercivity::Hi)
    };
    Encoder { fault, tracks: [None, None, None], raw: Default::default(), set, asked: 0 }
}

impl StripeEncoder for Encoder {
    fn write(&mut self, tracks: &Tracks, how: &Recording) -> Result<(), DeviceError> {
        if tracks.t2.as_ref().is_some_and(|t| t.contains('A')) && self.fault != "takes wrong data" {
            return Err(DeviceError::Data("letter"));
        }
        self.set(how)?;
        self.tracks = [tracks.t1.clone(), tracks.t2.clone(), tracks.t3.clone()];
        if self.fault == "loses a character" {
            self.tracks[0].as_mut().map(String::pop);
        }
        Ok(())
    }
    fn read(&mut self) -> Result<Tracks, DeviceError> {
        let [t1, t2, t3] = self.tracks.clone();
        Ok(Tracks { t1, t2, t3 })
    }
    fn erase(&mut self, _: &[TrackNumber], _: &Recording) -> Result<(), DeviceError> {
        if self.fault != "does not erase" {
            self.tracks = [None, None, None];
        }
        Ok(())
    }
    fn write_raw(&mut self, raw: &RawTracks, _: [u8; 3], _: &Recording) -> Result<(), DeviceError> {
        self.raw = [raw.t1.clone(), raw.t2.clone(), raw.t3.clone()];
        Ok(())
    }
    fn read_raw(&mut self, _: [u8; 3]) -> Result<RawTracks, DeviceError> {
        let [t1, t2, mut t3] = self.raw.clone();
        if self.fault == "reads bits wrong" {
            t3.push(1);
        }
        Ok(RawTracks { t1, t2, t3 })
    }
    fn set(&mut self, how: &Recording) -> Result<(), DeviceError> {
        if self.fault != "stays at HiCo" {
            self.set.coercivity = how.coercivity;
        }
        self.set.leading_zeros = how.leading_zeros.or(self.set.leading_zeros);
        Ok(())
    }
    fn settings(&mut self) -> Result<Recording, DeviceError> {
        Ok(self.set)
    }
    fn ready(&mut self) -> Result<String, DeviceError> {
        self.asked += 1;
        match self.fault {
            "silent" => Err(DeviceError::Timeout(OPEN_TIME)),
            "garbles its name" => Ok(format!("E{}", self.asked)),
            "nameless" => Ok(String::new()),
            _ => Ok("E".to_owned()),
        }
    }
    fn reopen(&mut self, _: Duration) -> Result<(), DeviceError> {
        if self.fault == "does not come back" { Err(DeviceError::Closed) } else { Ok(()) }
    }
}

#[test]
fn each_fault_of_an_encoder_is_found_and_none_where_none_is() {
    let all = crate::stripe::msr605::CAPABILITIES;
    let card = CardUnderTest::Spoil(Recording::on(WriteCoercivity::Hi));
    for (fault, checks) in [
        ("", &[][..]),
        ("silent", &["it answers"]),
        ("garbles its name", &["it says the same again", "it answers over a new connection"]),
        ("nameless", &["it says what it is"]),
        ("does not come back", &["it answers over a new connection"]),
        ("stays at HiCo", &["it can be set to LoCo"]),
        ("takes wrong data", &["it refuses letters on track 2"]),
        ("loses a character", &["it writes a stripe", "it writes a full stripe"]),
        ("does not erase", &["it erases"]),
        ("reads bits wrong", &["it writes and reads bits"]),
    ] {
        assert_eq!(failed(&stripe(&mut encoder(fault), all, card)), checks, "{fault}");
    }
}

#[test]
fn an_undeclared_ability_is_found() {
    let none = [Capability::HiCo];
    let found = failed(&stripe(&mut encoder(""), &none, CardUnderTest::None));
    assert_eq!(found, ["it refuses what it does not declare"; 7]);
}

#[test]
fn without_a_card_nothing_is_written() {
    let mut machine = encoder("");
    stripe(&mut machine, crate::stripe::msr605::CAPABILITIES, CardUnderTest::None);
    assert_eq!((machine.tracks, machine.raw), ([None, None, None], <[Vec<u8>; 3]>::default()));
}

/// A printer that has every ability, and counts the printed cards.
struct Printer {
    printed: u32,
    name: &'static str,
}

impl CardPrinter for Printer {
    fn print(&mut self, front: Option<&[u8]>, back: Option<&[u8]>) -> Result<(), DeviceError> {
        if front.is_none() && back.is_none() {
            return Err(DeviceError::Data("nothing"));
        }
        self.printed += 1;
        Ok(())
    }
    fn ready(&mut self) -> Result<String, DeviceError> {
        Ok(self.name.to_owned())
    }
    fn reopen(&mut self, _: Duration) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[test]
fn a_printer_prints_only_with_a_card() {
    let mut machine = Printer { printed: 0, name: "Card Printer P" };
    let can = crate::printer::framed::CAPABILITIES;
    assert!(failed(&printer(&mut machine, can, CardUnderTest::None)).is_empty());
    assert_eq!(machine.printed, 0);
    assert!(
        failed(&printer(&mut machine, can, CardUnderTest::Spoil(Recording::on(WriteCoercivity::Hi))))
            .is_empty()
    );
    assert_eq!(machine.printed, 3);
    let found = failed(&printer(&mut machine, &[Capability::Front], CardUnderTest::None));
    assert_eq!(found, ["it refuses what it does not declare"]);
}

#[test]
fn a_machine_of_another_kind_is_found_and_asked_nothing_more() {
    let mut other = Printer { printed: 0, name: "Embosser E" };
    let found = printer(&mut other, crate::printer::framed::CAPABILITIES, CardUnderTest::None);
    assert_eq!(failed(&found), ["it is what the profile says"]);
    assert!(found.last().unwrap().outcome.clone().unwrap_err().contains("no printer"));
}

/// A reader whose card answers SELECT with these status words in turn, then with 9000, and an unknown
/// instruction with 6D00.
struct Reader {
    on: bool,
    fault: &'static str,
    words: VecDeque<[u8; 2]>,
}

impl CardLink for Reader {
    fn power_on(&mut self, how: Reset, _: Protocols, _: Duration) -> Result<Vec<u8>, CardError> {
        if self.fault == "mute when warm" && how == Reset::Warm {
            return Err(CardError::Mute);
        }
        self.on = true;
        Ok(if self.fault == "no ATR" { vec![0x90, 0x00] } else { vec![0x3B, 0x00] })
    }
    fn transmit(&mut self, command: &[u8], _: Duration) -> Result<Vec<u8>, CardError> {
        match command {
            _ if !self.on && self.fault != "works without power" => Err(CardError::Removed),
            [_, 0xA4, _, _, 0, ..] if self.fault == "not extended" => Ok(vec![0x67, 0x00]),
            [_, 0xA4, ..] => Ok(self.words.pop_front().unwrap_or([0x90, 0x00]).to_vec()),
            _ => Ok(if self.fault == "does everything" { vec![0x90, 0x00] } else { vec![0x6D, 0x00] }),
        }
    }
    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        for step in steps {
            let response = self.transmit(step.command, limits.each)?;
            let stop = !step.goes_on_after(&response) && self.fault != "never stops";
            responses.push(response);
            if stop || self.fault == "always stops" {
                break;
            }
        }
        Ok(())
    }
    fn power_off(&mut self, _: Duration) -> Result<(), CardError> {
        self.on = false;
        Ok(())
    }
    fn probe(&mut self, _: Duration) -> Result<(), CardError> {
        if self.fault == "held" { Err(CardError::Held) } else { Ok(()) }
    }
    fn look(&mut self, _: LookFor, _: Duration) -> Result<ReaderSighting, CardError> {
        let presence = if self.on { CardPresence::Card } else { CardPresence::Empty };
        Ok(ReaderSighting { presence, connection: DeviceConnection::through("fake") })
    }
    fn reopen(&mut self, _: Duration) -> Result<(), CardError> {
        Ok(())
    }
}

#[test]
fn each_fault_of_a_reader_is_found_and_none_where_none_is() {
    let chip = ChipUnderTest { protocols: Protocols::ANY, aid: b"\xA0\x00\x00\x00\x03", extended: true };
    let suite = ReaderSuite { timeout: Duration::from_secs(1), card: Some(chip) };
    for (fault, checks) in [
        ("", &[][..]),
        ("held", &["the reader answers"]),
        ("no ATR", &["a cold reset gives an ATR"]),
        ("mute when warm", &["a warm reset gives an ATR"]),
        ("never stops", &["a session stops at the status word that it must"]),
        ("always stops", &["a session goes on after the status words that it may"]),
        ("not extended", &["a command of extended length is answered"]),
        ("works without power", &["without power no command is answered"]),
    ] {
        let mut reader_under_test = Reader { on: false, fault, words: VecDeque::new() };
        assert_eq!(failed(&reader(&mut reader_under_test, &suite)), checks, "{fault}");
    }
    let mut other = Reader { on: false, fault: "", words: [[0x6A, 0x82]].into() };
    assert_eq!(failed(&reader(&mut other, &suite)), ["SELECT finds the application"]);
    let mut eager = Reader { on: false, fault: "does everything", words: VecDeque::new() };
    let found = failed(&reader(&mut eager, &suite));
    assert!(found.contains(&"an unknown instruction is refused with a status word"), "{found:?}");
}

#[test]
fn without_a_card_a_reader_is_only_asked_whether_it_answers() {
    let mut link = Reader { on: false, fault: "mute when warm", words: VecDeque::new() };
    let findings = reader(&mut link, &ReaderSuite { timeout: Duration::from_secs(1), card: None });
    assert_eq!((failed(&findings).len(), findings.len(), link.on), (0, 2, false));
}
