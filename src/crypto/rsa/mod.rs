//! RSA key pairs of issuers and cards: generation, the raw private operation, recovery, and the check of a key
//! pair from outside.
//!
//! Not here: the formats that are signed (certificates, static data), padding, custody of the keys, key pools,
//! random numbers (the caller gives them). No I/O, no clock. The arithmetic is that of the system's OpenSSL.
//!
//! PKCS #1 (RFC 8017) 3.2, 5.1 and 5.2 without padding; FIPS 186-5 A.1 (limits of the primes and of d); EMV Book
//! 2, B2.1 (sizes, exponents).
//!
//! The exponentiations and inversions with secret numbers run in OpenSSL's constant-time variants. The sieve and the
//! choice of a prime do not: a program of the same machine that observes the caches may learn from them. Key pairs
//! are made on the issuer's own machines.

mod candidate;
mod fault;
mod generate;
mod pair;
mod public;
mod relations;
mod rounds;
mod secret_number;
mod sieve;
mod signer;

pub use fault::{PairFault, RsaError};
pub use generate::KeyPairGenerator;
pub use pair::{CrtParts, RsaKeyPair};
pub use public::{PublicExponent, RsaPublicKey};
pub use signer::RsaSigner;

/// Has OpenSSL read its settings now, for a process that soon reaches no file any more.
pub fn prepare() {
    openssl::init();
}

#[cfg(test)]
mod tests;
