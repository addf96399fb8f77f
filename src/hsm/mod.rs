//! The hardware security module: the only place where keys and clear secrets exist.
//!
//! The interface is coarse on purpose. *Verify* a record: the HSM checks the MACs of its applications, opens their protected
//! values and returns a handle. *Check* does that and keeps nothing: it is all that acceptance and inspection use. *Session*: from a
//! handle, an attempt that its ledger has bound, and the chip's answer to INITIALIZE UPDATE the HSM opens the channel of the next
//! application and wraps the whole session in one call. Key references go in; cryptograms, wrapped commands and KCVs come
//! out; key material never crosses [`Hsm`]. One key does leave the HSM, to whom it serves once: the key of one envelope
//! ([`FileReceiver`]), which protects a file on its way to the bureau, and nothing in it that a file key protects.
//!
//! The HSM refuses by itself: a protected value in a clear command, a DGI outside the handle, a clear DGI that
//! differs from the verified one, a level other than the handle's or below the KEK's minimum, a KMC that the KEK does
//! not allow, a second chip for one attempt, a second attempt for one chip, an application that was opened before, a host
//! challenge that it did not draw for this connection.
//!
//! ```text
//! controller: HsmClient ── wire ── host: HostedHsm ──> HsmConnection <── SoftHsm, SoftIssuer
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `operations` | every operation, one line each; `operation_table` makes traits, messages and dispatch of it |
//! | `messages`, `error`, `wiped` | requests and answers, refusals, bytes that are wiped |
//! | `client`, `greeting`, `wire`, `host` | the socket between controller and host, and its two ends |
//! | `caller`, `door` | the parts of a program that call the host, and how it knows them |
//! | `host_lock` | one host has a store open |
//! | `soft` | the software HSM |
//! | `pkcs11` | KMCs and KEKs in a PKCS#11 token, and which steps a token does inside |
//! | `store`, `spool_keys`, `recipient`, `token_note`, `companion` | keys at rest, and what lies beside them |
//! | `audit_book`, `memory` | what the HSM remembers of ledgers and files: what is asked, and the journal below |
//!
//! Not here: which commands a card needs (`chip`), how they are wrapped (`scp`), which record goes to which blank
//! (`pipeline`).

mod audit_book;
mod caller;
pub mod client;
mod companion;
mod door;
mod error;
mod greeting;
pub mod host;
mod host_lock;
mod issuing;
pub mod key_host;
pub mod memory;
mod messages;
mod operation_table;
mod operations;
pub mod pkcs11;
mod recipient;
pub mod soft;
mod spool_keys;
pub mod store;
mod timing;
mod token_note;
mod wire;

pub use crate::wiped::WipedBytes;
pub use caller::{CallerRole, CallerSecrets, HsmDoor};
use client::HsmClient;
pub use error::{DataFault, HsmError, HsmRefusal};
pub use host_lock::HostLock;
pub use issuing::*;
pub use messages::*;
pub use operations::{Auditor, Checker, FileReceiver, HostedHsm, Hsm, HsmConnection, Issuer, Vault};
pub use recipient::open_delivered;
pub use spool_keys::SpoolKey;
pub use timing::timed;
