//! What the HSM's memory costs: cards per second with stations that take no time, with and without it, 1 and 64 in flight. A card is its
//! events in the ledger, its verification and its sessions in an HSM host; the station waits for its binding alone. With the memory,
//! the HSM is shown the binding and notes the chip before the station goes on. Without it, the HSM has seen all bindings before, and
//! the ledger has no HSM. Rounds of both alternate; the figures are medians. `CARDS` sets the cards of a round with 64 in flight
//! (1,000).
//!
//! Aim: with the memory 0.9 of the rate without.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench that cannot measure stops, and its figures are small"
)]

#[path = "cards/bound.rs"]
mod bound;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../tests/hsm/card.rs"]
mod card;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "cards/ledger.rs"]
mod ledger;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../tests/hsm/raw.rs"]
mod raw;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "cards/session.rs"]
mod session;
#[allow(dead_code, reason = "each program uses its part of what they share")]
mod support;

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use bound::BoundCards;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::{
    Auditor, CallerRole, CardAttempt, CardSession, CardSessionRequest, Hsm, HsmDoor, HsmError,
    RecordToVerify, VerifiedRecord,
};
use cardwright::ids::{KmcRef, ProductName};
use cardwright::laws::{Change, ChipId, JobId};
use cardwright::ledger::Ledger;
use cardwright::profile::ProductProfile;
use cardwright::record::{Cwf1Reader, FileLimits};
use cardwright::scp::{HostChallenge, SecureChannelSpec};
use session::Session;
use support::{CARDWRIGHT, World, key_data, median};

const ROUNDS: usize = 5;

fn main() {
    let most: usize = std::env::var("CARDS").map_or(1_000, |n| n.parse().unwrap());
    let world = World::new();
    let file = world.prepared("cards", most as u32);
    let product = ProductProfile::named(&ProductName::new("multiapp").unwrap()).unwrap();
    let reader = Cwf1Reader::open(File::open(&file).unwrap(), FileLimits::default()).unwrap();
    let names = (reader.header().issuer_id.clone(), reader.header().file_id.clone());
    let records = support::records(&file);
    let sessions: Vec<_> = records.iter().map(|record| Session::new(record, &names.0, &names.1)).collect();
    for in_flight in [1, 64] {
        let sessions = &sessions[..if in_flight == 1 { most / 4 } else { most }];
        let round = |remembers| Round { world: &world, file: &file, product: &product, sessions, remembers };
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(round(false).rate(in_flight));
            with.push(round(true).rate(in_flight));
        }
        let ratios = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        println!(
            "memory: {in_flight:2} in flight: {:6.0} cards/s with, {:6.0} without: {:.2} of it (aim 0.9)",
            median(with),
            median(without),
            median(ratios)
        );
    }
}

struct Round<'a> {
    world: &'a World,
    file: &'a Path,
    product: &'a ProductProfile,
    sessions: &'a [Session],
    /// Whether the ledger that makes the cards is the one that the HSM follows.
    remembers: bool,
}

impl Round<'_> {
    /// Cards per second of so many stations.
    fn rate(&self, in_flight: usize) -> f64 {
        // A store takes a file once, and each chip once.
        self.world.new_bureau();
        let folder = self.world.folder();
        let (store, socket) = (self.world.path("bureau.store"), folder.path().join("hsm.sock"));
        let host = HostProcess::start(Path::new(CARDWRIGHT), &store, &socket).unwrap();
        let door = host.door();
        let connect = || Box::new(HsmClient::connect(door, CallerRole::Ledger).unwrap()) as Box<dyn Auditor>;
        let count = self.sessions.len() as u32;
        let path = folder.path().join("l.db");
        if self.remembers {
            let (ledger, job) = BoundCards::admitted(self.file, &path, &connect);
            let id = ledger.id();
            self.made(&ledger, job, (door, in_flight), &|seq| CardAttempt {
                ledger: id,
                job,
                seq,
                attempt: 1,
            })
        } else {
            let before = BoundCards::new(self.file, count, &connect);
            let (ledger, job) = ledger::job(&path, count);
            self.made(&ledger, job, (door, in_flight), &|seq| before.attempts[seq as usize - 1])
        }
    }

    fn made(
        &self,
        ledger: &Ledger,
        job: JobId,
        (door, in_flight): (&HsmDoor, usize),
        attempt: &(dyn Fn(u32) -> CardAttempt + Sync),
    ) -> f64 {
        let count = self.sessions.len() as u32;
        let record = |change| ledger.record(job, change, ledger::context());
        let fed: Vec<_> = (1..=count).map(|blank| record(Change::Fed { blank })).collect();
        fed.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
        let source = Mutex::new(HsmClient::connect(door, CallerRole::Source).unwrap());
        let connected = || HsmClient::connect(door, CallerRole::Station).unwrap();
        let callers: Vec<_> =
            (0..in_flight).map(|_| StationCaller { source: &source, station: connected() }).collect();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for (station, mut hsm) in callers.into_iter().enumerate() {
                scope.spawn(move || {
                    let mut next = None;
                    for (n, session) in self.sessions.iter().enumerate().skip(station).step_by(in_flight) {
                        let seq = n as u32 + 1;
                        record(bound(seq)).wait().unwrap();
                        drop(session.run(&mut hsm, attempt(seq), self.product, &mut next));
                        ledger::made(seq).into_iter().for_each(|change| drop(record(change)));
                    }
                });
            }
        });
        f64::from(count) / begun.elapsed().as_secs_f64()
    }
}

/// The connections of a station of the bench: its own, and the line's one source.
struct StationCaller<'a> {
    source: &'a Mutex<HsmClient>,
    station: HsmClient,
}

impl Hsm for StationCaller<'_> {
    fn verify_record(&mut self, record: &RecordToVerify) -> Result<VerifiedRecord, HsmError> {
        self.source.lock().unwrap().verify_record(record)
    }

    fn draw_challenge(&mut self, channel: SecureChannelSpec) -> Result<HostChallenge, HsmError> {
        self.station.draw_challenge(channel)
    }

    fn session(&mut self, request: &CardSessionRequest) -> Result<CardSession, HsmError> {
        self.station.session(request)
    }
}

/// The binding of a card, as a line makes it: the HSM notes its chip.
fn bound(seq: u32) -> Change {
    let kmc = KmcRef { id: key_data(seq).kmc_id(), version: 1 };
    Change::Bound { seq, blank: seq, chip: Some(ChipId::globalplatform(key_data(seq), Some(kmc))) }
}
