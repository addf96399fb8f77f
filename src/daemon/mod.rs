//! The daemon's core: who asks for what (`people`, `wire`), whether it is granted (`policy`), and the queue of jobs (`queue`).
//!
//! ```text
//! operator's command ─ Unix socket ─▶ who (uid) ─▶ policy ─▶ accepted | ignored | waits | denied ─▶ ledger, queue
//!                                                                                                  │
//!                                                            line: one job at a time ◀─────────────┘
//! ```
//!
//! Everything comes up HELD; a person releases it. Not here: the line and its devices (`bureau::line` puts them together), the
//! laws of cards (`ledger`).

mod connections;
pub mod people;
pub mod policy;
pub mod queue;
pub mod server;
pub mod wire;
