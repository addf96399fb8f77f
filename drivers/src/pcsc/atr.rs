//! Checks that an answer to reset is complete (ISO 7816-3, 8.2).
//!
//! pcscd answers "protocol mismatch" both for a garbled ATR and for a card of another protocol. Not here: the
//! meaning of the ATR.

/// TS: direct or inverse convention; pcscd returns the latter as it is after conversion.
const TS: [u8; 2] = [0x3B, 0x3F];

/// Whether these bytes are a whole ATR: TS, T0, the interface bytes that each T0 or TDi announces, the
/// historical bytes that T0 counts, and TCK where another protocol than T=0 is offered.
pub(super) fn is_whole(atr: &[u8]) -> bool {
    let Some((&[ts, t0], mut rest)) = atr.split_first_chunk() else { return false };
    let mut announced = t0;
    let mut check = 0;
    loop {
        // TA, TB, TC, TD in the upper half.
        let bytes = usize::try_from((announced >> 4).count_ones()).unwrap_or(0);
        let Some((interface, after)) = rest.split_at_checked(bytes) else { return false };
        rest = after;
        match interface.last() {
            Some(&td) if announced & 0x80 != 0 => {
                check |= usize::from(td & 0x0F != 0);
                announced = td;
            }
            _ => break,
        }
    }
    TS.contains(&ts) && rest.len() == usize::from(t0 & 0x0F) + check
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn whole_atrs_are_distinguished_from_garbled_ones() {
        for whole in [
            &[0x3B, 0x60, 0x00, 0x00][..],
            &[0x3B, 0xE0, 0x00, 0x00, 0x81, 0x31, 0x20, 0x45, 0x35],
            &[0x3F, 0x00],
            &[0x3B, 0x02, 0x14, 0x50],
            // T=0 and T=1 are offered, so there is a TCK.
            &[0x3B, 0x80, 0x80, 0x01, 0x01],
        ] {
            assert!(is_whole(whole), "{whole:02X?}");
            assert!(
                !is_whole(&whole[..whole.len() - 1]) && !is_whole(&[whole, &[0]].concat()),
                "{whole:02X?}"
            );
            assert!(!is_whole(&[&[0x00], &whole[1..]].concat()));
        }
        assert!(!is_whole(&[]) && !is_whole(&[0x3B]) && !is_whole(&[0x3B, 0xFF]));
    }
}
