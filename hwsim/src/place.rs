//! Places of the line: the card in each, and a station around the place under its head.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::blank::SimulatedBlank;
use crate::device::printer::ImageInbox;
use crate::profile::{self, MachineModule};
use crate::sync::lock;

/// A blank that a place and the line's list of cards share.
pub type SharedBlank = Arc<Mutex<SimulatedBlank>>;

/// The content of a place.
#[derive(Default)]
pub enum CardPlace {
    /// There is nothing.
    #[default]
    Empty,
    /// Empty, but kept for a blank that is being fed.
    Reserved,
    /// A card is on its way here, since that instant.
    Coming(SharedBlank, Instant),
    /// A card lies here.
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

    /// Removes the card that lies here or is on its way, and returns it.
    pub fn take(&mut self) -> Option<SharedBlank> {
        match std::mem::take(self) {
            Self::Card(card) | Self::Coming(card, _) => Some(card),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Makes a card that was on its way lie here; false if there is none.
    pub fn settle(&mut self) -> bool {
        if let Self::Coming(card, _) = self {
            *self = Self::Card(Arc::clone(card));
        }
        self.card().is_some()
    }

    /// Reserves the place for a card; false if it is not free.
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
    /// Kind of its machine.
    pub kind: profile::MachineKind,
    /// Driver of its machine, where there are several makes.
    pub driver: Option<String>,
    slot: Mutex<CardPlace>,
    card_came: Condvar,
    /// When the last card came.
    came: Mutex<Option<Instant>>,
    /// When the last blank was fed here.
    pub last_feed: Mutex<Option<Instant>>,
    /// Printers: images that have arrived.
    pub inbox: ImageInbox,
    /// Printers: until when the ribbon is out.
    pub no_ribbon: Mutex<Option<Instant>>,
    /// The virtual reader's connection, while a card touches the contacts.
    connection: Mutex<Option<TcpStream>>,
    /// How long the machine stays away after closing its link.
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
            came: Mutex::default(),
            last_feed: Mutex::default(),
            inbox: ImageInbox::default(),
            no_ribbon: Mutex::default(),
            connection: Mutex::default(),
            absence: Mutex::default(),
        }
    }

    /// Locks the place of this station, for as long as a machine works.
    pub fn slot(&self) -> MutexGuard<'_, CardPlace> {
        lock(&self.slot)
    }

    /// The place, without its lock.
    pub fn place(&self) -> &Mutex<CardPlace> {
        &self.slot
    }

    /// Puts a card here.
    pub fn put(&self, card: SharedBlank) {
        *self.slot() = CardPlace::Card(card);
        self.has_card();
    }

    /// Whether a card touches the contacts, and has done so for this time.
    pub fn touches_since(&self, time: Duration) -> bool {
        let slot = self.slot();
        touching(&slot).is_some() && lock(&self.came).is_some_and(|came| came.elapsed() >= time)
    }

    /// Wakes up the threads that wait for a card.
    pub fn has_card(&self) {
        *lock(&self.came) = Some(Instant::now());
        self.card_came.notify_all();
    }

    /// Waits until a card touches the contacts; returns its number.
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

    /// Keeps the virtual reader's connection for this card; false if the card has left.
    pub fn plug(&self, n: u64, stream: &TcpStream) -> bool {
        let slot = self.slot();
        let plugged = touching(&slot) == Some(n);
        if plugged {
            *lock(&self.connection) = stream.try_clone().ok();
        }
        plugged
    }

    /// Forgets the connection after it has ended.
    pub fn unplug(&self) {
        *lock(&self.connection) = None;
    }

    /// Closes the connection because the card leaves the contacts: the virtual reader is empty.
    pub fn disconnect(&self) {
        if let Some(stream) = lock(&self.connection).take() {
            let _ = stream.shutdown(Shutdown::Both); // fails only if the other end was first
        }
    }

    /// Records that the machine closes its link and stays away for this time.
    pub fn be_absent(&self, pause: Duration) {
        *lock(&self.absence) = pause;
    }

    /// Returns, and resets, the time for which the machine must stay away now.
    pub fn absence(&self) -> Duration {
        std::mem::take(&mut lock(&self.absence))
    }
}

/// The number of the card that touches the contacts of a place.
fn touching(place: &CardPlace) -> Option<u64> {
    let blank = lock(place.card()?);
    (!blank.pulled && !blank.jammed).then_some(blank.n)
}
