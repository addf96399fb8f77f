//! CPU time of a running process by thread name, user and system, sampled from `/proc` until it ends. The
//! work of a thread between its last sample and its end is missed: a few milliseconds in a run of seconds.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

/// Unit of `/proc/PID/stat` on every existing Linux: USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;
/// Pause between two samples.
const SAMPLE: Duration = Duration::from_millis(10);

/// CPU time in seconds.
#[derive(Clone, Copy, Default)]
pub struct Time {
    pub user: f64,
    pub system: f64,
}

/// Waits for the child, which must succeed. Threads `NAME-3` count as `NAME`; the main thread is `main`.
pub fn watch(child: &mut Child) -> BTreeMap<String, Time> {
    let tasks = format!("/proc/{}/task", child.id());
    let main = child.id().to_string();
    let mut threads: BTreeMap<String, (String, Time)> = BTreeMap::new();
    let status = loop {
        for task in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let id = task.file_name().into_string().unwrap();
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            if let Some((name, time)) = parse(&stat) {
                let name = if id == main { "main".into() } else { name };
                threads.insert(id, (name, time));
            }
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(SAMPLE);
    };
    assert!(status.success(), "{status}");
    let mut sums: BTreeMap<String, Time> = BTreeMap::new();
    for (name, time) in threads.into_values() {
        let sum = sums.entry(name).or_default();
        sum.user += time.user;
        sum.system += time.system;
    }
    sums
}

/// `id (name) state ...`; user and system time are fields 14 and 15 (proc_pid_stat(5)).
fn parse(stat: &str) -> Option<(String, Time)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
    let mut fields = rest.split(' ').skip(11).map(|field| field.parse::<f64>().ok());
    let time = Time { user: fields.next()?? / TICKS_PER_SECOND, system: fields.next()?? / TICKS_PER_SECOND };
    Some((name.to_owned(), time))
}
