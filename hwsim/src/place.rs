//! Places of the line: what lies in one, and a station around the place under its head.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::blank::SimulatedBlank;
use crate::device::printer::ImageInbox;
use crate::profile::{self, MachineModule};
use crate::sync::lock;

/// A blank, wherever it lies.
pub type SharedBlank = Arc<Mutex<SimulatedBlank>>;

/// What a place holds.
#[derive(Default)]
pub enum CardPlace {
    /// Nothing.
    #[default]
    Empty,
    /// Nothing yet: a blank is being fed.
    Reserved,
    /// A card on its way, and when that began.
    Coming(SharedBlank, Instant),
    /// A card.
    Card(SharedBlank),
}

impl CardPlace {
    /// The card that lies here.
    pub fn card(&self) -> Option<&SharedBlank> {
        match self {
            Self::Card(card) => Some(card),
            _ => None,
        }
    }

    /// Takes the card away that lies here or is on its way.
    pub fn take(&mut self) -> Option<SharedBlank> {
        match std::mem::take(self) {
            Self::Card(card) | Self::Coming(card, _) => Some(card),
            other => {
                *self = other;
                None
            }
        }
    }

    /// A card that was on its way lies here now; false if there is none.
    pub fn settle(&mut self) -> bool {
        if let Self::Coming(card, _) = self {
            *self = Self::Card(Arc::clone(card));
        }
        self.card().is_some()
    }

    /// Keeps the place for a card; false if it is not free.
    pub fn reserve(&mut self) -> bool {
        let free = matches!(self, Self::Empty);
        if free {
            *self = Self::Reserved;
        }
        free
    }
}

/// A station and the place under its head.
pub struct SimulatedStation {
    /// `chip-1` and so on.
    pub name: String,
    /// What machine stands here.
    pub kind: profile::MachineKind,
    /// Which make of it, where there are several.
    pub driver: Option<String>,
    slot: Mutex<CardPlace>,
    card_came: Condvar,
    /// When the last blank was fed here.
    pub last_feed: Mutex<Option<Instant>>,
    /// Printers: images that have come.
    pub inbox: ImageInbox,
    /// Printers: until when the ribbon is out.
    pub no_ribbon: Mutex<Option<Instant>>,
    /// The virtual reader's connection, while a card touches the contacts.
    connection: Mutex<Option<TcpStream>>,
    /// How long the machine stays away after it has closed its link.
    absence: Mutex<Duration>,
}

impl SimulatedStation {
    /// An empty station of this module.
    pub fn new(name: String, module: &MachineModule) -> Self {
        Self {
            name,
            kind: module.kind,
            driver: module.driver.clone(),
            slot: Mutex::default(),
            card_came: Condvar::new(),
            last_feed: Mutex::default(),
            inbox: ImageInbox::default(),
            no_ribbon: Mutex::default(),
            connection: Mutex::default(),
            absence: Mutex::default(),
        }
    }

    /// The place of this station, for the time of a machine's work.
    pub fn slot(&self) -> MutexGuard<'_, CardPlace> {
        lock(&self.slot)
    }

    /// The place itself.
    pub fn place(&self) -> &Mutex<CardPlace> {
        &self.slot
    }

    /// A card lies here from now on.
    pub fn put(&self, card: SharedBlank) {
        *self.slot() = CardPlace::Card(card);
        self.has_card();
    }

    /// Tells those who wait for a card.
    pub fn has_card(&self) {
        self.card_came.notify_all();
    }

    /// Waits until a card touches the contacts; gives its number.
    pub fn wait_for_contact(&self) -> u64 {
        let mut slot = self.slot();
        loop {
            if let Some(n) = touching(&slot) {
                return n;
            }
            slot = self.card_came.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether this card touches the contacts.
    pub fn touches(&self, n: u64) -> bool {
        touching(&self.slot()) == Some(n)
    }

    /// Keeps the virtual reader's connection for this card; false if it has left.
    pub fn plug(&self, n: u64, stream: &TcpStream) -> bool {
        let slot = self.slot();
        let plugged = touching(&slot) == Some(n);
        if plugged {
            *lock(&self.connection) = stream.try_clone().ok();
        }
        plugged
    }

    /// The connection has ended.
    pub fn unplug(&self) {
        *lock(&self.connection) = None;
    }

    /// The card leaves the contacts: the virtual reader is empty.
    pub fn disconnect(&self) {
        if let Some(stream) = lock(&self.connection).take() {
            let _ = stream.shutdown(Shutdown::Both); // fails only if the other end was first
        }
    }

    /// The machine closes its link, and comes back after so long.
    pub fn be_absent(&self, pause: Duration) {
        *lock(&self.absence) = pause;
    }

    /// How long the machine is to stay away now.
    pub fn absence(&self) -> Duration {
        std::mem::take(&mut lock(&self.absence))
    }
}

/// The number of the card that touches the contacts of a place.
fn touching(place: &CardPlace) -> Option<u64> {
    let blank = lock(place.card()?);
    (!blank.pulled && !blank.jammed).then_some(blank.n)
}
