//! Secure channels to a card, host side: bytes in, bytes out. No I/O, no clock, no random numbers: challenges come in.
//!
//! Only this folder names a secure channel protocol. All other code holds a [`SecureChannel`], which the product's profile
//! chooses, and asks it for everything that differs between protocols: lengths, levels, commands, answers, keys.
//!
//! ```text
//! SecureChannelSpec ──> SecureChannel ── read_answer ──> InitializeUpdateAnswer      the controller and the HSM
//!                            │
//!                            └─ open (KMC) ──> PendingChannel ──> VerifiedChannel ──> ChannelSession     the HSM
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `channel` | the choice of a channel, and its states; the table of protocols |
//! | `answer` | the answer to INITIALIZE UPDATE, parsed here and nowhere else |
//! | `challenge` | the host challenge |
//! | `level` | security levels |
//! | `derive` | a card's static keys from the supplier's master key |
//! | `token_keys` | keys that lie in a token |
//! | `scp02` | the one protocol so far |
//!
//! Not here: which commands a card needs (`chip`), where keys live, what may be encrypted and who draws challenges
//! (`hsm`).

mod answer;
mod challenge;
mod channel;
mod derive;
mod level;
mod scp02;
mod token_keys;

pub use answer::{AnswerError, InitializeUpdateAnswer};
pub use challenge::HostChallenge;
pub use channel::{
    ChannelOpenError, ChannelSession, CommandHeader, CommandTooLong, PendingChannel, SecretFault,
    SecureChannel, SecureChannelSpec, UnsupportedChannel, VerifiedChannel, WrapFault, WrongCryptogram,
};
pub use derive::{CardStaticKeys, KeyDerivation};
pub use level::SecLevel;
pub use token_keys::{TokenCardKeys, TokenKeyFault, TokenSessionKeys};
