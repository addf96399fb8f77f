//! Time and peak memory of a whole program, for the benches that compare them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time and peak resident memory in KiB of a program's run.
pub struct MeasuredRun {
    pub time: Duration,
    pub peak: u64,
}

impl MeasuredRun {
    /// Runs a program to its end, which must be with `exit`.
    pub fn of(command: &mut Command, exit: i32) -> Self {
        let start = Instant::now();
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        loop {
            if let Some(code) = child.try_wait().unwrap() {
                assert_eq!(code.code(), Some(exit), "{command:?}");
                return Self { time: start.elapsed(), peak };
            }
            peak = peak_kib(child.id()).max(peak);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The peak memory in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.peak as f64 / 1024.0
    }
}

/// The peak memory of a running program in KiB, 0 after its end.
pub fn peak_kib(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    high.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
