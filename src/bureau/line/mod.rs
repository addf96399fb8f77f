//! The composition root of a line: which link leads to which device, which driver speaks over it, and `hwsim` in place of
//! all of them; which HSM a host holds. Only here are drivers and HSMs named.
//!
//! Not here: what a module does to a card (`modules`), the order of work (`pipeline`).

pub mod check;
pub mod disk;
pub mod hsm_host;
pub mod links;
pub mod places;
pub mod simulator;
pub mod station_host;
pub mod stations;
