//! The field of FIPS 197, shares that another program made, and laws of sharing by another way of solving.

use super::*;

/// FIPS 197, 4.2 and 4.2.1.
#[test]
fn the_field_is_that_of_fips_197() {
    assert_eq!((times(0x57, 0x83), times(0x57, 0x13)), (0xC1, 0xFE));
    assert_eq!([1, 2, 4, 8, 0x10].map(|x| times(0x57, x)), [0x57, 0xAE, 0x47, 0x8E, 0x07]);
    // The S-box begins with the inverse (5.1.1): that of 53 is CA.
    assert_eq!(inverse(0x53), 0xCA);
    assert!((1..=255).all(|a| times(a, inverse(a)) == 1));
    assert_eq!(inverse(0), 0);
}

fn bytes(hex: &str) -> [u8; 16] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// Bouncy Castle for Java, ShamirSecretSplitterTest: 3 of 5, the same field; its places are 0 to 4.
#[test]
fn shares_of_bc_shamir_give_its_secret() {
    let shares = [
        "00112233445566778899AABBCCDDEEFF",
        "D43099FE444807C46921A4F33A2A798B",
        "D9AD4E3BEC2E1A7485698823ABF05D36",
        "0D8CF5F6EC337BC764D1866B5D07CA42",
        "1AA7FE3199BC5092EF3816B074CABDF2",
    ]
    .map(bytes);
    let points: Vec<(u8, &[u8; 16])> = (0..).zip(&shares).collect();
    for (at, point) in points.iter().enumerate() {
        let three: Vec<_> = (1..=3).map(|more| points[(at + more) % 5]).collect();
        assert_eq!(*value_at(point.0, &three).unwrap(), *point.1, "the polynomial has degree 2");
        assert_eq!(*value_at(255, &three).unwrap(), bytes("0FF784DF000C4380A5ED683F7E6E3DCF"));
    }
}

#[test]
fn a_place_twice_gives_nothing() {
    assert!(value_at(0, &[(1, &[1]), (2, &[2]), (1, &[1])]).is_none());
}

/// Interpolation as a school book does it, with tables of logarithms to base 3: solves for the coefficients.
fn solved(points: &[(u8, u8)]) -> Vec<u8> {
    let (mut powers, mut logs) = ([0_u8; 255], [0_usize; 256]);
    let mut power = 1_u16;
    for (log, slot) in powers.iter_mut().enumerate() {
        *slot = u8::try_from(power).unwrap();
        logs[usize::from(*slot)] = log;
        power ^= power << 1;
        if power > 0xFF {
            power ^= 0x11B;
        }
    }
    let product = |a: u8, b: u8| match (a, b) {
        (0, _) | (_, 0) => 0,
        _ => powers[(logs[usize::from(a)] + logs[usize::from(b)]) % 255],
    };
    let quotient = |a: u8, b: u8| match a {
        0 => 0,
        _ => powers[(255 + logs[usize::from(a)] - logs[usize::from(b)]) % 255],
    };
    let n = points.len();
    let mut rows: Vec<Vec<u8>> = points
        .iter()
        .map(|&(x, y)| {
            let mut row: Vec<u8> =
                std::iter::successors(Some(1), |power| Some(product(*power, x))).take(n).collect();
            row.push(y);
            row
        })
        .collect();
    for column in 0..n {
        let pivot = (column..n).find(|row| rows[*row][column] != 0).unwrap();
        rows.swap(column, pivot);
        let pivot = rows[column].clone();
        for (at, row) in rows.iter_mut().enumerate() {
            let factor = quotient(if at == column { 0 } else { row[column] }, pivot[column]);
            row.iter_mut().zip(&pivot).for_each(|(to, from)| *to ^= product(factor, *from));
        }
    }
    (0..n).map(|at| quotient(rows[at][n], rows[at][at])).collect()
}

/// Each combination of `m` of the places.
fn choices(places: &[u8], m: usize) -> Vec<Vec<u8>> {
    if m == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for (at, first) in places.iter().enumerate() {
        for mut rest in choices(&places[at + 1..], m - 1) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

proptest::proptest! {
    #[test]
    fn every_m_of_n_shares_give_the_secret(
        secret: [u8; 2],
        coefficients in proptest::collection::vec(proptest::prelude::any::<[u8; 2]>(), 1..5),
        more in 0..4_u8,
    ) {
        let m = coefficients.len() + 1;
        let n = u8::try_from(m).unwrap() + more;
        let kept: Vec<_> = coefficients.iter().map(|bytes| Zeroizing::new(*bytes)).collect();
        let shares: Vec<_> = (1..=n).map(|x| share(&secret, &kept, x)).collect();
        for places in choices(&(1..=n).collect::<Vec<_>>(), m) {
            let points: Vec<_> = places.iter().map(|x| (*x, &*shares[usize::from(*x) - 1])).collect();
            proptest::prop_assert_eq!(*value_at(0, &points).unwrap(), secret);
            let first: Vec<_> = points.iter().map(|(x, bytes)| (*x, bytes[0])).collect();
            let whole: Vec<u8> = [secret[0]].into_iter().chain(coefficients.iter().map(|c| c[0])).collect();
            proptest::prop_assert_eq!(solved(&first), whole, "by another way");
        }
    }

    /// Whatever the secret might be, there is a last share with which one share too few gives it.
    #[test]
    fn fewer_shares_fit_every_secret(
        secret: [u8; 1],
        coefficients in proptest::collection::vec(proptest::prelude::any::<[u8; 1]>(), 1..5),
    ) {
        let kept: Vec<_> = coefficients.iter().map(|bytes| Zeroizing::new(*bytes)).collect();
        let places: Vec<u8> = (1..).take(coefficients.len()).collect();
        let shares: Vec<_> = places.iter().map(|x| share(&secret, &kept, *x)).collect();
        let few: Vec<(u8, &[u8; 1])> = places.iter().copied().zip(shares.iter().map(|s| &**s)).collect();
        for other in 0..=255 {
            let guess = [other];
            let points: Vec<_> = few.iter().copied().chain([(0, &guess)]).collect();
            let last = value_at(9, &points).unwrap();
            let shares: Vec<_> = few.iter().copied().chain([(9, &*last)]).collect();
            proptest::prop_assert_eq!(*value_at(0, &shares).unwrap(), guess);
        }
    }
}
