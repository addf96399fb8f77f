//! The daemon: who asks for what, whether it is granted, and the queue of jobs.
//!
//! ```text
//! operator's command ─ Unix socket ─▶ who (uid) ─▶ policy ─▶ accepted | ignored | waits | denied ─▶ ledger, queue
//!                                                                                                  │
//!                                                            line: one job at a time ◀─────────────┘
//! ```
//!
//! | file | does |
//! |---|---|
//! | `server`, `connections`, `files`, `wire` | the socket: who connects, what is said, files that come along |
//! | `people`, `policy`, `answers` | who may do what, and that it is done |
//! | `queue`, `jobs`, `retention` | one job after the other on the line; the end of cardholder data |
//!
//! Everything comes up HELD; a person releases it. Not here: the line and its devices (`bureau::line` puts them together), the
//! laws of cards (`ledger`).

mod answers;
mod connections;
pub mod files;
mod jobs;
pub mod people;
pub mod policy;
pub mod queue;
mod retention;
pub mod server;
mod watch;
pub mod wire;
