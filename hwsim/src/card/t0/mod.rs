//! The card's side of T=0 (ISO/IEC 7816-3, 12.2): which bytes are a command TPDU, and how an answer leaves the
//! card. A command with data (cases 3 and 4) that has an answer is answered `61xx`, and GET RESPONSE fetches
//! the answer; a command of case 2 with a wrong Le is answered `6Cxx` and comes again with the right one. GET
//! RESPONSE with too long an Le is answered `6Cxx` as well (EMV Book 1, 9.3.1.2). More than 256 bytes come in
//! pieces.
//!
//! The card carries out a command once: it keeps the answer until it is fetched, and any other command drops
//! it. Not here: procedure bytes, and ENVELOPE.

/// Instruction GET RESPONSE.
const GET_RESPONSE: u8 = 0xC0;
/// Answer to GET RESPONSE if there is nothing to fetch: conditions of use not satisfied.
const NOTHING: [u8; 2] = [0x69, 0x85];
/// Answer to bytes that are no command TPDU: wrong length.
const NO_COMMAND: [u8; 2] = [0x67, 0x00];
/// SW1: SW2 more bytes can be fetched; 00 stands for 256 or more.
const MORE: u8 = 0x61;
/// SW1: wrong Le; SW2 is the right one.
const WRONG_LE: u8 = 0x6C;
/// Length of a status word, in bytes.
const SW: usize = 2;
/// Most bytes of one answer.
const PIECE_MAX: usize = 256;
/// Length of a command TPDU without data: CLA INS P1 P2 P3.
const HEADER: usize = 5;

/// Whether an ATR offers T=1 (ISO/IEC 7816-3, 8.2.3: in any TDi; without one, T=0 is offered).
pub(crate) fn offers_t1(atr: &[u8]) -> bool {
    // T0, then each TDi, announces the interface bytes that follow it. A TD is the last of them.
    let mut at = 1;
    while let Some(announced) = atr.get(at).filter(|announced| **announced & 0x80 != 0) {
        at += usize::try_from((announced >> 4).count_ones()).unwrap_or(0);
        if atr.get(at).is_some_and(|td| td & 0x0F == 1) {
            return true;
        }
    }
    false
}

/// An answer that was not delivered whole.
#[derive(Default)]
enum Withheld {
    /// Nothing.
    #[default]
    Nothing,
    /// For GET RESPONSE: data and status word.
    Rest(Vec<u8>),
    /// For this header (CLA INS P1 P2) with the right Le: data and status word.
    Again([u8; 4], Vec<u8>),
}

/// Delivers the answers of a card.
pub(super) struct T0Delivery {
    withheld: Withheld,
    /// Most bytes of one piece of an answer.
    piece: usize,
    /// Whether `61xx` names the length of the next piece; otherwise it is `6100`.
    announces: bool,
}

impl Default for T0Delivery {
    fn default() -> Self {
        Self { withheld: Withheld::Nothing, piece: PIECE_MAX, announces: true }
    }
}

impl T0Delivery {
    /// Delivers pieces of at most that many bytes from now on, from 1 to 256.
    pub(super) fn set_piece(&mut self, bytes: usize) {
        self.piece = bytes.clamp(1, PIECE_MAX);
    }

    /// Answers `6100` in place of `61xx` from now on.
    pub(super) fn hide_lengths(&mut self) {
        self.announces = false;
    }

    /// Drops what was withheld.
    pub(super) fn forget(&mut self) {
        self.withheld = Withheld::Nothing;
    }

    /// Whether this command fetches what was withheld, and is no new one.
    pub(super) fn fetches(&self, tpdu: &[u8]) -> bool {
        match (&self.withheld, tpdu) {
            (Withheld::Rest(_), &[_, GET_RESPONSE, _, _, _]) => true,
            (Withheld::Again(header, whole), &[cla, ins, p1, p2, le]) => {
                *header == [cla, ins, p1, p2] && length(le) == self.next(whole)
            }
            _ => false,
        }
    }

    /// Answers a command: from what was withheld, or with the answer of `carry_out`, data and status word.
    pub(super) fn answer(&mut self, tpdu: &[u8], carry_out: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let fetches = self.fetches(tpdu);
        let withheld = std::mem::take(&mut self.withheld);
        match (withheld, tpdu) {
            (Withheld::Rest(whole), &[.., le]) if fetches => self.get_response(whole, length(le)),
            (Withheld::Again(_, whole), _) if fetches => self.first(whole),
            (_, &[_, GET_RESPONSE, _, _, _]) => NOTHING.to_vec(),
            _ if !is_command(tpdu) => NO_COMMAND.to_vec(),
            _ => {
                let whole = carry_out();
                self.deliver(tpdu, whole)
            }
        }
    }

    /// Delivers the whole answer to a command, or withholds it.
    fn deliver(&mut self, tpdu: &[u8], whole: Vec<u8>) -> Vec<u8> {
        match tpdu {
            _ if whole.len() <= SW => whole,
            &[cla, ins, p1, p2, le] => {
                let next = self.next(&whole);
                if length(le) == next {
                    return self.first(whole);
                }
                self.withheld = Withheld::Again([cla, ins, p1, p2], whole);
                vec![WRONG_LE, code(next)]
            }
            _ => {
                let more = self.more(&whole);
                self.withheld = Withheld::Rest(whole);
                more
            }
        }
    }

    /// GET RESPONSE: at most `le` bytes. More than the next piece has are a wrong Le.
    fn get_response(&mut self, mut whole: Vec<u8>, le: usize) -> Vec<u8> {
        let next = self.next(&whole);
        if le > next {
            self.withheld = Withheld::Rest(whole);
            return vec![WRONG_LE, code(next)];
        }
        if le + SW == whole.len() {
            return whole;
        }
        let rest = whole.split_off(le);
        whole.extend(self.more(&rest));
        self.withheld = Withheld::Rest(rest);
        whole
    }

    /// The first piece of an answer.
    fn first(&mut self, whole: Vec<u8>) -> Vec<u8> {
        let next = self.next(&whole);
        self.get_response(whole, next)
    }

    /// Length of the next piece of an answer.
    fn next(&self, whole: &[u8]) -> usize {
        whole.len().saturating_sub(SW).min(self.piece)
    }

    /// The status word that announces the next piece.
    fn more(&self, whole: &[u8]) -> Vec<u8> {
        vec![MORE, if self.announces { code(self.next(whole)) } else { 0 }]
    }
}

/// Whether these bytes are a command TPDU: a header, and as many bytes of data as P3 says, or none. An Le
/// after the data is none of them. The reader adds the P3 of a command of case 1.
fn is_command(tpdu: &[u8]) -> bool {
    match tpdu.get(HEADER - 1) {
        None => tpdu.len() == HEADER - 1,
        Some(p3) => tpdu.len() == HEADER || (*p3 > 0 && tpdu.len() == HEADER + usize::from(*p3)),
    }
}

/// Value of Le: 00 is 256.
fn length(le: u8) -> usize {
    if le == 0 { PIECE_MAX } else { le.into() }
}

/// A number of bytes as SW2: 00 for 256 and more.
fn code(bytes: usize) -> u8 {
    u8::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests;
