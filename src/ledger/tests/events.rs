//! The bytes of events: every kind decodes to what was encoded, has one encoding, and is hashed as the specification
//! states. Unknown kinds and fields are kept, and stop only code that must understand them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rusqlite::Connection;

use super::*;
use crate::audit::LedgerId;
use crate::ids::SpoolKeyName;
use crate::laws::chain::{GENESIS, hash_version_two};
use crate::laws::event::codec::{self, EventFault};
use crate::laws::event::kinds::{self, KINDS};
use crate::laws::event::{
    AcceptedTerms, BlankSubject, CardSubject, ChainVersion, EVENT_MAX, NOTE_KIND, RawField, RecordSubject,
};
use crate::laws::types::{ActReference, HsmUse};

fn some_text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::string::string_regex("[ -~]{1,20}").unwrap(),
        proptest::string::string_regex("[a-zé語]{1,12}").unwrap(),
        Just("x".repeat(max)),
    ]
}

fn optional_text(max: usize) -> impl Strategy<Value = Option<String>> {
    prop::option::of(some_text(max))
}

fn some_chip() -> impl Strategy<Value = ChipId> {
    prop_oneof![
        (any::<[u8; 10]>(), any::<bool>(), any::<u8>()).prop_map(|(key_data, proof, version)| {
            let key_data = KeyData(key_data);
            let kmc = KmcRef { id: key_data.kmc_id(), version };
            ChipId::globalplatform(key_data, proof.then_some(kmc))
        }),
        (
            2u8..9,
            prop::collection::vec(any::<u8>(), 1..=32),
            2u8..9,
            prop::collection::vec(any::<u8>(), 0..=32)
        )
            .prop_map(|(kind, id, proof_kind, proof)| ChipId::new(kind, &id, proof_kind, &proof).unwrap()),
    ]
}

fn some_card() -> impl Strategy<Value = CardSubject> {
    let card_ref = proptest::string::string_regex("[A-Za-z0-9-]{1,40}").unwrap();
    let label = prop::option::of(prop::collection::vec(any::<u8>(), 1..=10));
    (1u32.., card_ref, 1u32.., 1u32.., label).prop_map(|(seq, card_ref, attempt, blank, label)| CardSubject {
        record: RecordSubject { seq, card_ref },
        attempt,
        blank: BlankSubject {
            number: Some(blank),
            label: label.map(|label| BlankLabel::new(&label).unwrap()),
        },
    })
}

fn some_terms() -> impl Strategy<Value = AcceptedTerms> {
    let texts = (some_text(255), some_text(255), some_text(255), some_text(255), some_text(1024));
    let digests = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>());
    let rest = (
        1u32..,
        any::<[u8; 5]>(),
        prop::option::of(any::<[u8; 16]>()),
        prop::option::of(any::<[u8; 32]>()),
        prop::option::of(any::<u32>()),
        any::<[bool; 3]>(),
        any::<u16>(),
    );
    (texts, digests, rest).prop_map(|(texts, digests, (records, kek, key, program, plan_ms, flags, laws))| {
        AcceptedTerms {
            issuer: texts.0,
            file_id: texts.1,
            product: texts.2,
            records,
            line: texts.3,
            kek: KekId(kek),
            digest: digests.0,
            spool: texts.4,
            spool_key: key.map(SpoolKeyName),
            rejects_shredded: flags[0],
            rejects_marked: flags[1],
            test_keys: flags[2],
            cards: digests.1,
            profiles: JobProfiles {
                line_digest: digests.2,
                product_digest: digests.3,
                chip_program: program,
                plan_ms,
            },
            laws,
        }
    })
}

fn some_counts() -> impl Strategy<Value = RunCounts> {
    let worked = prop::collection::btree_map((some_text(30), some_text(30)), 1u64.., 0..4);
    let by_call = || prop::collection::btree_map(some_text(30), 1u64.., 0..4);
    (worked, by_call(), by_call()).prop_map(|(worked, hsm_calls, hsm_us)| RunCounts {
        worked,
        hsm_calls,
        hsm_us,
    })
}

fn some_state() -> impl Strategy<Value = AttemptState> {
    use AttemptState::{Destroyed, Good, Personalizing, Rejected, Sample, Unknown, Written};
    prop::sample::select(vec![Personalizing, Written, Rejected, Unknown, Destroyed, Good, Sample])
}

/// Every kind that this program knows.
fn some_fact() -> impl Strategy<Value = EventFact> {
    let blank = || some_card().prop_map(|card| card.blank);
    let record = || some_card().prop_map(|card| card.record);
    let device = || optional_text(255);
    let fate = (0..3u8, 0..3u8, any::<bool>()).prop_map(|(key, spool, unreadable)| DataFate {
        key: [KeyFate::NoKey, KeyFate::Destroyed, KeyFate::Missing][usize::from(key)],
        spool: [SpoolFate::Removed, SpoolFate::Overwritten, SpoolFate::Missing][usize::from(spool)],
        unreadable,
    });
    let value = (some_text(40), prop::collection::vec(any::<u8>(), 1..=2048), any::<bool>())
        .prop_map(|(name, value, public)| Box::new(CardValue::new(&name, &value, public)));
    let of_job = prop_oneof![
        some_terms().prop_map(|terms| EventFact::Accepted(Some(Box::new(terms)))),
        Just(EventFact::Held),
        Just(EventFact::Released),
        Just(EventFact::HoldAsked),
        Just(EventFact::HoldTakenBack),
        Just(EventFact::Closed),
        proptest::option::of(any::<[u8; 16]>())
            .prop_map(|key| EventFact::Deleting { spool_key: key.map(SpoolKeyName) }),
        fate.prop_map(EventFact::Deleted),
        some_counts().prop_map(EventFact::Ran),
        (1u32..).prop_map(|count| EventFact::StockIssued { count }),
        (1u32..).prop_map(|count| EventFact::StockReturned { count }),
        (1u32..).prop_map(|count| EventFact::StockVaulted { count }),
    ];
    let of_blank = prop_oneof![
        blank().prop_map(|blank| EventFact::Fed { blank: BlankSubject { label: None, ..blank } }),
        blank().prop_map(|blank| EventFact::Returned { blank: BlankSubject { label: None, ..blank } }),
        blank().prop_map(|blank| EventFact::Tested { blank: BlankSubject { label: None, ..blank } }),
        (blank(), prop::option::of(some_chip()))
            .prop_map(|(blank, chip)| EventFact::BlankRejected { blank, chip }),
    ];
    let of_card = prop_oneof![
        (some_card(), prop::option::of(some_chip())).prop_map(|(card, chip)| EventFact::Bound { card, chip }),
        (some_card(), some_chip()).prop_map(|(card, chip)| EventFact::ChipFound { card, chip }),
        (some_card(), some_state()).prop_map(|(card, to)| EventFact::Moved { card, to }),
        (some_card(), value).prop_map(|(card, value)| EventFact::ValueGiven { card, value }),
        (some_card(), prop_oneof![Just(String::new()), some_text(512)])
            .prop_map(|(card, compared)| EventFact::Verified { card, compared }),
        (some_card(), 1u32..).prop_map(|(card, position)| EventFact::Stacked { card, position }),
        record().prop_map(|record| EventFact::Cancelled { record }),
        record().prop_map(|record| EventFact::RemakeReleased { record }),
        record().prop_map(|record| EventFact::Asked { record }),
    ];
    let of_line = prop_oneof![
        some_text(40).prop_map(|name| EventFact::ShiftBegun { name }),
        (some_text(255), device()).prop_map(|(station, device)| EventFact::PersonsWord { station, device }),
        (some_text(255), device(), some_text(40))
            .prop_map(|(station, device, how)| EventFact::WiringProved { station, device, how }),
        (some_text(255), some_text(40), some_text(40))
            .prop_map(|(station, supply, state)| EventFact::SupplyTold { station, supply, state }),
        (optional_text(255), 1u32..).prop_map(|(station, count)| EventFact::BlanksTested { station, count }),
    ];
    prop_oneof![of_job, of_blank, of_card, of_line]
}

fn some_context() -> impl Strategy<Value = Context> {
    let act = (proptest::string::string_regex("[ -~]{1,64}").unwrap(), any::<[u8; 32]>());
    let people = (optional_text(255), optional_text(255), optional_text(255));
    let texts = (optional_text(255), optional_text(255), optional_text(40), optional_text(2048));
    let used = any::<Option<(u32, u64)>>();
    let numbers = (any::<Option<[u8; 4]>>(), any::<Option<u16>>(), any::<Option<u64>>(), used);
    (people, texts, numbers, prop::option::of(act)).prop_map(
        |(people, texts, (header, sw, ms, used), act)| Context {
            station: texts.0,
            module: texts.1,
            reason: texts.2.map(Into::into),
            detail: texts.3,
            header: header.map(hex::encode_upper),
            sw,
            ms,
            hsm: used.map(|(calls, us)| HsmUse { calls, us }),
            actor: people.0,
            first_person: people.1,
            on_line: people.2,
            act: act.map(|(key, request)| ActReference { key, request }),
        },
    )
}

fn some_event() -> impl Strategy<Value = LedgerEvent> {
    let from = prop::option::of(prop::sample::select(StateName::ALL));
    let head = (1u64.., 0u64..1 << 53, 1u32.., any::<bool>());
    (head, from, some_fact(), some_context()).prop_map(|((n, ts, job, simulated), from, fact, context)| {
        let kind = kinds::kind(fact.kind()).unwrap();
        LedgerEvent {
            n,
            ts,
            job: kind.of_job.then_some(JobId(job)),
            simulated,
            chain: ChainVersion::Two,
            from: from.filter(|_| kind.may_have(0x07)),
            fact,
            context,
            unknown: Vec::new(),
        }
    })
}

fn bytes(event: &LedgerEvent) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(event, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_reads_as_it_was_written(event in some_event(), ledger: [u8; 16], other: [u8; 16]) {
        let written = bytes(&event);
        prop_assert!(written.len() <= EVENT_MAX, "{} bytes", written.len());
        prop_assert_eq!(codec::decode(&written), Ok(event));
        // The hash covers the ledger and the event before.
        let hash = hash_version_two(&GENESIS, LedgerId(ledger), &written);
        prop_assert_eq!(hash == hash_version_two(&GENESIS, LedgerId(other), &written), ledger == other);
        prop_assert_ne!(hash, hash_version_two(&hash, LedgerId(ledger), &written));
    }

    /// Bytes that decode are the encoding of their event: no event has two encodings.
    #[test]
    fn changed_bytes_are_another_event_or_none(event in some_event(), at: prop::sample::Index, byte: u8, cut: bool) {
        let written = bytes(&event);
        let mut changed = written.clone();
        let at = at.index(changed.len());
        if cut { changed.truncate(at) } else { changed[at] = byte }
        match codec::decode(&changed) {
            Ok(read) => {
                prop_assert_eq!(&bytes(&read), &changed);
                prop_assert_eq!(read == event, changed == written);
            }
            Err(_) => prop_assert_ne!(changed, written),
        }
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = codec::decode(&bytes);
    }
}

/// The property test's strategy makes every kind of the table, and each decodes to a fact of that kind.
#[test]
fn every_kind_is_tried() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = some_event();
    let mut tried = BTreeSet::new();
    for _ in 0..4000 {
        tried.insert(strategy.new_tree(&mut runner).unwrap().current().kind());
    }
    assert_eq!(tried, KINDS.iter().map(|kind| kind.code).collect());
}

fn held(fields: &[u8]) -> Vec<u8> {
    let head = [0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 1];
    [&head[..], fields].concat()
}

#[test]
fn other_forms_are_refused() {
    assert!(codec::decode(&held(&[0x07, 0, 1, 1])).is_ok());
    let mut late = held(&[]);
    late[10] = 0xFF;
    let mut marked = held(&[]);
    marked[22] = 2;
    let mut of_none = held(&[]);
    of_none[21] = 0;
    let long = |length: usize| {
        let value = vec![b'x'; length];
        [&[0x82][..], &u16::try_from(length).unwrap().to_be_bytes(), &value].concat()
    };
    assert!(codec::decode(&held(&long(2048))).is_ok());
    for (what, bytes) in [
        ("no head", held(&[])[..22].to_vec()),
        ("a length that is cut", held(&[0x07, 0])),
        ("a value that is cut", held(&[0x07, 0, 2, 1])),
        ("bytes behind", held(&[0x07, 0, 1, 1, 0])),
        ("an empty field", held(&[0x82, 0, 0])),
        ("a tag twice", held(&[0x07, 0, 1, 1, 0x07, 0, 1, 1])),
        ("tags out of order", held(&[0x82, 0, 1, b'x', 0x07, 0, 1, 1])),
        ("an integer too long", held(&[0x07, 0, 2, 0, 1])),
        ("a code that is none", held(&[0x07, 0, 1, 0x99])),
        ("a role that is none", held(&[0x0D, 0, 2, 9, b'x'])),
        ("a person called as the line is", held(&[0x0D, 0, 5, 1, b'l', b'i', b'n', b'e'])),
        ("the line by another name", held(&[0x0D, 0, 2, 2, b'x'])),
        ("no UTF-8", held(&[0x82, 0, 1, 0xFF])),
        ("a control character", held(&[0x82, 0, 1, 0x1B])),
        ("a character that turns text around", held(&[0x82, 0, 3, 0xE2, 0x80, 0xAE])),
        ("a detail too long", held(&long(2049))),
        ("half of a request", held(&[0x86, 0, 1, b'k'])),
        ("a mark that is none", marked),
        ("a time beyond all times", late),
        ("a job's event of no job", of_none),
    ] {
        assert!(codec::decode(&bytes).is_err(), "{what}");
    }
    let notes: Vec<u8> = (0x90u8..=0xFF).flat_map(|tag| [&[tag, 0, 100][..], &[1; 100]].concat()).collect();
    assert_eq!(codec::decode(&held(&notes)), Err(EventFault::TooLong));
}

/// Computed with Python's hashlib and struct from the specification.
#[test]
fn python_hashlib_known_answer_of_version_two() {
    let event = LedgerEvent {
        n: 7,
        ts: 1_700_000_000_123,
        job: Some(JobId(1)),
        simulated: true,
        chain: ChainVersion::Two,
        from: Some(StateName::RecordQueued),
        fact: EventFact::Bound {
            card: CardSubject {
                record: RecordSubject { seq: 12, card_ref: "CARD-12".to_owned() },
                attempt: 1,
                blank: BlankSubject { number: Some(40), label: BlankLabel::new(&[10, 11, 12, 13]) },
            },
            chip: Some(ChipId::globalplatform(
                KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 10, 11, 12, 13]),
                Some(KmcRef { id: [0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73], version: 2 }),
            )),
        },
        context: Context {
            station: Some("chip-1".to_owned()),
            detail: Some("caf\u{e9}".to_owned()),
            sw: Some(0x9000),
            ms: Some(250),
            actor: Some("line".to_owned()),
            ..Context::default()
        },
        unknown: vec![],
    };
    let hash = hash_version_two(&[1; 32], LedgerId([2; 16]), &bytes(&event));
    assert_eq!(hex::encode(hash), "2cc4d2b25ac4cf4c452a026257c6115e7cf83e2143031b0c7fbd09488c3831eb");
}

/// A ledger with one more event, which has these bytes.
fn with_event(directory: &TempDir, body: impl FnOnce(u64) -> Vec<u8>) -> std::path::PathBuf {
    let path = directory.path().join("l.db");
    let ledger = Ledger::open(&path).unwrap();
    ledger.new_job(file("F", 1)).unwrap();
    ledger.close().unwrap();
    let connection = Connection::open(&path).unwrap();
    let (n, hash, id): (u64, _, _) = connection
        .query_row("SELECT h.n, h.hash, l.id FROM head AS h, ledger AS l", [], |r| {
            Ok((r.get::<_, i64>(0)?.unsigned_abs() + 1, r.get::<_, [u8; 32]>(1)?, r.get(2).map(LedgerId)?))
        })
        .unwrap();
    let body = body(n);
    let kind = u16::from_be_bytes([body[0], body[1]]);
    let job = u32::from_be_bytes([body[18], body[19], body[20], body[21]]);
    let hash = hash_version_two(&hash, id, &body);
    let n = i64::try_from(n).unwrap();
    connection
        .execute(
            "INSERT INTO event_v2 (n, job, seq, kind, body, hash) VALUES (?1, nullif(?2, 0), NULL, ?3, ?4, ?5)",
            rusqlite::params![n, job, kind, body, hash],
        )
        .unwrap();
    connection.execute("UPDATE head SET n = ?1, hash = ?2", rusqlite::params![n, hash]).unwrap();
    path
}

fn strange(n: u64, kind: u16, job: u32, field: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend(n.to_be_bytes());
    out.extend(u64::from(u32::MAX).wrapping_mul(1000).to_be_bytes());
    out.extend(job.to_be_bytes());
    out.push(u8::from(job > 0));
    out.extend(field);
    out
}

/// Events of a newer program: their hash holds. Unknown notes are counted. An unknown event that may change a state
/// is a finding, and its job does not go on.
#[test]
fn an_unknown_kind_is_carried_and_changes_nothing_silently() {
    for (kind, job, field, understood) in [
        (0x8123, 0, &[0x30, 0, 1, 7][..], true),
        (0x8123, 1, &[0x90, 0, 1, 7], true),
        (0x0099, 0, &[], false),
        (0x0099, 1, &[0x0D, 0, 1, 7], false),
        // A known kind with a known field that it does not have, and one with an unknown field.
        (kinds::HELD, 1, &[0x08, 0, 4, 0, 0, 0, 1], false),
        (kinds::HELD, 1, &[0x3F, 0, 1, 1], false),
    ] {
        let directory = directory();
        let path = with_event(&directory, |n| strange(n, kind, job, field));
        let reader = Reader::open(&path).unwrap();
        reader.verify_chain().unwrap();
        let audit = reader.audit(None, |_| ()).unwrap();
        assert_eq!(audit.findings.is_empty(), understood, "{kind:04X}: {:?}", audit.findings);
        assert_eq!(audit.notes, 1);
        if !understood {
            assert!(audit.findings[0].what.contains("does not know"), "{:?}", audit.findings);
        }
        let event = reader.events(None, 0, 10).unwrap().pop().unwrap();
        assert_eq!(event.fact.is_understood(), understood);
        assert_eq!(event.fact.kind(), kind);
        let word = if kind < NOTE_KIND { "unknown" } else { "note" };
        assert_eq!(event.to_word(), format!("{word}-{kind:04X}"));
        assert_eq!(reader.job(JobId(1)).unwrap().state, JobState::Open);
        assert_eq!(reader.replayed(JobId(1)).unwrap().is_empty(), understood || job == 0);
    }
    let event = codec::decode(&held(&[0x07, 0, 1, 1, 0xEE, 0, 2, 1, 2])).unwrap();
    assert_eq!(event.fact, EventFact::Held);
    assert_eq!(event.unknown, [RawField { tag: 0xEE, value: vec![1, 2] }]);
}

/// Events about no job have their place in the chain.
#[test]
fn events_of_no_job_verify() {
    for fact in [
        EventFact::PersonsWord { station: "stripe-1".into(), device: Some("SN 12".into()) },
        EventFact::WiringProved { station: "chip-1".into(), device: None, how: "seen".into() },
        EventFact::SupplyTold { station: "printer-1".into(), supply: "ribbon".into(), state: "out".into() },
        EventFact::BlanksTested { station: None, count: 3 },
    ] {
        let directory = directory();
        let context = Context { on_line: Some("desk".into()), ..Context::by("anna") };
        let path = with_event(&directory, |n| {
            bytes(&LedgerEvent {
                n,
                ts: u64::from(u32::MAX) * 1000,
                job: None,
                simulated: false,
                chain: ChainVersion::Two,
                from: None,
                fact: fact.clone(),
                context: context.clone(),
                unknown: vec![],
            })
        });
        let reader = Reader::open(&path).unwrap();
        assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
        let event = reader.events(None, 1, 1).unwrap().pop().unwrap();
        assert_eq!((event.fact, event.context), (fact, context));
    }
}

/// The events of the last ledger of version 1 still show as the program of that time showed them.
#[test]
fn version_one_is_shown_as_it_was() {
    let directory = directory();
    let path = directory.path().join("v5.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("v5.sql")).unwrap();
    let events = Reader::open(&path).unwrap().events(None, 0, 1000).unwrap();
    let mut shown = Vec::new();
    for event in &events {
        assert_eq!(event.chain, ChainVersion::One);
        crate::report::events::write_json(event, &mut shown).unwrap();
        shown.push(b'\n');
    }
    assert_eq!(String::from_utf8(shown).unwrap(), include_str!("v5-events.jsonl"));
}

#[test]
fn what_does_not_fit_into_an_event_is_refused_before_anything_changes() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    for (context, what) in [
        (Context::by(&*"x".repeat(256)), "person"),
        (Context::by(""), "person"),
        (Context { station: Some("a\u{1b}[2J".into()), ..Context::default() }, "station"),
        (Context { header: Some("84E2".into()), ..Context::default() }, "command header"),
        (Context { reason: Some("r".repeat(41).into()), ..Context::default() }, "reason"),
    ] {
        let error = ledger.record(job, Change::Held, context).wait().unwrap_err();
        let law = Law::NotWritable(what.into());
        assert_eq!(error, LedgerError::Denied { job, seq: None, law });
    }
    assert_eq!(ledger.reader().unwrap().job(job).unwrap().state, JobState::Open);
    // A text for people is cut instead.
    let context = Context { detail: Some(format!("\u{1b}{}", "é".repeat(2000))), ..Context::default() };
    let detail = ledger.record(job, Change::Held, context).wait().unwrap().context.detail.unwrap();
    assert!(detail.len() <= 2048 && detail.starts_with(" é") && detail.ends_with("é..."), "{}", detail.len());
    sound(&ledger.reader().unwrap());
}

#[test]
fn what_a_run_counted_is_split_over_events_and_adds_up() {
    let directory = directory();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    let station = |n| ((format!("module-{n}"), format!("station-{n}-{}", "x".repeat(100))), n);
    let counts = RunCounts {
        worked: (1..=200).map(station).collect(),
        hsm_calls: [("session".to_owned(), 7)].into_iter().collect(),
        hsm_us: [("session".to_owned(), 7_000)].into_iter().collect(),
    };
    let whole = Change::Ran(counts.clone());
    assert!(say(&ledger, job, whole).is_err(), "it is longer than an event");
    let parts = counts.clone().parts();
    assert!(parts.len() > 1);
    all(&ledger, job, parts.into_iter().map(Change::Ran));
    assert_eq!(ledger.reader().unwrap().run_counts(job).unwrap(), counts);
    assert_eq!(RunCounts::default().parts(), [RunCounts::default()]);
    sound(&ledger.reader().unwrap());
}

/// The specification lists the kinds of this program, each with the fields that it may have.
#[test]
fn the_specification_lists_every_kind_and_field() {
    let page = include_str!("../../manual/ledger-events.md");
    let rows = || {
        page.lines()
            .filter_map(|line| line.strip_prefix("| "))
            .map(|row| row.split(" | ").collect::<Vec<_>>())
    };
    let tags: std::collections::BTreeMap<&str, u8> = rows()
        .filter(|row| row[0].len() == 2 && row.len() >= 3)
        .filter_map(|row| Some((row[1], u8::from_str_radix(row[0], 16).ok()?)))
        .collect();
    let common = ["by", "first_person", "reason"];
    let mut listed = std::collections::BTreeMap::new();
    for row in rows().filter(|row| row[0].len() == 4 && row.len() >= 3) {
        let Ok(code) = u16::from_str_radix(row[0], 16) else { continue };
        let card = ["seq", "card_ref", "attempt", "blank", "label"];
        let fields = row[2].trim_end_matches(" |").split(", ").map(|field| field.trim_end_matches('?'));
        let fields = fields.filter(|field| !field.is_empty()).flat_map(|field| match field {
            "card" => card.to_vec(),
            field => vec![field],
        });
        let fields: BTreeSet<u8> = fields.chain(common).map(|field| tags[field]).collect();
        listed.insert(code, (row[1].to_owned(), fields));
    }
    let known: std::collections::BTreeMap<_, _> = KINDS
        .iter()
        .map(|kind| (kind.code, (kind.word.to_owned(), (0..64).filter(|tag| kind.may_have(*tag)).collect())))
        .collect();
    assert_eq!(listed, known);
}
