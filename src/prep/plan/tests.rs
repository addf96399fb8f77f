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
    let plan = application(&format!(
        "seclev = \"03\"\norder = [[\"8000\", \"9000\"]]\nlog = [\"9000\"]\n{KEYS}{KCVS}"
    ));
    let plan = plan.map_err(|f| f.message).unwrap();
    assert_eq!(plan.used, BTreeSet::from([CardField::UdkAc, CardField::KcvAc]));
    assert_eq!(plan.needs(), BTreeSet::from([Master::Ac]));
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
    refused(load("[prep]\n"), "card_keys");
    refused(load("[prep]\ncard_keys = \"C\"\n"), "card_keys");
    for extra in ["color = 1\n", "[prep.stripe]\ntrack4 = \"track1\"\n", "[[prep.emboss]]\nfont = 1\n"] {
        refused(load(&format!("[prep]\ncard_keys = \"A\"\n{extra}")), "[prep]");
    }
    refused(application(&format!("seclev = \"03\"\ncolour = 1\n{KEYS}")), "colour");
    refused(application(&format!("seclev = \"02\"\n{KEYS}")), "[prep]");
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
    refused(defaults("currency = \"EUR\""), "currency is not 3 digits");
    refused(defaults("currency = \"\""), "currency is empty");
    refused(defaults("pan = \"4761739001010119\""), "no column that may be left out");
    refused(defaults("colour = \"red\""), "no column that may be left out");
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
