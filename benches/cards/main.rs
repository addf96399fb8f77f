//! Cost of a card in whole programs: CPU time of controller and HSM host for each chip-only card at SECLEV
//! 03, compared with the floor of block operations (`floor`); ledger, IPC and graphics separately; cards per
//! second with stations that take no time; commands for each card compared with the fewest possible.
//!
//! Aim: at most 3 times the floor. `CARDS` sets the number of cards (4,000). Runs and floor alternate; the
//! figures are medians.

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

mod bound;
#[path = "../../tests/hsm/callers.rs"]
mod callers;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../../tests/hsm/card.rs"]
mod card;
mod floor;
mod ledger;
mod links;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../../tests/hsm/raw.rs"]
mod raw;
mod session;
#[allow(dead_code, reason = "each program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;
mod threads;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bound::BoundCards;
use callers::LineCallers;
use cardwright::chip;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::KeyStore;
use cardwright::hsm::{Auditor, CallerRole, HostedHsm, Hsm, HsmDoor};
use cardwright::ids::{FileId, IssuerId, ProductName};
use cardwright::modules::{sections, template};
use cardwright::profile::ProductProfile;
use cardwright::record::{Cwf1Reader, FileLimits, Record};
use cardwright::scp::SecureChannel;
use floor::Floor;
use serde_json::Value;
use session::Session;
use support::{CARDWRIGHT, World, cpu_of_children, cpu_of_self, cpu_of_thread, median, micros_each};

/// Rounds of the measurements that alternate.
const ROUNDS: usize = 5;
/// Cards of the parts that are measured separately.
const PART: usize = 500;
/// Commands that open a channel: SELECT, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE.
const OPENING: usize = 3;

fn main() {
    let count: u32 = std::env::var("CARDS").map_or(4_000, |n| n.parse().unwrap());
    assert!(Path::new(CARDWRIGHT).with_file_name("hwsim").exists(), "hwsim is not built: run `make bench`");
    let world = World::new().with_seclev_03();
    let file = world.prepared("cards", count);
    let records = support::records(&file);
    let product = ProductProfile::named(&ProductName::new("multiapp").unwrap()).unwrap();
    let mut hsm = SoftHsm::new(KeyStore::open(&world.path("bureau.store")).unwrap()).unwrap();
    let sessions = sessions(&file, &records[..records.len().min(PART)]);
    let mut floor = Floor::new();
    let mut fewest = 0;
    for session in &sessions {
        let verified = hsm.verify_record(&session.record).unwrap();
        floor.add(session, &verified.applications, &product);
        let each = session.applications.iter().zip(&verified.applications);
        fewest +=
            each.map(|(application, verified)| fewest_of(application, verified, &product)).sum::<usize>();
        hsm.release(&[verified.handle]).unwrap();
    }
    let fewest = fewest as f64 / sessions.len() as f64;

    println!("cards: {count} cards of multiapp, every application at SECLEV 03, line sim-chip-8, no waiting");
    let mut runs = Vec::new();
    for _ in 0..ROUNDS {
        floor.run();
        let before = cpu_of_thread();
        floor.run();
        let floor = micros_each(cpu_of_thread() - before, floor.cards());
        runs.push((Run::of(&world, "sim-chip-8", &file), floor));
    }
    let of = |what: fn(&(Run, f64)) -> f64| median(runs.iter().map(what).collect());
    let floor_us = of(|(_, floor)| *floor);
    let total = of(|(run, _)| run.controller + run.hsm_host);
    let b = floor.blocks();
    println!(
        "  floor               {floor_us:7.1} us per card: {} TDES, {} DES, {} AES blocks, {} key schedules, {} SHA-256 blocks",
        b.tdes, b.des, b.aes, b.schedules, b.sha256
    );
    println!("  controller          {:7.1} us CPU per card", of(|(run, _)| run.controller));
    println!("  HSM host            {:7.1} us CPU per card", of(|(run, _)| run.hsm_host));
    println!(
        "  together            {total:7.1} us = {:.2} times the floor (aim 3)",
        of(|(run, floor)| (run.controller + run.hsm_host) / floor)
    );
    println!("  hwsim, not counted  {:7.1} us", of(|(run, _)| run.simulator));

    println!("the controller by thread, in the same runs, user + system:");
    let thread = |name: &str| {
        let part = |of: fn(&threads::Time) -> f64| {
            median(runs.iter().map(|(run, _)| run.threads.get(name).map_or(0.0, of)).collect())
        };
        (part(|t| t.user), part(|t| t.system))
    };
    let mut ipc = 0.0;
    for (name, what) in [
        ("chip", "stations; system time is IPC"),
        ("output", "output; system time is IPC"),
        ("source", "source; system time is IPC"),
        ("main", "acceptance, dispatcher, report"),
        ("ledger", "ledger"),
    ] {
        let (user, system) = thread(name);
        println!("  {name:<8} {user:6.1} + {system:6.1} us  {what}");
        ipc += if what.contains("IPC") { system } else { 0.0 };
    }
    let (user, system) = thread("ledger");
    println!(
        "  less the ledger and this IPC, with all of the HSM host: {:.2} times the floor",
        (total - ipc - user - system) / floor_us
    );

    println!("apart, each alone, CPU per card:");
    let (inside, through) = hsm_calls(&world, &file, &sessions, &product);
    println!("  HSM in process      {inside:7.1} us, {} calls", sessions[0].calls());
    println!(
        "  IPC with HSM host   {:7.1} us: the same calls through the socket, both ends, less those",
        through - inside
    );
    world.new_bureau();
    let mut hsm = SoftHsm::new(KeyStore::open(&world.path("bureau.store")).unwrap()).unwrap();
    let bound = bound_by(&file, &sessions, &hsm);
    let each = sessions.iter().zip(&bound.attempts);
    let messages: Vec<_> = each.map(|(s, card)| s.run(&mut hsm, *card, &product, &mut None)).collect();
    let links = micros_each(links::cards(&world.path(""), &messages), messages.len());
    println!(
        "  IPC with devices    {links:7.1} us: {} messages with commands, reset, 4 motions",
        messages[0].len()
    );
    let ledger = micros_each(ledger::cards(&world.path("part.db"), PART as u32), PART);
    println!("  ledger              {ledger:7.1} us, {} events", ledger::EVENTS);
    println!(
        "  graphics            {:7.1} us (printer lines only)",
        graphics(&records[..records.len().min(100)])
    );

    println!(
        "cards per second with stations that take no time (2 processes of ours beside hwsim, {} cores):",
        cores()
    );
    println!("  sim-chip-8          {:7.0}", of(|(run, _)| run.speed));
    let few = world.prepared("few", (count / 8).max(8));
    println!(
        "  sim-8               {:7.0}",
        median((0..3).map(|_| Run::of(&world, "sim-8", &few).speed).collect())
    );
    println!(
        "commands per card: {:.2} sent, {fewest:.2} at least (DGIs allow no fewer; with SELECT, INITIALIZE UPDATE, EXTERNAL \
         AUTHENTICATE and SET STATUS)",
        of(|(run, _)| run.commands)
    );
}

/// Figures of a run of the line; CPU in microseconds per card.
struct Run {
    controller: f64,
    hsm_host: f64,
    simulator: f64,
    /// Cards per second, from the first feed to the last card out.
    speed: f64,
    /// Commands per card.
    commands: f64,
    /// CPU of the controller's threads, microseconds per card.
    threads: BTreeMap<String, threads::Time>,
}

impl Run {
    fn of(world: &World, line: &str, file: &Path) -> Self {
        let before = cpu_of_children();
        let arguments =
            ["run", file.to_str().unwrap(), "--line", line, "--keys", "bureau.store", "--ledger", "run.db"];
        let simulate = ["--simulate", "--speed", "0", "--report", "report.json", "--json"];
        let mut command = world.command(CARDWRIGHT, &[&arguments[..], &simulate].concat());
        let mut threads = threads::watch(&mut command.stdout(Stdio::null()).spawn().unwrap());
        let all = cpu_of_children() - before;
        let report: Value =
            serde_json::from_slice(&std::fs::read(world.path("report.json")).unwrap()).unwrap();
        let figure = |name: &str| report["run"][name].as_f64().unwrap();
        let cards = figure("cards");
        for name in ["run.db", "run.db-wal", "run.db-shm"] {
            let _ = std::fs::remove_file(world.path(name));
        }
        std::fs::remove_dir_all(world.path("run.db.spool")).unwrap();
        world.new_bureau();
        let (hsm_host, simulator) = (figure("cpu_hsm_host_s"), figure("cpu_simulator_s"));
        for time in threads.values_mut() {
            time.user *= 1e6 / cards;
            time.system *= 1e6 / cards;
        }
        // This includes start, acceptance and report, up to the last instruction.
        let controller = all.as_secs_f64() - hsm_host - simulator;
        Self {
            controller: controller / cards * 1e6,
            hsm_host: hsm_host / cards * 1e6,
            simulator: simulator / cards * 1e6,
            speed: cards / figure("elapsed"),
            commands: figure("commands_per_card"),
            threads,
        }
    }
}

fn sessions(file: &Path, records: &[Record]) -> Vec<Session> {
    let reader = Cwf1Reader::open(std::fs::File::open(file).unwrap(), FileLimits::default()).unwrap();
    let (issuer, name): (&IssuerId, &FileId) = (&reader.header().issuer_id, &reader.header().file_id);
    records.iter().map(|record| Session::new(record, issuer, name)).collect()
}

/// The fewest commands for an application: for its DGIs, and for the channel.
fn fewest_of(
    application: &cardwright::record::chip::ChipApplication,
    verified: &cardwright::hsm::VerifiedApplication,
    product: &ProductProfile,
) -> usize {
    let rules = product.application(&application.aid).unwrap();
    let status = usize::from(rules.finalize == cardwright::profile::product::Finalize::SetStatus);
    OPENING
        + chip::fewest_commands(application, verified, rules, &SecureChannel::new(session::CHANNEL).unwrap())
        + status
}

/// CPU per card of all HSM calls, in process and through the socket with both ends, alternating;
/// microseconds.
fn hsm_calls(world: &World, file: &Path, sessions: &[Session], product: &ProductProfile) -> (f64, f64) {
    let store = world.path("bureau.store");
    let round = |hsm: &mut dyn Hsm, bound: &BoundCards| {
        let mut next = None;
        let before = cpu_of_self();
        for (session, card) in sessions.iter().zip(&bound.attempts) {
            drop(session.run(hsm, *card, product, &mut next));
        }
        let between = cpu_of_self();
        // A card answers the challenge that the HSM has just drawn, so its work cannot be done before.
        sessions.iter().for_each(Session::card_answers);
        (between - before).saturating_sub(cpu_of_self() - between)
    };
    let count = sessions.len() as u32;
    let bound = |door: &HsmDoor| {
        let connect = || Box::new(HsmClient::connect(door, CallerRole::Ledger).unwrap()) as Box<dyn Auditor>;
        BoundCards::new(file, count, &connect)
    };
    // A store takes each chip once.
    let with_new_store = |work: &dyn Fn(&HsmDoor) -> Duration| {
        world.new_bureau();
        host(world, &store, work)
    };
    // CPU time of a host that only starts, notes the attempts, and ends.
    let idle = with_new_store(&|door| {
        bound(door);
        Duration::ZERO
    });
    let (mut inside, mut through) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        world.new_bureau();
        let mut soft = SoftHsm::new(KeyStore::open(&store).unwrap()).unwrap();
        let noted = bound_by(file, sessions, &soft);
        inside.push(micros_each(round(&mut soft, &noted), sessions.len()));
        drop((soft, noted));
        let both = with_new_store(&|door| round(&mut LineCallers::connect(door), &bound(door)));
        through.push(micros_each(both.saturating_sub(idle), sessions.len()));
    }
    (median(inside), median(through))
}

/// The cards of these sessions, bound by a ledger that this HSM follows.
fn bound_by(file: &Path, sessions: &[Session], hsm: &SoftHsm) -> BoundCards {
    BoundCards::new(file, sessions.len() as u32, &|| Box::new(hsm.connect()) as Box<dyn Auditor>)
}

/// CPU time of a host that lives during `work`, and the result of `work`.
fn host(world: &World, store: &Path, work: impl FnOnce(&HsmDoor) -> Duration) -> Duration {
    let folder = world.folder();
    let socket = folder.path().join("hsm.sock");
    let before = cpu_of_children();
    let process = HostProcess::start(Path::new(CARDWRIGHT), store, &socket).unwrap();
    let ours = work(process.door());
    drop(process);
    ours + (cpu_of_children() - before)
}

/// CPU per card of rendering its picture, in microseconds; the template is ready.
fn graphics(records: &[Record]) -> f64 {
    let render = |record: &Record| {
        let graphics = sections::graphics(record.section("GFX").unwrap()).unwrap();
        template::named(graphics.template).unwrap().render(&graphics).unwrap()
    };
    drop(render(&records[0]));
    let before = cpu_of_thread();
    records.iter().for_each(|record| drop(render(record)));
    micros_each(cpu_of_thread() - before, records.len())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
