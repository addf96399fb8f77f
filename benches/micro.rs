//! Cost of the parts of a card, with criterion: channel, HSM in process and through its socket, ledger,
//! picture, reader, the dispatcher's decisions.

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

#[path = "../tests/hsm/callers.rs"]
mod callers;
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

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use callers::LineCallers;
use cardwright::crypto::CipherKey;
use cardwright::hsm::Hsm;
use cardwright::hsm::client::HostProcess;
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::KeyStore;
use cardwright::laws::Change;
use cardwright::modules::{sections, template};
use cardwright::record::{Cwf1Reader, FileLimits, others_digest};
use cardwright::scp::{
    ChannelSession, HostChallenge, KeyDerivation, PendingChannel, SecLevel, SecureChannel,
};
use criterion::{BatchSize, Criterion, Throughput};
use session::Session;
use support::{CARDWRIGHT, World};

/// Cards in the file.
const CARDS: u32 = 1000;
/// Host challenge of the channel.
const CHALLENGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    let world = World::new().with_seclev_03();
    let file = world.prepared("micro", CARDS);
    channel(&mut criterion);
    hsm(&mut criterion, &world, &file);
    records(&mut criterion, &file);
    ledger_batches(&mut criterion, &world);
    criterion.final_summary();
}

fn pending(kmc: &CipherKey, answer: &[u8]) -> PendingChannel {
    let channel = SecureChannel::new(session::CHANNEL).unwrap();
    let answer = channel.read_answer(black_box(answer)).unwrap();
    channel.open(KeyDerivation::EmvCps, kmc, &answer, &HostChallenge::new(CHALLENGE.to_vec())).unwrap()
}

fn channel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scp02");
    let kmc = CipherKey::tdes(&(0x40..0x50).collect::<Vec<u8>>()).unwrap();
    let answer = card::blank().initialize_update(CHALLENGE);
    group.bench_function("open, from KMC to EXTERNAL AUTHENTICATE", |b| {
        b.iter(|| pending(&kmc, &answer).verify().unwrap().authenticate(SecLevel::MacEnc).unwrap().1);
    });
    let data = [0x5A; 230];
    group.throughput(Throughput::Bytes(data.len() as u64));
    let mut channel: ChannelSession =
        pending(&kmc, &answer).verify().unwrap().authenticate(SecLevel::MacEnc).unwrap().0;
    group.bench_function("wrap STORE DATA of 230 bytes at 03", |b| {
        b.iter(|| channel.wrap([0xE2, 0x00, 0x00], black_box(&data)).unwrap());
    });
    group.finish();
}

fn hsm(criterion: &mut Criterion, world: &World, file: &Path) {
    let record = support::records(file).swap_remove(0);
    let reader = Cwf1Reader::open(std::fs::File::open(file).unwrap(), FileLimits::default()).unwrap();
    let header = reader.header();
    let card = Session::new(&record, &header.issuer_id, &header.file_id);
    let store = world.path("bureau.store");
    let folder = world.folder();
    let socket = folder.path().join("hsm.sock");
    let host = HostProcess::start(Path::new(CARDWRIGHT), &store, &socket).unwrap();
    let soft = SoftHsm::new(KeyStore::open(&store).unwrap()).unwrap();
    let client = LineCallers::connect(host.door());
    let both: [(&str, Box<dyn Hsm>); 2] = [("in process", Box::new(soft)), ("socket", Box::new(client))];

    let mut group = criterion.benchmark_group("hsm");
    // Sessions are measured by `cards`: each needs a chip of its own.
    for (place, mut hsm) in both {
        group.bench_function(format!("verify and release a card, {place}"), |b| {
            b.iter(|| {
                let handle = hsm.verify_record(black_box(&card.record)).unwrap().handle;
                hsm.release(&[handle]).unwrap();
            });
        });
    }
    group.finish();
}

fn records(criterion: &mut Criterion, file: &Path) {
    let mut group = criterion.benchmark_group("record");
    let bytes = std::fs::read(file).unwrap();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read a file, structure and digest", |b| {
        b.iter(|| {
            let mut reader = Cwf1Reader::open(black_box(bytes.as_slice()), FileLimits::default()).unwrap();
            while reader.next_frame().unwrap().is_some() {}
            reader.finish().unwrap().digest
        });
    });
    let record = support::records(file).swap_remove(0);
    group.throughput(Throughput::Elements(1));
    group.bench_function("digest of the sections but CHP", |b| b.iter(|| others_digest(black_box(&record))));
    group.bench_function("picture", |b| {
        b.iter(|| {
            let graphics = sections::graphics(record.section("GFX").unwrap()).unwrap();
            template::named(graphics.template).unwrap().render(&graphics).unwrap()
        });
    });
    group.finish();
}

/// Bindings that become durable together. Each binding first needs the feed of its blank, so a pair of
/// changes counts as one.
fn ledger_batches(criterion: &mut Criterion, world: &World) {
    let mut group = criterion.benchmark_group("ledger");
    for in_flight in [1u32, 8, 64] {
        let path = world.path(&format!("{in_flight}.db"));
        // More records than criterion can use.
        let (ledger, job) = ledger::job(&path, 300_000);
        let mut next = 0;
        group.throughput(Throughput::Elements(u64::from(in_flight)));
        group.bench_function(format!("feed and bind, {in_flight} in flight"), |b| {
            b.iter_batched(
                || {
                    next += in_flight;
                    next + 1 - in_flight..=next
                },
                |numbers| {
                    let record = |change| ledger.record(job, change, ledger::context());
                    let tickets: Vec<_> = numbers
                        .flat_map(|n| [record(Change::Fed { blank: n }), record(ledger::bound(n))])
                        .collect();
                    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
                },
                BatchSize::PerIteration,
            );
        });
        ledger.close().unwrap();
    }
    group.finish();
}
