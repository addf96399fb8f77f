//! The hardware security module: the only place where keys and clear secrets exist.
//!
//! The interface is coarse on purpose. *Verify* an application of a record: the HSM checks its MAC, opens its protected
//! values and returns a handle. *Check* does that and keeps nothing: it is all that acceptance and inspection use. *Session*: from a handle and a card's answer to INITIALIZE UPDATE the HSM opens the
//! channel and wraps the whole session in one call. Key references go in; cryptograms, wrapped commands and KCVs come
//! out; key material never crosses [`Hsm`].
//!
//! The HSM refuses by itself: a protected value in a clear command, a DGI outside the handle, a clear DGI that
//! differs from the verified one, a level other than the handle's or below the KEK's minimum, a KMC that the KEK does
//! not allow, a second KEYDATA for one handle, a host challenge that it did not draw for this connection.
//!
//! ```text
//! controller: HsmClient ── wire ── host: HostedHsm ──> HsmConnection <── SoftHsm, SoftIssuer
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `operations` | every operation, one line each; `operation_table` makes traits, messages and dispatch of it |
//! | `messages`, `error`, `wiped` | requests and answers, refusals, bytes that are wiped |
//! | `client`, `wire`, `host` | the socket between controller and host, and its two ends |
//! | `soft` | the software HSM |
//! | `store`, `audit_book`, `spool_keys`, `companion` | keys at rest; the HSM's memory of ledgers and spools |
//!
//! Not here: which commands a card needs (`chip`), how they are wrapped (`scp`), which record goes to which blank
//! (`pipeline`).

mod audit_book;
pub mod client;
mod companion;
mod error;
pub mod host;
mod issuing;
pub mod key_host;
mod messages;
mod operation_table;
mod operations;
pub mod soft;
mod spool_keys;
pub mod store;
mod wire;

pub use crate::wiped::WipedBytes;
use client::HsmClient;
pub use error::{DataFault, HsmError, HsmRefusal};
pub use issuing::*;
pub use messages::*;
pub use operations::{Auditor, Checker, HostedHsm, Hsm, HsmConnection, HsmShortcuts, Issuer, Vault};
pub use spool_keys::SpoolKey;
