//! The effect of shown events on attempts and chips: which chips are used from now on, and which attempts may open sessions.
//! Pure.
//!
//! The order matters: the tags of chips are noted with the events, and attempts may open sessions when both are durable.
//!
//! Not here: how a tag is made (`chip_tag`), steps of an attempt (`attempts`).

use super::attempts::{AttemptBar, AttemptTable, record_name_hash};
use super::chips::ChipSet;
use super::mac::MemoryTag;
use super::state::{FollowedEvents, LedgerMemory};
use crate::audit::LedgerId;
use crate::hsm::{BarredAttempt, CardAttempt};
use crate::laws::{ChipId, Followed, FollowedCard, file_name_hash};

/// What events mean for attempts and chips, in their order.
#[derive(Default)]
pub struct ShownChips {
    steps: Vec<(u64, AttemptChange)>,
    /// Tags of chips that no earlier event has bound.
    tags: Vec<MemoryTag>,
}

/// What an event means for an attempt.
enum AttemptChange {
    Bound {
        card: FollowedCard,
        card_ref: String,
        chip: Option<ChipId>,
        name: [u8; 32],
        bars: Vec<AttemptBar>,
    },
    ChipFound {
        card: FollowedCard,
        chip: ChipId,
        bars: Vec<AttemptBar>,
    },
    Over(FollowedCard),
}

impl ShownChips {
    /// Of events after this number. `seen` has the chips before them, and `tags` returns the tags of a chip.
    pub fn of(
        followed: &FollowedEvents,
        after: u64,
        seen: &ChipSet,
        tags: impl Fn(&ChipId) -> Vec<MemoryTag>,
    ) -> Self {
        let mut shown = Self::default();
        for (n, effect) in (after.saturating_add(1)..).zip(&followed.effects) {
            let mut bars = |chip: &ChipId| shown.bind(tags(chip), seen);
            let change = match effect {
                Followed::Bound { card, card_ref, chip } => {
                    let bars = chip.as_ref().map_or_else(Vec::new, &mut bars);
                    let card_ref = card_ref.clone();
                    AttemptChange::Bound { card: *card, card_ref, chip: *chip, name: [0; 32], bars }
                }
                Followed::ChipFound { card, chip } => {
                    AttemptChange::ChipFound { card: *card, chip: *chip, bars: bars(chip) }
                }
                Followed::Over(card) => AttemptChange::Over(*card),
                _ => continue,
            };
            shown.steps.push((n, change));
        }
        shown
    }

    /// Binds the chip with these tags. Returns what bars its attempt.
    fn bind(&mut self, tags: Vec<MemoryTag>, seen: &ChipSet) -> Vec<AttemptBar> {
        if tags.is_empty() {
            return vec![AttemptBar::NoKmc];
        }
        let (new, used): (Vec<_>, Vec<_>) =
            tags.into_iter().partition(|tag| !seen.contains(tag) && !self.tags.contains(tag));
        self.tags.extend(new);
        if used.is_empty() { Vec::new() } else { vec![AttemptBar::ChipSeen] }
    }

    /// Tags of the chips that these events were the first to bind.
    pub fn new_tags(&self) -> Vec<MemoryTag> {
        self.tags.clone()
    }

    /// Adds what the ledger says of the jobs of these attempts. `is_admitted` returns whether the file with this hash of its name was
    /// admitted for the ledger. Drops attempts up to the place that this store signed before its events were shown: they open
    /// nothing, and only their chips count.
    pub fn complete(&mut self, known: &LedgerMemory, is_admitted: impl Fn(&[u8; 32]) -> bool) {
        let noted = known.noted.map_or(0, |noted| noted.n);
        self.steps.retain(|(n, _)| *n > noted);
        for (_, change) in &mut self.steps {
            let AttemptChange::Bound { card, card_ref, name, bars, .. } = change else { continue };
            let file = known.book.file_of(card.job).map(|(issuer, file_id)| file_name_hash(issuer, file_id));
            match file.filter(&is_admitted) {
                Some(file) => *name = record_name_hash(&file, card_ref),
                None => bars.push(AttemptBar::NotAdmitted),
            }
        }
    }

    /// Hands the changes on to the attempts under way, after they are durable. Returns the attempts that get no session.
    pub fn applied<A>(self, ledger: LedgerId, attempts: &mut AttemptTable<A>) -> Vec<BarredAttempt> {
        let of = |card: FollowedCard| {
            let FollowedCard { job, seq, attempt } = card;
            CardAttempt { ledger, job, seq, attempt }
        };
        let mut barred = Vec::new();
        for (_, change) in self.steps {
            let card = match change {
                AttemptChange::Bound { card, chip, name, bars, .. } => {
                    attempts.bound(of(card), name, chip, bars);
                    of(card)
                }
                AttemptChange::ChipFound { card, chip, bars } => {
                    attempts.chip_found(of(card), chip, bars);
                    of(card)
                }
                AttemptChange::Over(card) => {
                    attempts.over(of(card));
                    continue;
                }
            };
            barred.extend(attempts.bar(card).map(|why| BarredAttempt { card, why }));
        }
        barred
    }
}
