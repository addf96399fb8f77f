//! The real programs as a plain user with a limit on processes and threads, from too few to enough. Whatever
//! the system refuses, the program ends in order, with a documented exit code and one sentence.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardwright::hsm::CallerSecrets;
use nix::unistd::geteuid;

use crate::support::{Ended, World};

/// Exit code: a thread died, or the system refused to start one.
const THREAD: i32 = 51;
/// Other exit codes with too few threads: the HSM host or the simulator does not start, or takes no
/// connection.
const OTHERS: [i32; 2] = [23, 31];
/// The largest limit to try; a line of five stations needs about forty, its HSM host and simulator included.
const MOST: u32 = 120;

/// A user who owns nothing but copies of the programs and a world.
struct Plain {
    world: World,
    programs: tempfile::TempDir,
    uid: u32,
}

impl Plain {
    /// The limit counts all of a user's processes and threads, so each test has its own user.
    fn new(nth: u32) -> Self {
        assert!(geteuid().is_root(), "a plain user takes another user id: run the tests as root");
        let (world, programs) = (World::new(), tempfile::tempdir().unwrap());
        let uid = 4_300_000 + std::process::id() * 8 + nth;
        let built = Path::new(env!("CARGO_BIN_EXE_cardwright"));
        for name in ["cardwright", "hwsim"] {
            std::fs::copy(built.with_file_name(name), programs.path().join(name)).unwrap();
        }
        std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { world, programs, uid }
    }

    /// Gives all files in the world to the user.
    fn owns(&self) {
        let mut folders = vec![self.world.path("")];
        while let Some(path) = folders.pop() {
            chown(&path, Some(self.uid), Some(self.uid)).unwrap();
            if path.is_dir() {
                folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.path().join(name)
    }

    /// A program of this user, with at most this many processes and threads; it is killed after a minute.
    fn limited(&self, most: u32, name: &str) -> Command {
        let mut command = self.world.command(Path::new("timeout"));
        command
            .args(["--signal=KILL", "60", "setpriv", "--clear-groups"])
            .args([format!("--reuid={}", self.uid), format!("--regid={}", self.uid)])
            .args(["prlimit", &format!("--nproc={most}"), "--"])
            .arg(self.program(name))
            .env("TMPDIR", self.world.path(""));
        command
    }
}

/// Fails unless the program ended with one of these codes and one sentence for people.
#[track_caller]
fn clean(ended: &Ended, most: u32, prefix: &str, codes: &[i32]) {
    let Ended { code, stdout, stderr } = ended;
    assert!(codes.contains(code), "{most} processes: exit {code}: {stdout}{stderr}");
    let sentences = stderr.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(sentences, 1, "{most} processes: {stderr}");
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace", "a bug"] {
        assert!(!stderr.contains(word), "{most} processes: {stderr}");
    }
}

#[test]
fn a_run_with_too_few_threads_ends_cleanly_and_with_enough_succeeds() {
    let user = Plain::new(0);
    let world = &user.world;
    world.prepared("job", 3, 90);
    let line = include_str!("../../profiles/lines/sim-8.toml").replace("stations = 8", "stations = 2");
    std::fs::write(world.path("line.toml"), line).unwrap();
    let unused = world.hsm_memory();
    let run = |most: u32| {
        // A run that accepted the file has left a job, which the HSM knows too.
        for file in
            ["cardwright.db", "cardwright.db-wal", "cardwright.db-shm", "cardwright.db-lock", "events.jsonl"]
        {
            let _ = std::fs::remove_file(world.path(file));
        }
        let _ = std::fs::remove_dir_all(world.path("cardwright.db.spool"));
        world.put_back(&unused);
        user.owns();
        let words =
            "run job.cwf1 --line line.toml --keys bureau.store --simulate --speed 0 --events events.jsonl";
        Ended::from(user.limited(most, "cardwright").args(words.split(' ')).output().unwrap())
    };
    let (mut refused, mut most) = (0, 1);
    loop {
        let ended = run(most);
        if ended.code == 0 {
            break;
        }
        clean(&ended, most, "error: ", &[&[THREAD], &OTHERS[..]].concat());
        refused += u32::from(ended.code == THREAD);
        most += 1;
        assert!(most < MOST, "never enough: {}", ended.stderr);
    }
    // Signals, HSM host, ledger, progress, events, source, stations, output: the controller takes most of the
    // steps.
    assert!(refused >= 12, "{refused} of {most}");
    let ended = run(most + 20);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn hosts_and_simulator_with_too_few_threads_end_cleanly() {
    let user = Plain::new(1);
    let sockets = user.world.path("sockets");
    std::fs::create_dir(&sockets).unwrap();
    std::fs::set_permissions(&sockets, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut secrets = std::fs::File::create(user.world.path("secrets")).unwrap();
    CallerSecrets::draw().unwrap().give(&mut secrets).unwrap();
    user.owns();
    let ended = |most, name, words: &str| {
        let mut command = user.limited(most, name);
        // An HSM host takes the secrets of its callers, and finds that its program has ended.
        let input = match name {
            "cardwright" => Stdio::from(std::fs::File::open(user.world.path("secrets")).unwrap()),
            _ => Stdio::null(),
        };
        Ended::from(command.args(words.split(' ')).stdin(input).output().unwrap())
    };
    let host = "hsm-host --keys bureau.store --socket sockets/hsm";
    clean(&ended(1, "cardwright", host), 1, "error: ", &[THREAD]);
    let _ = std::fs::remove_file(sockets.join("hsm"));
    clean(&ended(2, "cardwright", host), 2, "error: ", &[THREAD]);
    let _ = std::fs::remove_file(sockets.join("hsm"));
    assert_eq!(ended(3, "cardwright", host).code, 0);

    let serve = "serve --line sim-8 --socket sockets/sim --until-stdin-closes";
    let mut most = 1;
    loop {
        let ended = ended(most, "hwsim", serve);
        let _ = std::fs::remove_file(sockets.join("sim"));
        if ended.code == 0 {
            break;
        }
        clean(&ended, most, "hwsim: ", &[1]);
        most += 1;
        assert!(most < 20, "never enough: {}", ended.stderr);
    }
    assert!(most > 1);

    let station = |most| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        let mut command = user.limited(most, "cardwright");
        Ended::from(command.arg("station-host").stdin(std::os::fd::OwnedFd::from(theirs)).output().unwrap())
    };
    clean(&station(1), 1, "error: ", &[THREAD]);
    // With one more it starts, and finds that no controller is there.
    assert_ne!(station(2).code, THREAD);
}
