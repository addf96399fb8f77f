//! Whole jobs through a real pcscd with virtual readers, and machines on PTYs: station hosts, links and
//! drivers as in a bureau, with `hwsim` at the other end of readers and ports. This is not `--simulate`: the
//! controller does not know that they are simulated.
//!
//! | file | tests |
//! |---|---|
//! | `profile` | the line |
//! | `job` | 200 cards, all good; then with faults, until all are good |
//! | `hung` | a card that never answers |
//! | `killed` | a controller that is killed, and goes on |
//! | `ask` | questions to the cards that lie in the line after a kill |
//! | `replaced` | machines that are lost under a daemon and replaced by others |
//! | `wiring` | readers and ports that are exchanged |
//! | `check` | `line check` on a good line and on broken ones |

mod ask;
mod check;
mod hung;
mod job;
mod killed;
mod profile;
mod replaced;
mod wiring;

use std::process::Command;

use crate::pcscd_support::machines::Hwsim;
use crate::pcscd_support::scene::Scene;
use crate::support::{Ended, World};
use profile::Lined;

/// A bureau in a scene: key stores, a pcscd, and the profile of a line on it.
struct Bureau {
    world: World,
    scene: Scene,
}

impl Bureau {
    /// Writes the line's profile as `line.toml`.
    fn new(line: &Lined) -> Self {
        Self::on(Scene::start(16), line)
    }

    /// Like [`Self::new`], in a scene that has begun.
    fn on(scene: Scene, line: &Lined) -> Self {
        let world = World::new();
        std::fs::write(world.path("line.toml"), line.text(&scene, &world.path(""))).unwrap();
        Self { world, scene }
    }

    /// Switches the machines on; they write `dumps`.
    fn machines(&self, more: &[&str]) -> Hwsim {
        Hwsim::serve(&self.scene, &self.world.path(""), &[&["--dump", "dumps"], more].concat())
    }

    /// Runs `cardwright ARGS` in the scene.
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

    /// The command `cardwright run` for the job, not started yet; its events go to `events.jsonl`.
    fn job(&self) -> Command {
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_cardwright"));
        command
            .args([
                "run",
                "job.cwf1",
                "--line",
                "line.toml",
                "--keys",
                "bureau.store",
                "--events",
                "events.jsonl",
            ])
            .current_dir(self.world.path(""));
        command
    }

    /// Runs `cardwright VERB --line line.toml ...`; its events go to `events.jsonl`.
    fn made(&self, verb: &[&str]) -> Ended {
        let _ = std::fs::remove_file(self.world.path("events.jsonl"));
        let common = ["--line", "line.toml", "--keys", "bureau.store"];
        let outputs = ["--events", "events.jsonl", "--report", "report.json"];
        self.cardwright(&[verb, &common, &outputs].concat())
    }
}
