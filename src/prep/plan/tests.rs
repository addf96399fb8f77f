//! The rules for `[prep]`, above all those that protect secrets.

use super::*;

const HEAD: &str = r#"
name = "p"
description = "test"
min_suite = "tdes"
[chip]
atr = ["3B00"]
derivation = "emv-cps"
channel = { scp = "02", i = "55" }
[[application]]
aid = "A0000000031010"
name = "payment"
finalize = "last-store-data"
"#;

fn load(prep: &str) -> Result<PrepPlan, Failure> {
    PrepPlan::load(&ProductProfile::from_toml(&format!("{HEAD}{prep}"), "test").unwrap())
}

/// A plan with one application whose tables are `body`.
fn application(body: &str) -> Result<PrepPlan, Failure> {
    load(&format!("[prep]\ncard_keys = \"A\"\n[[prep.application]]\naid = \"A0000000031010\"\n{body}"))
}

fn refused(result: Result<PrepPlan, Failure>, what: &str) {
    let failure = result.err().unwrap_or_else(|| panic!("accepted: {what}"));
    assert_eq!(failure.exit, Exit::Profile);
    assert!(failure.message.contains(what), "{what}: {}", failure.message);
}

const KEYS: &str = "[[prep.application.dgi]]\ndgi = \"8000\"\nvalue = \"udk_ac\"\nenc = \"11\"\n";
const KCVS: &str = "[[prep.application.dgi]]\ndgi = \"9000\"\nvalue = \"kcv_ac\"\n";

#[test]
fn every_shipped_product_loads() {
    for (name, _) in crate::profile::PRODUCTS {
        let product = ProductProfile::load(name).unwrap();
        let plan = PrepPlan::load(&product).unwrap();
        // Every application of the product is prepared.
        assert_eq!(plan.applications.len(), product.applications.len(), "{name}");
    }
}

#[test]
fn a_good_plan() {
    // A card may be no more than its name on paper.
    assert!(load("[prep]\n").is_ok());
    let plan = application(&format!(
        "seclev = \"03\"\norder = [[\"8000\", \"9000\"]]\nlog = [\"9000\"]\n{KEYS}{KCVS}"
    ));
    let plan = plan.map_err(|f| f.message).unwrap();
    assert_eq!(plan.used, BTreeSet::from([CardField::UdkAc, CardField::KcvAc]));
    assert_eq!(plan.needs(), BTreeSet::from([KeyUsage::ImkAc]));
    assert_eq!(plan.applications[0].level, SecLevel::MacEnc);
}

#[test]
fn secrets_stay_protected() {
    let dgi = |value: &str, rest: &str| {
        application(&format!(
            "seclev = \"03\"\n[[prep.application.dgi]]\ndgi = \"8000\"\nvalue = \"{value}\"\n{rest}"
        ))
    };
    for name in FIELDS_SECRET {
        refused(dgi(name, ""), "is secret, so the DGI needs enc");
        refused(dgi(&format!("70{{5A{{{name}}}}}"), ""), "is secret, so the DGI needs enc");
        for place in ["[prep.stripe]\ntrack1 = ", "[[prep.emboss]]\nfont = 2\nx = 401\ny = 843\ntext = "] {
            refused(load(&format!("[prep]\ncard_keys = \"A\"\n{place}\"{name}\"\n")), "is secret");
        }
        let graphics = format!("[prep.graphics]\ntemplate = \"t\"\ntext = {{ a = \"'x' {name}\" }}\n");
        refused(load(&format!("[prep]\ncard_keys = \"A\"\n{graphics}")), "is secret");
    }
    let images = "[prep.graphics]\ntemplate = \"t\"\ntext = {}\nimages = { photo = \"name\" }\n";
    refused(load(&format!("[prep]\ncard_keys = \"A\"\n{images}")), "only column photo names a file");
    refused(dgi("pin_block", "enc = \"11\"\n"), "pin_block stands alone");
    refused(dgi("pin_block 00", "enc = \"22\"\n"), "pin_block stands alone");
    refused(dgi("udk_ac", "enc = \"22\"\n"), "pin_block stands alone");
    refused(dgi("udk_ac", "enc = \"10\"\n"), "enc is 11, 12 or 22");
    refused(application(&format!("seclev = \"03\"\nlog = [\"8000\"]\n{KEYS}")), "log: DGI 8000 is secret");
    refused(
        application(&format!("seclev = \"03\"\ngroup = [[\"8000\", \"9000\"]]\n{KEYS}{KCVS}")),
        "all clear or all",
    );
}

const FIELDS_SECRET: [&str; 6] = ["udk_ac", "udk_smi", "udk_smc", "kdl", "kdu", "pin_block"];

#[test]
fn lists_name_what_is_there_once() {
    for list in [
        "order = [[\"8000\", \"9001\"]]",
        "group = [[\"9001\"]]",
        "log = [\"9001\"]",
        "version_control = [\"9001\"]",
    ] {
        refused(application(&format!("seclev = \"03\"\n{list}\n{KEYS}{KCVS}")), "is not in the data");
    }
    for list in
        ["order = [[\"9000\"], [\"9000\"]]", "group = [[\"9000\", \"9000\"]]", "log = [\"9000\", \"9000\"]"]
    {
        refused(application(&format!("seclev = \"03\"\n{list}\n{KEYS}{KCVS}")), "stands twice");
    }
    refused(application(&format!("seclev = \"03\"\norder = [[]]\n{KEYS}")), "1 to 255");
    refused(application(&format!("seclev = \"03\"\n{KEYS}{KEYS}")), "DGI 8000 stands twice");
    refused(application("seclev = \"03\"\ndgi = []\n"), "has no DGI");
}

#[test]
fn records_are_templates() {
    let record = |dgi: &str, value: &str| {
        application(&format!(
            "seclev = \"01\"\n[[prep.application.dgi]]\ndgi = \"{dgi}\"\nvalue = \"{value}\"\n"
        ))
    };
    refused(record("0101", "5F20{name}"), "one 70{...}");
    refused(record("0A01", "70{} 70{}"), "one 70{...}");
    assert!(record("0B01", "5F20{name}").is_ok());
    assert!(record("0A01", "70{5F20{name}}").is_ok());
}

#[test]
fn names_and_shapes_are_strict() {
    refused(load(""), "is missing");
    refused(load("[prep]\ncard_keys = \"C\"\n"), "card_keys");
    for extra in ["color = 1\n", "[prep.stripe]\ntrack4 = \"track1\"\n", "[[prep.emboss]]\nfont = 1\n"] {
        refused(load(&format!("[prep]\ncard_keys = \"A\"\n{extra}")), "prep");
    }
    refused(application(&format!("seclev = \"03\"\ncolour = 1\n{KEYS}")), "colour");
    refused(application(&format!("seclev = \"02\"\n{KEYS}")), "there are 00 (");
    refused(
        application(&format!("seclev = \"03\"\nwhen = \"purse\"\n{KEYS}")),
        "no computed field \"purse\"",
    );
    refused(application(&format!("seclev = \"03\"\n{KEYS}when = \"pin\"\n")), "no computed field \"pin\"");
    let other =
        "[prep]\ncard_keys = \"A\"\n[[prep.application]]\naid = \"A0000000041010\"\nseclev = \"03\"\n";
    refused(load(&format!("{other}{KEYS}")), "not one of the product's");
    let twice = format!("[[prep.application]]\naid = \"A0000000031010\"\nseclev = \"03\"\n{KEYS}");
    refused(application(&format!("seclev = \"03\"\n{KEYS}{twice}")), "stands twice");
}

#[test]
fn defaults_are_checked_like_input() {
    let defaults = |line: &str| load(&format!("[prep]\ncard_keys = \"A\"\n[prep.defaults]\n{line}\n"));
    assert!(defaults("currency = \"978\"").is_ok());
    refused(defaults("currency = \"EUR\""), "currency = \"EUR\" is not 3 digits");
    refused(defaults("currency = \"\""), "currency = \"\" is empty");
    refused(defaults("pan = \"4761739001010119\""), "no column that can have one value");
    refused(defaults("colour = \"red\""), "no column that can have one value");
}

#[test]
fn lines_stay_on_the_card() {
    for (font, x, y) in [
        (0, 401, 843),
        (12, 401, 843),
        (32, 401, 843),
        (2, 99, 843),
        (2, 3276, 843),
        (2, 401, 134),
        (2, 401, 1461),
    ] {
        let line = format!("[[prep.indent]]\nfont = {font}\nx = {x}\ny = {y}\ntext = \"cvv2\"\n");
        refused(load(&format!("[prep]\ncard_keys = \"A\"\n{line}")), "font is 1-11");
    }
}

/// Literal text outside the sets of ISO/IEC 7811-6 (track 1: 20-5F, tracks 2 and 3: 30-3F), sentinels inside,
/// and tracks without data: the bureau would refuse the file, so the profile is refused.
#[test]
fn a_track_that_no_stripe_can_hold() {
    let stripe = |track: &str, text: &str| {
        load(&format!("[prep]\ncard_keys = \"A\"\n[prep.stripe]\n{track} = \"{text}\"\n"))
    };
    for (track, text, what) in [
        ("track1", "'%B' member '^abc?'", "stripe.track1: template, character 15: a character that cannot"),
        ("track1", "'%B~' member '?'", "stripe.track1: template, character 4: "),
        ("track1", "2542 7B 3F", "stripe.track1: template, character 6: "),
        ("track1", "'%?'", "stripe.track1: nothing stands between the sentinels"),
        ("track1", "253F", "stripe.track1: nothing stands between the sentinels"),
        ("track1", "", "stripe.track1: a sentinel is missing"),
        ("track1", "'%A'", "stripe.track1: a sentinel is missing"),
        ("track1", "member", "stripe.track1: a sentinel is missing"),
        (
            "track1",
            "'%A?' '%B?'",
            "stripe.track1: character 3 is outside the track's set, or a sentinel inside",
        ),
        ("track1", "track1 track1", "stripe.track1: character "),
        (
            "track1",
            "'%B' pan '?'",
            "stripe.track1: template, character 6: pan is bytes for the chip, not text",
        ),
        ("track1", "'%B' 5A{pan} '?'", "stripe.track1: template, character 6: TAG{...} is bytes"),
        (
            "track2",
            "';' member '?'",
            "stripe.track2: template, character 5: member has characters that cannot",
        ),
        ("track2", "';A?'", "stripe.track2: template, character 3: "),
        ("track2", "';1 2?'", "stripe.track2: template, character 4: "),
        ("track2", "';?'", "stripe.track2: nothing stands between the sentinels"),
        ("track3", "';/?'", "stripe.track3: template, character 3: "),
        ("track3", "'%01?'", "stripe.track3: template, character 2: "),
        ("track3", "track1", "stripe.track3: template, character 1: track1 has characters that cannot"),
    ] {
        refused(stripe(track, text), what);
    }
    for (track, text) in [
        ("track1", "'%B' member '^' name '^' 30 '?'"),
        ("track1", "track1"),
        ("track2", "';01' pan_last4 '=' cvv2 '?'"),
        ("track3", "';01' track1_disc '?'"),
    ] {
        assert!(stripe(track, text).is_ok(), "{track} {text}");
    }
}

/// The siblings on plastic: what an `~EM%` line and a printed text cannot hold.
#[test]
fn a_text_that_no_plastic_can_hold() {
    let line = |table: &str, text: &str| {
        let body = format!("[[prep.{table}]]\nfont = 1\nx = 307\ny = 328\ntext = \"{text}\"\n");
        load(&format!("[prep]\ncard_keys = \"A\"\n{body}"))
    };
    for table in ["emboss", "indent"] {
        for (text, what) in [
            ("'A<B'", "character 3: a character that cannot stand here"),
            ("'A' 3E", "character 5: a character that cannot stand here"),
            ("'A' 410D0A", "character 7: a character that cannot stand here"),
            ("purse_id", "character 1: purse_id is bytes for the chip, not text"),
        ] {
            refused(line(table, text), &format!("{table} 1;307;328: template, {what}"));
        }
        assert!(line(table, "'No. ' pan_last4").is_ok());
    }
    let graphics = |text: &str| {
        let body = format!("[prep.graphics]\ntemplate = \"t\"\ntext = {{ a = \"{text}\" }}\n");
        load(&format!("[prep]\ncard_keys = \"A\"\n{body}"))
    };
    refused(
        graphics("'A' 07"),
        "graphics field a: template, character 5: a character that cannot stand here",
    );
    refused(graphics("balance"), "graphics field a: template, character 1: balance is bytes");
    assert!(graphics("'<' expiry_printed '>'").is_ok());
}

/// The answer to GENERATE AC holds a signature as long as the card's key, and has 256 bytes at most: with issuer application
/// data of 7 bytes, 26 bytes stand around it; with the longest, 51.
#[test]
fn a_key_of_cda_whose_signature_fits_no_answer() {
    let shipped = crate::profile::PRODUCTS.iter().find(|(name, _)| *name == "payment-cda").unwrap().1;
    let sized = |text: &str, bits: u16| {
        let text = text.replace("card_key = { bits = 1152", &format!("card_key = {{ bits = {bits}"));
        PrepPlan::load(&ProductProfile::from_toml(&text, "test").unwrap())
    };
    let before = shipped.split("card_key = {").next().unwrap();
    let line = format!("line {}: offline: card_key.bits is at most ", before.lines().count() + 1);
    let data = "9F10{06 imk_version 0A 03A00000}";
    assert!(shipped.contains(data));
    let longest = shipped.replace(data, &format!("9F10{{{}}}", "00".repeat(32)));
    let unknown = shipped.replace(data, "9F10{name}");
    for (text, most) in
        [(shipped, 1840), (&longest, 1640), (&unknown, 1640), (&shipped.replace(data, ""), 1640)]
    {
        assert!(sized(text, most).is_ok(), "{most}");
        refused(sized(text, most + 8), &format!("{line}{most} for method cda, not {}", most + 8));
    }
    let dda = shipped.replace("method = \"cda\"", "method = \"dda\"");
    assert!(sized(&dda, 1976).is_ok());
}

/// Certificates without a payment terminal: neither AIP nor AFL.
#[test]
fn the_tables_of_certificates_alone() {
    let shipped = crate::profile::PRODUCTS.iter().find(|(name, _)| *name == "multiapp").unwrap().1;
    let changed = |from: &str, to: &str| {
        assert!(shipped.contains(from), "{from}");
        PrepPlan::load(&ProductProfile::from_toml(&shipped.replacen(from, to, 1), "test").unwrap())
    };
    let own = "method = \"certificates\"\n";
    refused(changed(own, &format!("{own}aip = \"1C00\"\n")), "that one has neither aip nor sign_aip");
    refused(changed(own, &format!("{own}sign_aip = true\n")), "that one has neither aip nor sign_aip");
    refused(changed("aip = \"1C00\"\n", ""), "all methods but certificates need aip");
    refused(changed(own, "method = \"dda\"\n"), "all methods but certificates need aip");
    refused(changed(own, "method = \"sda\"\ncode = \"DAC0\"\n"), "method sda have no card_key");
    refused(changed("9F48{card_remainder}}\"\"\"", "}\"\"\""), "without card_remainder");
    refused(changed("DF10{ca_index}", "82{aip}"), "does not use aip");
    let key = "number = \"purse_id\"\ncard_key = { bits = 1152, exponent = 3 }\n";
    refused(changed(key, "number = \"purse_id\"\n"), "all methods but sda need card_key");
}
