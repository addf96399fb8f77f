//! What a payment card's issuer computes with symmetric keys: card keys from master keys, verification values, PIN blocks.
//!
//! Not here: custody of the keys (`hsm`), where a value stands on a card (`prep`). EMV 4.3 Book 2 (Annex A1.4), ISO 9564-1,
//! the schemes' rules for CVV and PVV.

mod card_key;
pub mod digits;
pub mod pin;
mod verification;

pub use card_key::{CardKeyMethod, card_key};
pub use verification::{cvv, pvv};
