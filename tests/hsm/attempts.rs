//! One attempt, one chip: which sessions an HSM opens for what its ledger has bound, and which it refuses.

use cardwright::hsm::memory::{AttemptBar, AttemptRefusal, FollowRefusal};
use cardwright::hsm::{
    Auditor, CardAttempt, CardSession, CardSessionRequest, DataFault, DataPart, FileAdmission, Following,
    HostedHsm, Hsm, HsmError, HsmRefusal, RecordHandle, VerifiedRecord,
};
use cardwright::laws::LAWS;
use cardwright::ledger::LedgerError;
use cardwright::scp::SecLevel;

use super::personalize::{asks, draw, job_of, session};
use super::{Device, make, make_in};
use crate::bound::{BoundJob, barred};
use crate::card::{Card, blank, foreign_blank};
use crate::file::{self, App, KEYS, OTHER_NAMES, SCOPE, Scope, app, kek_tdes};

/// The record of [`SCOPE`].
const SEQ: u32 = SCOPE.sequence;

/// The blank with this number.
fn blank_of(number: u8) -> Card {
    let mut card = blank();
    card.key_data[9] = number;
    card
}

/// The record with this sequence, of the file of this name.
fn scope(file_id: &'static str, sequence: u32) -> Scope {
    Scope { file_id, ..file::scope_of(sequence) }
}

fn verified(hsm: &mut Device, apps: &[App], scope: &Scope) -> VerifiedRecord {
    hsm.verify_record(&file::record(&kek_tdes(), apps, scope)).unwrap()
}

/// The request for a session of this step.
fn request(
    hsm: &mut Device,
    card: &Card,
    (attempt, step): (CardAttempt, u8),
    apps: &[App],
    record: &VerifiedRecord,
) -> CardSessionRequest {
    let place = usize::from(step).clamp(1, apps.len()) - 1;
    let commands = session(&apps[place], &record.applications[place], 200);
    let challenge = draw(hsm);
    asks(card, challenge, (attempt, step), record.handle, SecLevel::Mac, commands)
}

fn asked(
    hsm: &mut Device,
    card: &Card,
    step: (CardAttempt, u8),
    apps: &[App],
    record: &VerifiedRecord,
) -> Result<CardSession, HsmError> {
    let request = request(hsm, card, step, apps, record);
    hsm.session(&request)
}

fn refusal(asked: Result<CardSession, HsmError>) -> AttemptRefusal {
    match asked.map(drop) {
        Err(HsmError::Refused(HsmRefusal::Attempt(refusal))) => refusal,
        other => panic!("{other:?}"),
    }
}

/// A list of keys in which one KMC has several names.
fn more_names() -> String {
    [KEYS, OTHER_NAMES].concat()
}

fn plain() -> [App; 1] {
    [app(0x12, 1)]
}

/// An attacker tries to put one record on 50 cards.
#[test]
fn attack_2_fifty_cards_from_one_record() {
    let mut hsm = make();
    let mut job = job_of(&hsm);
    let first = blank_of(1);
    let attempt = job.bind(SEQ, &first);
    let mut cards = 0;
    for number in 1..=50 {
        let record = verified(&mut hsm, &plain(), &SCOPE);
        for attempt in [attempt, CardAttempt { attempt: 2, ..attempt }, CardAttempt { seq: 8, ..attempt }] {
            cards += u32::from(asked(&mut hsm, &blank_of(number), (attempt, 1), &plain(), &record).is_ok());
        }
    }
    assert_eq!(cards, 1);
    // While the card may exist, the ledger binds no other.
    let record = verified(&mut hsm, &plain(), &SCOPE);
    let again = asked(&mut hsm, &first, (attempt, 1), &plain(), &record);
    assert_eq!(refusal(again), AttemptRefusal::Step { next: 2 });
    job.personalizing(SEQ);
    job.throw_out(SEQ);
    let second = job.bind(SEQ, &blank_of(51));
    // The last of 50 handles is the only one.
    assert_eq!(
        refusal(asked(&mut hsm, &blank_of(51), (attempt, 1), &plain(), &record)),
        AttemptRefusal::Stale
    );
    asked(&mut hsm, &blank_of(51), (second, 1), &plain(), &record).unwrap();
}

/// An attacker sends the answer of one blank again, so that equal session keys encrypt the PINs of all records.
#[test]
fn attack_3_equal_pins() {
    let mut hsm = make_in(tempfile::tempdir().unwrap().path(), &more_names());
    let mut job = job_of(&hsm);
    let card = blank();
    let own = job.bind(SEQ, &card);
    let record = verified(&mut hsm, &plain(), &SCOPE);
    asked(&mut hsm, &card, (own, 1), &plain(), &record).unwrap();
    // Another cardholder's record, in the same attempt.
    let theirs = verified(&mut hsm, &plain(), &scope("FILE-1", 8));
    let other = asked(&mut hsm, &card, (own, 1), &plain(), &theirs);
    assert_eq!(refusal(other), AttemptRefusal::OtherRecord);
    // In an attempt of its own. The ledger takes the chip for another one, because bytes differ from which no key is derived.
    // The HSM does not.
    job.throw_out(SEQ);
    let mut again = blank();
    again.key_data[..3].copy_from_slice(&[0, 0, 0]);
    let (attempt, why) = job.bind_barred(8, &again);
    assert_eq!(why, AttemptBar::ChipSeen);
    assert_eq!(
        refusal(asked(&mut hsm, &again, (attempt, 1), &plain(), &theirs)),
        AttemptRefusal::Barred(AttemptBar::ChipSeen)
    );
    // In another ledger, with another file.
    let mut elsewhere = BoundJob::of_file(&|| Box::new(hsm.connect()) as Box<dyn Auditor>, "FILE-2", 2);
    let (attempt, why) = elsewhere.bind_barred(1, &card);
    assert_eq!(why, AttemptBar::ChipSeen);
    let record = verified(&mut hsm, &plain(), &scope("FILE-2", 1));
    assert_eq!(
        refusal(asked(&mut hsm, &card, (attempt, 1), &plain(), &record)),
        AttemptRefusal::Barred(AttemptBar::ChipSeen)
    );
}

/// SCP03 has one DEK for all sessions of a chip. So has this card, because its counter does not rise. The HSM opens it for one
/// record only: under every name of its KMC, in every job, before and after a restart.
#[test]
fn the_static_dek_of_scp03() {
    let folder = tempfile::tempdir().unwrap();
    let mut sessions = Vec::new();
    for (file_id, digest) in [("FILE-1", 1), ("FILE-2", 2)] {
        let mut hsm = make_in(folder.path(), &more_names());
        let mut job = BoundJob::of_file(&|| Box::new(hsm.connect()) as Box<dyn Auditor>, file_id, digest);
        for (sequence, kmc_id) in [(1, [0xFF; 3]), (2, [0; 3]), (3, [1; 3])] {
            let mut card = blank();
            card.key_data[..3].copy_from_slice(&kmc_id);
            let attempt = job.bind_any(sequence, &card);
            let record = verified(&mut hsm, &plain(), &scope(file_id, sequence));
            if asked(&mut hsm, &card, (attempt, 1), &plain(), &record).is_ok() {
                sessions.push((file_id, sequence));
            }
        }
    }
    assert_eq!(sessions, [("FILE-1", 1)]);
}

/// A chip is what its keys come from, under every name of its KMC.
#[test]
fn one_kmc_value_under_two_names() {
    let mut version_2 = blank();
    version_2.version = 2;
    let mut other_id = blank();
    other_id.key_data[..3].copy_from_slice(&[0, 0, 0]);
    for card in [version_2, other_id] {
        for turned in [false, true] {
            let hsm = make_in(tempfile::tempdir().unwrap().path(), &more_names());
            let connect = || Box::new(hsm.connect()) as Box<dyn Auditor>;
            let (mut one, mut other) = (BoundJob::new(&connect), BoundJob::of_file(&connect, "FILE-2", 2));
            let (first, second) = if turned { (&card, &blank()) } else { (&blank(), &card) };
            one.bind(1, first);
            assert_eq!(other.bind_barred(1, second).1, AttemptBar::ChipSeen);
            let mut third = blank_of(9);
            third.version = card.version;
            other.bind(2, &third);
        }
    }
}

/// The rows of the ledger show nothing wrong; other cards of the stack are made.
#[test]
fn equal_chips_in_two_jobs_refuse_the_session_alone() {
    let mut hsm = make();
    let mut job = job_of(&hsm);
    let used = job.bind(1, &blank_of(1));
    let record = verified(&mut hsm, &plain(), &scope("FILE-1", 1));
    asked(&mut hsm, &blank_of(1), (used, 1), &plain(), &record).unwrap();
    let mut other = BoundJob::of_file(&|| Box::new(hsm.connect()) as Box<dyn Auditor>, "FILE-2", 2);
    let (_, why) = other.bind_barred(1, &blank_of(1));
    assert_eq!(why, AttemptBar::ChipSeen);
    other.throw_out(1);
    let attempt = other.bind(1, &blank_of(2));
    let record = verified(&mut hsm, &plain(), &scope("FILE-2", 1));
    asked(&mut hsm, &blank_of(2), (attempt, 1), &plain(), &record).unwrap();
}

fn three() -> [App; 3] {
    ["A0000000031010", "F043575055525345", "F043574C4F59414C"]
        .map(|aid| App { aid: hex::decode(aid).unwrap(), ..app(0x12, 1) })
}

#[test]
fn steps_once_in_order_on_one_chip() {
    let mut hsm = make();
    let mut job = job_of(&hsm);
    let (apps, mut card) = (three(), blank());
    let attempt = job.bind_unseen(SEQ);
    let record = verified(&mut hsm, &apps, &SCOPE);
    let step = |hsm: &mut Device, card: &Card, step, record| asked(hsm, card, (attempt, step), &apps, record);
    assert_eq!(refusal(step(&mut hsm, &card, 1, &record)), AttemptRefusal::AwaitsChip);
    job.found(SEQ, &card).unwrap();
    assert_eq!(refusal(step(&mut hsm, &card, 2, &record)), AttemptRefusal::Step { next: 1 });
    for number in 1..=3 {
        card.sequence[1] = number;
        assert_eq!(refusal(step(&mut hsm, &blank_of(7), number, &record)), AttemptRefusal::OtherChip);
        let request = request(&mut hsm, &card, (attempt, number), &apps, &record);
        let apdus: Vec<_> = hsm.session(&request).unwrap().apdus.iter().map(|apdu| apdu.to_vec()).collect();
        let challenge = request.host_challenge.as_bytes().try_into().unwrap();
        assert_eq!(card.personalize(challenge, &apdus).dgis.len(), apps[0].dgis.len(), "step {number}");
        let again = step(&mut hsm, &card, number, &record).err();
        assert_eq!(again, Some(HsmError::Refused(HsmRefusal::HandleUsed)));
    }
    // The record verified again: its applications are opened already, in whatever order they come.
    for (order, next) in [([0, 1, 2], 4), ([2, 0, 1], 4)] {
        let again = order.map(|place: usize| apps[place].clone());
        let record = verified(&mut hsm, &again, &SCOPE);
        for number in 1..=3 {
            let refused = asked(&mut hsm, &card, (attempt, number), &again, &record);
            assert_eq!(refusal(refused), AttemptRefusal::Step { next });
        }
    }
    let mut more = apps.to_vec();
    more.push(apps[0].clone());
    let record = verified(&mut hsm, &more, &SCOPE);
    assert_eq!(refusal(asked(&mut hsm, &card, (attempt, 4), &more, &record)), AttemptRefusal::OpenedBefore);
}

/// One application is opened first, and then the whole record is tried.
#[test]
fn an_application_is_opened_once_on_a_chip_whatever_its_record_holds() {
    let mut hsm = make();
    let mut job = job_of(&hsm);
    let [payment, purse, _] = three();
    let attempt = job.bind(SEQ, &blank());
    let alone = [purse.clone()];
    let record = verified(&mut hsm, &alone, &SCOPE);
    asked(&mut hsm, &blank(), (attempt, 1), &alone, &record).unwrap();
    let both = [payment, purse];
    let record = verified(&mut hsm, &both, &SCOPE);
    let second = asked(&mut hsm, &blank(), (attempt, 2), &both, &record);
    assert_eq!(refusal(second), AttemptRefusal::OpenedBefore);
}

#[test]
fn a_lost_answer_is_given_again_and_a_changed_question_is_not() {
    let mut hsm = make();
    let mut job = job_of(&hsm);
    let (apps, card) = (three(), blank());
    let attempt = job.bind(SEQ, &card);
    let record = verified(&mut hsm, &apps, &SCOPE);
    let first = request(&mut hsm, &card, (attempt, 1), &apps, &record);
    let answer = hsm.session(&first).unwrap();
    let bytes = |session: &CardSession| session.apdus.iter().map(|apdu| apdu.to_vec()).collect::<Vec<_>>();
    // The station has lost its connection, and with it the challenge.
    let mut anew = hsm.connect();
    let again = anew.session(&first).unwrap();
    assert_eq!(bytes(&again), bytes(&answer));
    assert_ne!(again.next_challenge, answer.next_challenge);
    assert_eq!(bytes(&anew.session(&first).unwrap()), bytes(&answer));
    // Any change makes it another question.
    let used = Some(HsmError::Refused(HsmRefusal::HandleUsed));
    let changes: [fn(&mut CardSessionRequest); 4] = [
        |r| r.commands[0].p2 ^= 1,
        |r| r.level = SecLevel::Authenticated,
        |r| r.commands.truncate(1),
        |r| r.card_answer[27] ^= 1,
    ];
    for change in changes {
        let mut other = first.clone();
        change(&mut other);
        assert_eq!(hsm.session(&other).err(), Some(HsmError::Refused(HsmRefusal::HostChallenge)));
        other.host_challenge = hsm.draw_challenge(other.channel).unwrap();
        assert_eq!(hsm.session(&other).err(), used);
    }
    // Once the next step is answered, no answer to an earlier one is kept.
    asked(&mut hsm, &card, (attempt, 2), &apps, &record).unwrap();
    assert_eq!(anew.session(&first).err(), Some(HsmError::Refused(HsmRefusal::HostChallenge)));
    // The attempt is over: nothing is answered.
    let last = request(&mut hsm, &card, (attempt, 3), &apps, &record);
    hsm.session(&last).unwrap();
    job.throw_out(SEQ);
    job.bind(1, &blank_of(9));
    assert!(hsm.connect().session(&last).is_err());
}

/// A ledger that nobody but the attacker writes, followed by this HSM.
#[test]
fn a_ledger_of_the_attackers_own() {
    let mut hsm = make();
    let connect = || Box::new(hsm.connect()) as Box<dyn Auditor>;
    let (mut ours, mut own) = (BoundJob::new(&connect), BoundJob::of_file(&connect, "FILE-2", 2));
    let trailer = file::trailer(&kek_tdes(), "TESTBANK", "FILE-1");
    let admission = FileAdmission { ledger: own.ledger().id(), digest: [1; 32], trailer };
    assert!(
        matches!(connect().admit(&admission), Err(HsmError::FileElsewhere(id)) if id == ours.ledger().id())
    );
    // Our record in an attempt of the own ledger, with the same numbers.
    let card = blank();
    let attempt = own.bind(SEQ, &card);
    let record = verified(&mut hsm, &plain(), &SCOPE);
    let refused = asked(&mut hsm, &card, (attempt, 1), &plain(), &record);
    assert_eq!(refusal(refused), AttemptRefusal::OtherRecord);
    // As an attempt of our ledger that it has not bound.
    let claimed = CardAttempt { ledger: ours.ledger().id(), ..attempt };
    let refused = asked(&mut hsm, &card, (claimed, 1), &plain(), &record);
    assert_eq!(refusal(refused), AttemptRefusal::Stale);
    // None of it did any harm: our own chip and record, in our attempt.
    let attempt = ours.bind(SEQ, &blank_of(5));
    asked(&mut hsm, &blank_of(5), (attempt, 1), &plain(), &record).unwrap();
}

/// What one attempt changes of a right request.
type Misuse = fn(&mut Device, &mut BoundJob, &mut CardSessionRequest);

/// Whether an attempt ended as it has to.
type RightRefusal = fn(&HsmError) -> bool;

/// Requests that misuse the HSM as an oracle. Each gets its refusal. The right request is answered after it, unless the HSM
/// refused the commands themselves.
#[test]
fn every_attempt_to_make_it_an_oracle() {
    let table: [(&str, Misuse, RightRefusal); 12] = [
        (
            "a protected value in a clear command",
            |_, _, r| clear(r),
            |e| matches!(e, HsmError::Refused(HsmRefusal::ProtectedInClear(_))),
        ),
        (
            "a handle of another record",
            |hsm, _, r| r.handle = verified(hsm, &plain(), &scope("FILE-1", 8)).handle,
            |e| attempt_is(e, AttemptRefusal::OtherRecord),
        ),
        (
            "an invented handle",
            |_, _, r| r.handle = RecordHandle([9; 16]),
            |e| matches!(e, HsmError::Unknown(_)),
        ),
        (
            "a lower level",
            |_, _, r| r.level = SecLevel::Authenticated,
            |e| matches!(e, HsmError::Refused(HsmRefusal::Level)),
        ),
        (
            "a card whose keys the attacker knows, in an attempt of another chip",
            |hsm, _, r| with_card(hsm, r, &foreign_blank()),
            |e| attempt_is(e, AttemptRefusal::OtherChip),
        ),
        (
            "the same, bound",
            |hsm, job, r| bind_with(hsm, job, r, &foreign_blank()),
            |e| matches!(e, HsmError::KmcNotAllowed { .. }),
        ),
        (
            "a card under a KMC that is not there",
            |hsm, job, r| bind_unknown(hsm, job, r),
            |e| attempt_is(e, AttemptRefusal::Barred(AttemptBar::NoKmc)),
        ),
        (
            "another blank",
            |hsm, _, r| with_card(hsm, r, &blank_of(77)),
            |e| attempt_is(e, AttemptRefusal::OtherChip),
        ),
        (
            "an attempt that no ledger has bound",
            |_, _, r| r.card.attempt = 2,
            |e| attempt_is(e, AttemptRefusal::Stale),
        ),
        (
            "a step out of turn",
            |_, _, r| r.step = 2,
            |e| matches!(e, HsmError::Refused(HsmRefusal::NoStep(2))),
        ),
        ("no step", |_, _, r| r.step = 0, |e| matches!(e, HsmError::Refused(HsmRefusal::NoStep(0)))),
        (
            "a challenge of the attacker's own",
            |_, _, r| r.host_challenge = cardwright::scp::HostChallenge::new(vec![5; 8]),
            |e| matches!(e, HsmError::Refused(HsmRefusal::HostChallenge)),
        ),
    ];
    for (what, misuse, right) in table {
        let mut hsm = make();
        let mut job = job_of(&hsm);
        let attempt = job.bind(SEQ, &blank());
        let record = verified(&mut hsm, &plain(), &SCOPE);
        let mut request = request(&mut hsm, &blank(), (attempt, 1), &plain(), &record);
        misuse(&mut hsm, &mut job, &mut request);
        let refused = hsm.session(&request).err().unwrap_or_else(|| panic!("{what}: answered"));
        assert!(right(&refused), "{what}: {refused:?}");
        let record = verified(&mut hsm, &plain(), &SCOPE);
        asked(&mut hsm, &blank(), (attempt, 1), &plain(), &record)
            .unwrap_or_else(|e| panic!("after {what}: {e}"));
    }
    // An altered list of what is to be encrypted: the MAC covers it.
    let mut altered = file::record(&kek_tdes(), &plain(), &SCOPE);
    let bytes = &mut altered.applications[0].bytes;
    let enc = [0x80, 0x10, 0x22];
    let place = bytes.windows(3).position(|window| window == enc).unwrap();
    bytes[place + 2] = 0x11;
    let fault = make().verify_record(&altered).unwrap_err();
    assert!(matches!(fault, HsmError::Data { fault: DataFault::Mac, .. }), "{fault}");
}

fn attempt_is(error: &HsmError, refusal: AttemptRefusal) -> bool {
    *error == HsmError::Refused(HsmRefusal::Attempt(refusal))
}

fn clear(request: &mut CardSessionRequest) {
    let protected = |part: &DataPart| matches!(part, DataPart::Protected { .. });
    let command = request.commands.iter_mut().find(|command| command.data.iter().any(protected)).unwrap();
    command.p1 &= !0x60;
}

/// The answer of another card to a new challenge.
fn with_card(hsm: &mut Device, request: &mut CardSessionRequest, card: &Card) {
    let challenge = draw(hsm);
    request.host_challenge = cardwright::scp::HostChallenge::new(challenge.to_vec());
    request.card_answer = card.initialize_update(challenge);
}

/// The same record's neighbour, bound to this card.
fn bind_with(hsm: &mut Device, job: &mut BoundJob, request: &mut CardSessionRequest, card: &Card) {
    request.card = job.bind(8, card);
    request.handle = verified(hsm, &plain(), &scope("FILE-1", 8)).handle;
    with_card(hsm, request, card);
}

fn bind_unknown(hsm: &mut Device, job: &mut BoundJob, request: &mut CardSessionRequest) {
    let mut card = blank();
    card.key_data[5] = 0x99;
    request.card = job.bind_barred(8, &card).0;
    request.handle = verified(hsm, &plain(), &scope("FILE-1", 8)).handle;
    with_card(hsm, request, &card);
}

/// Two files of one name may pass: their records have the sequence in common, and the ledger has bound one card_ref.
#[test]
fn a_record_of_another_file_of_the_name_gets_no_session() {
    let mut hsm = make();
    let mut job = job_of(&hsm);
    let attempt = job.bind(SEQ, &blank());
    let record = verified(&mut hsm, &plain(), &Scope { card_ref: "CARD-77", ..SCOPE });
    let refused = asked(&mut hsm, &blank(), (attempt, 1), &plain(), &record);
    assert_eq!(refusal(refused), AttemptRefusal::OtherRecord);
}

/// A restart forgets the attempts under way, but not the chips.
#[test]
fn an_attempt_noted_before_a_restart_has_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let mut hsm = make_in(folder.path(), KEYS);
    let mut job = job_of(&hsm);
    let attempt = job.bind(SEQ, &blank());
    let record = verified(&mut hsm, &plain(), &SCOPE);
    let before = request(&mut hsm, &blank(), (attempt, 1), &plain(), &record);
    drop((job, hsm));
    let mut hsm = make_in(folder.path(), KEYS);
    assert!(hsm.session(&before).is_err());
    let record = verified(&mut hsm, &plain(), &SCOPE);
    let refused = asked(&mut hsm, &blank(), (attempt, 1), &plain(), &record);
    assert_eq!(refusal(refused), AttemptRefusal::Stale);
    let mut other = BoundJob::of_file(&|| Box::new(hsm.connect()) as Box<dyn Auditor>, "FILE-2", 2);
    assert_eq!(other.bind_barred(1, &blank()).1, AttemptBar::ChipSeen);
}

/// A store that was put back may have forgotten chips: as soon as a ledger shows that, it opens nothing more, for nobody.
#[test]
fn a_store_that_was_put_back_opens_no_session() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(make_in(new.path(), KEYS));
    let mut copied = std::process::Command::new("cp");
    copied.arg("-a").args([new.path().join("store"), old.path().into()]);
    assert!(copied.status().unwrap().success());
    let hsm = make_in(new.path(), KEYS);
    let mut job = job_of(&hsm);
    job.bind(1, &blank_of(1));
    let reader = job.ledger().reader().unwrap();
    drop((job, hsm));
    let signed = reader.checkpoints().unwrap().pop();

    let mut hsm = make_in(old.path(), KEYS);
    let mut job = BoundJob::of_file(&|| Box::new(hsm.connect()) as Box<dyn Auditor>, "FILE-2", 2);
    let [first, second] = [1, 2].map(|seq| job.bind(seq, &blank_of(seq as u8)));
    let record = verified(&mut hsm, &plain(), &scope("FILE-2", 1));
    asked(&mut hsm, &blank_of(1), (first, 1), &plain(), &record).unwrap();
    let ledger = signed.unwrap().place.ledger;
    let behind = hsm.connect().follow(&Following { ledger, laws: LAWS, signed, last: None });
    assert!(matches!(behind, Err(HsmError::NotFollowed(FollowRefusal::StoreBehind { .. }))));
    let record = verified(&mut hsm, &plain(), &scope("FILE-2", 2));
    let refused = asked(&mut hsm, &blank_of(2), (second, 1), &plain(), &record);
    assert_eq!(refusal(refused), AttemptRefusal::Stale);
}

/// A chip that is found later counts as one that is bound at once.
#[test]
fn a_chip_that_comes_later_was_not_bound_before() {
    let hsm = make();
    let mut job = job_of(&hsm);
    job.bind(1, &blank());
    let mut other = BoundJob::of_file(&|| Box::new(hsm.connect()) as Box<dyn Auditor>, "FILE-2", 2);
    other.bind_unseen(1);
    assert_eq!(barred(other.found(1, &blank())), AttemptBar::ChipSeen);
    other.bind_unseen(2);
    other.found(2, &blank_of(8)).unwrap();
    let own = job.found(1, &blank_of(9));
    assert!(matches!(own, Err(LedgerError::Denied { .. })), "{own:?}");
}
