//! A job goes on only on its own line and with the ledger in which it was accepted.

use cardwright::hsm::store::CompanionKind;

use crate::support::World;

#[test]
fn a_job_does_not_go_on_on_another_line() {
    let world = World::new();
    world.prepared("job", 4, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    let other = world.resume("sim-chip-8", &[]);
    assert_eq!(other.code, 42, "{}", other.stderr);
    assert!(other.stderr.contains("--line sim-8"), "{}", other.stderr);
    // A copy of its line whose rejects are shredded: new attempts would follow other laws.
    let text = include_str!("../../profiles/lines/sim-8.toml")
        .replace("rejects = \"bin\"", "rejects = \"shredded\"");
    std::fs::write(world.path("own.toml"), text).unwrap();
    assert_eq!(world.resume("own.toml", &[]).code, 42);
    assert_eq!(world.resume("sim-8", &[]).code, 0);
    assert_eq!(world.dumps().len(), 4);
}

/// The product now lets the HSM see other rules than those of acceptance, so the records that are left are checked anew,
/// before a card is touched.
#[test]
fn a_job_whose_product_has_changed_is_checked_anew() {
    let mut world = World::new();
    world.prepared("job", 4, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    std::fs::create_dir_all(world.path("own/products")).unwrap();
    let product = include_str!("../../profiles/products/multiapp.toml");
    let of_payment = "aid = \"A0000000031010\"\n";
    assert!(product.contains(of_payment));
    // A DGI in clear that now counts as secret under a key of the card, whose length is no whole block.
    let changed = product.replacen(of_payment, &format!("{of_payment}pass_through = [\"0101\"]\n"), 1);
    std::fs::write(world.path("own/products/multiapp.toml"), changed).unwrap();
    world.set("CARDWRIGHT_PROFILES", "own");
    let resumed = world.resume("sim-8", &[]);
    assert_eq!(resumed.code, 15, "{}", resumed.stderr);
    let says = ["record 3 was accepted, but no longer fits the profiles or keys: ", "DGI 0101"];
    assert!(says.iter().all(|says| resumed.stderr.contains(says)), "{}", resumed.stderr);
    assert_eq!(world.dumps().len(), 2, "a card was touched");
    std::fs::remove_file(world.path("own/products/multiapp.toml")).unwrap();
    assert_eq!(world.resume("sim-8", &[]).code, 0);
    assert_eq!(world.dumps().len(), 4);
}

/// A wrong value of the KEK, as after a store was made anew. The run finds it before a blank is bound; nothing of the record
/// is lost, because it is the store that is to be put right.
#[test]
fn a_record_that_fails_only_in_the_run_holds_the_job_and_stays_queued() {
    let world = World::new();
    world.prepared("job", 4, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    let keys = include_str!("../data/keys-bureau.toml");
    let with_keys = |list: &str| {
        let own =
            [CompanionKind::Audit, CompanionKind::Spools].map(|kind| world.companion("bureau.store", kind));
        world.store_of("other.store", list, &own[0], &own[1]);
        std::fs::remove_dir_all(world.path("bureau.store")).unwrap();
        std::fs::rename(world.path("other.store"), world.path("bureau.store")).unwrap();
    };
    with_keys(&keys.replace("value = \"16194026", "value = \"16194027"));
    let held = world.resume("sim-8", &[]);
    assert_eq!(held.code, 15, "{}{}", held.stdout, held.stderr);
    let says = [
        "error: record 3 was not made and the job is held: ",
        "the application MAC is wrong",
        "next: cardwright card cancel J1 3 if it is to be given up, then cardwright job resume J1 --line sim-8",
    ];
    assert!(says.iter().all(|says| held.stderr.contains(says)), "{}", held.stderr);
    let report = world.report();
    assert_eq!(
        (&report["job"]["state"], &report["job"]["held_for"]),
        (&"HELD".into(), &"data".into()),
        "{report}"
    );
    let balance = &report["job"]["balance"];
    assert_eq!(
        (&balance["queued"], &balance["cancelled"], &balance["good"]),
        (&2.into(), &0.into(), &2.into())
    );
    assert!(world.events().iter().all(|event| event["to"] != "BOUND"), "a blank was bound");
    with_keys(keys);
    assert_eq!(world.resume("sim-8", &[]).code, 0);
    assert_eq!(world.dumps().iter().filter(|dump| dump["fate"] == "stacked").count(), 4);
}

#[test]
fn an_emptied_or_missing_ledger_is_not_begun_anew_next_to_its_spool() {
    let world = World::new();
    world.prepared("job", 2, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    let ledger = world.path("cardwright.db");
    for name in ["cardwright.db-wal", "cardwright.db-shm"] {
        let _ = std::fs::remove_file(world.path(name));
    }
    std::fs::write(&ledger, b"").unwrap();
    let empty = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(empty.code, 40, "{}", empty.stderr);
    std::fs::remove_file(&ledger).unwrap();
    let missing = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(missing.code, 40, "{}", missing.stderr);
    assert!(missing.stderr.contains("spool"), "{}", missing.stderr);
    assert_eq!(world.dumps().len(), 2, "cards were made again");
}
