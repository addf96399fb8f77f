//! Wrong profiles, and hostile profile names in a file: refused before a card is touched.

use std::process::Command;

use cardwright::exit::Exit;
use cardwright::profile::{LINES, PRODUCTS};

use crate::bad_input::{good, pieces};
use crate::support::{Ended, World};

/// A world with a good file, and a directory for the bureau's own profiles.
fn world() -> World {
    let world = World::new();
    std::fs::write(world.path("good.cwf1"), &good().bytes).unwrap();
    for folder in ["lines", "products"] {
        std::fs::create_dir_all(world.path("own").join(folder)).unwrap();
    }
    world
}

/// A shipped profile with one change.
fn changed(shipped: &[(&str, &str)], name: &str, from: &str, to: &str) -> String {
    let (_, text) = shipped.iter().find(|(n, _)| *n == name).unwrap();
    assert!(text.contains(from), "{from:?} is not in {name}");
    text.replacen(from, to, 1)
}

/// Runs `cardwright ARGS` with the bureau's own profiles.
fn own(world: &World, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardwright"));
    command
        .args(args)
        .current_dir(world.path(""))
        .env_remove("CARDWRIGHT_LEDGER")
        .env_remove("CARDWRIGHT_KEYS");
    command.env("CARDWRIGHT_PROFILES", world.path("own")).output().unwrap().into()
}

const RUN: [&str; 9] =
    ["run", "good.cwf1", "--keys", "bureau.store", "--simulate", "--speed", "0", "--dump", "dumps"];

/// Refused with exit code 30 and a message of one line that holds `says`; no job was begun.
fn refused(world: &World, ended: &Ended, says: &str) {
    let shown = format!("{says:?}: {}{}", ended.stdout, ended.stderr);
    assert_eq!((ended.code, ended.stdout.as_str()), (Exit::Profile as i32, ""), "{shown}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{shown}");
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(says), "{shown}");
    assert!(!world.path("dumps").exists(), "a card was touched: {shown}");
    let jobs = world.cardwright(&["job", "list", "--json"]);
    assert!(jobs.code != 0 || jobs.stdout.trim() == "[]", "a job was made: {}", jobs.stdout);
}

fn bad_lines(cases: &[(&str, &str, &str)]) {
    let world = world();
    for (from, to, says) in cases {
        let text = changed(LINES, "sim-8", from, to);
        std::fs::write(world.path("bad.toml"), &text).unwrap();
        refused(&world, &world.cardwright(&[&RUN[..], &["--line", "bad.toml"]].concat()), says);
        refused(&world, &world.cardwright(&["profile", "check", "bad.toml"]), says);
        std::fs::write(world.path("own/lines/ours.toml"), &text).unwrap();
        refused(&world, &own(&world, &[&RUN[..], &["--line", "ours"]].concat()), says);
    }
}

#[test]
fn a_line_with_an_unknown_field() {
    bad_lines(&[
        ("reorder_buffer", "colour = 1\nreorder_buffer", "line 5: unknown field `colour`"),
        ("reorder_buffer", "reorder_bufer", "unknown field `reorder_bufer`"),
        ("stations = 8", "stations = 8\nspeed = 9", "unknown field `speed`"),
        ("[sim]", "[simulation]", "unknown field `simulation`"),
        ("[sim]", "[link.chip-1]\nseriel = \"/dev/ttyS0\"\n[sim]", "unknown field `seriel`"),
        // A mistake in the simulator's table is refused as early as any other.
        ("feed_s", "feeed_s", "unknown field `feeed_s`"),
        ("weight = 3", "weight = 3\ncolour = 1", "unknown field `colour`"),
    ]);
}

#[test]
fn a_line_with_a_missing_field_or_another_type() {
    bad_lines(&[
        ("reorder_buffer = 32", "", "missing field `reorder_buffer`"),
        ("rejects = \"bin\"", "", "missing field `rejects`"),
        ("kind = \"chip\"", "", "missing field `kind`"),
        ("mics = [\"CHP\"]", "", "missing field `mics`"),
        ("feed_s = 0.30", "", "missing field `feed_s`"),
        ("stations = 8", "stations = \"eight\"", "invalid type: string \"eight\""),
        ("stations = 8", "stations = -1", "invalid value"),
        ("kind = \"chip\"", "kind = \"laser\"", "unknown variant `laser`"),
        ("rejects = \"bin\"", "rejects = \"floor\"", "unknown variant `floor`"),
        ("\"CHP\"", "\"chp\"", "character that is not allowed"),
        ("\"CHP\"", "\"CHIPCHIP\"", "longer than 7 characters"),
        ("kmc_id = \"FFFFFF476173\"", "kmc_id = \"FF\"", "not 6 bytes of hex"),
    ]);
}

#[test]
fn a_line_that_contradicts_itself() {
    bad_lines(&[
        ("mics = [\"GFX\"]", "mics = [\"MAG\"]", "MIC MAG is named twice"),
        ("mics = [\"EMB\", \"IND\"]", "mics = [\"EMB\", \"EMB\"]", "MIC EMB is named twice"),
        ("ignore = []", "ignore = [\"GFX\"]", "MIC GFX is named twice"),
        ("name = \"printer\"", "name = \"stripe\"", "module stripe stands twice"),
        ("mics = [\"GFX\"]", "mics = []", "module printer serves no MIC"),
        ("stations = 8", "stations = 0", "module chip cannot have 0 stations"),
        ("stations = 8", "stations = 257", "module chip cannot have 257 stations"),
        ("reorder_buffer = 32", "reorder_buffer = 10", "reorder_buffer must be from 11"),
        ("reorder_buffer = 32", "reorder_buffer = 4097", "reorder_buffer must be from 11"),
        ("coercivity = \"hico\"", "", "module stripe: coercivity"),
        ("kind = \"printer\"", "kind = \"printer\"\ncoercivity = \"hico\"", "module printer: coercivity"),
        (
            "kind = \"printer\"",
            "kind = \"printer\"\nread_back = false",
            "module printer: read_back belongs to stripe modules",
        ),
        ("kind = \"fulfilment\"", "kind = \"fulfilment\"\nstations = 2", "module fulfilment cannot have 2"),
        ("mics = [\"CHP\"]", "mics = [\"CHIP\"]", "module chip: MIC CHP belongs to chip modules"),
        ("kind = \"chip\"", "kind = \"embosser\"", "module chip: MIC CHP belongs to chip modules"),
        ("mics = [\"GFX\"]", "mics = [\"GFX\", \"GFX2\"]", "module printer: its device takes one MIC"),
    ]);
}

#[test]
fn a_line_whose_driver_is_unknown_or_cannot_do_it() {
    bad_lines(&[
        (
            "kind = \"stripe\"",
            "kind = \"stripe\"\ndriver = \"laser\"",
            "module stripe: no stripe driver is called \"laser\"; there are msr605, mse630",
        ),
        ("kind = \"chip\"", "kind = \"chip\"\ndriver = \"msr605\"", "there is reader"),
        ("kind = \"stripe\"", "kind = \"stripe\"\ndriver = \"mse630\"", "cannot read back what it wrote"),
        (
            "kind = \"stripe\"",
            "kind = \"stripe\"\ndriver = \"mse630\"\nread_back = false\nbpi = [210, 75, 210]",
            "cannot set the density; msr605 can",
        ),
        ("kind = \"stripe\"", "kind = \"stripe\"\nbpi = [210, 76, 210]", "bpi is 75 or 210"),
    ]);
}

fn bad_products(cases: &[(&str, &str, &str)]) {
    let world = world();
    for (from, to, says) in cases {
        let text = changed(PRODUCTS, "multiapp", from, to);
        std::fs::write(world.path("own/products/multiapp.toml"), &text).unwrap();
        refused(&world, &own(&world, &[&RUN[..], &["--line", "sim-8"]].concat()), says);
        refused(&world, &own(&world, &["inspect", "good.cwf1", "--keys", "bureau.store"]), says);
        refused(&world, &world.cardwright(&["profile", "check", "own/products/multiapp.toml"]), says);
    }
}

#[test]
fn a_product_with_an_unknown_field() {
    bad_products(&[
        ("allow_ecb", "allow_ebc", "line 5: unknown field `allow_ebc`"),
        ("[chip]", "[chip]\nvoltage = 5", "unknown field `voltage`"),
        ("[[application]]", "[[application]]\ncolour = 1", "unknown field `colour`"),
        ("[prep]", "[preparation]\n[prep]", "unknown field `preparation`"),
    ]);
}

#[test]
fn a_product_with_a_missing_field_or_another_type() {
    bad_products(&[
        ("min_suite = \"tdes\"", "", "missing field `min_suite`"),
        ("derivation = \"emv-cps\"", "", "missing field `derivation`"),
        ("finalize = \"set-status\"", "", "missing field `finalize`"),
        ("min_suite = \"tdes\"", "min_suite = \"des\"", "unknown variant `des`"),
        ("i = \"55\"", "i = \"65\"", "SCP02 with i = 65 is not supported"),
        ("i = \"55\"", "i = 55", "line 10: invalid type"),
        ("derivation = \"emv-cps\"", "derivation = \"visa2\"", "unknown variant `visa2`"),
        ("finalize = \"set-status\"", "finalize = \"never\"", "unknown variant `never`"),
        ("aid = \"A0000000031010\"", "aid = \"A000000003101\"", "character that is not allowed"),
        ("aid = \"A0000000031010\"", "aid = \"\"", "is empty"),
        ("aid = \"A0000000031010\"", "aid = \"A000000003101000000000000000000000\"", "is longer than 16"),
        ("name = \"payment\"", "name = \"payment\"\npass_through = [\"800\"]", "wrong length"),
    ]);
}

#[test]
fn a_product_that_contradicts_itself() {
    bad_products(&[
        (
            "aid = \"A0000000031010\"",
            "aid = \"F043575055525345\"",
            "application F043575055525345 stands twice",
        ),
        ("atr = [\"3B751300005443415244\"]", "atr = [\"3B\"]", "an ATR is 2 to 33 bytes in hex"),
        ("atr = [\"3B751300005443415244\"]", "atr = [\"hello\"]", "an ATR is 2 to 33 bytes in hex"),
        ("atr = [\"3B751300005443415244\"]", "atr = []", "names no ATR"),
    ]);
}

#[test]
fn a_product_with_a_chip_and_no_application_or_the_reverse() {
    let (world, head) = (world(), "name = \"multiapp\"\ndescription = \"\"\nmin_suite = \"tdes\"\n");
    let chip = "[chip]\natr = []\nderivation = \"emv-cps\"\nchannel = { scp = \"02\", i = \"55\" }\n";
    let application = "[[application]]\naid = \"A0000000031010\"\nname = \"p\"\nfinalize = \"set-status\"\n";
    for body in [chip, application] {
        std::fs::write(world.path("own/products/multiapp.toml"), format!("{head}{body}")).unwrap();
        let says = "a chip needs applications, and applications need a [chip]";
        refused(&world, &own(&world, &[&RUN[..], &["--line", "sim-8"]].concat()), says);
        refused(&world, &world.cardwright(&["profile", "check", "own/products/multiapp.toml"]), says);
    }
}

/// A product that is found by its file name must have that name inside.
#[test]
fn a_product_under_another_name() {
    let world = world();
    let text = changed(PRODUCTS, "multiapp", "name = \"multiapp\"", "name = \"otherapp\"");
    std::fs::write(world.path("own/products/multiapp.toml"), text).unwrap();
    let ended = own(&world, &[&RUN[..], &["--line", "sim-8"]].concat());
    refused(&world, &ended, "its name is \"otherapp\"");
}

#[test]
fn the_preparation_s_part_of_a_product() {
    let world = world();
    let text = changed(PRODUCTS, "multiapp", "card_keys", "card_keyz");
    std::fs::write(world.path("own/products/multiapp.toml"), text).unwrap();
    let checked = world.cardwright(&["profile", "check", "own/products/multiapp.toml"]);
    refused(&world, &checked, "[prep]: unknown field `card_keyz`");
}

#[test]
fn no_profile_at_all() {
    let world = world();
    let check = |path: &str| world.cardwright(&["profile", "check", path]);
    refused(&world, &check("nothing.toml"), "profile nothing.toml: cannot be read");
    refused(&world, &check("."), "profile .: cannot be read");
    std::fs::write(world.path("cards.toml"), "C1,4761730000000011,01,TEST/CARD\n").unwrap();
    let ended = check("cards.toml");
    refused(&world, &ended, "profile cards.toml: line 1: ");
    assert!(!ended.stderr.contains("4761"), "{}", ended.stderr);
    for line in ["nothing", "../lines/sim-8", "", "nothing.toml"] {
        let ended = own(&world, &[&RUN[..], &["--line", line]].concat());
        refused(&world, &ended, if line.ends_with(".toml") { "cannot be read" } else { "no line profile" });
    }
    assert!(!world.path("cardwright.db").exists(), "a ledger was made for a line that does not exist");
}

/// If the simulator cannot start, no job is opened.
#[test]
fn a_faults_file_that_is_wrong() {
    let world = world();
    std::fs::write(world.path("faults.toml"), "[[fault]]\nkind = \"mute\"\nevry = 2\n").unwrap();
    for faults in ["faults.toml", "nothing.toml"] {
        let ended = world.cardwright(&[&RUN[..], &["--line", "sim-8", "--faults", faults]].concat());
        assert_eq!(ended.code, Exit::Profile as i32, "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("faults file {faults}")), "{}", ended.stderr);
        assert!(!world.path("cardwright.db").exists() && !world.path("dumps").exists());
    }
}

/// A Header can name a product, but no path in the file system.
#[test]
fn a_hostile_product_name() {
    let world = world();
    let secret = "CONTENT-OF-ANOTHER-FILE = 1\n";
    for path in ["evil.toml", "own/evil.toml", "own/products/evil.toml.toml"] {
        std::fs::write(world.path(path), secret).unwrap();
    }
    std::fs::write(world.path("own/multiapp.toml"), PRODUCTS[0].1).unwrap();
    let absolute = world.path("evil.toml").display().to_string();
    let long = "a".repeat(255);
    let names = [
        "../evil",
        "../evil.toml",
        "../multiapp",
        "./multiapp",
        "evil.toml",
        "/etc/passwd",
        "/etc/passwd.toml",
        absolute.as_str(),
        absolute.trim_end_matches(".toml"),
        "../../../../../../../../etc/passwd",
        "multiapp.toml",
        "MULTIAPP",
        "multiapp ",
        "..",
        ".",
        "/",
        "$HOME",
        "%2e%2e/evil",
        long.as_str(),
    ];
    for name in names {
        let mut file = pieces();
        file.product = name.to_owned();
        std::fs::write(world.path("bad.cwf1"), file.digested()).unwrap();
        let run = [&["run", "bad.cwf1"], &RUN[2..], &["--line", "sim-8"]].concat();
        let inspect = ["inspect", "bad.cwf1", "--keys", "bureau.store"];
        for ended in
            [own(&world, &run), world.cardwright(&run), own(&world, &inspect), world.cardwright(&inspect)]
        {
            assert_eq!(
                (ended.code, &*ended.stdout),
                (Exit::FileProfile as i32, ""),
                "{name}: {}",
                ended.stderr
            );
            assert!(ended.stderr.starts_with("error: file: no product profile "), "{}", ended.stderr);
            assert!(ended.stderr.contains("ask the issuer"), "{}", ended.stderr);
            let quoted = ["CONTENT-OF", "root:"].iter().any(|content| ended.stderr.contains(content));
            assert!(!quoted, "{}", ended.stderr);
        }
    }
    assert_eq!(world.cardwright(&["job", "list", "--json"]).stdout.trim(), "[]");
    assert!(!world.path("dumps").exists());
}
