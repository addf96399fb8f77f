//! PKCS#11 tokens: which steps of a session a token does inside, and the use of KMCs and KEKs that lie in one.
//!
//! PKCS #11 2.40 (OASIS). A token's list of mechanisms says little: some that are listed fail, and some that succeed
//! give wrong values. So each step of a session is tried with published keys, and its result compared. All objects that
//! are made here are session objects, and are destroyed after use. The objects of a line's keys are never changed.
//!
//! A module is a foreign library. It is loaded only into the HSM host of a line whose keys lie in its token, and into a
//! process that does nothing but `hsm check`; never into the daemon.
//!
//! | file | what it holds |
//! |---|---|
//! | `token` | a module, a token found by its label or slot, sessions, and objects that are destroyed when dropped |
//! | `steps` | the steps of a session, where each can be done, and why not inside |
//! | `known` | the known answers |
//! | `probe` | trying each step |
//! | `plan` | where a line does each step |
//! | `home` | the token of a host: the keys in it, and a session for each connection |
//! | `keys` | what a key in a token gives |
//! | `pin`, `setup` | the PIN, and which token a host uses |
//!
//! Not here: the rules of files, keys and sessions, which are the same wherever a key lies (`soft`).

mod home;
mod keys;
mod known;
mod pin;
mod plan;
mod probe;
mod setup;
mod steps;
mod token;

pub use home::{TokenHome, TokenKeyTerms, TokenLink};
pub use keys::{TokenKey, TransportKeyInside};
pub use pin::TokenPin;
pub use plan::{KeyKinds, TokenPart, TokenPlan};
pub use probe::probe;
pub use setup::TokenSetup;
pub use steps::{StepFinding, StepObstacle, StepPlace, TokenReport, TokenStep};
pub use token::{Token, TokenChoice, TokenDevice, TokenFault};

#[cfg(test)]
mod tests;
