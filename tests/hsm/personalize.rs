//! Sessions: the data that arrive in a card made from the standard, and the requests that the HSM refuses.

use cardwright::hsm::memory::AttemptRefusal;
use cardwright::hsm::{
    Auditor, CardAttempt, CardSessionRequest, DataPart, HostedHsm, Hsm, HsmError, HsmRefusal, PlainCommand,
    RecordHandle, RecordToVerify, VerifiedApplication, VerifiedRecord,
};
use cardwright::scp::{HostChallenge, KeyDerivation, SecLevel, SecureChannelSpec};

use super::{Device, make};
use crate::bound::BoundJob;
use crate::card::{Card, blank, foreign_blank};
use crate::file::{self, App, app, asked, dgi};

/// SCP02 with this "i".
pub fn channel(parameter: u8) -> SecureChannelSpec {
    SecureChannelSpec { protocol: 0x02, parameter, key_version: 0 }
}

/// Draws a challenge as a station does.
pub fn draw(hsm: &mut dyn Hsm) -> [u8; 8] {
    hsm.draw_challenge(channel(0x55)).unwrap().as_bytes().try_into().unwrap()
}

/// The request for a session with a card that was sent `challenge`, for this step of its attempt.
pub fn asks(
    card: &Card,
    challenge: [u8; 8],
    (attempt, step): (CardAttempt, u8),
    handle: RecordHandle,
    level: SecLevel,
    commands: Vec<PlainCommand>,
) -> CardSessionRequest {
    CardSessionRequest {
        card: attempt,
        step,
        handle,
        channel: channel(0x55),
        derivation: KeyDerivation::EmvCps,
        host_challenge: HostChallenge::new(challenge.to_vec()),
        card_answer: card.initialize_update(challenge),
        level,
        commands,
    }
}

/// The APDUs of a session.
pub fn wrapped(hsm: &mut dyn Hsm, request: &CardSessionRequest) -> Result<Vec<Vec<u8>>, HsmError> {
    hsm.session(request).map(|session| session.apdus.iter().map(|apdu| apdu.to_vec()).collect())
}

fn header(number: u16, length: usize) -> Vec<u8> {
    let mut out = number.to_be_bytes().to_vec();
    if length < 0xFF {
        out.push(length as u8);
    } else {
        out.push(0xFF);
        out.extend(u16::try_from(length).unwrap().to_be_bytes());
    }
    out
}

fn store(p1: u8, data: Vec<DataPart>) -> PlainCommand {
    PlainCommand { ins: 0xE2, p1, p2: 0, data }
}

/// Commands that hold every DGI, each DGI in commands of its own, cut at `room`. The last one is marked as
/// last.
pub fn session(app: &App, verified: &VerifiedApplication, room: usize) -> Vec<PlainCommand> {
    let mut commands = Vec::new();
    for (number, value) in &app.dgis {
        let protected =
            verified.protected.iter().find(|(d, _)| *d == dgi(*number)).map(|(_, n)| usize::from(*n));
        let length = protected.unwrap_or(value.len());
        let head = header(*number, length);
        let encrypted = protected.is_some() || app.enc.iter().any(|(d, _)| d == number);
        let p1 = if encrypted { 0x60 } else { 0x00 };
        let (mut from, mut lead) = (0, head);
        loop {
            let to = length.min(from + room - lead.len());
            let mut data = Vec::new();
            if protected.is_some() {
                data.push(DataPart::Clear(std::mem::take(&mut lead).into()));
                data.push(DataPart::Protected { dgi: dgi(*number), from: from as u16, to: to as u16 });
            } else {
                lead.extend(&value[from..to]);
                data.push(DataPart::Clear(std::mem::take(&mut lead).into()));
            }
            commands.push(store(p1, data));
            from = to;
            if from == length {
                break;
            }
        }
    }
    for (place, command) in commands.iter_mut().enumerate() {
        command.p2 = place as u8;
    }
    commands.last_mut().unwrap().p1 |= 0x80;
    commands
}

/// A job whose ledger this HSM follows.
pub fn job_of(hsm: &Device) -> BoundJob {
    BoundJob::new(&|| Box::new(hsm.connect()) as Box<dyn Auditor>)
}

/// A record that is verified, and a card that is bound to it.
struct Ready {
    hsm: Device,
    job: BoundJob,
    app: App,
    verified: VerifiedRecord,
    card: Card,
    attempt: CardAttempt,
    /// The challenge that the card was sent last.
    challenge: [u8; 8],
}

fn ready(seclev: u8) -> Ready {
    Ready::of(app(0x12, seclev), &asked(&file::kek_tdes(), &app(0x12, seclev)), blank())
}

impl Ready {
    fn of(app: App, record: &RecordToVerify, card: Card) -> Self {
        let mut hsm = make();
        let mut job = job_of(&hsm);
        let attempt = job.bind(file::SCOPE.sequence, &card);
        let verified = hsm.verify_record(record).unwrap();
        Self { hsm, job, app, verified, card, attempt, challenge: [0; 8] }
    }

    /// Throws the card out, and binds and verifies the record for another one.
    fn next_card(&mut self) {
        self.job.throw_out(file::SCOPE.sequence);
        self.card.key_data[9] += 1;
        self.attempt = self.job.bind(file::SCOPE.sequence, &self.card);
        self.verified = self.hsm.verify_record(&asked(&file::kek_tdes(), &self.app)).unwrap();
    }

    fn request(&mut self, commands: Vec<PlainCommand>) -> CardSessionRequest {
        self.challenge = draw(&mut self.hsm);
        self.request_with(self.challenge, commands)
    }

    fn request_with(&self, challenge: [u8; 8], commands: Vec<PlainCommand>) -> CardSessionRequest {
        let level = SecLevel::from_byte(self.app.seclev).unwrap();
        asks(&self.card, challenge, (self.attempt, 1), self.verified.handle, level, commands)
    }

    /// Wraps the commands, or returns the error.
    fn run(&mut self, commands: Vec<PlainCommand>) -> Result<Vec<Vec<u8>>, HsmError> {
        let request = self.request(commands);
        wrapped(&mut self.hsm, &request)
    }

    /// The error that a request ends in, if it ends in one.
    fn error(&mut self, request: &CardSessionRequest) -> Option<HsmError> {
        self.hsm.session(request).err()
    }

    fn refused(&mut self, commands: Vec<PlainCommand>) -> HsmRefusal {
        match self.run(commands) {
            Err(HsmError::Refused(refusal)) => refusal,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("wrapped"),
        }
    }

    fn session(&self) -> Vec<PlainCommand> {
        session(&self.app, &self.verified.applications[0], 200)
    }

    /// The refusal of a session that `change` altered.
    fn refused_with(seclev: u8, change: impl FnOnce(&mut Vec<PlainCommand>)) -> HsmRefusal {
        let mut ready = ready(seclev);
        let mut commands = ready.session();
        change(&mut commands);
        ready.refused(commands)
    }
}

fn is_malformed(refusal: &HsmRefusal) -> bool {
    matches!(refusal, HsmRefusal::Commands(_))
}

#[test]
fn a_card_made_from_the_standard_gets_the_issuers_data() {
    for kek in [file::kek_tdes(), file::kek_aes128(), file::kek_aes256()] {
        for (seclev, room) in [(0, 255), (1, 247), (3, 239), (3, 16), (0, 9)] {
            let app = app(0x12, seclev);
            let record = asked(&kek, &app);
            if make().verify_record(&record).is_err() {
                continue; // below the minimum of this KEK
            }
            let mut ready = Ready::of(app.clone(), &record, blank());
            let apdus = ready.run(session(&app, &ready.verified.applications[0], room)).unwrap();
            let contents = ready.card.personalize(ready.challenge, &apdus);
            assert_eq!(contents.level, seclev);
            assert!(contents.last);
            let prime: Vec<u8> = (0..64u8).chain([0x80, 0, 0, 0, 0, 0, 0, 0]).collect();
            let expected: Vec<(u16, Vec<u8>, bool)> = app
                .dgis
                .iter()
                .map(|(number, value)| match number {
                    0x8000 => (0x8000, file::key_set(), true),
                    0x8205 => (0x8205, prime.clone(), true),
                    0x8010 => (0x8010, hex::decode("241234FFFFFFFFFF").unwrap(), true),
                    other => (*other, value.clone(), false),
                })
                .collect();
            assert_eq!(contents.dgis, expected);
        }
    }
}

#[test]
fn pass_through_values_go_as_they_are_in_encrypted_commands() {
    let mut app = app(0x12, 1);
    app.protected.retain(|d| *d != 0x8000);
    let mut record = asked(&file::kek_tdes(), &app);
    record.applications[0].pass_through = vec![dgi(0x8000)];
    let mut ready = Ready::of(app.clone(), &record, blank());
    let commands = ready.session();
    let apdus = ready.run(commands.clone()).unwrap();
    let arrived = |apdus: &[Vec<u8>]| apdus.iter().any(|a| a.windows(48).any(|w| w == file::key_set()));
    assert!(arrived(&apdus), "ciphertext for the card, not touched");

    let mut ready = Ready::of(app, &record, blank());
    let mut in_clear = commands;
    for command in &mut in_clear {
        command.p1 &= !0x60;
    }
    assert_eq!(ready.refused(in_clear), HsmRefusal::ProtectedInClear(dgi(0x8000)));
}

#[test]
fn install_and_set_status_of_the_own_application_are_wrapped() {
    let mut ready = ready(1);
    let aid = ready.app.aid.clone();
    let install = [&[0, 0, 7], aid.as_slice(), &[0, 0, 0]].concat();
    let mut commands = ready.session();
    commands
        .insert(0, PlainCommand { ins: 0xE6, p1: 0x20, p2: 0, data: vec![DataPart::Clear(install.into())] });
    commands.push(PlainCommand {
        ins: 0xF0,
        p1: 0x40,
        p2: 7,
        data: vec![DataPart::Clear(aid.clone().into())],
    });
    let apdus = ready.run(commands).unwrap();
    let others = ready.card.personalize(ready.challenge, &apdus).others;
    assert_eq!(hex::encode_upper(&others[0]), "E62000000007A0000000031010000000");
    assert_eq!(hex::encode_upper(&others[1]), "F04007A0000000031010");
}

#[test]
fn a_card_of_a_kmc_that_the_kek_does_not_allow_is_refused() {
    let mut ready = Ready::of(app(0x12, 1), &asked(&file::kek_tdes(), &app(0x12, 1)), foreign_blank());
    let error = ready.run(ready.session()).unwrap_err();
    assert!(matches!(error, HsmError::KmcNotAllowed { kmc, .. } if kmc.to_string() == "FFFFFF476175:1"));
}

#[test]
fn another_level_than_the_verified_one_is_refused() {
    for (seclev, other) in
        [(0, SecLevel::Mac), (1, SecLevel::Authenticated), (3, SecLevel::Mac), (1, SecLevel::MacEnc)]
    {
        let mut ready = ready(seclev);
        let mut request = ready.request(ready.session());
        request.level = other;
        assert_eq!(ready.error(&request), Some(HsmError::Refused(HsmRefusal::Level)));
    }
}

#[test]
fn a_handle_is_used_once() {
    let mut ready = ready(1);
    let commands = ready.session();
    ready.run(commands.clone()).unwrap();
    assert_eq!(ready.refused(commands), HsmRefusal::HandleUsed);
}

#[test]
fn a_handle_is_used_up_by_a_refusal_and_gone_after_release() {
    let mut ready = ready(1);
    let commands = ready.session();
    ready.refused(vec![store(0x20, vec![])]);
    assert_eq!(ready.refused(commands.clone()), HsmRefusal::HandleUsed);

    ready.verified = ready.hsm.verify_record(&asked(&file::kek_tdes(), &ready.app)).unwrap();
    ready.hsm.release(&[ready.verified.handle]).unwrap();
    assert_eq!(ready.run(commands).err(), Some(HsmError::Unknown("handle".into())));
}

#[test]
fn an_unknown_handle_is_refused_and_uses_up_the_challenge() {
    let mut ready = ready(1);
    let mut request = ready.request(ready.session());
    let right = request.handle;
    request.handle = RecordHandle([9; 16]);
    assert_eq!(ready.error(&request), Some(HsmError::Unknown("handle".into())));
    request.handle = right;
    assert_eq!(ready.error(&request), Some(HsmError::Refused(HsmRefusal::HostChallenge)));
    // The handle of the right application is still valid.
    ready.run(ready.session()).unwrap();
}

#[test]
fn only_the_challenge_alive_on_the_connection_opens_a_session() {
    let dead = Some(HsmError::Refused(HsmRefusal::HostChallenge));
    let mut ready = ready(1);
    let never_drawn = ready.request_with([1, 2, 3, 4, 5, 6, 7, 8], ready.session());
    assert_eq!(ready.error(&never_drawn), dead, "the controller's own");

    let replaced = ready.request(ready.session());
    let mut other = ready.hsm.connect();
    assert_eq!(other.session(&replaced).err(), dead, "another connection's");
    draw(&mut ready.hsm);
    assert_eq!(ready.error(&replaced), dead, "an earlier one");

    // The refusal of a challenge uses up neither the handle nor the card.
    let request = ready.request(ready.session());
    let next = ready.hsm.session(&request).unwrap().next_challenge;
    let used = ready.challenge;
    ready.next_card();
    let with_used = ready.request_with(used, ready.session());
    assert_eq!(ready.error(&with_used), dead, "one that a session has used");

    // The answer of a session brings the next challenge, and a refused session makes its challenge void.
    draw(&mut other);
    let request = ready.request(ready.session());
    let mut session = ready.hsm.session(&request).unwrap();
    assert_ne!(session.next_challenge, next);
    ready.next_card();
    let challenge = session.next_challenge.as_bytes().try_into().unwrap();
    let mut again = ready.request_with(challenge, ready.session());
    session = ready.hsm.session(&again).unwrap();
    ready.next_card();
    again = ready.request_with(challenge, ready.session());
    again.host_challenge = session.next_challenge;
    assert!(matches!(ready.error(&again), Some(HsmError::CardCryptogram(_))), "the answer to the one before");
    assert_eq!(ready.error(&again), dead);
}

#[test]
fn challenges_have_the_length_of_their_channel_and_never_repeat() {
    let mut hsm = make();
    let drawn: std::collections::BTreeSet<[u8; 8]> = (0..100).map(|_| draw(&mut hsm)).collect();
    assert_eq!(drawn.len(), 100);
    let unknown = SecureChannelSpec { protocol: 0x03, parameter: 0x70, key_version: 0 };
    assert_eq!(hsm.draw_challenge(unknown), Err(HsmError::Unsupported("SCP03 with i = 70".into())));
}

#[test]
fn a_protected_value_in_a_clear_command_is_refused() {
    let refusal = Ready::refused_with(1, |commands| commands[1].p1 = 0x00);
    assert_eq!(refusal, HsmRefusal::ProtectedInClear(dgi(0x8000)));
    let refusal = Ready::refused_with(1, |commands| {
        commands[0].data.push(DataPart::Protected { dgi: dgi(0x8000), from: 0, to: 48 });
    });
    assert_eq!(refusal, HsmRefusal::ProtectedInClear(dgi(0x8000)));
    let refusal = Ready::refused_with(1, |commands| {
        let data = vec![DataPart::Protected { dgi: dgi(0x8000), from: 0, to: 48 }];
        commands.push(PlainCommand { ins: 0xF0, p1: 0x40, p2: 7, data });
    });
    assert_eq!(refusal, HsmRefusal::ProtectedInClear(dgi(0x8000)));
}

#[test]
fn a_mixture_and_the_reserved_value_of_p1_are_refused() {
    for p1 in [0x20, 0x40] {
        assert!(is_malformed(&Ready::refused_with(1, |commands| commands[1].p1 = p1)));
    }
}

#[test]
fn a_clear_value_in_an_encrypted_command_is_refused() {
    assert!(is_malformed(&Ready::refused_with(1, |commands| commands[0].p1 = 0x60)));
}

#[test]
fn a_dgi_that_the_handle_does_not_have_is_refused() {
    let foreign = |p1, data: Vec<DataPart>| Ready::refused_with(1, |commands| commands.push(store(p1, data)));
    assert_eq!(
        foreign(0, vec![DataPart::Clear(vec![0x03, 0x01, 1, 7].into())]),
        HsmRefusal::ForeignDgi(dgi(0x0301))
    );
    let data = vec![DataPart::Protected { dgi: dgi(0x8001), from: 0, to: 8 }];
    assert_eq!(foreign(0x60, data), HsmRefusal::ForeignDgi(dgi(0x8001)));
}

#[test]
fn a_clear_value_that_differs_is_refused() {
    let change = |byte: usize| {
        Ready::refused_with(1, |commands| {
            let DataPart::Clear(bytes) = &mut commands[0].data[0] else { panic!() };
            bytes[byte] ^= 1;
        })
    };
    for byte in 3..19 {
        assert_eq!(change(byte), HsmRefusal::ClearDiffers(dgi(0x0101)), "byte {byte}");
    }
}

#[test]
fn a_clear_value_of_another_length_is_refused() {
    let refusal = Ready::refused_with(1, |commands| {
        commands[0] = store(0, vec![DataPart::Clear(vec![0x01, 0x01, 1, 0x70].into())]);
    });
    assert_eq!(refusal, HsmRefusal::ClearDiffers(dgi(0x0101)));
}

#[test]
fn protected_values_are_whole_in_order_and_in_place() {
    let with = |data: Vec<DataPart>| Ready::refused_with(1, |commands| commands[1].data = data);
    let head = || DataPart::Clear(header(0x8000, 48).into());
    let part = |from, to| DataPart::Protected { dgi: dgi(0x8000), from, to };
    for (data, what) in [
        (vec![head(), part(0, 40)], "cut short"),
        (vec![head(), part(8, 48)], "without its beginning"),
        (vec![head(), part(0, 24), part(16, 48)], "twice the same bytes"),
        (vec![head(), part(0, 56)], "beyond its end"),
        (vec![head(), part(8, 0)], "backwards"),
        (vec![head(), part(0, 48), part(0, 48)], "once more behind it"),
        (vec![part(0, 48)], "without header"),
        (vec![head(), DataPart::Clear(vec![0; 48].into())], "bytes in its place"),
        (vec![DataPart::Clear(header(0x8000, 40).into()), part(0, 40)], "another length"),
        (vec![head(), DataPart::Protected { dgi: dgi(0x8205), from: 0, to: 48 }], "another DGI's value"),
        (vec![head(), DataPart::Protected { dgi: dgi(0x0101), from: 0, to: 16 }], "a clear DGI by reference"),
    ] {
        let refusal = with(data);
        assert!(is_malformed(&refusal), "{what}: {refusal}");
    }
}

#[test]
fn a_dgi_twice_is_refused() {
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        let again = commands[1].clone();
        commands.insert(2, again);
    })));
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        let again = commands[0].clone();
        commands.insert(1, again);
    })));
}

#[test]
fn a_dgi_cut_short_is_refused() {
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        commands.pop();
        commands.push(store(0x80, vec![DataPart::Clear(vec![0x90, 0x00].into())]));
    })));
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        commands.pop();
        commands.push(store(0x80, vec![DataPart::Clear(vec![0x90, 0x00, 9, 9, 9].into())]));
    })));
    // Another command between the two halves of a DGI.
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        let aid = hex::decode("A0000000031010").unwrap();
        let place =
            commands.iter().position(|c| matches!(&c.data[0], DataPart::Clear(b) if b[..2] == [2, 2]));
        let status = PlainCommand { ins: 0xF0, p1: 0x40, p2: 7, data: vec![DataPart::Clear(aid.into())] };
        commands.insert(place.unwrap() + 1, status);
    })));
}

#[test]
fn a_length_in_three_bytes_that_fits_one_is_refused() {
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        let DataPart::Clear(bytes) = &mut commands[0].data[0] else { panic!() };
        let value = bytes.split_off(3);
        *bytes = [vec![0x01, 0x01, 0xFF, 0, 16], value].concat().into();
    })));
}

#[test]
fn other_instructions_are_refused() {
    let aid = || vec![DataPart::Clear(hex::decode("A0000000031010").unwrap().into())];
    for (ins, p1) in
        [(0xD8, 0), (0xE4, 0), (0xE8, 0), (0xCA, 0), (0x82, 1), (0x50, 0), (0xE6, 0x04), (0xF0, 0x80)]
    {
        let refusal = Ready::refused_with(1, |c| c.push(PlainCommand { ins, p1, p2: 0, data: aid() }));
        assert_eq!(refusal, HsmRefusal::Instruction(ins), "{ins:02X} {p1:02X}");
    }
    // INSTALL comes first, or not at all.
    let install = vec![DataPart::Clear(hex::decode("000007A0000000031010000000").unwrap().into())];
    let refusal =
        Ready::refused_with(1, |c| c.push(PlainCommand { ins: 0xE6, p1: 0x20, p2: 0, data: install }));
    assert_eq!(refusal, HsmRefusal::Instruction(0xE6));
}

#[test]
fn install_and_set_status_of_another_application_are_refused() {
    let other = hex::decode("A0000000041010").unwrap();
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        let data = vec![DataPart::Clear(other.clone().into())];
        commands.push(PlainCommand { ins: 0xF0, p1: 0x40, p2: 7, data });
    })));
    assert!(is_malformed(&Ready::refused_with(1, |commands| {
        let data = vec![DataPart::Clear([&[0, 0, 7], other.as_slice(), &[0, 0, 0]].concat().into())];
        commands.insert(0, PlainCommand { ins: 0xE6, p1: 0x20, p2: 0, data });
    })));
}

#[test]
fn commands_that_no_short_apdu_can_hold_are_refused() {
    for (seclev, room) in [(0, 256), (1, 248), (3, 240)] {
        let mut ready = ready(seclev);
        let commands = session(&ready.app, &ready.verified.applications[0], room);
        assert!(is_malformed(&ready.refused(commands)), "level {seclev}");
    }
}

#[test]
fn a_wrong_card_cryptogram_is_the_cards_fault_and_opens_nothing() {
    let mut ready = ready(1);
    for place in 12..28 {
        let mut request = ready.request(ready.session());
        request.channel = channel(0x15);
        request.card_answer[place] ^= 1;
        assert!(matches!(ready.error(&request), Some(HsmError::CardCryptogram(_))), "byte {place}");
    }
    // None of these attempts used up the handle.
    ready.run(ready.session()).unwrap();
}

#[test]
fn an_answer_of_another_channel_or_of_an_unknown_kmc_is_refused() {
    let mut ready = ready(1);
    let mut ask = |parameter, change: &dyn Fn(&mut Vec<u8>)| {
        let mut request = ready.request(ready.session());
        request.channel = channel(parameter);
        change(&mut request.card_answer);
        ready.error(&request).unwrap()
    };
    assert!(matches!(ask(0x15, &|answer| answer.truncate(27)), HsmError::Response(_)));
    assert!(matches!(ask(0x15, &|answer| answer.clear()), HsmError::Response(_)));
    assert!(matches!(ask(0x15, &|answer| answer[11] = 3), HsmError::Response(_)));
    let other_chip = HsmError::Refused(HsmRefusal::Attempt(AttemptRefusal::OtherChip));
    assert_eq!(ask(0x15, &|answer| answer[10] = 2), other_chip);
    assert_eq!(ask(0x15, &|answer| answer[0] = 0), other_chip);
    for other in [0x04, 0x05, 0x1A, 0x45] {
        assert!(matches!(ask(other, &|_| {}), HsmError::Unsupported(_)), "i = {other:02X}");
    }
}
