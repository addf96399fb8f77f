//! Profiles of one's own: begun with a copy, shown, listed, and checked by a sample card.

use cardwright::exit::Exit;
use cardwright::profile::{LINES, PRODUCTS};

use crate::support::World;

/// A shipped product with a change.
fn changed(world: &World, name: &str, from: &str, to: &str) {
    let (_, text) = PRODUCTS.iter().find(|(product, _)| *product == name).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(world.path("changed.toml"), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_is_begun_is_a_copy_under_its_own_name_and_nothing_is_written_over() {
    let world = World::new();
    let begun = world.cardwright(&["profile", "new", "house", "--from", "multiapp"]);
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    assert!(begun.stdout.contains("house.toml") && begun.stdout.contains("profile check house.toml"));
    let shipped = PRODUCTS.iter().find(|(name, _)| *name == "multiapp").unwrap().1;
    let text = std::fs::read_to_string(world.path("house.toml")).unwrap();
    assert_eq!(text, shipped.replacen("name = \"multiapp\"", "name = \"house\"", 1));
    std::fs::write(world.path("house.toml"), "mine").unwrap();
    let again = world.cardwright(&["profile", "new", "house", "--from", "multiapp"]);
    assert!(again.code == Exit::Io as i32 && again.stderr.contains("not written over"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(world.path("house.toml")).unwrap(), "mine");
    for (words, exit) in [
        (["../house", "multiapp"], Exit::Usage),
        (["other", "no-such"], Exit::Profile),
        (["other", "missing.toml"], Exit::Profile),
    ] {
        let refused = world.cardwright(&["profile", "new", words[0], "--from", words[1]]);
        assert_eq!(refused.code, exit as i32, "{words:?}: {}", refused.stderr);
    }
    assert!(!world.path("other.toml").exists());
}

#[test]
fn in_the_bureaus_folder_a_copy_is_listed_shown_and_used_by_its_name() {
    let mut world = World::new();
    world.set("CARDWRIGHT_PROFILES", "own");
    for (name, from, path) in [
        ("house", "multiapp", "own/products/house.toml"),
        ("house-line", "sim-8", "own/lines/house-line.toml"),
    ] {
        let begun = world.cardwright(&["profile", "new", name, "--from", from]);
        assert!(begun.code == 0 && world.path(path).exists(), "{}", begun.stderr);
        let shown = world.cardwright(&["profile", "show", name]);
        assert_eq!(shown.stdout, std::fs::read_to_string(world.path(path)).unwrap());
        let listed = world.cardwright(&["profile", "list"]).stdout;
        assert!(listed.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{listed}");
    }
    for words in [
        "sample --count 2 --output two.csv",
        "issuer-cert new --keys issuer.store --issuer 476173",
        "issuer-cert self --keys issuer.store --key 476173:1 --expiry 12/2049",
        "pool fill --keys issuer.store --pool pool.1152 --bits 1152 --count 4",
        "run --input two.csv --product house --keys issuer.store --pool pool.1152 --output two.cwf1",
    ] {
        let made = world.prep(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(made.code, 0, "{words}: {}", made.stderr);
    }
    let made = world.run("two.cwf1", "house-line", &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);
}

#[test]
fn a_shipped_profile_is_shown_as_it_is() {
    let world = World::new();
    for (name, text) in LINES.iter().chain(PRODUCTS) {
        assert_eq!(world.cardwright(&["profile", "show", name]).stdout, *text, "{name}");
    }
    assert_eq!(world.cardwright(&["profile", "show", "no-such"]).code, Exit::Profile as i32);
}

#[test]
fn the_check_of_a_product_makes_a_sample_card_to_its_last_command() {
    let world = World::new();
    for (name, text) in PRODUCTS {
        std::fs::write(world.path("product.toml"), text).unwrap();
        let checked = world.cardwright(&["profile", "check", "product.toml"]);
        assert_eq!(checked.code, 0, "{name}: {}", checked.stderr);
        let table: toml::Table = text.parse().unwrap();
        let applications = table["prep"]["application"].as_array().unwrap().len();
        let planned =
            checked.stdout.lines().filter(|line| line.contains(" commands, the last DGI is ")).count();
        assert_eq!(planned, applications, "{name}: {}", checked.stdout);
    }
    let left: Vec<_> =
        std::fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let left: Vec<_> =
        left.iter().filter(|name| name.to_string_lossy().starts_with("cardwright-run")).collect();
    assert!(left.is_empty(), "the keys of a dry run stay: {left:?}");
}

#[test]
fn a_product_that_parses_and_makes_no_card_is_refused_with_the_reason() {
    let world = World::new();
    for (product, from, to, says) in [
        // Acceptance: the application's level is of another kind of channel than the product's.
        ("multiapp", "seclev = \"03\"", "seclev = \"33\"", "33"),
        // The chip's plan: a group that no command can carry.
        ("multiapp", "group = [[\"3000\", \"3001\"]]", "group = [[\"0101\", \"0201\", \"0301\"]]", "GROUP"),
        // Acceptance: the account number stands in two ways.
        ("multiapp", "5A{pan}", &format!("5A{{{}}}", "47617390".repeat(2)), "number"),
    ] {
        changed(&world, product, from, to);
        let checked = world.cardwright(&["profile", "check", "changed.toml"]);
        assert_eq!(checked.code, Exit::Profile as i32, "{to}: {}{}", checked.stdout, checked.stderr);
        assert!(
            checked.stderr.contains("profile changed.toml: ") && checked.stderr.contains(says),
            "{to}: {}",
            checked.stderr
        );
    }
}
