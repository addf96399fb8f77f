//! The program carries every file under `profiles/`, and each of them works. The tests list the folder, so
//! they find a file that `src/profile/shipped.rs` does not name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cardwright::modules::LineProfile;
use cardwright::profile::{LINES, PRODUCTS, ProductProfile, TEMPLATES};

use crate::support::{PRODUCT, World};

/// The font of every template, and its licence. The program embeds the font separately, for drawing
/// templates.
const FONT: [&str; 2] = ["LiberationSans-OFL.txt", "LiberationSans-Regular.ttf"];

const PAYMENT: &str = "A0000000031010";
const PURSE: &str = "F043575055525345";

fn profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles")
}

/// All files below a folder, as paths relative to it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// The files below a folder of profiles that the program does not carry with equal bytes.
fn not_carried(folder: &Path) -> Vec<String> {
    let text = |path: &str| fs::read_to_string(folder.join(path)).unwrap_or_default();
    let listed = |list: &[(&str, &str)], path: &str, file: &str| {
        list.iter().any(|(name, content)| format!("{name}.toml") == file && *content == text(path))
    };
    let carried = |path: &str| match path.split_once('/') {
        Some(("lines", file)) => listed(LINES, path, file),
        Some(("products", file)) => listed(PRODUCTS, path, file),
        Some(("graphics", file)) if file.ends_with(".svg") => {
            TEMPLATES.iter().any(|t| t.front == text(path) || t.back == Some(&text(path)))
        }
        Some(("graphics", file)) => FONT.contains(&file),
        _ => false,
    };
    files(folder).into_iter().filter(|path| !carried(path)).collect()
}

#[test]
fn every_file_under_profiles_is_carried_by_the_program() {
    assert_eq!(not_carried(&profiles()), [""; 0], "name it in src/profile/shipped.rs, or take it away");
}

#[test]
fn a_profile_that_the_program_does_not_name_is_found() {
    let planted = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("lines/sim-8.toml", LINES[0].1),
        ("lines/forgotten.toml", LINES[0].1),
        ("products/multiapp.toml", "another text"),
        ("graphics/forgotten.svg", "<svg/>"),
        ("graphics/forgotten.ttf", ""),
        ("formats/forgotten.toml", ""),
        ("forgotten.toml", ""),
    ] {
        let file = planted.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let found = not_carried(planted.path());
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(!found.contains(&"lines/sim-8.toml".to_owned()));
}

/// Each line and each product passes `profile check`, and the program lists it.
#[test]
fn every_shipped_profile_is_checked_and_listed() {
    let world = World::new();
    let listed = world.cardwright(&["profile", "list"]).stdout;
    assert_eq!(listed.lines().count(), LINES.len() + PRODUCTS.len() + TEMPLATES.len());
    assert!(!listed.contains("WRONG"), "{listed}");
    for path in files(&profiles()).iter().filter(|path| path.ends_with(".toml") || path.ends_with(".svg")) {
        let checked = world.cardwright(&["profile", "check", profiles().join(path).to_str().unwrap()]);
        assert_eq!(checked.code, 0, "{path}: {}{}", checked.stdout, checked.stderr);
        assert!(checked.stdout.contains(": no fault found"), "{path}: {}", checked.stdout);
    }
}

/// For the bureau, the product that tests prepare without RSA is the shipped one.
#[test]
fn the_product_of_the_tests_is_the_shipped_one() {
    let shipped = ProductProfile::load("multiapp").unwrap();
    let tested = ProductProfile::from_toml(PRODUCT, "tests").unwrap();
    assert!(tested.chip_program.is_some() && tested.chip_program == shipped.chip_program);
    assert_eq!(
        (tested.name, tested.min_suite, tested.allow_ecb),
        (shipped.name, shipped.min_suite, shipped.allow_ecb)
    );
}

/// Gives the issuer an RSA key with a certificate, and key pairs for cards.
fn certified(world: &World) {
    for words in [
        "issuer-cert new --keys issuer.store --issuer 476173",
        "issuer-cert self --keys issuer.store --key 476173:1 --expiry 12/2049 --authority ca.json",
        "pool fill --keys issuer.store --pool pool --bits 1152 --count 20",
    ] {
        let made = world.prep(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
}

/// A terminal authenticates the cards of a product by its method, and their purses by the certificates.
fn authenticated(world: &World, product: &str, dumps: &str) {
    let methods: &[(&str, &str)] = match product {
        "payment-sda" => &[(PAYMENT, "SDA")],
        "payment-dda" => &[(PAYMENT, "DDA")],
        "payment-cda" => &[(PAYMENT, "CDA")],
        "multiapp" => &[(PAYMENT, "CDA"), (PURSE, "certificates")],
        other => panic!("how are cards of {other} authenticated?"),
    };
    let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
    for (aid, method) in methods {
        let words = ["terminal", "--dump", dumps, "--authority", "ca.json", "--aid", aid];
        let ended = world.program(&hwsim, &words);
        let says = format!("2 of 2 authenticate ({method})");
        assert!(
            ended.code == 0 && ended.stdout.contains(&says),
            "{product}: {}{}",
            ended.stdout,
            ended.stderr
        );
    }
}

/// Runs two cards of each product on each line, simulated.
#[test]
fn every_shipped_line_makes_every_shipped_product() {
    for (product, _) in PRODUCTS {
        assert_eq!(ProductProfile::load(product).unwrap().name.as_str(), *product);
        let world = World::new();
        certified(&world);
        assert_eq!(world.prep(&["sample", "--count", "2", "--output", "two.csv"]).code, 0);
        for (line, _) in LINES {
            let profile = LineProfile::load(line).unwrap();
            assert_eq!(profile.name, *line);
            assert!(profile.sim.is_some(), "{line} cannot be dry-run: give it a [sim]");
            let (file, ledger, dumps) =
                (format!("{line}.cwf1"), format!("{line}.db"), format!("{line}.dumps"));
            let keys = ["--keys", "issuer.store", "--kek", "476173FF:1", "--pool", "pool", "--output", &file];
            let made =
                world.prep(&[&["run", "--input", "two.csv", "--product", product], &keys[..]].concat());
            assert_eq!(made.code, 0, "{}", made.stderr);
            let there = ["--line", line, "--ledger", &ledger, "--dump", &dumps];
            let simulated = ["run", &file, "--keys", "bureau.store", "--simulate", "--speed", "0"];
            let ended = world.cardwright(&[&simulated[..], &there].concat());
            assert_eq!(ended.code, 0, "{product} on {line}: {}{}", ended.stdout, ended.stderr);
            let cards = fs::read_dir(world.path(&dumps)).unwrap().map(|entry| entry.unwrap().path());
            let cards = cards.filter(|path| path.extension().is_some_and(|e| e == "json"));
            let stacked = cards.filter(|path| fs::read_to_string(path).unwrap().contains("\"stacked\""));
            assert_eq!(stacked.count(), 2, "{product} on {line}");
            authenticated(&world, product, &dumps);
        }
    }
}
