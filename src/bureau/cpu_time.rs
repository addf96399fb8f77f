//! User and system CPU time of this process and of its children, for the report of a run. getrusage(2) is
//! exact to the microsecond and includes threads that have ended.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// CPU time of this process so far.
pub fn own() -> Duration {
    used(UsageWho::RUSAGE_SELF)
}

/// CPU time of the children that have ended and were waited for.
pub fn of_children() -> Duration {
    used(UsageWho::RUSAGE_CHILDREN)
}

/// A time for a report; zero if the system does not give it.
fn used(who: UsageWho) -> Duration {
    let Ok(usage) = getrusage(who) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .filter_map(|time| {
            let (seconds, micros) = (u64::try_from(time.tv_sec()).ok()?, u64::try_from(time.tv_usec()).ok()?);
            Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_a_child_counts_after_it_was_waited_for() {
        let (own_before, children_before) = (own(), of_children());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        assert!(child.wait().unwrap().success());
        assert!(of_children() > children_before);
        let mut sum = 0u64;
        while own() == own_before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(own() > own_before);
    }
}
