//! Security levels of a channel: P1 of EXTERNAL AUTHENTICATE (GPCS Table E-11; Amendment D Table 7-3).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::channel;

/// How commands and answers of a session are protected. All levels of the standards are listed; one exists for the
/// rest of the program only if a protocol of this build offers it ([`SecLevel::from_byte`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecLevel {
    /// 00: authentication only; EXTERNAL AUTHENTICATE itself still has its C-MAC.
    Authenticated,
    /// 01: C-MAC on every command.
    Mac,
    /// 03: C-MAC and command encryption.
    MacEnc,
    /// 11: as 01, and R-MAC on every answer.
    MacRmac,
    /// 13: as 03, and R-MAC on every answer.
    MacEncRmac,
    /// 33: as 13, and answers encrypted.
    MacEncRmacRenc,
}

impl SecLevel {
    const ALL: [Self; 6] =
        [Self::Authenticated, Self::Mac, Self::MacEnc, Self::MacRmac, Self::MacEncRmac, Self::MacEncRmacRenc];

    /// From the byte of the PDI; `None` for a level that no protocol of this build offers.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.byte() == byte && channel::is_offered(*level))
    }

    /// P1 of EXTERNAL AUTHENTICATE.
    pub fn byte(self) -> u8 {
        match self {
            Self::Authenticated => 0x00,
            Self::Mac => 0x01,
            Self::MacEnc => 0x03,
            Self::MacRmac => 0x11,
            Self::MacEncRmac => 0x13,
            Self::MacEncRmacRenc => 0x33,
        }
    }

    /// Whether commands carry a C-MAC.
    pub fn has_command_mac(self) -> bool {
        self.byte() & 0x01 != 0
    }

    /// Whether the data of commands is encrypted.
    pub fn has_command_encryption(self) -> bool {
        self.byte() & 0x02 != 0
    }

    /// Whether this level protects everything that `minimum` protects. Levels are sets of protections, not a scale: 11
    /// does not cover 03, because it leaves commands in the clear.
    pub fn covers(self, minimum: Self) -> bool {
        self.byte() & minimum.byte() == minimum.byte()
    }
}

impl TryFrom<String> for SecLevel {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let level = Self::ALL.into_iter().find(|level| String::from(*level) == text);
        level.filter(|level| channel::is_offered(*level)).ok_or_else(|| {
            let offered = Self::ALL.into_iter().filter(|level| channel::is_offered(*level));
            let offered: Vec<_> = offered.map(|level| format!("{:02X} ({level})", level.byte())).collect();
            format!("is no security level of this version; there are {}", offered.join(", "))
        })
    }
}

/// The protections in words.
impl fmt::Display for SecLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authenticated => "authentication only",
            Self::Mac => "C-MAC",
            Self::MacEnc => "C-MAC and encryption",
            Self::MacRmac => "C-MAC and R-MAC",
            Self::MacEncRmac => "C-MAC, encryption and R-MAC",
            Self::MacEncRmacRenc => "C-MAC, encryption, R-MAC and encrypted answers",
        })
    }
}

impl From<SecLevel> for String {
    fn from(level: SecLevel) -> String {
        format!("{:02X}", level.byte())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_of_a_protocol_of_this_build_are_read() {
        let read: Vec<u8> = (0..=255).filter(|byte| SecLevel::from_byte(*byte).is_some()).collect();
        assert_eq!(read, [0x00, 0x01, 0x03]);
        for wrong in ["33", "04", "3", "003", "O3", "03 ", "mac", ""] {
            assert_eq!(
                SecLevel::try_from(wrong.to_owned()).unwrap_err(),
                "is no security level of this version; there are 00 (authentication only), 01 (C-MAC), \
                 03 (C-MAC and encryption)",
            );
        }
    }

    #[test]
    fn a_level_covers_what_it_contains() {
        let covered = |level: SecLevel| SecLevel::ALL.map(|minimum| level.covers(minimum));
        assert_eq!(covered(SecLevel::Authenticated), [true, false, false, false, false, false]);
        assert_eq!(covered(SecLevel::Mac), [true, true, false, false, false, false]);
        assert_eq!(covered(SecLevel::MacEnc), [true, true, true, false, false, false]);
        assert_eq!(covered(SecLevel::MacRmac), [true, true, false, true, false, false]);
        assert_eq!(covered(SecLevel::MacEncRmacRenc), [true; 6]);
    }
}
