//! Why an RSA operation could not be carried out. No error quotes a number of a key or a block.

use openssl::error::ErrorStack;

/// Why an RSA key cannot be used, or an operation with one failed.
#[derive(Debug, thiserror::Error)]
pub enum RsaError {
    /// The size of the modulus in bits.
    #[error("an RSA modulus has 1024 to 1984 bits in steps of 8, not {0}: ask for such a size")]
    Size(usize),
    /// An even modulus, or one that begins with a zero bit.
    #[error("the RSA modulus is even, or shorter than its bytes: take the public key from its issuer again")]
    Modulus,
    /// A public exponent that EMV does not allow.
    #[error("the public exponent of an RSA key must be 3 or 65537")]
    Exponent,
    /// An input of the raw operations.
    #[error("the block for the RSA key is not as long as its modulus, or not below it")]
    Block,
    /// The parts of a key pair contradict each other or are weak.
    #[error("the RSA key pair cannot be used: {0}")]
    Pair(PairFault),
    /// Bytes that are not in the form of [`super::RsaKeyPair::encode`].
    #[error("the bytes of an RSA key pair have another format or length than this program writes")]
    Encoding,
    /// The caller's source of random numbers failed.
    #[error("the system gives no random numbers, which an RSA key pair needs")]
    Random,
    /// So many searches end without a prime only if the random numbers are none.
    #[error("no prime was found: the random numbers are not random; check the system's source")]
    NoPrime,
    /// A result of the private operation that the public key does not confirm. It was not handed out.
    #[error(
        "the RSA operation gave a wrong result, which was thrown away: have this machine's memory tested"
    )]
    WrongResult,
    /// OpenSSL could not carry out the arithmetic, in its own words.
    #[error("OpenSSL could not carry out an RSA operation: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl From<PairFault> for RsaError {
    fn from(fault: PairFault) -> Self {
        Self::Pair(fault)
    }
}

/// What is wrong with a key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    /// A prime of another size than half of the modulus.
    #[error("a prime does not have half the bits of the modulus")]
    PrimeSize,
    /// The CRT parts of EMV need p above q, for the inverse of q.
    #[error("p is not above q")]
    Order,
    /// Primes so close that Fermat's method finds them.
    #[error("the primes are too close to each other")]
    Close,
    /// p - 1 and q - 1 share so much that the private exponent may be short.
    #[error("p - 1 and q - 1 have a large common factor")]
    CommonFactor,
    /// The exponent has no inverse.
    #[error("the public exponent divides p - 1 or q - 1")]
    ExponentDivides,
    /// p times q.
    #[error("the product of the primes is not the modulus")]
    Product,
    /// d mod (p - 1).
    #[error("the private exponent for p does not belong to the public exponent")]
    ExponentOfP,
    /// d mod (q - 1).
    #[error("the private exponent for q does not belong to the public exponent")]
    ExponentOfQ,
    /// q^-1 mod p.
    #[error("the inverse of q modulo p is wrong")]
    Inverse,
    /// A number that should be prime.
    #[error("p or q is not prime")]
    NotPrime,
}
