//! A bureau's own graphics templates, next to its own lines and products. They come before the shipped ones.

use cardwright::exit::Exit;
use serde_json::Value;

use crate::bad_input::{file, pieces};
use crate::support::{Ended, PRODUCT, World};

const FRONT: &str = include_str!("../../profiles/graphics/multiapp-front.svg");

/// A file whose records name the template `house`, and a folder for own profiles.
fn world() -> World {
    let world = World::new();
    std::fs::create_dir_all(world.path("own/graphics")).unwrap();
    let product = PRODUCT.replace("template = \"multiapp\"", "template = \"house\"");
    assert_ne!(product, PRODUCT);
    std::fs::write(world.path("house.toml"), product).unwrap();
    let made = world.prep(&["sample", "--count", "2", "--output", "job.csv", "--seed", "8"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let run = ["run", "--input", "job.csv", "--product", "house.toml", "--keys", "issuer.store"];
    let made = world.prep(&[&run[..], &["--kek", "476173FF:1", "--output", "job.cwf1"]].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    world
}

/// The shipped front in another colour.
fn house() -> String {
    let house = FRONT.replace("#13487a", "#7a1348");
    assert_ne!(house, FRONT);
    house
}

fn refused(world: &World, ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Exit::FileFormat as i32, "{}{}", ended.stdout, ended.stderr);
    assert!(says.iter().all(|says| ended.stderr.contains(says)), "{says:?}: {}", ended.stderr);
    assert!(!world.path("dumps").exists(), "a card was touched");
}

fn sides(world: &World, job: &str) -> Vec<Value> {
    world.prepared(job, 2, 8);
    assert_eq!(world.run(&format!("{job}.cwf1"), "sim-8", &[]).code, 0);
    let mut sides: Vec<Value> = world.dumps().iter().map(|dump| dump["graphics"].clone()).collect();
    sides.sort_by_key(|sides| sides["front"].to_string());
    sides
}

#[test]
fn a_template_of_the_bureaus_own_is_printed() {
    let mut world = world();
    let says = ["section GFX: names a template that does not exist; there are multiapp, multiapp-front"];
    refused(&world, &world.run("job.cwf1", "sim-8", &[]), &says);
    std::fs::write(world.path("own/graphics/house-front.svg"), house()).unwrap();
    world.set("CARDWRIGHT_PROFILES", "own");
    let ended = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let printed: Vec<Value> = world.dumps().iter().map(|dump| dump["graphics"].clone()).collect();
    assert!(printed.iter().all(|sides| sides["front"].is_string() && sides["back"].is_null()), "{printed:?}");
    // The shipped one has another colour, and a back.
    let shipped = sides(&World::new(), "shipped");
    assert!(shipped.iter().all(|sides| sides["back"].is_string()), "{shipped:?}");
    assert!(shipped.iter().all(|sides| printed.iter().all(|own| own["front"] != sides["front"])));
    let listed = world.cardwright(&["profile", "list"]).stdout;
    assert!(listed.contains("template house          front\n"), "{listed}");
    assert!(listed.contains("template multiapp       front and back\n"), "{listed}");
}

#[test]
fn an_own_template_comes_before_the_shipped_one_of_its_name_and_others_stay() {
    let shipped = sides(&World::new(), "shipped");
    let mut world = World::new();
    std::fs::create_dir_all(world.path("own/graphics")).unwrap();
    world.set("CARDWRIGHT_PROFILES", "own");
    // The folder has nothing of that name.
    assert_eq!(sides(&world, "first"), shipped);
    let mut world = World::new();
    std::fs::create_dir_all(world.path("own/graphics")).unwrap();
    std::fs::write(world.path("own/graphics/multiapp-front.svg"), house()).unwrap();
    world.set("CARDWRIGHT_PROFILES", "own");
    let own = sides(&world, "second");
    assert!(own.iter().all(|own| shipped.iter().all(|s| s["front"] != own["front"])), "{own:?}");
}

#[test]
fn an_own_template_that_is_wrong_is_named() {
    let mut world = world();
    world.set("CARDWRIGHT_PROFILES", "own");
    let front = world.path("own/graphics/house-front.svg");
    for (svg, says) in [
        (house().replace("<rect", "<image href=\"http://x/a.png\"/><rect"), "is not allowed in a template"),
        (house().replace("width=\"1011\"", "width=\"999\""), "the template is not 1011 x 638"),
        ("<svg".to_owned(), "no </svg> at the end"),
        (" ".repeat((1 << 20) + 1), "cannot be read"),
    ] {
        std::fs::write(&front, svg).unwrap();
        let ended = world.run("job.cwf1", "sim-8", &[]);
        refused(&world, &ended, &["section GFX: needs template ", "house-front.svg", says]);
        let checked = world.cardwright(&["profile", "check", "own/graphics/house-front.svg"]);
        assert_eq!(checked.code, Exit::Profile as i32, "{}", checked.stdout);
        assert!(checked.stderr.contains(says), "{says}: {}", checked.stderr);
        let listed = world.cardwright(&["profile", "list"]).stdout;
        assert!(listed.contains("template house          WRONG: "), "{listed}");
    }
    std::fs::write(&front, house()).unwrap();
    assert_eq!(world.cardwright(&["profile", "check", "own/graphics/house-front.svg"]).code, 0);
}

/// A record's template name never leaves the folder.
#[test]
fn a_template_name_with_a_path_is_no_template() {
    let mut world = world();
    world.set("CARDWRIGHT_PROFILES", "own");
    std::fs::write(world.path("own/graphics/house-front.svg"), house()).unwrap();
    std::fs::write(world.path("own/escape-front.svg"), house()).unwrap();
    for name in ["../escape", "./house", "../graphics/house", "/etc/x", ""] {
        let mut file = pieces();
        let value = [vec![1], file::l4(name.as_bytes())].concat();
        let section = file.records[1].section("GFX");
        // Tag 01 comes first: its value is `multiapp`.
        assert_eq!(section[..13], *b"\x01\0\0\0\x08multiapp");
        section.splice(..13, value);
        std::fs::write(world.path("bad.cwf1"), file.sealed()).unwrap();
        let ended = world.run("bad.cwf1", "sim-8", &[]);
        refused(&world, &ended, &["section GFX: ", "template", "(record 2, byte "]);
    }
}
