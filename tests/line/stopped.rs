//! A signal before the first card: the program ends in order, with the documented exit code, and leaves
//! nothing behind that hinders a later run.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::World;

/// Exit code of a run that the operator stopped.
const STOPPED: i32 = 5;

#[test]
fn a_signal_before_the_first_card_leaves_no_remains() {
    let world = World::new();
    world.prepared("job", 500, 40);
    let run =
        ["run", "job.cwf1", "--line", "sim-8", "--keys", "bureau.store", "--simulate", "--limit", "400"];
    let check = ["line", "check", "sim-8", "--keys", "bureau.store", "--simulate"];
    let unused = world.hsm_memory();
    for args in [&run[..], &check[..]] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let temporary = world.path("tmp");
            std::fs::create_dir_all(&temporary).unwrap();
            let mine =
                || std::fs::read_dir(&temporary).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
            let mut child = Command::new(env!("CARGO_BIN_EXE_cardwright"))
                .args(args)
                .current_dir(world.path(""))
                .env("TMPDIR", &temporary)
                .env_remove("CARDWRIGHT_LEDGER")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            while mine().is_empty() {
                assert!(
                    Instant::now() < until && child.try_wait().unwrap().is_none(),
                    "{args:?}: no directory"
                );
                std::thread::yield_now();
            }
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(STOPPED), "{args:?} {signal}");
            assert_eq!(mine(), Vec::<std::path::PathBuf>::new(), "{args:?} {signal}");
            // A file that is not accepted yet can be accepted later; an accepted one is an open job.
            let _ = std::fs::remove_file(world.path("cardwright.db"));
            let _ = std::fs::remove_dir_all(world.path("cardwright.db.spool"));
            world.put_back(&unused);
        }
    }
}

/// The directory of a program that was killed is removed by the next one, and that of a running program stays.
#[test]
fn a_killed_program_leaves_no_directory_for_long() {
    let world = World::new();
    world.prepared("job", 40, 62);
    let directories = || {
        let entries = std::fs::read_dir(world.path("")).unwrap().map(|e| e.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with("cardwright-run-")).count()
    };
    // Another file, because the key store remembers which ledger accepted the first.
    world.prepared("other", 40, 63);
    let start = |file: &str, ledger: &str| {
        let args = format!(
            "run {file} --line sim-8 --keys bureau.store --simulate --speed 1 --ledger {ledger} --dump {ledger}-dumps"
        );
        let mut command = world.command(std::path::Path::new(env!("CARGO_BIN_EXE_cardwright")));
        command.args(args.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let until = Instant::now() + Duration::from_secs(20);
    let wait_for = |count: usize| {
        while directories() != count {
            assert!(Instant::now() < until, "{} directories instead of {count}", directories());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let mut killed = start("job.cwf1", "killed.db");
    wait_for(1);
    std::thread::sleep(Duration::from_millis(200));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(directories(), 1, "nobody was there to remove it");
    let made = ["key", "init", "--test", "--from", crate::support::BUREAU_KEYS, "--store", "other.store"];
    assert_eq!(world.cardwright(&made).code, 0);
    let check = ["line", "check", "sim-8", "--keys", "other.store", "--simulate"];
    world.cardwright(&check);
    assert_eq!(directories(), 0);

    let mut running = start("other.cwf1", "running.db");
    wait_for(1);
    world.cardwright(&check);
    assert_eq!(directories(), 1, "a running program has lost its sockets");
    running.kill().unwrap();
    running.wait().unwrap();
}
