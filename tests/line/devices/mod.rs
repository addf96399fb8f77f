//! Whole jobs through a real pcscd with virtual readers, and machines on PTYs: station hosts, links and drivers as a bureau
//! has them, with `hwsim` behind the readers and ports. Not `--simulate`: the controller does not know.
//!
//! | file | looks at |
//! |---|---|
//! | `profile` | the line |
//! | `job` | 200 cards, all good; the same with faults, until all are |
//! | `hung` | a card that never answers |
//! | `killed` | a controller that is killed, and goes on |
//! | `check` | `line check`, of a good line and of broken ones |

mod check;
mod hung;
mod job;
mod killed;
mod profile;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::pcscd_support::scene::Scene;
use crate::support::{Ended, World};
use profile::Lined;

/// For hwsim to write what is left and to end.
const END: Duration = Duration::from_secs(20);

/// A bureau in a scene: key stores, a pcscd, and the profile of a line on it.
struct Bureau {
    world: World,
    scene: Scene,
}

/// `hwsim serve` behind the readers and ports.
struct Machines(Child);

impl Bureau {
    /// Writes the line's profile as `line.toml`.
    fn new(line: &Lined) -> Self {
        let (world, scene) = (World::new(), Scene::start(16));
        std::fs::write(world.path("line.toml"), line.text(&scene, &world.path(""))).unwrap();
        Self { world, scene }
    }

    /// The machines, switched on.
    fn machines(&self, more: &[&str]) -> Machines {
        let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        assert!(hwsim.exists(), "hwsim is not built: run `make build` first");
        let mut child = self
            .scene
            .command(hwsim)
            .args(["serve", "--line", "line.toml", "--socket", "hwsim.sock", "--until-stdin-closes"])
            .args(["--dump", "dumps"])
            .args(more)
            .current_dir(self.world.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.contains("SIMULATED"), "hwsim did not start");
        Machines(child)
    }

    /// `cardwright ARGS` in the scene.
    fn cardwright(&self, args: &[&str]) -> Ended {
        let output = self
            .scene
            .command(env!("CARGO_BIN_EXE_cardwright"))
            .args(args)
            .current_dir(self.world.path(""))
            .env_remove("CARDWRIGHT_LEDGER")
            .env_remove("CARDWRIGHT_KEYS")
            .env_remove("CARDWRIGHT_PROFILES")
            .output()
            .unwrap();
        Ended::from(output)
    }

    /// `cardwright VERB --line line.toml ...`; the run's events are in `events.jsonl`.
    fn made(&self, verb: &[&str]) -> Ended {
        let _ = std::fs::remove_file(self.world.path("events.jsonl"));
        let common = ["--line", "line.toml", "--keys", "bureau.store"];
        let outputs = ["--events", "events.jsonl", "--report", "report.json"];
        self.cardwright(&[verb, &common, &outputs].concat())
    }
}

impl Machines {
    /// Switches them off: what lies in the line is left.
    fn off(mut self) {
        drop(self.0.stdin.take());
        let until = Instant::now() + END;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "hwsim does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
