//! The known answers, by software: a digit that is wrong would make a good token look bad. Plans, and PINs.

use super::known::{self, KnownKeys};
use super::probe::found;
use super::steps::{StepFinding, StepObstacle, StepPlace, TokenReport, TokenStep};
use super::{KeyKinds, TokenFault, TokenPin, TokenPlan};
use crate::crypto::{CipherKey, KeyType, TdesKey, retail_mac, tdes_cbc_encrypt};

fn ecb(key: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    TdesKey::new(*key).ecb_encrypt(&mut data).unwrap();
    data
}

fn cbc(key: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    tdes_cbc_encrypt(&TdesKey::new(*key), &[0; 8], &mut data).unwrap();
    data
}

#[test]
fn the_keys_of_the_published_session_follow_from_its_kmc() {
    for keys in [known::ENC, known::MAC, known::DEK] {
        let KnownKeys { card, session, .. } = &keys;
        assert_eq!(ecb(&known::KMC, &keys.card_data()), card);
        assert_eq!(cbc(card, &keys.session_data()), session);
        assert_eq!(ecb(card, &keys.left_data()), [&session[..8], &session[..8]].concat());
    }
}

#[test]
fn the_cryptograms_and_macs_of_the_published_session_are_right() {
    for (data, cryptogram) in [known::CARD_CRYPTOGRAM, known::HOST_CRYPTOGRAM] {
        assert!(cbc(&known::ENC.session, &data).ends_with(&cryptogram));
    }
    let key = TdesKey::new(known::MAC.session);
    let mut chain = [0; 8];
    for (padded, mac) in known::COMMANDS {
        assert_eq!(retail_mac(&key, &chain, padded.strip_suffix(&[0x80, 0, 0]).unwrap()), mac);
        chain = mac;
        key.encrypt_left(&mut chain);
    }
    assert_eq!(ecb(&known::DEK.session, &known::SECRET.0), known::SECRET.1);
}

#[test]
fn the_published_transport_keys_follow_from_their_keks() {
    let (kek, name, tk) = known::TDES_KEK;
    assert_eq!(ecb(&kek, &name), tk);
    let (kek, name, tk) = known::AES_KEK;
    let mut derived = name.as_flattened().to_vec();
    CipherKey::aes(kek.as_flattened()).unwrap().ecb_encrypt(&mut derived).unwrap();
    assert_eq!(derived, tk.as_flattened());
}

#[test]
fn a_step_is_where_its_answer_is_right() {
    let wrong = || Err(StepObstacle::WrongAnswer);
    let place = |inside, on_host| {
        let StepFinding { place, obstacle, readable, .. } = found(TokenStep::Wrap, inside, || on_host);
        assert_eq!(obstacle.is_none(), place == StepPlace::Inside);
        (place, readable)
    };
    assert_eq!(place(Ok(false), wrong()), (StepPlace::Inside, false));
    assert_eq!(place(Ok(true), wrong()), (StepPlace::Inside, true));
    assert_eq!(place(wrong(), Ok(false)), (StepPlace::OnHost, false));
    assert_eq!(place(wrong(), wrong()), (StepPlace::Refused, false));
}

/// A report in which the steps of this list are not inside.
fn report(not_inside: &[(TokenStep, StepPlace)]) -> TokenReport {
    let all = [
        TokenStep::CardKeys,
        TokenStep::SessionKeys,
        TokenStep::Cryptogram,
        TokenStep::CommandMac,
        TokenStep::TdesTransportKey,
        TokenStep::AesTransportKey,
        TokenStep::TdesUnwrap,
        TokenStep::AesUnwrap,
        TokenStep::Wrap,
    ];
    let place = |step| not_inside.iter().find(|(of, _)| *of == step).map_or(StepPlace::Inside, |(_, at)| *at);
    let finding = |step| StepFinding { step, place: place(step), obstacle: None, readable: false };
    TokenReport { label: "t".into(), maker: String::new(), findings: all.map(finding).to_vec() }
}

#[test]
fn a_channel_is_inside_as_a_whole_or_not_at_all() {
    let kmc = KeyKinds { kmc: true, ..KeyKinds::default() };
    let part = |places: &[_]| TokenPlan::of(&report(places), kmc).unwrap().part("t");
    assert_eq!(part(&[]).inside.len(), 4);
    let without = part(&[(TokenStep::CommandMac, StepPlace::OnHost)]);
    assert_eq!((without.inside.len(), without.on_host.len()), (0, 5));
}

#[test]
fn a_plan_names_the_steps_of_its_keys_alone() {
    let plan = |kinds| TokenPlan::of(&report(&[]), kinds).unwrap().part("t");
    let kek = plan(KeyKinds::default().with_kek(KeyType::Aes256));
    assert_eq!(kek.inside, ["TK from an AES KEK"]);
    assert_eq!(kek.on_host, ["unwrap under an AES TK", "MAC of a file", "checks of values, PIN blocks"]);
    assert!(plan(KeyKinds::default()).on_host.is_empty());
}

#[test]
fn steps_on_the_host_must_be_allowed_and_steps_that_nobody_does_are_refused() {
    let kinds = KeyKinds { kmc: true, ..KeyKinds::default() }.with_kek(KeyType::Tdes2);
    let plan = TokenPlan::of(&report(&[]), kinds).unwrap();
    plan.check("t", true).unwrap();
    assert!(
        matches!(plan.check("t", false), Err(TokenFault::HostCrypto(_, steps)) if steps.contains("wrap"))
    );
    let refused = TokenPlan::of(&report(&[(TokenStep::TdesUnwrap, StepPlace::Refused)]), kinds);
    assert!(matches!(refused, Err(TokenFault::Refuses(_, steps)) if steps == "unwrap under a TDES TK"));
    let unneeded = TokenPlan::of(&report(&[(TokenStep::AesUnwrap, StepPlace::Refused)]), kinds);
    assert!(unneeded.is_ok());
}

#[test]
fn a_pin_arrives_as_it_was_given_and_no_other_is_taken() {
    let mut sent = Vec::new();
    TokenPin::new("271828").unwrap().give(&mut sent).unwrap();
    assert_eq!(TokenPin::take(&mut sent.as_slice()).unwrap().text(), "271828");
    assert!(TokenPin::new("").is_none() && TokenPin::new(&"7".repeat(65)).is_none());
    for wrong in [&b""[..], b"\x00", b"\x05123", b"\x02\xFF\xFE", &[&[200][..], &[b'7'; 200]].concat()] {
        assert!(TokenPin::take(&mut &*wrong).is_err());
    }
}
