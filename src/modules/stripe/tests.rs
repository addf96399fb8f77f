//! The stripe module against a scripted encoder.

use std::sync::{Arc, Mutex};

use drivers::stripe::msr605::Msr605;
use drivers::stripe::{Density, LeadingZeros, WriteCoercivity};

use super::*;
use crate::modules::Blame;
use crate::modules::testing::{Stripe, msr605, work};

const SECTION: &[u8] = b"~1%B4761739001010119^TEST/CARD^2212201?\r\n~2;4761739001010119=2212201?\r\n";

fn station(stripe: Stripe, coercivity: WriteCoercivity) -> (StripeModule, Arc<Mutex<Stripe>>) {
    recording(stripe, Recording::on(coercivity), true)
}

fn recording(stripe: Stripe, how: Recording, read_back: bool) -> (StripeModule, Arc<Mutex<Stripe>>) {
    let (link, card) =
        msr605(Stripe { status: if stripe.status == 0 { 0x30 } else { stripe.status }, ..stripe });
    let encoder = Box::new(Msr605::new(link));
    (StripeModule::new(encoder, how, read_back, Mic::new("MAG").unwrap()), card)
}

#[test]
fn the_encoder_is_set_as_the_profile_says() {
    let how = Recording {
        coercivity: WriteCoercivity::Lo,
        leading_zeros: Some(LeadingZeros { t13: 30, t2: 12 }),
        density: Some([Density::Bpi210, Density::Bpi75, Density::Bpi75]),
    };
    let (mut module, card) = recording(Stripe { hico: true, ..Stripe::default() }, how, true);
    module.personalize(&work(&[("MAG", SECTION)])).unwrap();
    let card = card.lock().unwrap();
    assert_eq!((card.hico, card.writes), (false, 1));
    assert_eq!(card.set, [&b"z\x1E\x0C"[..], b"b\xA1", b"b\x4B", b"b\xC0"]);
}

#[test]
fn without_read_back_the_stripe_is_neither_looked_at_nor_compared() {
    let used = Stripe { tracks: [vec![], vec![], b"1".to_vec()], ..Stripe::default() };
    let (mut module, card) = recording(used, Recording::on(WriteCoercivity::Hi), false);
    let work = work(&[("MAG", SECTION)]);
    module.inspect(&work).unwrap();
    assert!(module.personalize(&work).unwrap().compared.is_empty());
    let card = card.lock().unwrap();
    assert_eq!((card.reads, card.writes), (0, 1));
}

#[test]
fn a_blank_stripe_is_written_and_read_back() {
    let work = work(&[("MAG", SECTION)]);
    for (coercivity, hico) in [(WriteCoercivity::Hi, true), (WriteCoercivity::Lo, false)] {
        let (mut module, card) = station(Stripe { hico: !hico, ..Stripe::default() }, coercivity);
        assert!(module.wants(&work));
        module.prepare(&work).unwrap();
        assert_eq!(module.inspect(&work).unwrap(), Blank::default());
        assert_eq!(card.lock().unwrap().writes, 0);
        assert_eq!(module.personalize(&work).unwrap().compared, ["stripe read-back"]);
        let card = card.lock().unwrap();
        assert_eq!((card.hico, card.writes), (hico, 1));
        assert_eq!(card.tracks[0], b"B4761739001010119^TEST/CARD^2212201");
        assert_eq!(card.tracks[1], b"4761739001010119=2212201");
        assert_eq!(card.tracks[2], b"");
    }
}

#[test]
fn a_stripe_with_data_is_no_blank() {
    let used = Stripe { tracks: [vec![], vec![], b"1".to_vec()], ..Stripe::default() };
    let (mut module, card) = station(used, WriteCoercivity::Hi);
    let fault = module.inspect(&work(&[("MAG", SECTION)])).unwrap_err();
    assert_eq!((fault.reason.as_str(), fault.blame), ("stripe-not-blank", Blame::Card));
    assert_eq!(card.lock().unwrap().writes, 0);
}

#[test]
fn what_reads_otherwise_is_rejected() {
    let (mut module, _) = station(Stripe { lossy: true, ..Stripe::default() }, WriteCoercivity::Hi);
    let fault = module.personalize(&work(&[("MAG", SECTION)])).unwrap_err();
    assert_eq!((fault.reason.as_str(), fault.blame), ("stripe-read-back", Blame::Card));
    assert!(!fault.detail.contains("4761"));
    // A track that the record does not have must stay empty too.
    let leftover = Stripe { tracks: [vec![], vec![], b"1".to_vec()], ..Stripe::default() };
    let (mut module, card) = station(leftover, WriteCoercivity::Hi);
    module.personalize(&work(&[("MAG", SECTION)])).unwrap();
    assert_eq!(card.lock().unwrap().tracks[2], b"");
}

#[test]
fn a_stripe_that_takes_no_writing_is_bad_plastic() {
    let (mut module, _) = station(Stripe { status: 0x31, ..Stripe::default() }, WriteCoercivity::Hi);
    let fault = module.personalize(&work(&[("MAG", SECTION)])).unwrap_err();
    assert_eq!((fault.reason.as_str(), fault.blame), ("stripe-failed", Blame::Card));
}

#[test]
fn wrong_data_is_found_before_a_card_comes() {
    let (mut module, _) = station(Stripe::default(), WriteCoercivity::Hi);
    let fault = module.prepare(&work(&[("MAG", b"~2;476173900101A?\r\n")])).unwrap_err();
    assert_eq!((fault.reason.as_str(), fault.blame), ("data", Blame::Data));
}

#[test]
fn a_record_without_stripe_leaves_the_machine_alone() {
    let (mut module, card) = station(Stripe::default(), WriteCoercivity::Hi);
    let work = work(&[("GFX", b"")]);
    assert!(!module.wants(&work));
    module.prepare(&work).unwrap();
    module.inspect(&work).unwrap();
    assert!(module.personalize(&work).unwrap().compared.is_empty());
    assert_eq!(card.lock().unwrap().writes, 0);
}
