//! Station hosts: a process for each reader or machine, because a call to a device can hang for ever, and
//! only ending its process ends the call. Wire section 7, both ends.
//!
//! ```text
//! controller                                  socket pair               host process
//! HostReader (CardLink) ─ ReaderExchange ─┐                    ┌─ serve ─ ServedReader (PC/SC)
//!                                         ├─ HostPipe ══ hello ═┤
//! HostLink   (ByteLink) ─ frames ─────────┘                    └─ pump  ─ ByteLink (serial port, TCP)
//! ```
//!
//! | file | does |
//! |---|---|
//! | `hello` | the device to open, and the first message of each end |
//! | `process` | starts, kills and reaps the host; the controller's end of the socket |
//! | `reader`, `link` | the controller's ends |
//! | `serve`, `answers`, `pump` | the host's ends |
//!
//! The controller's end keeps every time limit. After a timeout or a fault of the protocol it kills the host,
//! and the next power-on, probe or reopening starts another one. pcscd may hold the reader of a killed host
//! until the card answers: then the new host reports "held", and the caller probes until the reader is free.

mod answers;
mod hello;
mod link;
mod process;
mod pump;
mod reader;
mod serve;

pub use hello::HostedDevice;
pub use link::HostLink;
pub use process::HostSpec;
pub use reader::HostReader;
pub use serve::{HostError, ServedReader, end_with, serve};

#[cfg(test)]
mod tests;
