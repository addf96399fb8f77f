//! Offline data authentication of a payment card: the formats that an issuer signs, and the static data that they cover
//! (EMV 4.3 Book 2, clauses 5 and 6; Book 3, clauses 6.5.8 and 10.3).
//!
//! ```text
//! certification authority ─► issuer certificate (90, 92, 9F32) ─┬► ICC certificate (9F46, 9F48, 9F47) ─► the card's signatures
//!                                                               └► signed static data (93)
//! ```
//!
//! Every signed block begins with 6A and a format byte, ends with a SHA-1 and BC, and is as long as the signer's modulus.
//! Not here: RSA itself (`crypto::rsa`), custody of keys (`hsm`), signatures that a card makes.

mod block;
mod certificate;
mod locator;
pub mod request;
mod static_data;

pub use block::BlockFault;
pub use certificate::{CertificateKind, CertifiedKey, KeyCertificate, MonthYear};
pub use locator::{FileLocator, LocatorFault};
pub use static_data::{SignedStaticData, static_data};

#[cfg(test)]
mod tests;
