//! Sharing of a secret: any `m` of its shares give it back, and fewer say nothing about it.
//!
//! Byte by byte over GF(256) with the polynomial 11B, the field of AES (FIPS 197, 4). A byte of the secret is the value at 0 of
//! a polynomial with m - 1 random coefficients; share number x is its value at x. A. Shamir, How to share a secret,
//! Communications of the ACM 22 (1979).
//!
//! No tables and no branches on secrets: time and cache say nothing about them. Not here: where coefficients come from, how shares
//! are kept (`hsm::store`).

use zeroize::Zeroizing;

/// Returns share number `x` of a secret. Zero is no number: the value there is the secret.
pub fn share<const N: usize>(
    secret: &[u8; N],
    coefficients: &[Zeroizing<[u8; N]>],
    x: u8,
) -> Zeroizing<[u8; N]> {
    let mut value = Zeroizing::new([0; N]);
    // Horner: the highest coefficient first, the secret last.
    for coefficient in coefficients.iter().rev().map(|bytes| &**bytes).chain([secret]) {
        for (byte, more) in value.iter_mut().zip(coefficient) {
            *byte = times(*byte, x) ^ more;
        }
    }
    value
}

/// Returns the value at `x` of the polynomials of least degree through some points; `None` if two points have one place.
/// At 0 it is the secret, if the points are exactly as many shares as its sharing needs.
pub fn value_at<const N: usize>(x: u8, points: &[(u8, &[u8; N])]) -> Option<Zeroizing<[u8; N]>> {
    let mut value = Zeroizing::new([0; N]);
    for (number, (place, bytes)) in points.iter().enumerate() {
        // Lagrange: 1 at this place, 0 at the others.
        let mut weight = 1;
        for (other, (elsewhere, _)) in points.iter().enumerate() {
            if other != number {
                if elsewhere == place {
                    return None;
                }
                weight = times(weight, times(x ^ elsewhere, inverse(place ^ elsewhere)));
            }
        }
        for (byte, more) in value.iter_mut().zip(*bytes) {
            *byte ^= times(*more, weight);
        }
    }
    Some(value)
}

/// The product in the field.
fn times(a: u8, b: u8) -> u8 {
    let (mut shifted, mut product) = (a, 0);
    for bit in 0..8 {
        product ^= shifted & mask(b >> bit);
        shifted = shifted << 1 ^ 0x1B & mask(shifted >> 7);
    }
    product
}

/// All ones if the lowest bit is one, else zero.
fn mask(bit: u8) -> u8 {
    0_u8.wrapping_sub(bit & 1)
}

/// The power 254: there are 255 elements but zero, so it is the inverse.
fn inverse(a: u8) -> u8 {
    let (mut power, mut result) = (a, 1);
    for _ in 1..8 {
        power = times(power, power);
        result = times(result, power);
    }
    result
}

#[cfg(test)]
mod tests;
