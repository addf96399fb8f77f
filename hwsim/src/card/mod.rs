//! The simulated smart card: an SCP02 chip with a security domain and the four applications of product
//! `multiapp`.
//!
//! Written from the standards alone (GlobalPlatform Card Specification 2.3.1, here GPCS, appendix E; EMV Card
//! Personalization Specification, here CPS). It shares no function with the controller, so that one mistake
//! cannot hide on both sides. It speaks T=1 if its ATR offers that, else T=0. Not here: time (a [`ChipCost`]
//! is returned instead), T=0 procedure bytes, the plastic. The card holds TEST keys and shows everything that
//! it received in [`SimulatedCard::chip_dump`]; it is never attacked, so it compares without constant time
//! and does not hide its memory.
//!
//! ```text
//! life of an application:   SELECTABLE --last STORE DATA (P1 b8) or SET STATUS 07--> PERSONALIZED
//!                           STORE DATA needs an open channel             reads as a terminal does
//! life of a channel:        none --INITIALIZE UPDATE--> opening --EXTERNAL AUTHENTICATE--> open
//!                           any other command, a wrong cryptogram or MAC, SELECT, reset: none
//! ```
//!
//! `apdu` parses commands, `tdes` is the cryptography, `channel` the card side of SCP02, `application` lists
//! the DGIs that an application accepts and needs, `store` carries out STORE DATA, `terminal` and `transaction`
//! the commands of a terminal (with `dol`, `rsa`), `restore` reads a dump back, `t0` delivers answers over T=0,
//! and `engine` is the card around them.

mod apdu;
mod application;
mod ber;
mod channel;
mod dol;
mod engine;
mod restore;
mod rsa;
mod rules;
mod store;
mod t0;
mod tdes;
mod terminal;
#[cfg(test)]
mod tests;
mod transaction;

pub use engine::SimulatedCard;
pub(crate) use t0::offers_t1;

/// The differences between blanks. TEST keys only.
pub struct BlankSpec {
    /// KEYDATA: KMC_ID (6 bytes), then the CSN (4 bytes) (GPCS Table E-8).
    pub key_data: [u8; 10],
    /// Version number of the card's key set, 01-7F.
    pub version: u8,
    /// The KMC from which KEYDATA derives the card's three keys, as in `channel`.
    pub kmc: [u8; 16],
    /// SCP02 parameter "i" (GPCS Table E-1). Bits 5 (ICV encryption) and 7 (pseudo-random card challenge) are
    /// honoured; the others are taken as in 15 and 55: three keys, explicit initiation, C-MAC on the modified
    /// APDU.
    pub scp02_i: u8,
    /// Answer to reset, sent unchanged.
    pub atr: Vec<u8>,
    /// Seed of the card challenge where "i" asks for no pseudo-random one, and of the chip's batch number.
    pub seed: u64,
}

/// A fault that the card plays. Faults add up; none can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForcedFault {
    /// No answer to reset.
    Deaf,
    /// Every INITIALIZE UPDATE answers with a wrong card cryptogram.
    WrongCryptogram,
    /// Each application has a sequence counter of its own, so that channels of two applications can have the same session keys.
    CounterPerApplication,
    /// The first record of each application has one wrong bit once it is PERSONALIZED.
    Corrupt,
    /// One STORE DATA is refused and not stored.
    Status {
        /// The STORE DATA that is refused: 1-based, counted over the life of the card, refused ones included.
        store_data: u32,
        /// The status word of the answer.
        sw: u16,
    },
    /// After that many more commands the card gives no answer, not even to a reset.
    RemoveAfter(u32),
    /// Over T=0, answers leave the card in pieces of at most that many bytes.
    Pieces(usize),
    /// Over T=0, the card answers `6100` in place of `61xx`, and so `6Cxx` to the GET RESPONSE.
    HiddenLengths,
}

/// Work that the card did, for the timing model of [`crate::timing`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChipCost {
    /// Commands answered.
    pub commands: u32,
    /// Bytes of the commands.
    pub bytes_in: u32,
    /// Bytes of the answers, status words included.
    pub bytes_out: u32,
    /// EEPROM pages of 64 bytes written.
    pub pages: u32,
    /// Secure channels opened.
    pub channels: u32,
}
