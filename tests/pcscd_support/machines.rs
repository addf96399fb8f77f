//! `hwsim` in a scene: the machines of a whole line on its readers and serial ports, or one card.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::scene::Scene;

/// Longest time in which hwsim writes its last dumps and ends.
const END: Duration = Duration::from_secs(20);

/// A running `hwsim`, killed when dropped.
pub struct Hwsim(Child);

impl Hwsim {
    /// Starts the machines of `line.toml` in a folder, in which hwsim works too.
    pub fn serve(scene: &Scene, folder: &Path, more: &[&str]) -> Self {
        let serve = ["serve", "--line", "line.toml", "--socket", "hwsim.sock", "--until-stdin-closes"];
        Self::start(scene, folder, &[&serve[..], more].concat())
    }

    /// Puts a card into reader `n`.
    pub fn card(scene: &Scene, n: usize, more: &[&str]) -> Self {
        let reader = format!("127.0.0.1:{}", scene.port(n));
        let card = ["card", "--product", "multiapp", "--vpcd", &reader];
        Self::start(scene, Path::new("."), &[&card[..], more].concat())
    }

    fn start(scene: &Scene, folder: &Path, args: &[&str]) -> Self {
        let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        assert!(hwsim.exists(), "hwsim is not built: run `make build` first");
        let mut command = scene.command(hwsim);
        command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut hwsim = Self(command.spawn().unwrap());
        let mut ready = String::new();
        BufReader::new(hwsim.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.contains("SIMULATED"), "hwsim did not start");
        hwsim
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// Switches the machines off; cards in the line get the fate `left`.
    pub fn off(mut self) {
        drop(self.0.stdin.take());
        let until = Instant::now() + END;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "hwsim does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Hwsim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
