//! The known answers, by software: a digit that is wrong would make a good token look bad.

use super::known::{self, KnownKeys};
use super::probe::found;
use super::steps::{StepFinding, StepObstacle, StepPlace, TokenStep};
use crate::crypto::{CipherKey, TdesKey, retail_mac, tdes_cbc_encrypt};

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
