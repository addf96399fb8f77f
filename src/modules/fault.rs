//! Turns errors of devices, cards and HSM into the [`Fault`] that pipeline, ledger and people see.

use drivers::link::{CardError, LinkError};
use drivers::{Condition, DeviceError};

use super::{Blame, Fault};
use crate::hsm::memory::{AttemptBar, AttemptRefusal};
use crate::hsm::{HsmError, HsmRefusal};
use crate::ids::KeyData;
use crate::laws::HsmUse;
use crate::reason::ReasonWord;

impl Fault {
    /// A fault at no particular command.
    pub fn new(blame: Blame, reason: ReasonWord, detail: impl Into<String>) -> Self {
        Self {
            blame,
            reason,
            detail: detail.into(),
            header: None,
            sw: None,
            key_data: None,
            commands: 0,
            hsm: HsmUse::default(),
        }
    }

    /// Whether the device itself did not answer, or waits for supplies: no card can be worked on there until a
    /// [probe](super::StationModule::probe) finds it ready. A device that answers, even with a failure, goes on.
    pub fn wants_probe(&self) -> bool {
        self.blame == Blame::Device
            && matches!(
                self.reason,
                ReasonWord::Timeout
                    | ReasonWord::ReaderHeld
                    | ReasonWord::NoReader
                    | ReasonWord::Reader
                    | ReasonWord::Device
                    | ReasonWord::Supply
            )
    }

    /// Whether the reader failed before a command reached its card: once the reader answers, this card can be
    /// inspected again. False after silence, which the card may have caused.
    pub fn spares_card(&self) -> bool {
        self.blame == Blame::Device
            && self.header.is_none()
            && matches!(self.reason, ReasonWord::ReaderHeld | ReasonWord::NoReader | ReasonWord::Reader)
    }

    /// Whether the device has not begun, and waits for a person: supplies, room in a bin, a closed cover.
    pub fn waits_for_person(&self) -> bool {
        self.blame == Blame::Device && self.reason == ReasonWord::Supply
    }

    /// Whether the device is another station's, or may be: only a person can correct that.
    pub fn doubts_device(&self) -> bool {
        matches!(self.reason, ReasonWord::Miswired | ReasonWord::Unproved)
    }

    /// Whether the chip gave a wrong cryptogram, or found the host's wrong: the keys may be others than the card's.
    pub fn doubts_keys(&self) -> bool {
        let external_authenticate = self.header.as_deref().and_then(|header| header.get(2..4)) == Some("82");
        self.reason == ReasonWord::Cryptogram || external_authenticate && self.sw == Some(0x6300)
    }

    /// Whether the device sees no card although the transport reported one: the next card may be lost in the same
    /// way.
    pub fn is_no_card(&self) -> bool {
        self.reason == ReasonWord::NoCard
    }

    /// The fault of a device that sees no card.
    pub(super) fn no_card(error: impl std::fmt::Display) -> Self {
        let detail = format!(
            "device: {error}, although the transport reports that it brought one: look where it lies, and check stops and cables"
        );
        Self::new(Blame::Device, ReasonWord::NoCard, detail)
    }

    /// The record's data is at fault.
    pub(super) fn data(detail: impl std::fmt::Display) -> Self {
        Self::new(Blame::Data, ReasonWord::Data, format!("file: {detail}"))
    }

    /// A bug of ours.
    pub(super) fn us(detail: impl std::fmt::Display) -> Self {
        Self::new(Blame::Us, ReasonWord::Bug, format!("us: {detail}"))
    }

    /// The card is at fault.
    pub(super) fn card(reason: ReasonWord, detail: impl std::fmt::Display) -> Self {
        Self::new(Blame::Card, reason, format!("card: {detail}"))
    }

    /// The HSM gives an attempt no session. A chip that was used before is the card's fault, and other cards are made; any other
    /// reason holds for the next card as well.
    pub(crate) fn barred(why: AttemptBar) -> Self {
        let what = format!(
            "the HSM gives this card no session: {why}. Nothing was written on its chip, but the card may be printed or encoded: destroy the card"
        );
        match why {
            AttemptBar::ChipSeen => Self::card(ReasonWord::ChipBarred, what),
            AttemptBar::NoKmc | AttemptBar::NotAdmitted | AttemptBar::EarlierAttempt => {
                Self::new(Blame::Hsm, ReasonWord::ChipBarred, format!("key: {what}"))
            }
        }
    }

    /// Adds the command at which it happened.
    pub(super) fn at(self, header: String, sw: Option<u16>) -> Self {
        Self { header: Some(header), sw, ..self }
    }

    /// Adds the chip that answered.
    pub(super) fn of(self, key_data: KeyData) -> Self {
        Self { key_data: Some(key_data), ..self }
    }
}

impl From<CardError> for Fault {
    fn from(error: CardError) -> Self {
        let detail = format!("card: {error}");
        match error {
            CardError::Mute => Self::new(Blame::Card, ReasonWord::Mute, detail),
            CardError::Absent | CardError::Removed => Self::new(Blame::Card, ReasonWord::CardRemoved, detail),
            CardError::Protocol => Self::new(Blame::Card, ReasonWord::Protocol, detail),
            CardError::Held => Self::new(Blame::Device, ReasonWord::ReaderHeld, format!("device: {error}")),
            CardError::NoReader(_) => {
                Self::new(Blame::Device, ReasonWord::NoReader, format!("device: {error}"))
            }
            CardError::Reader(LinkError::Timeout(_)) => Self::new(
                Blame::Device,
                ReasonWord::Timeout,
                format!("device: {error}; check reader and cable"),
            ),
            // The system's own words, which may speak of pcscd.
            CardError::Reader(LinkError::Io(_)) => Self::new(
                Blame::Device,
                ReasonWord::Reader,
                format!("device: {error}; check pcscd, reader and cable"),
            ),
            CardError::Reader(_) | CardError::Malformed => Self::new(
                Blame::Device,
                ReasonWord::Reader,
                format!("device: {error}; check reader and cable"),
            ),
        }
    }
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        let reason = match &error {
            e if e.is_jam() => ReasonWord::Jam,
            e if e.waits_for_person() => ReasonWord::Supply,
            e if e.is_data() => return Self::new(Blame::Data, ReasonWord::Data, format!("file: {e}")),
            // A stripe that takes no writing is bad plastic.
            e if e.condition() == Some(Condition::Stripe) => {
                return Self::new(Blame::Card, ReasonWord::StripeFailed, format!("card: {e}"));
            }
            e if e.condition() == Some(Condition::NoCard) => return Self::no_card(e),
            DeviceError::OtherMachine { .. } => ReasonWord::Miswired,
            DeviceError::Unproved { .. } => ReasonWord::Unproved,
            DeviceError::Timeout(_) => ReasonWord::Timeout,
            DeviceError::Status { .. } => ReasonWord::DeviceFailed,
            _ => ReasonWord::Device,
        };
        Self::new(Blame::Device, reason, format!("device: {error}"))
    }
}

impl From<HsmError> for Fault {
    fn from(error: HsmError) -> Self {
        let (blame, reason) = match &error {
            HsmError::CardCryptogram(_) => (Blame::Card, ReasonWord::Cryptogram),
            HsmError::Response(_) => (Blame::Card, ReasonWord::MalformedResponse),
            HsmError::Data { .. } => (Blame::Data, ReasonWord::Data),
            HsmError::Refused(HsmRefusal::Attempt(AttemptRefusal::Barred(why))) => return Self::barred(*why),
            // The HSM host started anew after the card was bound.
            HsmError::Refused(HsmRefusal::Attempt(AttemptRefusal::Stale)) => (Blame::Hsm, ReasonWord::Hsm),
            HsmError::Refused(_) => (Blame::Us, ReasonWord::HsmRefused),
            _ => (Blame::Hsm, ReasonWord::Hsm),
        };
        // The HSM's message names who is to blame, and the next step.
        Self::new(blame, reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hsm::DataFault;
    use crate::ids::{Dgi, KmcRef};

    fn status(meaning: Condition) -> DeviceError {
        DeviceError::Status { status: b'1', meaning }
    }

    #[test]
    fn machines_faults_go_to_who_can_help() {
        for (error, blame, reason) in [
            (status(Condition::Jam), Blame::Device, "jam"),
            (status(Condition::Supply), Blame::Device, "supply"),
            (status(Condition::OutputFull), Blame::Device, "supply"),
            (status(Condition::CoverOpen), Blame::Device, "supply"),
            (DeviceError::HopperEmpty, Blame::Device, "supply"),
            (status(Condition::BadData), Blame::Data, "data"),
            (status(Condition::Failed), Blame::Device, "device-failed"),
            (status(Condition::NoCard), Blame::Device, "no-card"),
            (status(Condition::Stripe), Blame::Card, "stripe-failed"),
            (DeviceError::Timeout(Duration::from_secs(1)), Blame::Device, "timeout"),
            (DeviceError::Closed, Blame::Device, "device"),
            (DeviceError::Refused('E'), Blame::Device, "device"),
        ] {
            let fault = Fault::from(error);
            assert_eq!((fault.blame, fault.reason.as_str()), (blame, reason));
        }
    }

    #[test]
    fn a_card_that_goes_is_the_cards_and_a_reader_that_goes_the_devices() {
        for (error, blame, reason) in [
            (CardError::Mute, Blame::Card, "mute"),
            (CardError::Absent, Blame::Card, "card-removed"),
            (CardError::Removed, Blame::Card, "card-removed"),
            (CardError::Protocol, Blame::Card, "protocol"),
            (CardError::Held, Blame::Device, "reader-held"),
            (CardError::NoReader("x".into()), Blame::Device, "no-reader"),
            (CardError::Reader(LinkError::Closed), Blame::Device, "reader"),
            (CardError::Reader(LinkError::Io("PC/SC: gone".into())), Blame::Device, "reader"),
            (CardError::Reader(LinkError::Timeout(Duration::ZERO)), Blame::Device, "timeout"),
            (CardError::Malformed, Blame::Device, "reader"),
        ] {
            let fault = Fault::from(error);
            assert_eq!((fault.blame, fault.reason.as_str()), (blame, reason));
        }
    }

    #[test]
    fn only_a_device_that_does_not_answer_is_probed() {
        let timeout = LinkError::Timeout(Duration::ZERO);
        for error in [
            CardError::Held,
            CardError::NoReader("x".into()),
            CardError::Reader(timeout),
            CardError::Reader(LinkError::Closed),
            CardError::Malformed,
        ] {
            assert!(Fault::from(error.clone()).wants_probe(), "{error}");
        }
        for error in [CardError::Mute, CardError::Absent, CardError::Removed, CardError::Protocol] {
            assert!(!Fault::from(error.clone()).wants_probe(), "{error}");
        }
        for (error, wanted) in [
            (DeviceError::Timeout(Duration::ZERO), true),
            (DeviceError::Closed, true),
            (status(Condition::Supply), true),
            (status(Condition::Jam), false),
            (status(Condition::Failed), false),
            (status(Condition::BadData), false),
            (status(Condition::Stripe), false),
        ] {
            assert_eq!(Fault::from(error.clone()).wants_probe(), wanted, "{error}");
        }
        assert!(!Fault::from(HsmError::Host("gone".into())).wants_probe());
    }

    #[test]
    fn only_a_reader_that_failed_before_the_first_command_spares_the_card() {
        for error in [CardError::Held, CardError::NoReader("x".into()), CardError::Reader(LinkError::Closed)]
        {
            let fault = Fault::from(error);
            assert!(fault.spares_card(), "{fault}");
            assert!(!fault.at("00A4".into(), None).spares_card());
        }
        for error in
            [CardError::Reader(LinkError::Timeout(Duration::ZERO)), CardError::Mute, CardError::Absent]
        {
            assert!(!Fault::from(error.clone()).spares_card(), "{error}");
        }
        assert!(!Fault::from(DeviceError::Closed).spares_card());
    }

    #[test]
    fn the_hsm_stops_the_line_unless_card_or_data_are_to_blame() {
        let kmc = KmcRef { id: [0xFF; 6], version: 1 };
        let attempt = |refusal| HsmError::Refused(HsmRefusal::Attempt(refusal));
        for (error, blame, reason) in [
            (HsmError::CardCryptogram(kmc), Blame::Card, "cryptogram"),
            (HsmError::Response("x".into()), Blame::Card, "malformed-response"),
            (HsmError::Data { aid: "A0".into(), fault: DataFault::Mac }, Blame::Data, "data"),
            (HsmError::UnknownKmc(kmc), Blame::Hsm, "hsm"),
            (HsmError::Unknown("handle".into()), Blame::Hsm, "hsm"),
            (HsmError::Host("gone".into()), Blame::Hsm, "hsm"),
            (HsmError::Refused(HsmRefusal::ForeignDgi(Dgi(1))), Blame::Us, "hsm-refused"),
            (attempt(AttemptRefusal::Barred(AttemptBar::ChipSeen)), Blame::Card, "chip-barred"),
            (attempt(AttemptRefusal::Barred(AttemptBar::NoKmc)), Blame::Hsm, "chip-barred"),
            (attempt(AttemptRefusal::Stale), Blame::Hsm, "hsm"),
            (attempt(AttemptRefusal::OtherChip), Blame::Us, "hsm-refused"),
        ] {
            let fault = Fault::from(error);
            assert_eq!((fault.blame, fault.reason.as_str()), (blame, reason));
        }
    }
}
