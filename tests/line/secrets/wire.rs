//! Every byte that the daemon sends and receives on sockets: to and from the HSM host, and its callers.

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::process::{Running, wait_for};
use super::scene::Scene;
use super::search::{Kind, Needle, Search, Value};

/// A leak on purpose.
const PLANTED: &str = "A0B1C2D3E4F596877869F5E4D3C2B1A0";

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
    let mut stream = UnixStream::connect(scene.world.path("d.sock")).unwrap();
    stream.write_all(format!("{PLANTED}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("fault"), "{answer}");
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
fn no_key_and_no_secret_value_passes_through_a_socket_of_the_daemon() {
    let mut scene = Scene::new("text");
    scene.prepare(12, 35);
    let capture = tapped(&mut scene);
    let needles = scene.needles();
    let (holder, secret): (Vec<_>, Vec<_>) = needles.into_iter().partition(|n| n.kind == Kind::Holder);
    let holder = Search::new(holder);
    assert!(!holder.find(&capture).is_empty(), "clear DGIs go to the HSM, which checks them: the tap works");
    let planted = Needle {
        name: "planted".into(),
        kind: Kind::Secret,
        value: Value::Bytes(hex::decode(PLANTED).unwrap()),
    };
    assert_eq!(Search::new(vec![planted]).find(&capture).len(), 1, "a leak on purpose is found");
    let search = Search::new(secret);
    let named = |(needle, form): (usize, &str)| format!("{} as {form}", search.needles[needle].name);
    let found: Vec<_> = search.find(&capture).into_iter().map(named).collect();
    assert_eq!(found, [""; 0]);
}
