//! Cardwright: the controller of a smart card personalization line, and the issuer's preparation that feeds
//! it.
//!
//! The map of the modules, the data flow and what must *not* be where stands in `src/ARCHITECTURE.md`.
//! This library is the body of the `cardwright` and `cardwright-prep` programs; it implements the system of
//! WO 99/19846 in its modern form (EMV Card Personalization, GlobalPlatform secure channels).

pub mod actor;
pub mod arguments;
pub mod audit;
pub mod bureau;
pub mod chip;
pub mod cli;
pub mod crypto;
pub mod daemon;
pub mod emv;
pub mod exit;
pub mod files;
pub mod hardening;
pub mod hsm;
pub mod ids;
pub mod inspect;
pub mod laws;
pub mod ledger;
pub mod manual;
pub mod modules;
pub mod output_path;
pub mod panics;
pub mod picture;
pub mod pipeline;
pub mod prep;
pub mod printable;
pub mod profile;
pub mod reason;
pub mod record;
pub mod report;
pub mod request;
pub mod scp;
mod sibling_path;
pub mod signals;
pub mod stdout;
pub mod threads;
pub mod tlv;
mod toml_text;
pub mod version;
mod wiped;
