//! The raw private operation of a key pair, by CRT.
//!
//! Not here: the formats that are signed. PKCS #1 (RFC 8017) 5.2.1; EMV Book 2, A2.1.
//!
//! OpenSSL blinds the operation, so that its time says nothing about the key. A fault of the machine during one half
//! of the CRT would reveal a prime to the holder of the result (Boneh, DeMillo and Lipton 1997), so each result is
//! checked with the public key before it is returned.

use openssl::bn::BigNum;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa, RsaPrivateKeyBuilder};

use super::fault::RsaError;
use super::pair::RsaKeyPair;
use super::public::RsaPublicKey;

/// A key pair that is ready to sign. Making one costs about as much as a signature, so an issuer's key keeps its
/// signer. OpenSSL wipes the key when this is dropped.
pub struct RsaSigner {
    private: Rsa<Private>,
    public: RsaPublicKey,
}

impl RsaSigner {
    /// A signer with a key pair.
    pub fn new(pair: &RsaKeyPair) -> Result<Self, RsaError> {
        let numbers = pair.numbers()?;
        let public = pair.public().clone();
        let d = numbers.private_exponent(public.exponent())?;
        let modulus = BigNum::from_slice(public.modulus())?;
        let exponent = BigNum::from_u32(public.exponent().value())?;
        let private = RsaPrivateKeyBuilder::new(modulus, exponent, d.into_key())?
            .set_factors(numbers.p.into_key(), numbers.q.into_key())?
            .set_crt_params(numbers.dp.into_key(), numbers.dq.into_key(), numbers.qinv.into_key())?
            .build();
        Ok(Self { private, public })
    }

    /// The public key.
    pub fn public(&self) -> &RsaPublicKey {
        &self.public
    }

    /// The signature of a block, which is as long as the modulus and, as a number, below it.
    pub fn sign(&self, block: &[u8]) -> Result<Vec<u8>, RsaError> {
        self.public.check_block(block)?;
        let mut signature = vec![0; self.public.length()];
        let written = self.private.private_encrypt(block, &mut signature, Padding::NONE)?;
        if written != signature.len() || self.public.recover(&signature)? != block {
            return Err(RsaError::WrongResult);
        }
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::tests::{CA, ISSUER, known_pair};

    #[test]
    fn a_result_that_the_public_key_does_not_confirm_is_not_returned() {
        let pair = known_pair(&ISSUER);
        let mut signer = RsaSigner::new(&pair).unwrap();
        let block = vec![0x6A; signer.public().length()];
        assert!(signer.sign(&block).is_ok());
        // The same modulus with another exponent stands for a fault of the machine: no result fits it.
        signer.public =
            RsaPublicKey::new(pair.public().modulus(), crate::crypto::rsa::PublicExponent::F4).unwrap();
        assert!(matches!(signer.sign(&block), Err(RsaError::WrongResult)));
        // Nor does one of another length.
        signer.public = known_pair(&CA).public().clone();
        let block = vec![0x6A; signer.public().length()];
        assert!(signer.sign(&block).is_err());
    }
}
