//! `--simulate`: `hwsim` as a child process beside the line. It ends when its standard input closes, so it cannot
//! outlive us.

use std::io::BufRead;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::exit::{Exit, Failure};

/// How long `hwsim` may take to write the cards still in the line and to end.
const END: Duration = Duration::from_secs(10);

/// What is passed on to `hwsim`.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// Replace every device link by one of hwsim; all output is marked SIMULATED.
    #[arg(long)]
    pub simulate: bool,
    /// Times as fast as the machine; 0 = no waiting.
    #[arg(long, requires = "simulate", default_value_t = 1.0)]
    pub speed: f64,
    /// Where hwsim writes one JSON object for each blank that leaves the line.
    #[arg(long, requires = "simulate", value_name = "DIR")]
    pub dump: Option<PathBuf>,
    /// Faults that hwsim injects (TOML).
    #[arg(long, requires = "simulate", value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Seed of hwsim's blanks and faults.
    #[arg(long, requires = "simulate")]
    pub seed: Option<u64>,
}

/// A running `hwsim`.
pub struct Simulator {
    child: Child,
    socket: PathBuf,
}

impl Simulator {
    /// Starts `hwsim serve` for a line and waits until it listens.
    pub fn start(line: &str, args: &SimulateArgs, directory: &Path) -> Result<Self, Failure> {
        let socket = directory.join("hwsim.sock");
        // hwsim reads the very text that we read, wherever the profile came from.
        let profile = directory.join("line.toml");
        let (text, _) = crate::profile::Line::source(line)?;
        std::fs::write(&profile, text)
            .map_err(|e| Failure::new(Exit::Io, format!("{}: {e}", profile.display())))?;
        let mut command = Command::new(program()?);
        command.arg("serve").arg("--line").arg(&profile).arg("--socket").arg(&socket);
        command.args(["--speed", &args.speed.to_string()]).arg("--until-stdin-closes");
        for (name, path) in [("--dump", &args.dump), ("--faults", &args.faults)] {
            if let Some(path) = path {
                command.arg(name).arg(path);
            }
        }
        if let Some(seed) = args.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        let mut child = command
            // A group of its own: the operator's Ctrl-C is for us, and we end hwsim when the last card is out.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::new(Exit::Device, format!("hwsim cannot be started: {e}")))?;
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

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Lets it write what is left and end.
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

/// `hwsim` beside our own program, else on the PATH.
fn program() -> Result<PathBuf, Failure> {
    let beside = super::own_program()?.with_file_name("hwsim");
    Ok(if beside.exists() { beside } else { PathBuf::from("hwsim") })
}
