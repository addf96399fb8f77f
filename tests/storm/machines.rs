//! A line that is real for the daemon: two readers of a real pcscd and pseudo-terminals, with `hwsim` at
//! their other end, which goes on when the daemon dies. Each link has a station host.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::pcscd_support::machines::Hwsim;
use crate::pcscd_support::scene::Scene;

/// Chip stations.
const STATIONS: usize = 2;

/// The running machines of a line.
pub struct Machines {
    // Dropped before the scene in which it runs.
    hwsim: Hwsim,
    scene: Scene,
}

impl Machines {
    /// Starts the machines of the simulated line in a folder, and changes its profile to real links. They
    /// write `dumps`.
    pub fn start(folder: &Path) -> Self {
        let scene = Scene::start(STATIONS);
        let path = folder.join("line.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text = text.replacen("rejects = \"bin\"", "rejects = \"bin\"\nkeys = \"test\"", 1);
        // A killed station host is started again within this time, and its station comes back.
        text = text.replacen("recover = 0.2", "recover = 20", 1);
        let port = |name: &str| folder.join(name).display().to_string();
        for n in 0..STATIONS {
            let (name, transport) = (format!("chip-{}", n + 1), port(&format!("chip-{n}.transport")));
            let reader = scene.name(n);
            writeln!(text, "[link.{name}]\nreader = {reader:?}\nslot = {n}\ntransport = {transport:?}")
                .unwrap();
            let vpcd = format!("127.0.0.1:{}", scene.port(n));
            writeln!(text, "[sim.attach.{name}]\ntransport = {transport:?}\nvpcd = {vpcd:?}").unwrap();
        }
        let transport = port("output.transport");
        for table in ["link", "sim.attach"] {
            writeln!(text, "[{table}.output]\ntransport = {transport:?}").unwrap();
        }
        std::fs::write(&path, text).unwrap();
        let hwsim = Hwsim::serve(&scene, folder, &["--dump", "dumps", "--speed", "0", "--seed", "1"]);
        Self { hwsim, scene }
    }

    /// A program that is ready to be started in the scene of the machines.
    pub fn command(&self, program: &str) -> Command {
        self.scene.command(program)
    }

    /// Switches the machines off.
    pub fn off(self) {
        self.hwsim.off();
    }
}
