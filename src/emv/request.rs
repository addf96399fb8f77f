//! What an issuer and a certification authority send each other. Schemes have formats of their own; this one is ours, and an
//! exporter can make another of it (`src/manual/issuer.md`).
//!
//! ```text
//! request   "CWCR" | version u16 = 1 | issuer identifier 4 | L2 modulus | L1 exponent | L2 signature
//! answer    "CWCA" | version u16 = 1 | RID 5 | index u8 | L2 modulus of the authority | L1 its exponent
//!                  | L2 certificate (90) | L1 remainder (92)
//! ```
//!
//! Integers are big-endian. The signature is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2) by the key of the request over
//! all bytes before it: the sender holds the private key. Not here: RSA itself, and the certificate's own format
//! (`certificate`).

use sha2::{Digest, Sha256};

const REQUEST: &[u8; 4] = b"CWCR";
const ANSWER: &[u8; 4] = b"CWCA";
const VERSION: [u8; 2] = [0, 1];
/// DER of the DigestInfo of SHA-256 up to the hash (RFC 8017, 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Why a request or an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeFault {
    /// Another kind of file.
    #[error("it is not of this kind")]
    Kind,
    /// A newer version of the format.
    #[error("it is of another version of the format")]
    Version,
    /// Bytes are missing, or too many.
    #[error("its length does not fit its fields")]
    Length,
}

/// The body of a request for a certificate, before its signature.
pub fn request_body(issuer: [u8; 4], modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let mut body = [REQUEST.as_slice(), &VERSION, &issuer].concat();
    put_l2(&mut body, modulus)?;
    put_l1(&mut body, exponent)?;
    Some(body)
}

/// A request: its body and the signature.
pub fn request(body: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let mut request = body.to_vec();
    put_l2(&mut request, signature)?;
    Some(request)
}

/// The block that is signed for a request, as long as the modulus: `00 01 FF.. 00 | DigestInfo | SHA-256`.
pub fn request_block(body: &[u8], length: usize) -> Option<Vec<u8>> {
    let padding = length.checked_sub(3 + DIGEST_INFO.len() + 32).filter(|padding| *padding >= 8)?;
    let mut block = vec![0x00, 0x01];
    block.resize(2 + padding, 0xFF);
    block.push(0x00);
    block.extend_from_slice(&DIGEST_INFO);
    block.extend_from_slice(&Sha256::digest(body));
    Some(block)
}

/// A request as the authority reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// The bytes that are signed.
    pub body: &'a [u8],
    /// Issuer identifier.
    pub issuer: [u8; 4],
    /// Modulus of the issuer's key.
    pub modulus: &'a [u8],
    /// Its exponent.
    pub exponent: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// Reads a request. Its signature is not checked here.
pub fn read_request(bytes: &[u8]) -> Result<ReadRequest<'_>, ExchangeFault> {
    let mut rest = head(bytes, REQUEST)?;
    let issuer = take(&mut rest, 4)?.try_into().map_err(|_| ExchangeFault::Length)?;
    let (modulus, exponent) = (l2(&mut rest)?, l1(&mut rest)?);
    let body = bytes.get(..bytes.len() - rest.len()).ok_or(ExchangeFault::Length)?;
    let signature = l2(&mut rest)?;
    ends(rest)?;
    Ok(ReadRequest { body, issuer, modulus, exponent, signature })
}

/// An authority's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityAnswer<'a> {
    /// Registered application provider identifier.
    pub rid: [u8; 5],
    /// Index of the authority's key.
    pub index: u8,
    /// Modulus of the authority's key.
    pub modulus: &'a [u8],
    /// Its exponent.
    pub exponent: &'a [u8],
    /// The certificate.
    pub certificate: &'a [u8],
    /// The rest of the issuer's modulus.
    pub remainder: &'a [u8],
}

/// Reads an answer. The certificate is not checked here.
pub fn read_answer(bytes: &[u8]) -> Result<AuthorityAnswer<'_>, ExchangeFault> {
    let mut rest = head(bytes, ANSWER)?;
    let rid = take(&mut rest, 5)?.try_into().map_err(|_| ExchangeFault::Length)?;
    let [index] = take(&mut rest, 1)? else { return Err(ExchangeFault::Length) };
    let (modulus, exponent) = (l2(&mut rest)?, l1(&mut rest)?);
    let (certificate, remainder) = (l2(&mut rest)?, l1(&mut rest)?);
    ends(rest)?;
    Ok(AuthorityAnswer { rid, index: *index, modulus, exponent, certificate, remainder })
}

/// Writes an answer.
pub fn answer(parts: &AuthorityAnswer<'_>) -> Option<Vec<u8>> {
    let mut answer = [ANSWER.as_slice(), &VERSION, &parts.rid, &[parts.index]].concat();
    put_l2(&mut answer, parts.modulus)?;
    put_l1(&mut answer, parts.exponent)?;
    put_l2(&mut answer, parts.certificate)?;
    put_l1(&mut answer, parts.remainder)?;
    Some(answer)
}

fn put_l1(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.push(u8::try_from(bytes.len()).ok()?);
    out.extend_from_slice(bytes);
    Some(())
}

fn put_l2(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

fn head<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], ExchangeFault> {
    let rest = bytes.strip_prefix(kind.as_slice()).ok_or(ExchangeFault::Kind)?;
    rest.strip_prefix(VERSION.as_slice()).ok_or(ExchangeFault::Version)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], ExchangeFault> {
    let (taken, after) = rest.split_at_checked(count).ok_or(ExchangeFault::Length)?;
    *rest = after;
    Ok(taken)
}

fn l1<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], ExchangeFault> {
    let [length] = take(rest, 1)? else { return Err(ExchangeFault::Length) };
    take(rest, usize::from(*length))
}

fn l2<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], ExchangeFault> {
    let [high, low] = take(rest, 2)? else { return Err(ExchangeFault::Length) };
    take(rest, usize::from(u16::from_be_bytes([*high, *low])))
}

fn ends(rest: &[u8]) -> Result<(), ExchangeFault> {
    if rest.is_empty() { Ok(()) } else { Err(ExchangeFault::Length) }
}
