//! Lets one card of each KMC go first (`pipeline::turns`), and holds the job when its keys are in doubt.

use std::collections::BTreeSet;

use super::kill::killed;
use super::{Dispatcher, ModuleStage};
use crate::ids::KmcRef;
use crate::laws::Change;
use crate::modules::{Blame, BlankInspection, Fault};
use crate::pipeline::Stop;
use crate::pipeline::floor::Card;
use crate::pipeline::station::{Binding, Place};
use crate::pipeline::turns::{Doubt, Leave, Word};
use crate::reason::ReasonWord;

/// The section of the chip.
const CHIP: &str = "CHP";

/// The stages with chip stations.
pub(super) fn chip_stages(stages: &[ModuleStage]) -> BTreeSet<usize> {
    let chips = stages.iter().enumerate().filter(|(_, s)| s.mics.iter().any(|mic| mic.as_str() == CHIP));
    chips.map(|(stage, _)| stage).collect()
}

impl Dispatcher<'_> {
    /// Notes that a blank is fed for a record.
    pub(super) fn feeds(&mut self, seq: u32) {
        let chips = &self.chip_stages;
        if self.floor.card(seq).is_some_and(|card| chips.iter().any(|stage| card.visits(*stage))) {
            self.turns.fed(seq);
            self.hold_back();
        }
    }

    /// Removes a card from the floor.
    pub(super) fn off_floor(&mut self, seq: u32) -> Option<Card> {
        self.turns.gone(seq);
        self.floor.remove(seq)
    }

    /// Hands on what the turns say, to the floor and to stations that waited.
    pub(super) fn take_turns(&mut self) {
        self.hold_back();
        while let Some((place, word)) = self.turns.next_word() {
            match word {
                Word::AskAnew => self.answer(place, Binding::AskAnew),
                Word::Never => self.answer(place, Binding::Refused(keys_doubted())),
            }
        }
    }

    fn hold_back(&mut self) {
        let alone = self.turns.one_is_alone();
        self.floor.hold_back(if alone { self.chip_stages.clone() } else { BTreeSet::new() });
    }

    /// A station asks to bind its blank, or to open the chip of its bound card: `change` says so in the
    /// ledger. No data goes to the card before that is durable. A card that has to wait gets no answer yet.
    pub(super) fn may_write(&mut self, place: Place, seen: BlankInspection, change: Change) {
        let first = match seen.kmc.map(|kmc| self.turns.asks(place, kmc)) {
            None => false,
            Some(Leave::Given { first }) => first,
            Some(Leave::Later) => {
                let (station, kmc) = (self.name(place), seen.kmc.map(|kmc| kmc.to_string()));
                tracing::info!(station = %station, kmc, "the card waits until another card has proved these keys");
                return;
            }
            Some(Leave::Never) => return self.answer(place, Binding::Refused(keys_doubted())),
        };
        let binds = matches!(change, Change::Bound { .. });
        let (ledger, ticket) = (self.ledger.id(), self.ledger.record(self.job, change, self.context(place)));
        if let Some(station) = self.station(place) {
            station.binding = binds;
        }
        self.answer(place, Binding::Given { ledger, ticket, first });
    }

    /// Ends the waiting of a card that a person wants thrown out.
    pub(super) fn kill_waiting(&mut self, place: Place) {
        if self.turns.waits(place) {
            self.turns.left(place);
            self.answer(place, Binding::Refused(killed()));
        }
    }

    fn answer(&mut self, place: Place, binding: Binding) {
        if let Some(station) = self.station(place) {
            // A station whose thread has died reports that itself.
            let _ = station.binds.send(binding);
        }
    }

    /// Holds the job if the keys are in doubt: wrong keys destroy each chip that is opened with them.
    pub(super) fn keys_wrong(&mut self, place: Place, kmc: KmcRef, fault: Fault) {
        let Some(doubt) = self.turns.wrong(kmc) else { return };
        let cards = match doubt {
            Doubt::First => "the first card of this KMC_ID and key version in this run".to_owned(),
            Doubt::InARow(count) => format!("{count} cards in a row"),
        };
        let did = match fault.reason {
            ReasonWord::Cryptogram => "gave a wrong cryptogram",
            _ => "refused our cryptogram",
        };
        let detail = format!(
            "{cards} {did}: a supervisor checks with the supplier of the blanks that the key store's KMC is the one of {kmc}, \
             and checks the product's derivation, before another card is opened"
        );
        self.stop_feeding(Stop::Fault { station: self.name(place), fault: Fault { detail, ..fault } });
    }
}

fn keys_doubted() -> Fault {
    let detail = "operator: the keys of this card's KMC are in doubt after a wrong card cryptogram, so its chip was not opened";
    Fault::new(Blame::Card, ReasonWord::KeysDoubted, detail)
}
