//! The wiring proof of a station: its device saw no card, then the one that the station's transport brought.
//! Nothing of a record leaves for a device that is not proved.
//!
//! ```text
//!               the device is connected anew
//!  PROVED ◄─────────────────────────────────► UNPROVED ──order to prove──► sees no card? ──no──► STUCK
//!    ▲                                           ▲                                   │ yes
//!    │                                           │ no card came                      ▼
//!    │                                           └────────────────────────── move the card in
//!    │ sees the card                                                                 │
//!    └───────────────────────────────────────────────────────────────────────────────┴─ sees none ──► UNSEEN
//! ```
//!
//! A device that sees no cards is identified by the serial number in the line profile, or by a person's word
//! (`drivers::identity`). Its driver refuses to write with any other.
//!
//! The dispatcher lets one unproved station of a kind of device at a time prove itself (`floor::proofs`), so the
//! card that the device sees is the one that came here. It also finds the device that saw an unseen card
//! (`dispatcher::wiring`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use drivers::presence::DeviceConnection;

use super::{HungUp, Runner, SightReport, Standing, StationHappening};
use crate::modules::sight::{LATE_TIME, stray_card};
use crate::modules::{Blame, Fault};
use crate::reason::ReasonWord;

/// The proofs of the stations of a line, by the station's name: the connection over which its device saw the
/// right card. They outlive the jobs of the program.
#[derive(Default)]
pub struct WiringProofs(Mutex<BTreeMap<String, DeviceConnection>>);

impl WiringProofs {
    pub(in crate::pipeline) fn has(&self, station: &str) -> bool {
        self.of(station).is_some()
    }

    /// Whether the device on this connection is proved to be the station's.
    pub fn holds(&self, station: &str, connection: &DeviceConnection) -> bool {
        self.of(station).is_some_and(|proved| connection.continues(&proved))
    }

    fn of(&self, station: &str) -> Option<DeviceConnection> {
        self.table().get(station).cloned()
    }

    fn keep(&self, station: &str, connection: DeviceConnection) {
        self.table().insert(station.to_owned(), connection);
    }

    fn forget(&self, station: &str) {
        self.table().remove(station);
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, DeviceConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a device was connected, as far as the station knows.
pub(super) struct ConnectedSince {
    connection: DeviceConnection,
    /// `None`: since the line was cleared. Else a card that lay at another station then may be reported late.
    since: Option<Instant>,
}

/// Whether a card may be moved into the station.
pub(super) enum Readiness {
    /// It may: the device is proved, or cannot see cards.
    Ready,
    /// It may, and proves the device on this connection.
    Proving(DeviceConnection),
    /// It may not: the card stays where it is.
    NotNow(Option<Fault>, Standing),
}

/// The device's answer about a card that was brought.
pub(super) enum Sight {
    /// It sees the card, or was proved before.
    Seen,
    /// It sees none.
    Unseen,
    /// It failed.
    Failed(Fault),
}

impl Runner<'_> {
    /// Makes sure, before a card is moved, that the device is the proved one, or that the card can prove it.
    /// An unproved device needs to be the one that is proved now (`proving`).
    pub(super) fn before_card(&mut self, proving: bool) -> Result<Readiness, HungUp> {
        if let Err(fault) = self.own_machine() {
            return Ok(self.not_now(fault));
        }
        let Some(sight) = self.setup.module.sight() else { return Ok(Readiness::Ready) };
        let connection = match sight.connection() {
            Ok(connection) => connection,
            Err(fault) => return Ok(self.not_now(fault)),
        };
        if self.setup.proofs.holds(&self.setup.name, &connection) {
            self.connected(&connection);
            self.setup.proofs.keep(&self.setup.name, connection);
            if proving {
                self.tell(StationHappening::Sight(SightReport::Proved))?;
            }
            return Ok(Readiness::Ready);
        }
        self.unproved()?;
        if !proving {
            return Ok(Readiness::NotNow(None, Standing::InService));
        }
        let rest = self.connected(&connection);
        let Some(sight) = self.setup.module.sight() else { return Ok(Readiness::Ready) };
        Ok(match sight.stays_empty(rest).and_then(|empty| Ok(empty && sight.expect()?)) {
            Ok(true) => Readiness::Proving(connection),
            Ok(false) => Readiness::NotNow(Some(stray_card(&self.setup.name)), Standing::Stuck),
            Err(fault) => self.not_now(fault),
        })
    }

    /// Makes sure that a device that sees no cards is the one of this station.
    pub(super) fn own_machine(&mut self) -> Result<(), Fault> {
        self.setup.module.identity().map_or(Ok(()), |machine| Ok(machine.check()?))
    }

    /// Notes the connection of the device at the start of the run, when no card lies in the line.
    pub(super) fn connected_at_start(&mut self) {
        let connection = self.connection();
        self.connected = connection.map(|connection| ConnectedSince { connection, since: None });
    }

    /// Notes the connection of a device that answers again.
    pub(super) fn connected_again(&mut self) {
        if let Some(connection) = self.connection() {
            self.connected(&connection);
        }
    }

    /// The connection of the device, if it sees cards and answers.
    fn connection(&mut self) -> Option<DeviceConnection> {
        self.setup.module.sight().and_then(|sight| sight.connection().ok())
    }

    /// Notes a connection. Returns the time in which the device may still report a card that lay at another
    /// station when it was connected.
    fn connected(&mut self, connection: &DeviceConnection) -> Duration {
        let known = self.connected.take().filter(|known| connection.continues(&known.connection));
        let since = known.map_or_else(|| Some(Instant::now()), |known| known.since);
        self.connected = Some(ConnectedSince { connection: connection.clone(), since });
        since.map_or(Duration::ZERO, |since| LATE_TIME.saturating_sub(since.elapsed()))
    }

    fn not_now(&mut self, fault: Fault) -> Readiness {
        let standing = if fault.doubts_device() { Standing::Stuck } else { self.after(&fault) };
        Readiness::NotNow(Some(fault), standing)
    }

    /// Waits until the device sees the card that was brought, which proves it. Data goes to the card over this
    /// connection, or not at all.
    pub(super) fn after_card(&mut self, readiness: &Readiness) -> Result<Sight, HungUp> {
        let Some(sight) = self.setup.module.sight() else { return Ok(Sight::Seen) };
        let (came, now) = match sight.comes(LATE_TIME) {
            Ok(came) => came,
            Err(fault) => return Ok(Sight::Failed(fault)),
        };
        let before = match readiness {
            Readiness::Proving(before) => Some(before.clone()),
            _ => self.setup.proofs.of(&self.setup.name),
        };
        if before.is_none_or(|before| !now.continues(&before)) {
            self.unproved()?;
            return Ok(Sight::Failed(self.connected_anew()));
        }
        match (came, readiness) {
            (true, Readiness::Proving(_)) => {
                self.setup.proofs.keep(&self.setup.name, now);
                self.tell(StationHappening::Sight(SightReport::Proved))?;
            }
            (true, _) => self.setup.proofs.keep(&self.setup.name, now),
            (false, Readiness::Proving(_)) => return Ok(Sight::Unseen),
            // The module finds that it has no card.
            (false, _) => {}
        }
        Ok(Sight::Seen)
    }

    /// Takes a proof back if the card that gave it did not answer: the report of an earlier card may have come
    /// late.
    pub(super) fn confirm(&mut self, readiness: &Readiness, fault: &Fault) -> Result<(), HungUp> {
        let silent = matches!(fault.reason, ReasonWord::NoCard | ReasonWord::CardRemoved | ReasonWord::Mute);
        if silent && matches!(readiness, Readiness::Proving(_)) { self.unproved() } else { Ok(()) }
    }

    /// Forgets the proof of a device that a person may have connected anew.
    pub(super) fn wired_anew(&mut self) -> Result<(), HungUp> {
        if self.setup.module.sight().is_some() { self.unproved() } else { Ok(()) }
    }

    fn unproved(&self) -> Result<(), HungUp> {
        self.setup.proofs.forget(&self.setup.name);
        self.tell(StationHappening::Sight(SightReport::Unproved))
    }

    fn connected_anew(&self) -> Fault {
        let detail = format!(
            "device: the device of {} was connected anew while a card lay there, so nothing shows that it is this \
             station's; the next card proves it",
            self.setup.name
        );
        Fault::new(Blame::Device, ReasonWord::ConnectedAnew, detail)
    }

    /// Reports whether the device sees a card, although none was brought here.
    pub(super) fn look_for_card(&mut self) -> Result<(), HungUp> {
        let sees = self.setup.module.sight().is_some_and(|sight| match sight.sees() {
            Ok(sees) => sees,
            Err(fault) => {
                tracing::debug!(station = %self.setup.name, %fault, "it cannot say whether it sees a card");
                false
            }
        });
        self.tell(StationHappening::Sight(SightReport::Looked(sees)))
    }
}
