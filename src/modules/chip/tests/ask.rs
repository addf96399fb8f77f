//! A card that shows how far it came: the commands that it gets, and the result.

use super::*;
use crate::modules::{ApplicationAnswer, ApplicationLife, ChipProgress, RecordReading, chip_progress};
use crate::profile::product::ChipIdentification;

/// A5 of an application that was given its 9102, and of one that was not.
const LABELLED: &str = "6F128407A0000000031010A507500541424344459000";
const BARE: &str = "6F0B8407A0000000031010A5009000";
/// 9102 of the file.
const ORDERED: &[u8] = b"\xA5\x07\x50\x05ABCDE";

/// The payment application, which reads 0101 back and shows its life cycle by 9102.
fn payment() -> Vec<ChipApplication> {
    vec![checked(PAYMENT, &[(0x0101, b"\x70\x00"), (0x9102, ORDERED)]).application]
}

fn product(identify: ChipIdentification) -> ProductProfile {
    let mut product = ProductProfile::load("multiapp").unwrap();
    product.chip.as_mut().unwrap().identify = identify;
    product.applications.iter_mut().for_each(|a| a.read_back.retain(|dgi| *dgi == Dgi(0x0101)));
    product
}

/// The result for a card with these answers to SELECT and READ RECORD, and the trace.
fn asked(select: &str, read: &str) -> (Result<Vec<ApplicationAnswer>, Fault>, Vec<String>) {
    let mut bench = bench();
    bench.answer("00A4", &[&select.replace(' ', "")]).answer("00B2010C", &[read]);
    bench.answer("80CA00CF", &["CF0AFFFFFF476173010203049000"]);
    let (mut module, trace) = bench.module();
    let product = product(ChipIdentification::GetData);
    assert_eq!(module.identify(&product).unwrap().to_string(), "FFFFFF47617301020304");
    let told = module.ask_applications(&product, &payment());
    module.release();
    let trace = trace.lock().unwrap().clone();
    (told, trace)
}

#[test]
fn a_card_is_asked_without_a_channel_and_nothing_is_written() {
    let (told, trace) = asked(LABELLED, "70009000");
    let told = told.unwrap();
    assert_eq!(trace, ["on", "80CA00CF00", "00A4040007A000000003101000", "00B2010C00", "off"]);
    assert_eq!((told[0].name.as_str(), told[0].life), ("payment", ApplicationLife::Personalized));
    assert_eq!((told[0].records[0].dgi.as_str(), told[0].records[0].reads), ("0101", RecordReading::Equal));
    assert_eq!(chip_progress(&told), ChipProgress::AsOrdered);
}

#[test]
fn what_a_card_says_comes_to_one_word() {
    let other = "6F0D8407A0000000031010A5025000 9000";
    for (select, read, comes_to) in [
        (LABELLED, "70009000", ChipProgress::AsOrdered),
        (LABELLED, "70019000", ChipProgress::Differs),
        (LABELLED, "9000", ChipProgress::Differs),
        (LABELLED, "6985", ChipProgress::Partly),
        (BARE, "6985", ChipProgress::NotPersonalized),
        (BARE, "70009000", ChipProgress::Partly),
        (BARE, "70019000", ChipProgress::Differs),
        (other, "6A83", ChipProgress::NotPersonalized),
        ("9000", "6985", ChipProgress::NotPersonalized),
        ("6A82", "6985", ChipProgress::NotPersonalized),
    ] {
        let (told, trace) = asked(select, read);
        let told = told.unwrap();
        assert_eq!(chip_progress(&told), comes_to, "{select} {read}");
        let json = serde_json::to_string(&told).unwrap();
        assert!(!json.contains("7000") && !json.contains("7001"), "{json}");
        let writes = ["80E2", "84", "80F0", "8050"];
        assert!(trace.iter().all(|line| !writes.iter().any(|w| line.starts_with(w))), "{trace:?}");
    }
}

#[test]
fn one_application_of_several_decides_over_those_that_tell_nothing() {
    let told = |life| ApplicationAnswer { aid: PSE.into(), name: "pse".into(), life, records: vec![] };
    for (lives, comes_to) in [
        (&[][..], ChipProgress::Untold),
        (&[ApplicationLife::Untold], ChipProgress::Untold),
        (&[ApplicationLife::Untold, ApplicationLife::Personalized], ChipProgress::AsOrdered),
        (&[ApplicationLife::Untold, ApplicationLife::NotPersonalized], ChipProgress::NotPersonalized),
        (&[ApplicationLife::Personalized, ApplicationLife::NotPersonalized], ChipProgress::Partly),
        (&[ApplicationLife::Personalized, ApplicationLife::Declined], ChipProgress::Partly),
    ] {
        let lives: Vec<_> = lives.iter().map(|life| told(*life)).collect();
        assert_eq!(chip_progress(&lives), comes_to, "{lives:?}");
    }
}

#[test]
fn an_application_whose_9102_is_not_in_clear_tells_no_life_cycle() {
    let mut bench = bench();
    bench.answer("00A4", &[&LABELLED.replace(' ', "")]).answer("00B2010C", &["6985"]);
    let (mut module, _) = bench.module();
    let mut applications = payment();
    applications[0].protected = vec![Dgi(0x9102)];
    let told = module.ask_applications(&product(ChipIdentification::GetData), &applications).unwrap();
    assert_eq!(told[0].life, ApplicationLife::Untold);
}

#[test]
fn a_product_without_get_data_costs_one_initialize_update() {
    let (mut module, trace) = bench().module();
    let product = product(ChipIdentification::InitializeUpdate);
    assert_eq!(module.identify(&product).unwrap().to_string(), "FFFFFF47617301020304");
    module.ask_applications(&product, &payment()).unwrap();
    let trace = trace.lock().unwrap();
    assert_eq!(trace.iter().filter(|line| line.starts_with("8050")).count(), 1, "{trace:?}");
    assert!(trace.iter().all(|line| !line.starts_with("open") && line != "personalize"));
}

#[test]
fn a_card_that_is_not_asked_any_further() {
    let who = |change: &dyn Fn(&mut Bench)| {
        let mut bench = bench();
        change(&mut bench);
        let (mut module, trace) = bench.module();
        let fault = module.identify(&product(ChipIdentification::GetData)).unwrap_err();
        let trace = trace.lock().unwrap().clone();
        (fault.reason, trace)
    };
    // A mute card gets a warm reset, too; a card of another make gets no command at all.
    let mute = who(&|bench| bench.card.atr = Err(CardError::Mute));
    assert_eq!(mute, ("mute".into(), ["on", "warm", "off"].map(String::from).to_vec()));
    let foreign = who(&|bench| bench.card.atr = Ok(vec![0x3B, 0x00]));
    assert_eq!(foreign, ("wrong-atr".into(), ["on", "off"].map(String::from).to_vec()));
    let empty = who(&|bench| bench.card.atr = Err(CardError::Absent));
    assert_eq!(empty.0.as_str(), "no-card");
    for (answer, reason) in [("6A88", "sw-6A88"), ("9000", "malformed-response")] {
        let silent = who(&|bench| {
            bench.answer("80CA00CF", &[answer]);
        });
        assert_eq!(silent.0.as_str(), reason);
        assert!(silent.1.iter().all(|line| !line.starts_with("8050")), "{:?}", silent.1);
    }
}
