//! The daemon: requests of people, the decisions about them, and the queue of jobs.
//!
//! ```text
//! operator's command ─ Unix socket ─▶ who (uid) ─▶ policy ─▶ accepted | ignored | waits | denied
//!                                                               │
//!                                                               └─▶ ledger, queue ─▶ line: one job at a time
//! ```
//!
//! | file | does |
//! |---|---|
//! | `server` | starts and ends the daemon, owns the state that its threads share |
//! | `connections`, `farewell`, `files`, `wire` | the socket: connections, refused ones, files that come with requests, messages |
//! | `people`, `policy`, `answers` | the people and their roles, the decision about a request, carrying it
//! out |
//! | `queue`, `jobs`, `retention` | the order of jobs, the thread of the line, the deletion of cardholder
//! data |
//! | `watch` | notices threads that die |
//!
//! Every job is HELD after a start, and a person releases it. Not here: the line and its devices
//! (`bureau::line` opens them), the laws of cards (`ledger`).

mod answers;
mod connections;
mod farewell;
pub mod files;
mod jobs;
pub mod people;
pub mod policy;
pub mod queue;
mod retention;
pub mod server;
mod watch;
pub mod wire;
