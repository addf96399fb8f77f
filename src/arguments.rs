//! Values on the command line: the message about a wrong one states which are allowed.
//!
//! Not here: values that are names of the trade (`ids`, `request`).

use std::fmt::Display;
use std::str::FromStr;

/// Reads a whole number of a type.
pub fn whole_number<T: FromStr + Display + Bounded>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("it is no whole number from 0 to {}", T::MOST))
}

/// The whole numbers that arguments have.
pub trait Bounded: Sized {
    /// The greatest.
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
    speed.ok_or_else(|| "it is no number from 0, such as 0.5 or 20; 0 is without waiting".to_owned())
}
