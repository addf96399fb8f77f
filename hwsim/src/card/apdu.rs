//! Command APDUs and status words (ISO 7816-4, 5.1 and 5.6).
//!
//! Not here: secure messaging, which `channel` removes.

use super::ber::CardBytes;

/// A status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CardStatusWord(pub(super) u16);

impl CardStatusWord {
    /// Done.
    pub(super) const OK: Self = Self(0x9000);
    /// EXTERNAL AUTHENTICATE: host cryptogram wrong (GPCS E.5.2).
    pub(super) const HOST_CRYPTOGRAM: Self = Self(0x6300);
    /// Wrong length.
    pub(super) const LENGTH: Self = Self(0x6700);
    /// Secure messaging not supported here.
    pub(super) const NO_SECURE_MESSAGING: Self = Self(0x6882);
    /// Security status not satisfied: no channel, MAC missing or wrong.
    pub(super) const SECURITY: Self = Self(0x6982);
    /// PIN blocked.
    pub(super) const BLOCKED: Self = Self(0x6983);
    /// Conditions of use not satisfied.
    pub(super) const CONDITIONS: Self = Self(0x6985);
    /// Incorrect data.
    pub(super) const DATA: Self = Self(0x6A80);
    /// SELECT, READ RECORD: file or application not found.
    pub(super) const NO_FILE: Self = Self(0x6A82);
    /// READ RECORD: record not found.
    pub(super) const NO_RECORD: Self = Self(0x6A83);
    /// Not enough memory.
    pub(super) const MEMORY: Self = Self(0x6A84);
    /// Incorrect P1 P2; last STORE DATA: conditions for PERSONALIZED not met.
    pub(super) const P1P2: Self = Self(0x6A86);
    /// DGI, data object or key version not found.
    pub(super) const NOT_FOUND: Self = Self(0x6A88);
    /// No precise diagnosis: the private key does not work.
    pub(super) const NO_DIAGNOSIS: Self = Self(0x6F00);
    /// Instruction not supported.
    pub(super) const INS: Self = Self(0x6D00);
    /// Class not supported.
    pub(super) const CLA: Self = Self(0x6E00);
    /// STORE DATA: KCV wrong or before its keys (GlobalPlatform CPSdemonstrator 2.0).
    pub(super) const KCV: Self = Self(0x9315);
    /// STORE DATA: DGI out of order (GlobalPlatform CPSdemonstrator 2.0).
    pub(super) const ORDER: Self = Self(0x9580);

    /// VERIFY failed, this many tries left.
    pub(super) fn tries_left(tries: u8) -> Self {
        Self(0x63C0 | u16::from(tries & 0x0F))
    }
}

/// A command: header and data field. Le is dropped, as every answer is complete.
pub(super) struct CardCommand {
    pub(super) cla: u8,
    pub(super) ins: u8,
    pub(super) p1: u8,
    pub(super) p2: u8,
    /// Data field; after `channel`, without C-MAC and in clear.
    pub(super) data: Vec<u8>,
    /// Whether Lc has three bytes (`00 hi lo`).
    pub(super) extended: bool,
}

impl CardCommand {
    /// The SELECT instruction.
    pub(super) const SELECT: u8 = 0xA4;
    /// The STORE DATA instruction.
    pub(super) const STORE_DATA: u8 = 0xE2;
    /// Instructions that may have an extended Lc: STORE DATA (CPS v2.0 Table 4-8), and SELECT, with which a
    /// reader can be tried.
    const EXTENDED: [u8; 2] = [Self::STORE_DATA, Self::SELECT];
    /// CLA bit 3: GlobalPlatform secure messaging.
    const SECURE: u8 = 0x04;

    /// Parses an APDU of case 1 to 4; any other is `6700`.
    pub(super) fn parse(apdu: &[u8]) -> Result<Self, CardStatusWord> {
        let (&[cla, ins, p1, p2], body) = apdu.split_first_chunk().ok_or(CardStatusWord::LENGTH)?;
        let mut command = Self { cla, ins, p1, p2, data: Vec::new(), extended: false };
        let mut body = CardBytes(body);
        // Case 1 has nothing after the header, case 2 only Le.
        if body.0.len() <= 1 {
            return Ok(command);
        }
        let mut lc = usize::from(body.u8().ok_or(CardStatusWord::LENGTH)?);
        if lc == 0 {
            if !Self::EXTENDED.contains(&ins) {
                return Err(CardStatusWord::LENGTH);
            }
            command.extended = true;
            lc = usize::from(body.u16().ok_or(CardStatusWord::LENGTH)?);
        }
        command.data = body.take(lc).ok_or(CardStatusWord::LENGTH)?.to_vec();
        let le = body.0.len();
        let le_right = if command.extended { le == 0 || le == 2 } else { le <= 1 };
        if lc == 0 || !le_right {
            return Err(CardStatusWord::LENGTH);
        }
        Ok(command)
    }

    /// Whether the class announces a C-MAC.
    pub(super) fn is_secured(&self) -> bool {
        self.cla & Self::SECURE != 0
    }

    /// P1 and P2 as one number.
    pub(super) fn p1p2(&self) -> u16 {
        u16::from_be_bytes([self.p1, self.p2])
    }

    /// Header and Lc as the C-MAC covers them: Lc counts the data in clear and the 8 bytes of the C-MAC, and
    /// has as many bytes as in the command (GPCS E.4.4).
    pub(super) fn mac_header(&self, data: usize) -> Result<Vec<u8>, CardStatusWord> {
        let lc = u16::try_from(data.saturating_add(8)).map_err(|_| CardStatusWord::LENGTH)?;
        let mut header = vec![self.cla, self.ins, self.p1, self.p2];
        match u8::try_from(lc) {
            Ok(short) if !self.extended => header.push(short),
            _ if self.extended => {
                header.push(0);
                header.extend(lc.to_be_bytes());
            }
            _ => return Err(CardStatusWord::LENGTH),
        }
        Ok(header)
    }
}
