//! Every byte that passes between the daemon and the HSM host. What its callers get is in their output, which `mod` searches.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::process::{Running, wait_for};
use super::scene::Scene;
use super::search::{Kind, Search};

/// Compiles the library that keeps what the daemon sends and receives.
fn tap(scene: &Scene) -> std::path::PathBuf {
    let library = scene.world.path("tap.so");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o"])
        .arg(&library)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/line/secrets/tap.c"))
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler: run `make setup`");
    assert!(compiled.success());
    library
}

/// Makes a job in a daemon whose sockets are tapped. Returns what passed through them.
fn tapped(scene: &mut Scene) -> Vec<u8> {
    let people =
        format!("[[person]]\nname = \"anna\"\nuid = {}\nroles = [\"operator\", \"supervisor\"]\n", geteuid());
    std::fs::write(scene.world.path("people.toml"), people).unwrap();
    let args = "--line sim-8 --keys bureau.store --people people.toml --simulate --speed 0 --dump dumps --socket d.sock";
    let args: Vec<_> = args.split(' ').collect();
    let (library, capture) = (tap(scene), scene.world.path("capture"));
    let mut command = scene.command(env!("CARGO_BIN_EXE_cardwrightd"), &args);
    command.env("LD_PRELOAD", library).env("TAP", &capture);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let daemon = Running(child);
    scene.ends(0, "job submit job.cwf1 --socket d.sock");
    scene.ends(0, "job release J1 --socket d.sock");
    wait_for("the job's end", || {
        let shown = scene.cardwright("job show J1 --socket d.sock --json").stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        (shown["phase"] == "COMPLETE").then_some(())
    });
    scene.ends(0, "job close J1 --socket d.sock");
    drop(daemon);
    std::fs::read(capture).unwrap()
}

#[test]
fn no_key_and_no_secret_value_passes_between_the_daemon_and_the_hsm_host() {
    let mut scene = Scene::new("text");
    scene.prepare(12, 35);
    let capture = tapped(&mut scene);
    let needles = scene.needles();
    let (holder, secret): (Vec<_>, Vec<_>) = needles.into_iter().partition(|n| n.kind == Kind::Holder);
    let holder = Search::new(holder);
    assert!(!holder.find(&capture).is_empty(), "clear DGIs go to the HSM, which checks them");
    let received = |text: &[u8]| capture.windows(text.len()).any(|window| window == text);
    assert!(received(b"kek-1"), "labels of keys come from the HSM: the tap hears both ways");
    let search = Search::new(secret);
    let named = |(needle, form): (usize, &str)| format!("{} as {form}", search.needles[needle].name);
    let found: Vec<_> = search.find(&capture).into_iter().map(named).collect();
    assert_eq!(found, [""; 0]);
}
