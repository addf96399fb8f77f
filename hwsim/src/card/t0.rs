//! Delivery of answers by T=0 (ISO 7816-3, 12.2): a case 4 command is answered `61xx` and GET RESPONSE
//! fetches the answer; a case 2 command with a wrong Le is answered `6Cxx` and comes again with the right
//! one. More than 256 bytes come in parts.
//!
//! The card carries out a command once: it keeps the answer until it is fetched, and any other command drops
//! it. Not here: commands longer than T=0 can carry, which the reader delivers whole all the same (no
//! ENVELOPE).

/// Instruction GET RESPONSE.
const GET_RESPONSE: u8 = 0xC0;
/// Answer to GET RESPONSE if there is nothing to fetch: conditions of use not satisfied.
const NOTHING: [u8; 2] = [0x69, 0x85];
/// SW1: SW2 more bytes can be fetched; 00 stands for 256 or more.
const MORE: u8 = 0x61;
/// SW1: wrong Le; SW2 is the right one.
const WRONG_LE: u8 = 0x6C;
/// Length of a status word, in bytes.
const SW: usize = 2;
/// Most bytes of one answer.
const PART: usize = 256;

/// The rest of the last answer.
#[derive(Default)]
pub(super) enum T0Answers {
    /// Nothing.
    #[default]
    Nothing,
    /// For GET RESPONSE: data and status word.
    Rest(Vec<u8>),
    /// For this header (CLA INS P1 P2) with the right Le: data and status word.
    Again([u8; 4], Vec<u8>),
}

impl T0Answers {
    /// Answers from the rest, if the command fetches it; any other command drops it.
    pub(super) fn fetch(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let kept = std::mem::take(self);
        let (&[cla, ins, p1, p2], body) = apdu.split_first_chunk()?;
        let le = body.first().map_or(PART, |le| length(*le));
        match kept {
            Self::Rest(rest) if ins == GET_RESPONSE => Some(self.part(rest, le)),
            _ if ins == GET_RESPONSE => Some(NOTHING.to_vec()),
            Self::Again(header, rest) if header == [cla, ins, p1, p2] && body.len() == 1 => {
                Some(self.part(rest, le))
            }
            _ => None,
        }
    }

    /// Returns at most `le` bytes of an answer and keeps the rest. If the answer is shorter than `le`, keeps
    /// all of it.
    fn part(&mut self, mut rest: Vec<u8>, le: usize) -> Vec<u8> {
        let there = rest.len().saturating_sub(SW);
        if le > there {
            *self = Self::Rest(rest);
            return vec![WRONG_LE, code(there)];
        }
        if le == there {
            return rest;
        }
        let behind = rest.split_off(le);
        rest.extend([MORE, code(behind.len().saturating_sub(SW))]);
        *self = Self::Rest(behind);
        rest
    }

    /// Returns the answer that T=0 gives to this command, whose whole answer is `whole`.
    pub(super) fn shorten(&mut self, apdu: &[u8], whole: Vec<u8>) -> Vec<u8> {
        let there = whole.len().saturating_sub(SW);
        let Some((header, body)) = apdu.split_first_chunk::<4>().filter(|_| there > 0) else { return whole };
        match body {
            [0] if there > PART => self.part(whole, PART),
            [le] if length(*le) == there => whole,
            [_] => {
                *self = Self::Again(*header, whole);
                vec![WRONG_LE, code(there)]
            }
            _ => {
                *self = Self::Rest(whole);
                vec![MORE, code(there)]
            }
        }
    }
}

/// Value of Le: 00 is 256.
fn length(le: u8) -> usize {
    if le == 0 { PART } else { le.into() }
}

/// A number of bytes as SW2: 00 for 256 and more.
fn code(bytes: usize) -> u8 {
    u8::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: usize) -> Vec<u8> {
        let mut answer: Vec<u8> = (0..bytes).map(|n| n.to_le_bytes()[0]).collect();
        answer.extend([0x90, 0x00]);
        answer
    }

    #[test]
    fn case_4_is_fetched() {
        let mut t0 = T0Answers::default();
        let select = [0x00, 0xA4, 0x04, 0x00, 0x01, 0xAA, 0x00];
        assert_eq!(t0.fetch(&select), None);
        assert_eq!(t0.shorten(&select, whole(20)), [0x61, 20]);
        assert_eq!(t0.fetch(&[0x00, 0xC0, 0, 0, 21]).unwrap(), [0x6C, 20]);
        assert_eq!(t0.fetch(&[0x00, 0xC0, 0, 0, 5]).unwrap(), [0, 1, 2, 3, 4, 0x61, 15]);
        assert_eq!(t0.fetch(&[0x00, 0xC0, 0, 0, 15]).unwrap(), whole(20)[5..]);
        assert_eq!(t0.fetch(&[0x00, 0xC0, 0, 0, 1]).unwrap(), NOTHING);
        assert_eq!(t0.shorten(&select, whole(300)), [0x61, 0x00]);
        let first = t0.fetch(&[0x00, 0xC0, 0, 0, 0]).unwrap();
        assert_eq!((first.len(), &first[256..]), (258, &[0x61, 44][..]));
        assert_eq!(t0.fetch(&[0x00, 0xC0, 0, 0, 44]).unwrap(), whole(300)[256..]);
        assert_eq!(t0.shorten(&[0x00, 0xB2, 1, 0x0C, 0x05], whole(9)), [0x6C, 9], "too short");
        // Another command drops the rest, and an answer without data leaves none.
        t0.shorten(&select, whole(3));
        assert_eq!(t0.fetch(&select), None);
        assert_eq!(t0.fetch(&[0x00, 0xC0, 0, 0, 3]).unwrap(), NOTHING);
        assert_eq!(t0.shorten(&select, vec![0x6A, 0x82]), [0x6A, 0x82]);
    }

    #[test]
    fn case_2_comes_again_with_the_right_length() {
        let mut t0 = T0Answers::default();
        assert_eq!(t0.shorten(&[0x80, 0xCA, 0x9F, 0x7F, 0x00], whole(45)), [0x6C, 45]);
        assert_eq!(t0.fetch(&[0x80, 0xCA, 0x9F, 0x7F, 45]).unwrap(), whole(45));
        assert_eq!(t0.shorten(&[0x80, 0xCA, 0x9F, 0x7F, 0x00], whole(45)), [0x6C, 45]);
        assert_eq!(t0.fetch(&[0x80, 0xCA, 0x00, 0xCF, 45]), None, "another object");
        assert_eq!(t0.shorten(&[0x80, 0xCA, 0x9F, 0x7F, 45], whole(45)), whole(45));
        assert_eq!(t0.shorten(&[0x00, 0xB2, 1, 0x0C, 0x00], whole(256)), whole(256));
    }
}
