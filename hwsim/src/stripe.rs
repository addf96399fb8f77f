//! The magnetic stripe of a blank: three tracks, their character sets and lengths, and their flux changes
//! (ISO/IEC 7811-2 and 7811-6).
//!
//! Not here: the encoder's protocol (`device::msr605`). A track is kept as text with its sentinels, or as the
//! bytes of a raw write.

use crate::profile::StripeCoercivity;

/// Character set and length of a track.
#[derive(Debug)]
pub struct TrackStandard {
    /// Start sentinel.
    pub start: u8,
    /// Most data characters: the standard's length without sentinels and LRC.
    pub data_max: usize,
    /// Least code of the set; the value of a character is its code minus this.
    base: u8,
    /// Data bits per character; odd parity follows.
    bits: u8,
}

/// End sentinel of every track.
pub const END: u8 = b'?';
/// Tracks 1 (IATA), 2 (ABA), 3 (THRIFT).
pub const FORMATS: [TrackStandard; 3] = [
    TrackStandard { start: b'%', data_max: 76, base: 0x20, bits: 6 },
    TrackStandard { start: b';', data_max: 37, base: 0x30, bits: 4 },
    TrackStandard { start: b';', data_max: 104, base: 0x30, bits: 4 },
];

impl TrackStandard {
    /// Whether `text` may stand between the sentinels.
    pub fn allows(&self, text: &[u8]) -> bool {
        text.len() <= self.data_max
            && text.iter().all(|c| {
                c.checked_sub(self.base).is_some_and(|v| v >> self.bits == 0) && *c != self.start && *c != END
            })
    }

    /// Returns a character near `c` in the set: not `c`, and no sentinel.
    pub fn neighbour(&self, c: u8) -> u8 {
        let next = self.base + (c.wrapping_sub(self.base) ^ 1);
        if next == self.start || next == END { self.base } else { next }
    }

    /// The bits of `text` (sentinels included) with its LRC, in their order on the stripe: each character
    /// with its least bit first, then odd parity. Eight bits to a byte, the first in the most significant
    /// bit, zeros at the end.
    pub fn bits(&self, text: &[u8]) -> Vec<u8> {
        let mut lrc = 0;
        let mut bits = Vec::with_capacity((text.len() + 1) * usize::from(self.bits + 1));
        let mut put = |value: u8| {
            bits.extend((0..self.bits).map(|n| value >> n & 1));
            bits.push(1 ^ (value.count_ones() & 1) as u8);
        };
        for c in text {
            let value = c.wrapping_sub(self.base);
            lrc ^= value;
            put(value);
        }
        put(lrc);
        bits.chunks(8)
            .map(|chunk| chunk.iter().zip((0..8).rev()).fold(0, |byte, (bit, shift)| byte | bit << shift))
            .collect()
    }
}

/// Content of a track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TrackContent {
    /// There are no data.
    #[default]
    Empty,
    /// Characters, sentinels included, LRC not.
    Text(Vec<u8>),
    /// Bytes of a raw write.
    Raw(Vec<u8>),
}

impl TrackContent {
    /// Content for the witness: the text, or `raw:` and hex, or `None`.
    pub fn witness(&self) -> Option<String> {
        match self {
            Self::Empty => None,
            Self::Text(text) => Some(text.iter().copied().map(char::from).collect()),
            Self::Raw(bytes) => Some(format!("raw:{}", hex::encode_upper(bytes))),
        }
    }
}

/// A stripe.
#[derive(Debug)]
pub struct MagneticStripe {
    /// Tracks 1 to 3.
    pub tracks: [TrackContent; 3],
    /// Coercivity of the material.
    pub coercivity: StripeCoercivity,
    /// Whether track 2 still holds the data that the blank arrived with.
    pub dirty: bool,
}

/// Track 2 of a dirty blank: a made-up number.
const DIRT: &[u8] = b";9999999999999999=4912?";

impl MagneticStripe {
    /// An empty stripe, or one with data on track 2.
    pub fn new(coercivity: StripeCoercivity, dirty: bool) -> Self {
        let second = if dirty { TrackContent::Text(DIRT.to_vec()) } else { TrackContent::Empty };
        Self { tracks: [TrackContent::Empty, second, TrackContent::Empty], coercivity, dirty }
    }

    /// Writes or erases the given tracks with a head of this `current`. A LoCo current leaves HiCo material
    /// unchanged, which the machine cannot notice; a HiCo current writes both.
    pub fn put(&mut self, current: StripeCoercivity, given: [Option<TrackContent>; 3]) {
        if current == StripeCoercivity::Loco && self.coercivity == StripeCoercivity::Hico {
            return;
        }
        self.dirty &= given[1].is_none();
        for (track, new) in self.tracks.iter_mut().zip(given) {
            if let Some(new) = new {
                *track = new;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(bits: &[u8], count: usize) -> String {
        let all: String = bits.iter().map(|b| format!("{b:08b}")).collect();
        all[..count].to_owned()
    }

    /// A synthetic vector after ISO/IEC 7811-2.
    #[test]
    fn track_2_bits() {
        let text = b";4761739001010119=22122011143878089?";
        let bits = FORMATS[1].bits(text);
        assert_eq!(bits.len(), 185usize.div_ceil(8)); // 37 characters with the LRC
        assert_eq!(text_of(&bits, 60), "110100010011100011011000011100110011001100001000011000000001");
        assert_eq!(&text_of(&bits, 185)[180..], "00010", "LRC 8 and its parity");
    }

    #[test]
    fn track_1_bits() {
        let text = b"%B4761739001010119^TEST/CARD^22122011143878089?";
        let bits = FORMATS[0].bits(text);
        assert_eq!(bits.len(), (48usize * 7).div_ceil(8));
        assert_eq!(&text_of(&bits, 48 * 7)[47 * 7..], "0010011", "LRC 24 hex and its parity");
    }

    #[test]
    fn sets_and_lengths() {
        let [one, two, three] = &FORMATS;
        assert!(one.allows(b"B4761739001010119^TEST/CARD^2212") && one.allows(&[b'A'; 76]));
        assert!(two.allows(&[b'1'; 37]) && three.allows(&[b'1'; 104]));
        for bad in [&[b'A'; 77][..], b"a", b"A?B", b"A%B", b"\x1f", b"\x60", b"\xA0"] {
            assert!(!one.allows(bad), "{bad:?}");
        }
        for bad in [&[b'1'; 38][..], b"A", b"1;", b"1?", b"/", b"@", b"\xB1"] {
            assert!(!two.allows(bad), "{bad:?}");
        }
        assert!(!three.allows(&[b'1'; 105]));
    }

    #[test]
    fn a_neighbour_is_another_character_of_the_set() {
        for format in &FORMATS {
            for c in 0x20..0x60u8 {
                if format.allows(&[c]) {
                    let n = format.neighbour(c);
                    assert!(n != c && format.allows(&[n]), "{c:02X} {n:02X}");
                }
            }
        }
    }

    #[test]
    fn weak_heads_do_not_write_hard_stripes() {
        let text = || [None, Some(TrackContent::Text(b";1?".to_vec())), None];
        let mut hard = MagneticStripe::new(StripeCoercivity::Hico, true);
        hard.put(StripeCoercivity::Loco, text());
        assert_eq!(hard.tracks[1].witness().as_deref(), Some(";9999999999999999=4912?"));
        assert!(hard.dirty);
        hard.put(StripeCoercivity::Hico, text());
        assert_eq!(hard.tracks[1].witness().as_deref(), Some(";1?"));
        assert!(!hard.dirty);
        let mut soft = MagneticStripe::new(StripeCoercivity::Loco, false);
        soft.put(StripeCoercivity::Loco, text());
        assert_eq!(soft.tracks[1].witness().as_deref(), Some(";1?"));
    }
}
