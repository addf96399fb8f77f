//! The composition root of a line: chooses the device that each link leads to, the driver that works over it,
//! `hwsim` in place of all of them, and the HSM that a host holds. No other place names drivers and HSMs.
//!
//! Not here: the work of a module on a card (`modules`), the order of work (`pipeline`).

pub mod blind;
pub mod check;
pub mod disk;
pub mod hsm_host;
pub mod links;
pub mod places;
pub mod simulator;
pub mod station_host;
pub mod stations;
