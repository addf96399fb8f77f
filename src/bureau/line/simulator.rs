//! `--simulate`: runs `hwsim` as a child process of the line. It ends when its standard input closes, so it
//! cannot outlive this process.

use std::io::BufRead;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::exit::{Exit, Failure};

/// How long `hwsim` may take to write the cards that are still in the line and to end.
const END: Duration = Duration::from_secs(10);

/// The settings of a simulation, for `hwsim`.
#[derive(Debug, Clone, Default)]
pub struct Simulation {
    /// Whether every device link is replaced by one of `hwsim`. Its jobs are then marked SIMULATED.
    pub on: bool,
    /// Speed, as a multiple of the machine's; 0 = no waiting.
    pub speed: f64,
    /// Directory where `hwsim` writes one JSON object for each blank that leaves the line.
    pub dump: Option<PathBuf>,
    /// File with faults that `hwsim` injects (TOML).
    pub faults: Option<PathBuf>,
    /// Seed of `hwsim`'s blanks and faults.
    pub seed: Option<u64>,
}

/// A running `hwsim`.
pub struct Simulator {
    child: Child,
    socket: PathBuf,
}

impl Simulator {
    /// Has `hwsim` check its own parts of a line profile, and the faults, before a file is accepted. `text`
    /// is the profile's text, which came from `origin`; `directory` is for a copy of it.
    pub fn check(text: &str, origin: &str, args: &Simulation, directory: &Path) -> Result<(), Failure> {
        let mut command = serve(text, args, directory)?;
        let output = command.arg("--check").stdin(Stdio::null()).output().map_err(not_started)?;
        if output.status.success() {
            return Ok(());
        }
        let copy = profile_copy(directory).display().to_string();
        let said = String::from_utf8_lossy(&output.stderr).replace(&copy, origin);
        Err(Failure::new(Exit::Profile, said.trim_end().to_owned()))
    }

    /// Starts `hwsim serve` for the text of a line profile and waits until it listens.
    pub fn start(text: &str, args: &Simulation, directory: &Path) -> Result<Self, Failure> {
        let socket = directory.join("hwsim.sock");
        // Removes the socket of a simulator that was killed. The directory belongs to this process.
        let _ = std::fs::remove_file(&socket);
        let mut command = serve(text, args, directory)?;
        command.arg("--socket").arg(&socket).arg("--until-stdin-closes");
        if let Some(dump) = &args.dump {
            command.arg("--dump").arg(dump);
        }
        let mut child = command
            // It gets its own process group, because the operator's Ctrl-C is for the controller, which ends
            // `hwsim` after the last card.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let mut ready = String::new();
        let read = child.stdout.take().map(|out| std::io::BufReader::new(out).read_line(&mut ready));
        if !matches!(read, Some(Ok(n)) if n > 0) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::new(
                Exit::Device,
                "hwsim ended before it listened; its message stands above",
            ));
        }
        Ok(Self { child, socket })
    }

    /// Socket where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it after it has written the cards that are still in the line.
    pub fn end(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let deadline = std::time::Instant::now() + END;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(Failure::new(Exit::Device, format!("hwsim ended with {status}")));
                }
                Ok(None) if std::time::Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) | Err(_) => {
                    return Err(Failure::new(
                        Exit::Device,
                        "hwsim does not end; its dumps may be incomplete",
                    ));
                }
            }
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command `hwsim serve`, with the arguments that a check and a run share.
fn serve(text: &str, args: &Simulation, directory: &Path) -> Result<Command, Failure> {
    // `hwsim` reads the text that this process has read, whatever its origin.
    let profile = profile_copy(directory);
    std::fs::write(&profile, text)
        .map_err(|e| Failure::new(Exit::Io, format!("{}: {e}", profile.display())))?;
    let mut command = Command::new(program()?);
    command.arg("serve").arg("--line").arg(&profile).args(["--speed", &args.speed.to_string()]);
    if let Some(faults) = &args.faults {
        command.arg("--faults").arg(faults);
    }
    if let Some(seed) = args.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    Ok(command)
}

fn profile_copy(directory: &Path) -> PathBuf {
    directory.join("line.toml")
}

fn not_started(error: std::io::Error) -> Failure {
    Failure::new(Exit::Device, format!("hwsim cannot be started: {error}"))
}

/// Path of `hwsim`: next to this program, else found on the PATH.
fn program() -> Result<PathBuf, Failure> {
    let beside = crate::hsm::key_host::own_program()?.with_file_name("hwsim");
    Ok(if beside.exists() { beside } else { PathBuf::from("hwsim") })
}
