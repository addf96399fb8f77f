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
        ("\"CHP\"", "\"chp\"", "is not 1 to 7 of A-Z and 0-9"),
        ("\"CHP\"", "\"CHIPCHIP\"", "is not 1 to 7 of A-Z and 0-9"),
        ("kmc_id = \"FFFFFF476173\"", "kmc_id = \"FF\"", "kmc_id: has 1 bytes, but must have 6"),
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
        (
            "[sim]\n",
            "[link.stripe-1]\nnumber = \"7\"\n[sim]\n",
            "link.stripe-1.number: driver msr605 (MSR605, MSR206, MSRE206) cannot give its serial number",
        ),
        (
            "[sim]\n",
            "[link.chip-1]\nnumber = \"7\"\n[sim]\n",
            "link.chip-1: the station has no use for number",
        ),
        (
            "[sim]\n",
            "[link.embosser-1]\nnumber = \"a b\"\n[sim]\n",
            "link.embosser-1.number: a serial number has 1 to 64 printable characters",
        ),
        (
            "[sim]\n",
            "[link.embosser-1]\nnumber = \"7\"\n[link.printer-1]\nnumber = \"7\"\n[sim]\n",
            "has this number too",
        ),
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
        ("i = \"55\"", "i = 55", "line 10: chip.channel.i: invalid type: integer `55`"),
        ("derivation = \"emv-cps\"", "derivation = \"visa2\"", "unknown variant `visa2`"),
        ("finalize = \"set-status\"", "finalize = \"never\"", "unknown variant `never`"),
        (
            "aid = \"A0000000031010\"",
            "aid = \"A000000003101\"",
            "has 13 hex digits; an AID has 1 to 16 bytes",
        ),
        ("aid = \"A0000000031010\"", "aid = \"\"", "has 0 hex digits"),
        ("aid = \"A0000000031010\"", "aid = \"A000000003101000000000000000000000\"", "has 34 hex digits"),
        ("name = \"payment\"", "name = \"payment\"\npass_through = [\"800\"]", "a DGI has 2 bytes"),
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
        (
            "atr = [\"3B751300005443415244\"]",
            "atr = [\"3B\"]",
            "chip.atr \"3B\": has 2 hex digits; an ATR has 2 to 33 bytes",
        ),
        (
            "atr = [\"3B751300005443415244\"]",
            "atr = [\"hello\"]",
            "chip.atr \"hello\": character 1 is no hex digit",
        ),
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

/// Each kind of word, number and identifier in a profile: the message names file, line and key, quotes the value, and
/// states what is allowed.
fn says_where_and_what(shipped: &[(&str, &str)], name: &str, cases: &[(&str, &str, &str, &str)]) {
    let world = world();
    let (_, good) = shipped.iter().find(|(n, _)| *n == name).unwrap();
    for (from, to, key, allowed) in cases {
        let text = changed(shipped, name, from, to);
        std::fs::write(world.path("bad.toml"), &text).unwrap();
        let first = 1 + good.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap();
        // The wrong key stands in the line after its table's header.
        let line = first + usize::from(to.starts_with('['));
        let checked = world.cardwright(&["profile", "check", "bad.toml"]);
        let place = format!("line {line}: {key}");
        refused(&world, &checked, &place);
        refused(&world, &checked, allowed);
        assert!(checked.stderr.contains("profile bad.toml: "), "{}", checked.stderr);
    }
}

#[test]
fn a_wrong_value_in_a_line_is_named_with_its_place_and_what_is_allowed() {
    says_where_and_what(
        LINES,
        "sim-8",
        &[
            (
                "rejects = \"bin\"",
                "rejects = \"floor\"",
                "rejects: unknown variant `floor`",
                "`bin` or `shredded`",
            ),
            ("ignore = []", "ignore = [\"ABCDEFGH\"]", "ignore = [\"ABCDEFGH\"]: ", "1 to 7 of A-Z and 0-9"),
            (
                "kind = \"chip\"",
                "kind = \"laser\"",
                "module.kind: unknown variant `laser`",
                "expected one of `embosser`, `stripe`, `printer`, `chip`",
            ),
            ("mics = [\"CHP\"]", "mics = [\"*\"]", "module.mics = [\"*\"]: ", "1 to 7 of A-Z and 0-9"),
            (
                "stations = 8",
                "stations = \"8\"",
                "module.stations: invalid type: string \"8\"",
                "a whole number from 0",
            ),
            ("\"hico\"", "\"high\"", "module.coercivity: unknown variant `high`", "`hico` or `loco`"),
            (
                "kind = \"stripe\"",
                "bpi = [210, 76, 210]\nkind = \"stripe\"",
                "module.bpi = [210, 76, 210]: ",
                "bpi is 75 or 210",
            ),
            (
                "kind = \"stripe\"",
                "leading_zeros = [300, 1]\nkind = \"stripe\"",
                "module.leading_zeros: ",
                "0 to 255",
            ),
            (
                "ignore = []",
                "two_people = [\"relase\"]",
                "two_people: unknown variant `relase`",
                "`release`, `hold`",
            ),
            ("ignore = []", "keys = \"prod\"", "keys: unknown variant `prod`", "`live` or `test`"),
            ("ignore = []", "auto_close = 1", "auto_close: invalid type: integer `1`", "expected a boolean"),
            (
                "ignore = []",
                "retention_days = -1",
                "retention_days: invalid value: integer `-1`",
                "a whole number from 0",
            ),
            (
                "[sim]",
                "[limits]\ncommand = \"1 s\"\n[sim]",
                "limits.command: invalid type: string \"1 s\"",
                "expected a number",
            ),
            (
                "[sim]",
                "[limits]\ncomand = 1.0\n[sim]",
                "limits: unknown field `comand`",
                "expected one of `command`",
            ),
            ("[sim]", "[breakers]\njob = 0.5\n[sim]", "breakers.job: invalid type", "a whole number from 0"),
            (
                "[sim]",
                "[link.chip-1]\nbaud = 1.5\n[sim]",
                "link.chip-1.baud: invalid type",
                "a whole number from 0",
            ),
            ("ta1 = \"13\"", "ta1 = \"1\"", "ta1: ", "not hex: write two digits for each byte"),
            ("kmc_id = \"FFFFFF476173\"", "kmc_id = \"FFFF\"", "kmc_id: ", "has 2 bytes, but must have 6"),
        ],
    );
}

#[test]
fn a_wrong_number_of_a_line_is_quoted_with_its_key_and_what_is_allowed() {
    bad_lines(&[
        (
            "reorder_buffer = 32",
            "reorder_buffer = 5000",
            "reorder_buffer must be from 11 (its stations) to 4096, not 5000",
        ),
        (
            "[sim]",
            "[limits]\nphase = 0.0\n[sim]",
            "limits.phase = 0: must be seconds, more than 0 and at most 86400",
        ),
        (
            "[sim]",
            "[limits]\nstop = -1.0\n[sim]",
            "limits.stop = -1: must be seconds, from 0 and at most 86400",
        ),
        ("[sim]", "[limits]\ncard = nan\n[sim]", "limits.card = NaN: must be seconds, more than 0"),
        (
            "[sim]",
            "[limits]\ncommand = 500.0\n[sim]",
            "command (500 s) must not be longer than phase (120 s)",
        ),
        (
            "[sim]",
            "[breakers]\njob = 0\n[sim]",
            "breakers.station = 5, breakers.job = 0: both must be at least 1",
        ),
        ("[sim]", "[link.chip-9]\n[sim]", "link.chip-9: no such station; there are chip-1, "),
        (
            "[sim]",
            "[link.chip-1]\nbaud = 9600\n[sim]",
            "the station has no use for baud; its keys are reader, usb, pcscd, transport",
        ),
        ("[sim]", "[link.stripe-1]\nbaud = 960\n[sim]", "link.stripe-1: baud is one of [1200, "),
        ("stations = 8", "stations = 300", "module chip cannot have 300 stations; it may have 1 to 256"),
        (
            "ignore = []",
            "two_people = [\"hold\"]",
            "two_people: \"hold\" is not an action for two people; those are [\"release\"",
        ),
        ("feed_s = 0.30", "feed_s = -1.0", "sim.feed_s must be from 0 to 3600, not -1"),
        ("[sim]", "[sim.attach.chip-9]\n[sim]", "no station chip-9 in this line; there are chip-1, "),
    ]);
}

#[test]
fn a_wrong_value_in_a_product_is_named_with_its_place_and_what_is_allowed() {
    let aid = "aid = \"A0000000031010\"";
    let hex = "application.aid = ";
    let levels = "is no security level of this version; there are 00 (authentication only), 01 (C-MAC), 03 (";
    says_where_and_what(
        PRODUCTS,
        "multiapp",
        &[
            (
                "min_suite = \"tdes\"",
                "min_suite = \"aes\"",
                "min_suite: unknown variant `aes`",
                "`tdes`, `aes128`, `aes256`",
            ),
            (
                "allow_ecb = false",
                "allow_ecb = \"no\"",
                "allow_ecb: invalid type: string \"no\"",
                "expected a boolean",
            ),
            ("\"emv-cps\"", "\"visa2\"", "chip.derivation: unknown variant `visa2`", "expected `emv-cps`"),
            (
                "i = \"55\"",
                "i = \"65\"",
                "chip.channel: SCP02 with i = 65 is not supported",
                "there are SCP02 with i = 15, SCP02 with i = 55",
            ),
            ("scp = \"02\"", "scp = \"2\"", "chip.channel: scp is two hex digits", "not \"2\""),
            (
                "\"get-data\"",
                "\"guess\"",
                "chip.identify: unknown variant `guess`",
                "`initialize-update` or `get-data`",
            ),
            (
                aid,
                "aid = \"A000000003101*\"",
                hex,
                "\"A000000003101*\": character 14 is no hex digit; an AID has hex digits only, no blanks and no wildcards",
            ),
            (
                aid,
                "aid = \"A000000003101\"",
                hex,
                "\"A000000003101\": has 13 hex digits; an AID has 1 to 16 bytes, two digits for each",
            ),
            (aid, "aid = \"A0 00 00 00 03 10 10\"", hex, "character 3 is no hex digit; an AID"),
            (aid, "aid = \"\"", hex, "\"\": has 0 hex digits; an AID has 1 to 16 bytes"),
            (
                aid,
                "aid = \"A000000003101000000000000000000000\"",
                hex,
                "has 34 hex digits; an AID has 1 to 16 bytes",
            ),
            (aid, "aid = 3101", "application.aid: invalid type: integer `3101`", "expected a string"),
            (
                "\"0201\"]",
                "\"201\"]",
                "application.read_back = [\"0101\", \"201\"]: ",
                "has 3 hex digits; a DGI has 2 bytes",
            ),
            (
                "fci = \"9102\"",
                "fci = \"91O2\"",
                "application.fci = \"91O2\": ",
                "character 3 is no hex digit; a DGI",
            ),
            (
                "\"set-status\"",
                "\"status\"",
                "application.finalize: unknown variant `status`",
                "`last-store-data` or `set-status`",
            ),
            ("card_keys = \"B\"", "card_keys = \"C\"", "prep.card_keys: unknown variant `C`", "`A` or `B`"),
            (
                "track2 = \"track2\"",
                "track4 = \"track2\"",
                "prep.stripe: unknown field `track4`",
                "`track1`, `track2`, `track3`",
            ),
            ("seclev = \"03\"", "seclev = \"33\"", "prep.application.seclev = \"33\": ", levels),
            ("seclev = \"03\"", "seclev = \"3\"", "prep.application.seclev = \"3\": ", levels),
            (
                "seclev = \"03\"",
                "seclev = \"encrypted\"",
                "prep.application.seclev = \"encrypted\": ",
                levels,
            ),
        ],
    );
}

#[test]
fn a_wrong_word_of_the_preparation_is_quoted_with_its_table_and_what_is_allowed() {
    let world = world();
    for (from, to, says) in [
        ("currency = \"978\"", "currency = \"EUR\"", "defaults: currency = \"EUR\" is not 3 digits"),
        (
            "currency = \"978\"",
            "curency = \"978\"",
            "defaults: \"curency\" is no column that can have one value for all cards; these can: psn, ",
        ),
        (
            "track1 = \"track1\"",
            "track1 = \"trac1\"",
            "stripe.track1: template, character 1: no computed field \"trac1\"; there are pan, ",
        ),
        ("enc = \"22\"", "enc = \"33\"", "enc is 11, 12 or 22, not \"33\""),
        (
            "images = { photo = \"photo\" }",
            "images = { photo = \"picture\" }",
            "only column photo names a file, not \"picture\"",
        ),
        ("font = 2", "font = 12", "(font;x;y): font is 1-11 or 21-31"),
    ] {
        std::fs::write(world.path("bad.toml"), changed(PRODUCTS, "multiapp", from, to)).unwrap();
        let checked = world.cardwright(&["profile", "check", "bad.toml"]);
        refused(&world, &checked, "profile bad.toml: [prep]: ");
        refused(&world, &checked, says);
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
    refused(&world, &checked, "line 47: prep: unknown field `card_keyz`");
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
