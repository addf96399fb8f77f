//! Waiting: sleeps the machine's seconds, divided by `--speed`, exactly on average.
//!
//! A sleep of 50 µs takes 110 µs. So small waits are collected until they are worth a sleep, and the extra
//! time of a sleep is subtracted from the next waits. Each link, and so each station, has its own
//! [`LinkPace`].

use std::time::{Duration, Instant};

/// Waits shorter than this are collected, in seconds.
const WORTH_A_SLEEP_S: f64 = 0.001;
/// Most credit, in seconds; more is given up, so that a computer that was stopped for a minute does not race
/// afterwards.
const CREDIT_MAX_S: f64 = 0.05;

/// The waits of one link.
#[derive(Debug)]
pub struct LinkPace {
    speed: f64,
    debt_s: f64,
}

impl LinkPace {
    /// `speed` divides all times; 0 means no waiting.
    pub fn new(speed: f64) -> Self {
        Self { speed, debt_s: 0.0 }
    }

    /// Whether there is no waiting at all.
    pub fn is_instant(&self) -> bool {
        self.speed == 0.0
    }

    /// Spends `seconds` of the machine's time.
    pub fn work(&mut self, seconds: f64) {
        if !self.is_instant() {
            self.sleep(seconds / self.speed);
        }
    }

    /// Spends the rest of `seconds` of the machine's time that began at `start`.
    pub fn until(&mut self, start: Instant, seconds: f64) {
        if !self.is_instant() {
            self.sleep((seconds / self.speed - start.elapsed().as_secs_f64()).max(0.0));
        }
    }

    /// Sleeps this many seconds of real time, now or later.
    fn sleep(&mut self, seconds: f64) {
        self.debt_s += seconds;
        if self.debt_s >= WORTH_A_SLEEP_S {
            let start = Instant::now();
            std::thread::sleep(Duration::try_from_secs_f64(self.debt_s).unwrap_or(Duration::MAX));
            self.debt_s = (self.debt_s - start.elapsed().as_secs_f64()).max(-CREDIT_MAX_S);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(speed: f64, times: u32, seconds: f64) -> f64 {
        let mut pace = LinkPace::new(speed);
        let start = Instant::now();
        for _ in 0..times {
            pace.work(seconds);
        }
        start.elapsed().as_secs_f64()
    }

    #[test]
    fn thousands_of_small_waits_are_right_on_average() {
        let took = spend(100.0, 3000, 0.010); // 0.1 ms each
        assert!((0.295..0.40).contains(&took), "{took}");
    }

    #[test]
    fn small_waits_are_collected_and_long_sleeps_are_credited() {
        let mut pace = LinkPace::new(1.0);
        pace.work(0.0006);
        assert!((pace.debt_s - 0.0006).abs() < 1e-9, "not worth a sleep");
        pace.work(0.0006);
        assert!(pace.debt_s <= 0.0, "slept at least that long; what was too much is a credit");
        pace.debt_s = -10.0;
        pace.work(10.5);
        assert!(pace.debt_s <= 0.0);
        pace.debt_s = 0.0015 - 10.0;
        pace.work(10.0); // sleeps 1.5 ms
        assert!(pace.debt_s >= -CREDIT_MAX_S);
    }

    #[test]
    fn time_that_has_passed_is_not_waited_for_again() {
        let mut pace = LinkPace::new(10.0);
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(30));
        pace.until(start, 0.5);
        assert!((0.05..0.12).contains(&start.elapsed().as_secs_f64()));
        let later = Instant::now();
        pace.until(start, 0.5);
        assert!(later.elapsed().as_secs_f64() < 0.02);
    }

    #[test]
    fn speed_divides_and_zero_does_not_wait() {
        let took = spend(10.0, 1, 1.0);
        assert!((0.1..0.2).contains(&took), "{took}");
        assert!(spend(0.0, 1000, 1000.0) < 0.05);
    }
}
