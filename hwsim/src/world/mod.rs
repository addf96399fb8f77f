//! The simulated line: the places of the cards, and the moves of the card transport.
//!
//! ```text
//! hopper --F--> station --T--> station ... --T--> output's hand --B--> buffer place --K--> good cards' stacker
//!                  |                              \---------------\---R--> reject bin   \--M--> remakes' stacker
//!                  R--> reject bin
//! ```
//!
//! Each place has its own lock. A machine holds the lock of its station while it works, so no card leaves the
//! head during the work. The transport never holds two locks, and none while it waits, so stations work in
//! parallel. A place is reserved while a card is on its way to it.
//!
//! One transport command lifts a card, and another waits until the card has arrived. The station in which it
//! lay is free at once, and `transfer_s` passes between lifting and arrival. On a continuous machine (`[sim]
//! continuous`) moves overlap with the machines' work, so their time counts from an earlier instant:
//!
//! ```text
//! feed      the next blank waits before its station: until feed_s has passed since the last feed there
//! arrival   the card travels while the next station is busy: until transfer_s has passed since the end of its last work
//! stacking  the card leaves the hand at once: until stack_s has passed since the last card was stacked
//! ```
//!
//! A jammed card stays where it lay, and only the reject bin takes it. A card that jams in a transfer still
//! lies in the station from which it was to be taken; a blank that jams in the feed lies in the station for
//! which it was fed.
//!
//! Not here: the work of machines on a card ([`crate::device`]), the places themselves ([`crate::place`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use drivers::wire::status;

use crate::blank::{BlankFate, SimulatedBlank};
use crate::dump::DumpedChip;
use crate::faults::{DamagedMachine, FaultKind, FaultPlan, InjectedFault};
use crate::hopper::BlankHopper;
use crate::pace::LinkPace;
pub use crate::place::{CardPlace, SharedBlank, SimulatedStation};
use crate::profile::{OUTPUT, SimLineProfile, SimTable};
use crate::sync::lock;
use crate::timing::ChipTiming;
use crate::wanted::Wanted;
use crate::wiring::LineWiring;
use crate::witness::LineWitness;

/// The cards in the line, until the line is switched off.
enum PresentCards {
    Running(BTreeMap<u64, SharedBlank>),
    SwitchedOff,
}

/// A simulated line.
pub struct SimulatedLine {
    /// Times of the machines.
    pub sim: SimTable,
    /// Times of the chips.
    pub chip_timing: ChipTiming,
    /// Divides all times; 0 = no waiting.
    pub speed: f64,
    stations: Vec<SimulatedStation>,
    hand: Mutex<CardPlace>,
    last_stacked: Mutex<Option<Instant>>,
    buffer: Mutex<HashMap<u16, SharedBlank>>,
    buffer_places: usize,
    hopper: Mutex<BlankHopper>,
    /// Until when the hopper is empty.
    pub hopper_wants: Wanted,
    /// Until when the reject bin is full.
    bin_wants: Wanted,
    /// Until when the stackers are full.
    pub stacker_wants: Wanted,
    /// What the output's transport wants of a person.
    pub output_wants: Wanted,
    present: Mutex<PresentCards>,
    /// How its devices are connected.
    pub wiring: LineWiring,
    witness: LineWitness,
    /// Number of APDUs of all chips before the controller is killed, if it is to be killed.
    dies_after: Option<u64>,
    apdus: AtomicU64,
}

/// Outcome of a move: done, or the status character of the failure.
pub type TransportMove = Result<(), u8>;

impl SimulatedLine {
    /// Sets up the line with nothing in it.
    pub fn new(
        line: SimLineProfile,
        seed: u64,
        mut faults: FaultPlan,
        speed: f64,
        witness: LineWitness,
    ) -> anyhow::Result<Self> {
        let stations = line.stations().map(|(name, module)| SimulatedStation::new(name, module)).collect();
        let wiring = faults.take_wiring();
        let dies_after = faults.controller_dies_after();
        let hopper = Mutex::new(BlankHopper::new(&line, seed, faults));
        let chip_timing =
            ChipTiming::new(&line.sim).ok_or_else(|| anyhow::anyhow!("sim.ta1 is reserved in ISO 7816-3"))?;
        Ok(Self {
            chip_timing,
            speed,
            stations,
            hand: Mutex::default(),
            last_stacked: Mutex::default(),
            buffer: Mutex::default(),
            buffer_places: usize::try_from(line.reorder_buffer)?,
            hopper,
            hopper_wants: Wanted::default(),
            bin_wants: Wanted::default(),
            stacker_wants: Wanted::default(),
            output_wants: Wanted::default(),
            present: Mutex::new(PresentCards::Running(BTreeMap::new())),
            wiring,
            witness,
            dies_after,
            apdus: AtomicU64::new(0),
            sim: line.sim,
        })
    }

    /// The station of this name.
    pub fn station(&self, name: &str) -> Option<&SimulatedStation> {
        self.stations.iter().find(|s| s.name == name)
    }

    /// The station where the device stands that belongs to the station of this name.
    pub fn device_of(&self, name: &str) -> Option<&SimulatedStation> {
        self.station(self.wiring.place_of(name))
    }

    /// The index of the station of this name, in line order.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.stations.iter().position(|s| s.name == name)
    }

    /// The station at this index.
    pub fn at(&self, position: usize) -> Option<&SimulatedStation> {
        self.stations.get(position)
    }

    /// Whether the witness failed to write something.
    pub fn witness_has_failed(&self) -> bool {
        self.witness.has_failed()
    }

    /// Makes a blank with the chip of a dump the next one to be fed.
    pub fn put_dumped(&self, dumped: &DumpedChip) -> anyhow::Result<()> {
        lock(&self.hopper).put_dumped(dumped)
    }

    /// Feeds a blank from the hopper into the station.
    pub fn feed(&self, station: &SimulatedStation, pace: &mut LinkPace) -> TransportMove {
        {
            let mut slot = station.slot();
            if slot.card().is_some_and(|card| lock(card).jammed) {
                return Err(status::JAM);
            }
            if !slot.reserve() {
                return Err(status::FAILED);
            }
        }
        let Some((card, jammed)) = self.enter(station) else {
            *station.slot() = CardPlace::Empty;
            return Err(status::SUPPLY);
        };
        self.step(&station.last_feed, self.sim.feed_s, pace);
        lock(&card).worked = Instant::now();
        station.put(card);
        if jammed { Err(status::JAM) } else { Ok(()) }
    }

    /// Draws a blank out of the hopper; also returns whether it jams on its way to the station.
    fn enter(&self, station: &SimulatedStation) -> Option<(SharedBlank, bool)> {
        let mut hopper = lock(&self.hopper);
        let mut blank = hopper.draw()?;
        let ends = self.strike(&mut blank, FaultKind::HopperEmpty, station);
        if let Some(fault) = ends {
            self.hopper_wants.begin(status::SUPPLY, fault.lasts(self.speed));
        }
        if ends.is_some() || self.hopper_wants.refuses().is_err() {
            hopper.put_back(blank);
            return None;
        }
        drop(hopper);
        let n = blank.n;
        let mut present = lock(&self.present);
        let PresentCards::Running(cards) = &mut *present else { return None };
        self.witness.fed(&blank, &station.name);
        self.wiring.fed();
        let jammed = self.jams(&mut blank, FaultKind::FeedJam, station);
        let card = Arc::new(Mutex::new(blank));
        cards.insert(n, Arc::clone(&card));
        Some((card, jammed))
    }

    /// Spends the time of a step that a continuous machine repeats: the rest of `seconds` since the last one.
    fn step(&self, last: &Mutex<Option<Instant>>, seconds: f64, pace: &mut LinkPace) {
        if !self.sim.continuous {
            return pace.work(seconds);
        }
        let before = *lock(last);
        if let Some(before) = before {
            pace.until(before, seconds);
        }
        *lock(last) = Some(Instant::now());
    }

    /// Lifts the card that lies in station `from`; it is on its way to `station`.
    pub fn lift_to_station(&self, station: &SimulatedStation, from: &str) -> TransportMove {
        if from == station.name {
            return Err(status::BAD_DATA);
        }
        self.lift_to(station.place(), from, &station.transport_wants)
    }

    /// Lifts the card that lies in station `from`; it is on its way to the output's hand.
    pub fn lift_to_hand(&self, from: &str) -> TransportMove {
        self.lift_to(&self.hand, from, &self.output_wants)
    }

    fn lift_to(&self, to: &Mutex<CardPlace>, from: &str, taker: &Wanted) -> TransportMove {
        let from = self.station(from).ok_or(status::BAD_DATA)?;
        if !lock(to).reserve() {
            return Err(status::FAILED);
        }
        match self.lift(from, taker) {
            Ok(card) => {
                let began = if self.sim.continuous { lock(&card).worked } else { Instant::now() };
                *lock(to) = CardPlace::Coming(card, began);
                Ok(())
            }
            Err(why) => {
                *lock(to) = CardPlace::Empty;
                Err(why)
            }
        }
    }

    /// Waits until the card that is on its way to the station lies there.
    pub fn arrive(&self, station: &SimulatedStation, pace: &mut LinkPace) -> TransportMove {
        self.arrive_at(station.place(), pace)?;
        station.has_card();
        Ok(())
    }

    fn arrive_at(&self, to: &Mutex<CardPlace>, pace: &mut LinkPace) -> TransportMove {
        let began = match &*lock(to) {
            CardPlace::Coming(_, began) => Some(*began),
            _ => None,
        };
        if let Some(began) = began {
            pace.until(began, self.sim.transfer_s);
        }
        if lock(to).settle() { Ok(()) } else { Err(status::NO_CARD) }
    }

    /// Lifts the card out of a station, unless it is jammed.
    fn lift(&self, from: &SimulatedStation, taker: &Wanted) -> Result<SharedBlank, u8> {
        let mut slot = from.slot();
        let card = slot.card().ok_or(status::NO_CARD)?;
        let mut blank = lock(card);
        if self.jams(&mut blank, FaultKind::JamTransfer, from) {
            return Err(status::JAM);
        }
        self.covered(&mut blank, DamagedMachine::Transport, from, taker)?;
        blank.power_off();
        drop(blank);
        from.disconnect();
        slot.take().ok_or(status::NO_CARD)
    }

    /// Throws the card of the station, or on its way to it, into the reject bin, jammed or not.
    pub fn reject(&self, station: &SimulatedStation, pace: &mut LinkPace) -> TransportMove {
        let card = {
            let mut slot = station.slot();
            if let CardPlace::Card(card) | CardPlace::Coming(card, _) = &*slot {
                self.bin_takes(&mut lock(card), station)?;
            }
            station.disconnect();
            slot.take().ok_or(status::NO_CARD)?
        };
        lock(&card).power_off();
        pace.work(self.sim.transfer_s);
        self.leave(&card, &BlankFate::Rejected);
        Ok(())
    }

    /// Waits for the card on its way to the hand, and puts it into a buffer place. The controller numbers the
    /// places; the profile's `reorder_buffer` is their number.
    pub fn buffer(&self, place: u16, pace: &mut LinkPace) -> TransportMove {
        self.arrive_at(&self.hand, pace)?;
        let mut buffer = lock(&self.buffer);
        if buffer.contains_key(&place) || buffer.len() >= self.buffer_places {
            return Err(status::FAILED);
        }
        let card = lock(&self.hand).take().ok_or(status::NO_CARD)?;
        buffer.insert(place, card);
        Ok(())
    }

    /// Throws one card at the output into the reject bin: the one in the hand or on its way to it, else one
    /// of the buffer.
    pub fn reject_at_output(&self, pace: &mut LinkPace) -> TransportMove {
        self.bin_wants.refuses()?;
        let held = lock(&self.hand).take();
        let card = held.or_else(|| {
            let mut buffer = lock(&self.buffer);
            let place = *buffer.keys().min()?;
            buffer.remove(&place)
        });
        let card = card.ok_or(status::NO_CARD)?;
        pace.work(self.sim.transfer_s);
        self.leave(&card, &BlankFate::Rejected);
        Ok(())
    }

    /// Throws the card of a buffer place into the reject bin.
    pub fn discard(&self, place: u16, pace: &mut LinkPace) -> TransportMove {
        self.bin_wants.refuses()?;
        let card = lock(&self.buffer).remove(&place).ok_or(status::NO_CARD)?;
        pace.work(self.sim.transfer_s);
        self.leave(&card, &BlankFate::Rejected);
        Ok(())
    }

    /// Stacks the card of a buffer place.
    pub fn stack(&self, place: u16, position: u32, remake: bool, pace: &mut LinkPace) -> TransportMove {
        {
            let buffer = lock(&self.buffer);
            let mut blank = lock(buffer.get(&place).ok_or(status::NO_CARD)?);
            if let Some(fault) = self.strike_at(&mut blank, FaultKind::StackerFull, OUTPUT) {
                self.stacker_wants.begin(status::FULL, fault.lasts(self.speed));
                return Err(status::FULL);
            }
            self.stacker_wants.refuses()?;
        }
        let card = lock(&self.buffer).remove(&place).ok_or(status::NO_CARD)?;
        self.step(&self.last_stacked, self.sim.stack_s, pace);
        self.leave(&card, &BlankFate::Stacked { position, remake });
        Ok(())
    }

    /// Takes a card out of the line. The witness writes it, unless the line was switched off before. The lock
    /// is held during that, so that switching off waits for the witness.
    fn leave(&self, card: &SharedBlank, fate: &BlankFate) {
        let blank = lock(card);
        let mut present = lock(&self.present);
        if let PresentCards::Running(cards) = &mut *present
            && cards.remove(&blank.n).is_some()
        {
            self.witness.left(&blank, fate);
        }
    }

    /// Switches the line off: cards in it are left there, and no card enters or leaves after that. Cards that
    /// are just being moved count as left.
    pub fn switch_off(&self) {
        let before = std::mem::replace(&mut *lock(&self.present), PresentCards::SwitchedOff);
        if let PresentCards::Running(cards) = before {
            for card in cards.values() {
                self.witness.left(&lock(card), &BlankFate::Left);
            }
        }
    }

    /// Whether the machine of this station may begin with the card: not while it wants its supply, which may end
    /// with this card, or while its cover is open.
    pub fn may_begin(
        &self,
        blank: &mut SimulatedBlank,
        (kind, status): (FaultKind, u8),
        device: DamagedMachine,
        station: &SimulatedStation,
    ) -> TransportMove {
        if let Some(fault) = self.strike(blank, kind, station) {
            station.machine_wants.begin(status, fault.lasts(self.speed));
            return Err(status);
        }
        self.covered(blank, device, station, &station.machine_wants)?;
        station.machine_wants.refuses()
    }

    /// Refuses the card if the cover of this machine is open from now on.
    fn covered(
        &self,
        blank: &mut SimulatedBlank,
        device: DamagedMachine,
        station: &SimulatedStation,
        machine: &Wanted,
    ) -> TransportMove {
        let open = blank.fault(FaultKind::CoverOpen).is_some_and(|fault| fault.device == Some(device));
        if let Some(fault) = open.then(|| self.strike(blank, FaultKind::CoverOpen, station)).flatten() {
            machine.begin(status::COVER_OPEN, fault.lasts(self.speed));
            return Err(status::COVER_OPEN);
        }
        Ok(())
    }

    /// Refuses the card while the reject bin is full, as it may be from now on.
    fn bin_takes(&self, blank: &mut SimulatedBlank, station: &SimulatedStation) -> TransportMove {
        if let Some(fault) = self.strike(blank, FaultKind::BinFull, station) {
            self.bin_wants.begin(status::FULL, fault.lasts(self.speed));
            return Err(status::FULL);
        }
        self.bin_wants.refuses()
    }

    /// Whether the card is jammed, or jams now because it was given this fault.
    pub fn jams(&self, blank: &mut SimulatedBlank, kind: FaultKind, station: &SimulatedStation) -> bool {
        if !blank.jammed && self.strikes(blank, kind, station) {
            blank.jammed = true;
        }
        blank.jammed
    }

    /// Whether a fault of this kind takes effect now, for the first time; the witness writes it.
    pub fn strikes(&self, blank: &mut SimulatedBlank, kind: FaultKind, station: &SimulatedStation) -> bool {
        let struck = blank.strike(kind);
        if struck {
            self.witness.struck(blank, kind, &station.name);
        }
        struck
    }

    /// Returns the fault of this kind if it takes effect now, for the first time.
    pub fn strike(
        &self,
        blank: &mut SimulatedBlank,
        kind: FaultKind,
        station: &SimulatedStation,
    ) -> Option<InjectedFault> {
        self.strike_at(blank, kind, &station.name)
    }

    fn strike_at(&self, blank: &mut SimulatedBlank, kind: FaultKind, place: &str) -> Option<InjectedFault> {
        let struck = blank.strike(kind);
        if struck {
            self.witness.struck(blank, kind, place);
        }
        struck.then(|| blank.fault(kind)).flatten()
    }

    /// Counts an APDU of any chip. True if the controller dies in this one; the witness records that first.
    pub fn is_last_apdu(&self, blank: &SimulatedBlank, station: &SimulatedStation) -> bool {
        let last = self.dies_after == Some(self.apdus.fetch_add(1, Ordering::SeqCst));
        if last {
            self.witness.struck(blank, FaultKind::KillController, &station.name);
        }
        last
    }

    /// Whether the machine of this station closes its link now, because the card under its head has that
    /// fault.
    pub fn closes(&self, kind: FaultKind, station: &SimulatedStation) -> bool {
        let slot = station.slot();
        let fault = slot.card().and_then(|card| self.strike(&mut lock(card), kind, station));
        if let Some(fault) = fault {
            station.be_absent(fault.pause());
        }
        fault.is_some()
    }

    /// Damages an answer's frame, as often as the fault of the card in the station says.
    pub fn damage(&self, device: DamagedMachine, station: &SimulatedStation, frame: &mut [u8]) {
        let slot = station.slot();
        let Some(card) = slot.card() else { return };
        let mut blank = lock(card);
        if blank.damages(device) {
            self.strikes(&mut blank, FaultKind::FrameCorrupt, station);
            // The third byte is the status: it gets another value, so the BCC is wrong.
            if let Some(byte) = frame.get_mut(2) {
                *byte ^= 0x01;
            }
        }
    }
}

#[cfg(test)]
mod tests;
