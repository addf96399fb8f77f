//! Ledgers that are shown to an HSM: what it follows, and what it refuses. The ledgers are real ones of made-up files.

use std::path::Path;

use cardwright::audit::{AuditKey, ChainPlace, Checkpoint, LedgerId};
use cardwright::hsm::memory::FollowRefusal;
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, StoreSide};
use cardwright::hsm::{
    Auditor, FileAdmission, FollowedLedger, Following, HostedHsm, HsmError, HsmRefusal, SHOWN_EVENTS,
    ShownEvents,
};
use cardwright::ids::{CardRef, FileId, IssuerId, KekId, ProductName};
use cardwright::laws::{Change, ChipId, Context, JobProfiles, LAWS};
use cardwright::ledger::{Ledger, NewJob};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::file::{self, KEYS, kek_tdes};
use crate::v1_store;

/// Records of a file: its Trailer states so many.
pub const RECORDS: u32 = 10;

/// Events with their hashes.
pub type Events = Vec<(Vec<u8>, [u8; 32])>;

/// A ledger, and the store of its HSM.
struct Scene {
    folder: TempDir,
    /// Open, so that its files lie as they are.
    _ledger: Option<Ledger>,
    id: LedgerId,
}

pub fn admission(ledger: LedgerId, file_id: &'static str, digest: u8) -> FileAdmission {
    let trailer = file::trailer(&kek_tdes(), "TESTBANK", file_id);
    FileAdmission { ledger, digest: [digest; 32], trailer }
}

pub fn new_job(file_id: &str, digest: u8, records: u32) -> NewJob {
    NewJob {
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        file_id: FileId::new(file_id).unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        digest: [digest; 32],
        kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]),
        line: "sim-8".to_owned(),
        rejects_shredded: true,
        rejects_marked: false,
        profiles: JobProfiles::default(),
        simulated: true,
        test_keys: true,
        spool: "none".to_owned(),
        spool_key: None,
        cards: (1..=records).map(|n| CardRef::new(format!("{file_id}-{n}")).unwrap()).collect(),
        submitted_by: None,
    }
}

/// A ledger with one job, some of whose cards are bound.
fn some_ledger(path: &Path, file_id: &str, digest: u8, blanks: u8) -> (Ledger, LedgerId) {
    let ledger = Ledger::open(path).unwrap();
    let id = ledger.reader().unwrap().id().unwrap();
    let job = ledger.new_job(new_job(file_id, digest, RECORDS)).unwrap().job;
    for blank in 1..=blanks {
        let key_data = cardwright::ids::KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 0, 0, digest, blank]);
        let chip = Some(ChipId::globalplatform(key_data, None));
        let (seq, blank) = (u32::from(blank), u32::from(blank));
        for change in [Change::Fed { blank }, Change::Bound { seq, blank, chip }, Change::Rejected { seq }] {
            ledger.record(job, change, Context::default()).wait().unwrap();
        }
    }
    (ledger, id)
}

pub fn events(path: &Path) -> Events {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = db.prepare("SELECT body, hash FROM event_v2 ORDER BY n").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        KeyStore::create_test(KEYS, &folder.path().join("store"), StoreSide::Bureau).unwrap();
        let (ledger, id) = some_ledger(&folder.path().join("l.db"), "FILE-1", 1, 2);
        Self { folder, _ledger: Some(ledger), id }
    }

    fn hsm(&self) -> SoftHsm {
        SoftHsm::new(KeyStore::open(&self.folder.path().join("store")).unwrap()).unwrap()
    }

    fn events(&self) -> Events {
        events(&self.folder.path().join("l.db"))
    }

    fn place(&self, events: &Events, n: usize) -> ChainPlace {
        let hash = n.checked_sub(1).map_or([0; 32], |last| events[last].1);
        ChainPlace { ledger: self.id, n: n as u64, hash }
    }

    /// Events after number `from`, up to `to`.
    fn shown(&self, events: &Events, from: usize, to: usize, sign: bool) -> ShownEvents {
        let bytes = events[from..to].iter().map(|(body, _)| body.clone()).collect();
        ShownEvents { after: self.place(events, from), events: bytes, sign }
    }

    fn follow(&self, hsm: &mut SoftHsm) -> Result<FollowedLedger, HsmError> {
        hsm.follow(&Following { ledger: self.id, laws: LAWS, signed: None, last: None })
    }
}

/// Whether the ledger stopped at this event.
fn stopped_at<T: std::fmt::Debug>(result: Result<T, HsmError>, at: usize) -> String {
    match result {
        Err(HsmError::NotFollowed(FollowRefusal::Stopped { n, why })) if n == at as u64 => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ledger_is_followed_from_its_first_event_and_signed() {
    let scene = Scene::new();
    let (mut hsm, events) = (scene.hsm(), scene.events());
    let last = events.len();
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    let followed = scene.follow(&mut hsm).unwrap();
    assert_eq!((followed.place, followed.signed, followed.generation), (scene.place(&events, 0), None, 0));
    let now = hsm.show(&scene.shown(&events, 0, 4, false)).unwrap();
    assert_eq!((now.place, now.signed), (scene.place(&events, 4), None));
    let now = hsm.show(&scene.shown(&events, 4, last, true)).unwrap();
    let signed = now.signed.unwrap();
    assert!(signed.is_genuine() && signed.place == scene.place(&events, last) && signed.generation == 1);
    // The last one is given again.
    assert_eq!(hsm.show(&scene.shown(&events, last, last, true)).unwrap().signed, Some(signed));
    assert_eq!(hsm.audit(scene.id).unwrap().generation, 1);
    let too_many = vec![events[0].0.clone(); SHOWN_EVENTS + 1];
    let too_many = ShownEvents { events: too_many, ..scene.shown(&events, last, last, false) };
    assert!(matches!(hsm.show(&too_many), Err(HsmError::Refused(HsmRefusal::ShownTooMuch))));
}

/// A rewritten history, whose events have the right numbers.
#[test]
fn attack_1_a_rewritten_history_is_not_signed() {
    let scene = Scene::new();
    let (mut hsm, events) = (scene.hsm(), scene.events());
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    scene.follow(&mut hsm).unwrap();
    hsm.show(&scene.shown(&events, 0, 4, true)).unwrap();
    // Without event 5: what follows it is not what comes next.
    let mut without = scene.shown(&events, 5, 7, true);
    without.after = scene.place(&events, 4);
    let why = stopped_at(hsm.show(&without), 5);
    assert!(why.contains("number"), "{why}");
    // The ledger stays where it is, for this HSM and the next.
    assert!(matches!(
        hsm.show(&scene.shown(&events, 4, 7, true)),
        Err(HsmError::NotFollowed(FollowRefusal::Stopped { n: 5, .. }))
    ));
    assert_eq!(hsm.audit(scene.id).unwrap().head, Some(scene.place(&events, 4)));
    drop(hsm);
    stopped_at(scene.follow(&mut scene.hsm()), 5);
}

/// Events after a place that was not shown: far ahead, or on a fork.
#[test]
fn attack_5_a_place_far_ahead_or_beside_is_not_taken() {
    let scene = Scene::new();
    let (mut hsm, events) = (scene.hsm(), scene.events());
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    let early = hsm.show(&scene.shown(&events, 0, 2, true));
    assert!(matches!(early, Err(HsmError::NotFollowed(FollowRefusal::NotFollowed))), "before it is followed");
    scene.follow(&mut hsm).unwrap();
    hsm.show(&scene.shown(&events, 0, 3, true)).unwrap();
    let right = scene.place(&events, 3);
    for after in [
        ChainPlace { n: 1 << 40, ..right },
        ChainPlace { n: 4, ..right },
        ChainPlace { n: 2, ..right },
        ChainPlace { hash: [9; 32], ..right },
        scene.place(&events, 5),
    ] {
        let shown = ShownEvents { after, ..scene.shown(&events, 3, 5, true) };
        let refused = hsm.show(&shown);
        assert!(
            matches!(refused, Err(HsmError::NotFollowed(FollowRefusal::OtherPlace { known: 3, .. }))),
            "{refused:?}"
        );
    }
    let other = ChainPlace { ledger: LedgerId([9; 16]), ..right };
    let shown = ShownEvents { after: other, ..scene.shown(&events, 3, 5, true) };
    assert!(matches!(hsm.show(&shown), Err(HsmError::NotFollowed(FollowRefusal::NotFollowed))));
    // None of it did any harm.
    hsm.show(&scene.shown(&events, 3, 5, true)).unwrap();
}

#[test]
fn a_ledger_of_the_attackers_own_gets_no_file_of_ours() {
    let scene = Scene::new();
    let mut hsm = scene.hsm();
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    let path = scene.folder.path().join("own.db");
    let (_own, id) = some_ledger(&path, "FILE-1", 1, 1);
    assert!(matches!(
        hsm.admit(&admission(id, "FILE-1", 1)),
        Err(HsmError::FileElsewhere(ours)) if ours == scene.id
    ));
    // Under another name or content it is the same file.
    assert!(hsm.admit(&admission(id, "FILE-1", 2)).is_err());
    assert!(hsm.admit(&admission(id, "FILE-2", 1)).is_err());
    hsm.follow(&Following { ledger: id, laws: LAWS, signed: None, last: None }).unwrap();
    let own = Scene { folder: tempfile::tempdir().unwrap(), _ledger: None, id };
    let why = stopped_at(hsm.show(&own.shown(&events(&path), 0, 1, true)), 1);
    assert!(why.contains("not admitted"), "{why}");
    assert_eq!(hsm.audit(id).unwrap().head, None);
}

/// A job must have the name and the number of records of its Trailer, whose MAC the HSM checks.
#[test]
fn a_job_has_the_figures_of_its_trailer() {
    for (file_id, digest) in [("FILE-1", 2), ("FILE-2", 1)] {
        let scene = Scene::new();
        let (mut hsm, events) = (scene.hsm(), scene.events());
        hsm.admit(&admission(scene.id, file_id, digest)).unwrap();
        scene.follow(&mut hsm).unwrap();
        stopped_at(hsm.show(&scene.shown(&events, 0, 2, true)), 1);
    }
    let scene = Scene::new();
    let path = scene.folder.path().join("more.db");
    let more = Ledger::open(&path).unwrap();
    more.new_job(new_job("FILE-1", 1, RECORDS + 1)).unwrap();
    let more = Scene {
        folder: tempfile::tempdir().unwrap(),
        id: more.reader().unwrap().id().unwrap(),
        _ledger: Some(more),
    };
    let mut hsm = scene.hsm();
    hsm.admit(&admission(more.id, "FILE-1", 1)).unwrap();
    more.follow(&mut hsm).unwrap();
    stopped_at(hsm.show(&more.shown(&events(&path), 0, 1, true)), 1);
    let scene = Scene::new();
    let mut hsm = scene.hsm();
    let mut changed = admission(scene.id, "FILE-1", 1);
    changed.trailer.body[3] ^= 0x40;
    assert!(hsm.admit(&changed).is_err(), "a Trailer with another number of records");
    scene.follow(&mut hsm).unwrap();
    stopped_at(hsm.show(&scene.shown(&scene.events(), 0, 2, true)), 1);
}

#[test]
fn one_file_becomes_one_job() {
    let scene = Scene::new();
    let path = scene.folder.path().join("twice.db");
    let (twice, id) = some_ledger(&path, "FILE-1", 1, 0);
    twice.new_job(new_job("FILE-2", 2, RECORDS)).unwrap();
    let events = events(&path);
    let mut hsm = scene.hsm();
    hsm.admit(&admission(id, "FILE-1", 1)).unwrap();
    let of_twice = Scene { folder: tempfile::tempdir().unwrap(), _ledger: None, id };
    of_twice.follow(&mut hsm).unwrap();
    // The second job's file was not admitted; the first is one job.
    stopped_at(hsm.show(&of_twice.shown(&events, 0, 2, true)), 2);
}

/// After each message: what was acknowledged is there, and what was not is shown again.
#[test]
fn a_host_restarted_between_any_two_messages_loses_nothing() {
    let scene = Scene::new();
    let events = scene.events();
    for restart in 0..=events.len() {
        let scene = Scene { folder: tempfile::tempdir().unwrap(), _ledger: None, id: scene.id };
        KeyStore::create_test(KEYS, &scene.folder.path().join("store"), StoreSide::Bureau).unwrap();
        let mut hsm = scene.hsm();
        hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
        scene.follow(&mut hsm).unwrap();
        let mut signed = None;
        for n in 0..events.len() {
            if n == restart {
                drop(hsm);
                hsm = scene.hsm();
                let early = hsm.show(&scene.shown(&events, n, n + 1, true));
                assert!(matches!(early, Err(HsmError::NotFollowed(FollowRefusal::NotFollowed))));
                let followed = scene.follow(&mut hsm).unwrap();
                assert_eq!((followed.place, followed.signed), (scene.place(&events, n), signed));
            }
            let now = hsm.show(&scene.shown(&events, n, n + 1, n % 2 == 0)).unwrap();
            assert_eq!(now.place, scene.place(&events, n + 1));
            signed = now.signed.or(signed);
        }
        assert_eq!(hsm.audit(scene.id).unwrap().generation, (events.len() as u64).div_ceil(2));
    }
}

#[test]
fn one_connection_follows_a_ledger_until_it_ends() {
    let scene = Scene::new();
    let hsm = scene.hsm();
    let (mut one, mut other) = (hsm.connect(), hsm.connect());
    scene.follow(&mut one).unwrap();
    scene.follow(&mut one).unwrap();
    assert!(matches!(scene.follow(&mut other), Err(HsmError::NotFollowed(FollowRefusal::Followed))));
    drop(one);
    scene.follow(&mut other).unwrap();
    let old = Following { ledger: scene.id, laws: LAWS + 1, signed: None, last: None };
    assert!(matches!(other.follow(&old), Err(HsmError::NotFollowed(FollowRefusal::OtherLaws { .. }))));
}

/// The store was put back from a backup, and the ledger has a signature that the store does not remember.
#[test]
fn a_store_put_back_stops_as_a_whole() {
    let scene = Scene::new();
    let events = scene.events();
    let mut hsm = scene.hsm();
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    scene.follow(&mut hsm).unwrap();
    hsm.show(&scene.shown(&events, 0, 2, true)).unwrap();
    drop(hsm);
    let journal = scene.folder.path().join("store/journal-0");
    let old = std::fs::read(&journal).unwrap();
    let mut hsm = scene.hsm();
    scene.follow(&mut hsm).unwrap();
    let signed = hsm.show(&scene.shown(&events, 2, 4, true)).unwrap().signed;
    drop(hsm);
    std::fs::write(&journal, old).unwrap();
    let mut hsm = scene.hsm();
    let behind = |result: Result<(), HsmError>| {
        let refused =
            matches!(result, Err(HsmError::NotFollowed(FollowRefusal::StoreBehind { known: 1, shown: 2 })));
        assert!(refused, "{result:?}");
    };
    behind(hsm.follow(&Following { ledger: scene.id, laws: LAWS, signed, last: None }).map(drop));
    // From then on for every ledger.
    behind(scene.follow(&mut hsm).map(drop));
    behind(
        hsm.follow(&Following { ledger: LedgerId([7; 16]), laws: LAWS, signed: None, last: None }).map(drop),
    );
    behind(hsm.show(&scene.shown(&events, 4, 5, true)).map(drop));
}

/// Puts a store of an earlier version into the place of the scene's: it has signed the ledger at this place, with the key of
/// this seed, as its 41st signature.
fn earlier_store(scene: &Scene, seed: u8, place: &ChainPlace) -> Checkpoint {
    let (old, store) = (scene.folder.path().join("old"), scene.folder.path().join("store"));
    let (ledger, hash) = (place.ledger, hex::encode_upper(place.hash));
    let seed = [seed; 32];
    let text = format!(
        "cardwright audit book 1\ngeneration 41\nseed {}\nhead {ledger} {} {hash}\n",
        hex::encode_upper(seed),
        place.n
    );
    std::fs::remove_dir_all(&store).unwrap();
    v1_store::write(&old, "bureau", KEYS, &[("audit", &text)]);
    KeyStore::upgrade(&old, &store, StoreSide::Bureau).unwrap();
    AuditKey::from_seed(&seed).checkpoint(*place, 41, None)
}

/// A ledger of an earlier version: the store knows a place of it, and not its events. Its file was admitted then, too.
#[test]
fn a_ledger_that_was_signed_before_is_shown_from_its_first_event() {
    for knows in [true, false] {
        let scene = Scene::new();
        let events = scene.events();
        let signed = earlier_store(&scene, 5, &scene.place(&events, 5));
        let mut hsm = scene.hsm();
        let signed_here = knows.then_some(signed);
        let followed =
            hsm.follow(&Following { ledger: scene.id, laws: LAWS, signed: signed_here, last: None }).unwrap();
        assert_eq!((followed.place.n, followed.head, followed.generation), (0, signed.place, 41));
        // Nothing is signed until it has passed there.
        let now = hsm.show(&scene.shown(&events, 0, 4, true)).unwrap();
        assert_eq!((now.place.n, now.signed), (4, None));
        let now = hsm.show(&scene.shown(&events, 4, events.len(), true)).unwrap();
        assert_eq!(now.signed.unwrap().place, scene.place(&events, events.len()));
    }
}

#[test]
fn a_fork_behind_the_signed_place_is_refused() {
    let scene = Scene::new();
    let events = scene.events();
    earlier_store(&scene, 5, &ChainPlace { hash: [8; 32], ..scene.place(&events, 5) });
    let mut hsm = scene.hsm();
    scene.follow(&mut hsm).unwrap();
    let why = stopped_at(hsm.show(&scene.shown(&events, 0, events.len(), true)), 5);
    assert!(why.contains("signed another event"), "{why}");
}

#[test]
fn a_signature_of_another_store_is_none_of_ours() {
    let scene = Scene::new();
    let events = scene.events();
    let place = scene.place(&events, 3);
    let own = earlier_store(&scene, 5, &place);
    let foreign = AuditKey::from_seed(&[6; 32]).checkpoint(place, 1, None);
    let mut forged = own;
    forged.generation += 9;
    let elsewhere =
        AuditKey::from_seed(&[5; 32]).checkpoint(ChainPlace { ledger: LedgerId([9; 16]), ..place }, 1, None);
    let mut hsm = scene.hsm();
    for signed in [foreign, forged, elsewhere] {
        let refused =
            hsm.follow(&Following { ledger: scene.id, laws: LAWS, signed: Some(signed), last: None });
        assert!(matches!(refused, Err(HsmError::NotFollowed(FollowRefusal::OtherStore))), "{refused:?}");
    }
    hsm.follow(&Following { ledger: scene.id, laws: LAWS, signed: Some(own), last: None }).unwrap();
}
