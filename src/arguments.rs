//! Reads numbers of the command line. The message about a wrong number states the allowed range.
//!
//! Not here: values that are names of the trade (`ids`, `request`).

use std::fmt::Display;
use std::str::FromStr;

/// Reads a whole number.
pub fn whole_number<T: FromStr + Display + Bounded>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", T::MOST))
}

/// A type of whole number that an argument may have.
pub trait Bounded: Sized {
    /// The greatest value.
    const MOST: Self;
}

impl Bounded for u32 {
    const MOST: Self = Self::MAX;
}

impl Bounded for u64 {
    const MOST: Self = Self::MAX;
}

impl Bounded for usize {
    const MOST: Self = Self::MAX;
}

/// Reads a speed of the simulator.
pub fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| speed.is_finite() && *speed >= 0.0);
    speed.ok_or_else(|| {
        "it must be a number of at least 0, such as 0.5 or 20; with 0 nothing waits".to_owned()
    })
}
