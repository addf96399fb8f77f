//! Simulated cards and machines for Cardwright: a personalization line to develop and test controllers with,
//! and an independent witness of every event on it. A separate program that a production install does not
//! ship. TEST keys only.
//!
//! # Recipe
//!
//! ```text
//! hwsim serve --line sim-8 --speed 100 --dump /tmp/dump --faults faults.toml --seed 1
//! hwsim SIMULATED listening on /tmp/hwsim-4711-8f0c/line.sock
//! ```
//!
//! `--line` is a shipped profile or a `.toml` file with a `[sim]` table ([`profile`]); `--speed` divides all
//! times, and 0 means no waiting; `--seed` repeats a pile of blanks with its faults ([`hopper`], [`faults`]);
//! the witness writes into `--dump` ([`witness`]). The program serves until SIGTERM or SIGINT or, with
//! `--until-stdin-closes`, until its standard input ends. Cards that then lie in the line are dumped with
//! fate "left". The exit code is 0 if the witness could write everything.
//!
//! A client connects once per device of a station (`reader` or `machine`, a printer's `stream`, and
//! `transport`) and once to the output's transport; the bytes are those of `drivers::wire`. This crate uses
//! the constants of that module and nothing else of `drivers`. A profile can also put stations on virtual
//! readers and serial ports ([`attach`]), and
//!
//! ```text
//! hwsim card --product multiapp --vpcd localhost:35963 --faults faults.toml
//! hwsim SIMULATED card for localhost:35963
//! ```
//!
//! is one card (blank 1) that stays in such a reader until SIGTERM or SIGINT. It waits until vpcd listens,
//! and connects again when vpcd comes back; data on the card stays, secure channels do not. With `--from-dump
//! FILE` in place of `--product`, it has the chip of a card that left a line ([`dump`]).
//!
//! ```text
//! hwsim terminal --dump /tmp/dump --authority ca.json
//! 500 of 500 authenticate (CDA)
//! ```
//!
//! authenticates the good cards of a dump offline, as a payment terminal does ([`terminal`]).
//!
//! # Parts
//!
//! ```text
//! server ─┬ device ── world ── blank ── card      connections, protocols, the line, the plastic, its chip
//! attach ─┘   │         ├── place                 which card lies where
//!             │         ├── hopper ── faults      the blanks that come, and their faults
//!             └ pace    └── witness ── dump       the time of work; the record of the plastic, read back
//! terminal ── card                                authentication of a personalized card, from EMV alone
//! ```
//!
//! To add a machine: its end of the protocol in [`device`], one arm in `device::machine`, one kind in
//! [`profile`].

pub mod attach;
pub mod blank;
pub mod card;
pub mod device;
pub mod dump;
pub mod faults;
pub mod hopper;
pub mod pace;
pub mod place;
pub mod profile;
pub mod rng;
pub mod server;
pub mod stripe;
mod sync;
pub mod terminal;
#[cfg(test)]
mod testing;
pub mod text_file;
pub mod timing;
pub mod token_keys;
pub mod wanted;
pub mod wiring;
pub mod witness;
pub mod world;
