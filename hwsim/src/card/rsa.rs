//! The card's private RSA key, held as CRT constants (DGIs 8201 to 8205), and what it signs (EMV Book 2, 6.5
//! and annex A2.1).
//!
//! `rules` refuses a constant that has no padding 80 00.., so the number is exactly the bytes before the
//! padding, and no length of a part is guessed. As on a real card, STORE DATA takes each constant by itself.
//! Whether the five belong together is checked before every signature: a card that signs with a wrong constant
//! gives away a factor of its key.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;
use sha1::{Digest, Sha1};

use super::apdu::CardStatusWord;
use super::rules::StoredDgis;
use super::tdes;

/// First byte of every signed block, and signed data format of dynamic data with hash algorithm 01, SHA-1.
const HEADER: u8 = 0x6A;
const DYNAMIC_DATA_SHA_1: [u8; 2] = [0x05, 0x01];
/// Byte that fills the block between the dynamic data and the hash.
const PAD: u8 = 0xBB;
/// Last byte of every signed block.
const TRAILER: u8 = 0xBC;
/// Longest modulus, in bytes (EMV Book 2, annex B2.1).
const MODULUS_MAX: i32 = 248;
/// Bytes of header, hash and trailer.
const AROUND: usize = 22;

/// A private key. A number that OpenSSL cannot work with is one of a key that is not whole: `6F00`.
pub(super) struct CardCrtKey {
    /// Product of the primes.
    modulus: BigNum,
    /// 8205
    p: BigNum,
    /// 8204
    q: BigNum,
    /// 8203: d mod (p - 1)
    exponent_p: BigNum,
    /// 8202: d mod (q - 1)
    exponent_q: BigNum,
    /// 8201: 1 / q mod p
    q_inverse: BigNum,
}

impl CardCrtKey {
    /// Takes the key out of an application's DGIs: `6985` without one of the constants, `6F00` if they do not
    /// belong together.
    pub(super) fn of(dgis: &StoredDgis) -> Result<Self, CardStatusWord> {
        let part = |dgi: u16| {
            let padded = dgis.get(&dgi).ok_or(CardStatusWord::CONDITIONS)?;
            let part = tdes::unpad(padded).ok_or(CardStatusWord::NO_DIAGNOSIS)?;
            BigNum::from_slice(part).map_err(|_| CardStatusWord::NO_DIAGNOSIS)
        };
        let (p, q) = (part(0x8205)?, part(0x8204)?);
        let (exponent_p, exponent_q, q_inverse) = (part(0x8203)?, part(0x8202)?, part(0x8201)?);
        let modulus = product(&p, &q).map_err(|_| CardStatusWord::NO_DIAGNOSIS)?;
        let key = Self { modulus, p, q, exponent_p, exponent_q, q_inverse };
        if key.is_whole().unwrap_or(false) { Ok(key) } else { Err(CardStatusWord::NO_DIAGNOSIS) }
    }

    /// Whether q times its inverse is 1 mod p, and both exponents are inverses of one public exponent.
    fn is_whole(&self) -> Result<bool, ErrorStack> {
        if self.modulus.num_bytes() > MODULUS_MAX {
            return Ok(false);
        }
        let mut one = BigNum::new()?;
        let mut context = BigNumContext::new()?;
        one.mod_mul(&self.q, &self.q_inverse, &self.p, &mut context)?;
        let of_p = public_exponent(&self.exponent_p, &self.p)?;
        Ok(one == BigNum::from_u32(1)? && of_p == public_exponent(&self.exponent_q, &self.q)?)
    }

    /// Signs dynamic data: the block is `6A | 05 01 length data BB.. | hash | BC`, and the hash covers its
    /// middle part and the terminal's data (EMV Book 2, 6.5.1 and 6.6.1). Returns as many bytes as the modulus
    /// has.
    pub(super) fn sign_dynamic_data(
        &self,
        data: &[u8],
        from_terminal: &[u8],
    ) -> Result<Vec<u8>, CardStatusWord> {
        let bytes = self.modulus.num_bytes();
        let middle = usize::try_from(bytes).ok().and_then(|bytes| bytes.checked_sub(AROUND));
        let length = u8::try_from(data.len()).map_err(|_| CardStatusWord::NO_DIAGNOSIS)?;
        let mut signed = [&DYNAMIC_DATA_SHA_1[..], &[length], data].concat();
        let middle = middle.filter(|room| *room >= signed.len()).ok_or(CardStatusWord::NO_DIAGNOSIS)?;
        signed.resize(middle, PAD);
        let hash = Sha1::new().chain_update(&signed).chain_update(from_terminal).finalize();
        let block = [&[HEADER], &signed[..], &hash, &[TRAILER]].concat();
        self.exponentiate(&block, bytes).ok().flatten().ok_or(CardStatusWord::NO_DIAGNOSIS)
    }

    /// The private operation: s = s_q + q ((s_p - s_q) / q mod p). `None` if the block is no number below the
    /// modulus, which a modulus of whole bytes always allows.
    fn exponentiate(&self, block: &[u8], bytes: i32) -> Result<Option<Vec<u8>>, ErrorStack> {
        let mut context = BigNumContext::new()?;
        let block = BigNum::from_slice(block)?;
        if block >= self.modulus {
            return Ok(None);
        }
        let (mut of_p, mut of_q) = (BigNum::new()?, BigNum::new()?);
        of_p.mod_exp(&block, &self.exponent_p, &self.p, &mut context)?;
        of_q.mod_exp(&block, &self.exponent_q, &self.q, &mut context)?;
        let (mut difference, mut times) = (BigNum::new()?, BigNum::new()?);
        difference.mod_sub(&of_p, &of_q, &self.p, &mut context)?;
        times.mod_mul(&difference, &self.q_inverse, &self.p, &mut context)?;
        let times = product(&times, &self.q)?;
        let mut signature = BigNum::new()?;
        signature.checked_add(&times, &of_q)?;
        signature.to_vec_padded(bytes).map(Some)
    }
}

fn product(p: &BigNumRef, q: &BigNumRef) -> Result<BigNum, ErrorStack> {
    let mut product = BigNum::new()?;
    let mut context = BigNumContext::new()?;
    product.checked_mul(p, q, &mut context)?;
    Ok(product)
}

/// The public exponent that belongs to a private one: its inverse mod (prime - 1).
fn public_exponent(private: &BigNumRef, prime: &BigNumRef) -> Result<BigNum, ErrorStack> {
    let mut order = prime.to_owned()?;
    order.sub_word(1)?;
    let mut exponent = BigNum::new()?;
    let mut context = BigNumContext::new()?;
    exponent.mod_inverse(private, &order, &mut context)?;
    Ok(exponent)
}
