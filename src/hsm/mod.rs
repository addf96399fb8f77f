//! The hardware security module: the only place where keys and clear secrets exist.
//!
//! The interface is coarse on purpose (DESIGN.md section 5): *verify* an application of a record, *open* a channel
//! to a card, *personalize* = wrap a session's whole command list in one call. Key references go in; cryptograms,
//! wrapped commands and KCVs come out; key material never crosses [`Hsm`].
//!
//! The HSM refuses by itself: a protected value in a clear command, a DGI outside the handle, a clear DGI that
//! differs from what was verified, a level other than the handle's or below the KEK's minimum, a KMC that the KEK
//! does not allow, a second KEYDATA for one handle.
//!
//! Not here: what commands a card needs (`chip`), how they are wrapped (`scp`), which record goes to which blank
//! (`pipeline`).

mod book;
pub mod client;
mod failure;
pub mod host;
mod kept;
mod octets;
pub mod soft;
mod spools;
pub mod store;
mod types;
mod wire;

pub use spools::SpoolKey;
pub use types::*;
