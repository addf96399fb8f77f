//! A station whose machine or transport waits for a person, and one that a person has freed.

use super::*;

fn wanting() -> Fault {
    Fault::new(Blame::Device, ReasonWord::Supply, "no ribbon")
}

fn killed() -> StationOrder {
    StationOrder::EndWait(Fault::new(Blame::Card, ReasonWord::Killed, "no"))
}

#[test]
fn each_wait_is_twice_as_long_as_the_one_before_up_to_two_seconds() {
    let mut patience = Patience::new();
    let waits: Vec<_> = (0..7).map(|_| patience.wait().as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn a_machine_that_wants_supplies_keeps_the_card_and_begins_when_it_has_them() {
    let probes = vec![wanting(), hung(), hung(), wanting()];
    let bench = start(&[], vec![], vec![wanting(), wanting()], probes);
    bench.take();
    bench.says(&[
        "taken",
        "writing",
        "wants: supply",
        "silent: timeout",
        "wants: supply",
        "supplied",
        "done",
    ]);
    assert_eq!(bench.did(), "T A inspect write probe probe probe probe probe write probe write");
    bench.end();
}

#[test]
fn a_card_that_waits_for_supplies_can_be_sent_away_and_a_line_that_ends_does_not_wait() {
    let bench = start(&[], vec![], vec![wanting(), wanting()], vec![wanting(), hung(), hung(), hung()]);
    bench.take();
    bench.says(&["taken", "writing", "wants: supply"]);
    bench.order(killed());
    bench.says(&["card out: killed InService"]);
    // A station that does not wait ignores the order.
    bench.order(killed());
    bench.take();
    bench.says(&["taken", "writing", "wants: supply", "silent: timeout"]);
    // Its machine is silent: it has to answer before the station gets another card.
    bench.order(killed());
    bench.says(&["card out: killed Probed", "back"]);
    bench.end();
    let bench = start(&[], vec![], vec![wanting()], vec![wanting(); 30]);
    bench.take();
    bench.says(&["taken", "writing", "wants: supply"]);
    bench.end();
}

#[test]
fn a_transport_that_waits_for_a_person_gets_its_command_again() {
    for (script, says, did) in [
        (
            &[('T', &[Some(b'7'), Some(b'7')][..]), ('A', &[Some(b'7')])][..],
            &["wants: supply", "supplied", "taken", "wants: supply", "supplied", "writing", "done"][..],
            "T T T A A inspect write",
        ),
        (
            &[('R', &[Some(b'6'), Some(b'6')])],
            &["taken", "writing", "wants: supply", "supplied", "card out: mute InService"],
            "T A inspect write R R R",
        ),
    ] {
        let faults = if did.contains('R') { vec![bad_card()] } else { vec![] };
        let bench = start(script, vec![], faults, vec![]);
        bench.take();
        bench.says(says);
        assert_eq!(bench.did(), did);
        bench.end();
    }
    // The card still lies where it lay.
    let bench = start(&[('T', &[Some(b'7'); 9])], vec![], vec![], vec![]);
    bench.take();
    bench.says(&["wants: supply"]);
    bench.order(killed());
    bench.says(&["not taken: killed InService"]);
    assert!(!bench.did().contains('R'));
    bench.end();
}

#[test]
fn what_a_transport_did_not_bring_is_no_blank() {
    let unseen = || Fault::new(Blame::Device, ReasonWord::NoCard, "no card in reader");
    let empty = [Some(b'2'); 4];
    let bench = start(&[('R', &empty)], vec![unseen(), unseen(), unseen(), unseen()], vec![], vec![]);
    for standing in ["InService", "InService", "InService", "Stuck"] {
        bench.feed();
        bench.says(&["fed", &format!("not brought: no-card {standing}")]);
    }
    bench.end();
}

#[test]
fn a_station_that_a_person_has_freed_is_proved() {
    // A bound card that could not be thrown out is counted; a blank that jammed in the feed is not.
    for (script, write, says) in [
        (&[('R', &[Some(b'1'), Some(b'1'), Some(b'0')][..])][..], vec![bad_card()], &["back"][..]),
        (
            &[('F', &[Some(b'1')]), ('R', &[Some(b'1'), Some(b'1'), Some(b'0')])],
            vec![],
            &["found: jam", "back"],
        ),
    ] {
        let fed = write.is_empty();
        let bench = start(script, vec![], write, vec![]);
        if fed {
            bench.feed();
            bench.says(&["void: jam Stuck"]);
        } else {
            bench.take();
            bench.says(&["taken", "writing", "card out: stuck Stuck"]);
        }
        bench.order(StationOrder::Prove);
        bench.says(&["not ready: jam"]);
        bench.order(StationOrder::Prove);
        bench.says(says);
        bench.take();
        bench.says(&["taken", "writing", "done"]);
        bench.end();
    }
    // One that is probed is asked at once.
    let bench = start(&[], vec![], vec![hung()], vec![hung(); 3]);
    bench.take();
    bench.says(&["taken", "writing", "card out: timeout Probed"]);
    bench.order(StationOrder::Prove);
    bench.says(&["not ready: device"]);
    bench.end();
}
