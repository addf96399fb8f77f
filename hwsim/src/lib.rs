//! Simulated cards and machines for Cardwright: a personalization line to write controllers against, with an
//! independent witness. A separate program that a production install does not ship. TEST keys only.
//!
//! # Recipe
//!
//! ```text
//! hwsim serve --line sim-8 --speed 100 --dump /tmp/dump --faults faults.toml --seed 1
//! hwsim SIMULATED listening on /tmp/hwsim-4711-8f0c/line.sock
//! ```
//!
//! `--line` is a shipped profile or a `.toml` file with a `[sim]` table ([`profile`]); `--speed` divides all times, 0
//! waits for nothing; `--seed` repeats a pile of blanks with its faults ([`hopper`], [`faults`]); `--dump` is where the
//! witness writes ([`witness`]). It serves until SIGTERM or SIGINT, or, with `--until-stdin-closes`, until its standard
//! input ends; what then lies in the line is dumped with fate "left", and the exit code is 0 if the witness could write
//! everything.
//!
//! A client connects once per device of a station (`reader` or `machine`, a printer's `stream`, and `transport`) and once
//! to the output's transport; the bytes are those of `drivers::wire`, of which this crate uses the constants and nothing
//! else. A profile can serve stations behind virtual readers and serial ports too ([`attach`]), and
//!
//! ```text
//! hwsim card --product multiapp --vpcd localhost:35963 --faults faults.toml --t0 get-response
//! hwsim SIMULATED card for localhost:35963
//! ```
//!
//! is one card (blank 1) that stays in such a reader until SIGTERM or SIGINT. It waits for vpcd to listen, and comes back
//! when vpcd does; what was written stays, secure channels do not.
//!
//! # Parts
//!
//! ```text
//! server ─┬ device ── world ── blank ── card      who talks, how, where the card lies, what it is, its chip
//! attach ─┘   │         ├── place                 what lies where
//!             │         ├── hopper ── faults      which blanks come, and what is wrong with them
//!             └ pace    └── witness               how long it takes; what is written down
//! ```
//!
//! To add a machine: its end of the protocol in [`device`], one arm in `device::machine`, one kind in [`profile`].

pub mod attach;
pub mod blank;
pub mod card;
pub mod device;
pub mod faults;
pub mod hopper;
pub mod pace;
pub mod place;
pub mod profile;
pub mod rng;
pub mod server;
pub mod stripe;
mod sync;
#[cfg(test)]
mod testing;
pub mod timing;
pub mod witness;
pub mod world;
