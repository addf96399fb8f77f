//! The structure of an answer to reset (ISO 7816-3, 8.2): whether it is complete, and which protocols it
//! offers.
//!
//! pcscd answers "protocol mismatch" both for a garbled ATR and for a card of another protocol. Not here: the
//! other meanings of the ATR.

/// TS: direct or inverse convention; pcscd returns the latter as it is after conversion.
const TS: [u8; 2] = [0x3B, 0x3F];

/// Whether these bytes are a whole ATR: TS, T0, the interface bytes that each T0 or TDi announces, the
/// historical bytes that T0 counts, and TCK where another protocol than T=0 is offered.
pub(crate) fn is_whole(atr: &[u8]) -> bool {
    let (Some(&[ts, t0]), Some((offered, rest))) = (atr.first_chunk(), interface(atr)) else { return false };
    let check = usize::from(offered & !1 != 0);
    TS.contains(&ts) && rest.len() == usize::from(t0 & 0x0F) + check
}

/// Whether T=1 is among the protocols that the ATR offers; one that names none offers T=0 (ISO 7816-3,
/// 8.2.3).
pub(crate) fn offers_t1(atr: &[u8]) -> bool {
    interface(atr).is_some_and(|(offered, _)| offered & 1 << 1 != 0)
}

/// The protocols that the TDi name, as a sum of 1 << T, and the bytes after the interface bytes; `None` if
/// the ATR ends before.
fn interface(atr: &[u8]) -> Option<(u16, &[u8])> {
    let (&[_, t0], mut rest) = atr.split_first_chunk()?;
    let mut announced = t0;
    let mut offered = 0;
    loop {
        // TA, TB, TC, TD in the upper half.
        let bytes = usize::try_from((announced >> 4).count_ones()).unwrap_or(0);
        let (interface, after) = rest.split_at_checked(bytes)?;
        rest = after;
        match interface.last() {
            Some(&td) if announced & 0x80 != 0 => {
                offered |= 1 << (td & 0x0F);
                announced = td;
            }
            _ => return Some((offered, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_whole, offers_t1};

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

    #[test]
    fn t1_is_offered_by_any_td() {
        for (atr, t1) in [
            (&[0x3B, 0x60, 0x00, 0x00][..], false),
            (&[0x3B, 0x75, 0x13, 0x00, 0x00, 0x54, 0x43, 0x41, 0x52, 0x44], false),
            (&[0x3B, 0xE0, 0x00, 0x00, 0x81, 0x31, 0x20, 0x45, 0x35], true),
            // TD1: T=0, TD2: T=1.
            (&[0x3B, 0x80, 0x80, 0x01, 0x01], true),
            // TD1: T=0, and T=15, which is no protocol.
            (&[0x3B, 0x80, 0x80, 0x1F, 0x00, 0x1F], false),
            (&[0x3B, 0x80, 0x00], false),
            // Historical bytes 81 31 are no TD.
            (&[0x3B, 0x02, 0x81, 0x31], false),
            (&[], false),
            (&[0x3B, 0xFF, 0x01], false),
        ] {
            assert_eq!(offers_t1(atr), t1, "{atr:02X?}");
        }
    }
}
