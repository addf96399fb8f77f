//! Station hosts: a process for each reader or machine, because a call to a device can hang for ever and only the end of
//! its process ends it. Wire section 7, both ends.
//!
//! ```text
//! controller                          socket pair               host process
//! HostReader (a CardLink) ─ Exchange ─┐                    ┌─ serve ─ Reader (PC/SC)
//!                                     ├─ HostPipe ══ hello ═┤
//! HostLink   (a Link)     ─ frames ───┘                    └─ pump  ─ Link (serial port, TCP)
//! ```
//!
//! | file | does |
//! |---|---|
//! | `hello` | what to open, and the first message of each end |
//! | `process` | starts, kills and reaps the host; the controller's end of the socket |
//! | `reader`, `link` | the controller's ends |
//! | `serve`, `pump` | the host's ends |
//!
//! Every time limit is kept by the controller's end. After a timeout or a fault of the protocol the host is killed, and
//! the next power-on, probe or reopening starts another one. pcscd may hold the reader of a killed host until the card
//! answers: then the new host says "held", and the caller probes until it does not.

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
