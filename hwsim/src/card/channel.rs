//! The card side of SCP02 (GPCS appendix E) with three keys and explicit initiation.
//!
//! Security levels 00, 01 (C-MAC) and 03 (C-MAC and C-DECRYPTION); no R-MAC. Departure: a command with a
//! three-byte Lc is MACed with its three-byte Lc, which the standard leaves open.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::apdu::{CardCommand, CardStatusWord};
use super::tdes::{self, DesBlock, DoubleLengthKey};

/// SCP02 parameter "i", bit 5: the ICV of every C-MAC but the first is encrypted.
const ICV_ENCRYPTION: u8 = 0x10;
/// SCP02 parameter "i", bit 7: pseudo-random card challenge.
const PSEUDO_RANDOM: u8 = 0x40;

/// Card keys (KDC), which the supplier left in the blank.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct SupplierKeys {
    pub(super) enc: DoubleLengthKey,
    pub(super) mac: DoubleLengthKey,
    pub(super) dek: DoubleLengthKey,
}

impl SupplierKeys {
    /// EMV CPS: K = E3(KMC)[D6 F0 n] | E3(KMC)[D6 0F n], D6 the last six bytes of KEYDATA, n = 01 ENC, 02
    /// MAC, 03 DEK.
    pub(super) fn from_kmc(kmc: &DoubleLengthKey, key_data: &[u8; 10]) -> Self {
        let [_, _, _, _, d @ ..] = *key_data;
        let key = |n: u8| {
            let mut key: DoubleLengthKey =
                [d[0], d[1], d[2], d[3], d[4], d[5], 0xF0, n, d[0], d[1], d[2], d[3], d[4], d[5], 0x0F, n];
            tdes::ecb_encrypt(kmc, &mut key);
            key
        };
        Self { enc: key(1), mac: key(2), dek: key(3) }
    }
}

/// Session keys (SKU).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct CardSessionKeys {
    pub(super) enc: DoubleLengthKey,
    pub(super) mac: DoubleLengthKey,
    pub(super) dek: DoubleLengthKey,
}

impl CardSessionKeys {
    /// SKU = CBC-3DES(K, IV 0)[constant(2) | sequence counter(2) | 00 x 12].
    pub(super) fn derive(keys: &SupplierKeys, sequence: u16) -> Self {
        let [hi, lo] = sequence.to_be_bytes();
        let session = |key: &DoubleLengthKey, constant: [u8; 2]| {
            let mut out: DoubleLengthKey =
                [constant[0], constant[1], hi, lo, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            tdes::cbc_encrypt(key, &mut out);
            out
        };
        Self {
            enc: session(&keys.enc, [0x01, 0x82]),
            mac: session(&keys.mac, [0x01, 0x01]),
            dek: session(&keys.dek, [0x01, 0x81]),
        }
    }

    /// The card challenge: with "i" bit 7 the first 6 bytes of the retail MAC of the AID under SKU_MAC, else
    /// `random`.
    pub(super) fn card_challenge(&self, i: u8, aid: &[u8], random: [u8; 6]) -> [u8; 6] {
        if i & PSEUDO_RANDOM == 0 {
            return random;
        }
        let [challenge @ .., _, _] = tdes::retail_mac(&self.mac, [0; 8], aid);
        challenge
    }
}

/// The channel between INITIALIZE UPDATE and EXTERNAL AUTHENTICATE.
pub(super) struct OpeningChannel {
    keys: CardSessionKeys,
    icv_encryption: bool,
    host_cryptogram: DesBlock,
}

impl OpeningChannel {
    /// Answers a host challenge with the opening channel and the card cryptogram (over RTERM | sequence |
    /// RCARD; the host's is over sequence | RCARD | RTERM).
    pub(super) fn new(
        keys: CardSessionKeys,
        i: u8,
        sequence: u16,
        card_challenge: [u8; 6],
        host_challenge: DesBlock,
    ) -> (Self, DesBlock) {
        let card = [&sequence.to_be_bytes()[..], &card_challenge].concat();
        let card_cryptogram = tdes::full_mac(&keys.enc, &[&host_challenge[..], &card].concat());
        let host_cryptogram = tdes::full_mac(&keys.enc, &[&card[..], &host_challenge].concat());
        (Self { keys, icv_encryption: i & ICV_ENCRYPTION != 0, host_cryptogram }, card_cryptogram)
    }

    /// Checks EXTERNAL AUTHENTICATE: `84 82 level 00 10 host cryptogram(8) C-MAC(8)`.
    pub(super) fn authenticate(self, command: &CardCommand) -> Result<CardChannel, CardStatusWord> {
        let level = ChannelLevel::from_byte(command.p1).ok_or(CardStatusWord::P1P2)?;
        if command.p2 != 0 {
            return Err(CardStatusWord::P1P2);
        }
        let (&cryptogram, mac) = command.data.split_first_chunk::<8>().ok_or(CardStatusWord::LENGTH)?;
        let mac = DesBlock::try_from(mac).map_err(|_| CardStatusWord::LENGTH)?;
        if cryptogram != self.host_cryptogram {
            return Err(CardStatusWord::HOST_CRYPTOGRAM);
        }
        let mut channel =
            CardChannel { keys: self.keys, level, icv_encryption: self.icv_encryption, last_mac: None };
        channel.verify(command, &cryptogram, mac)?;
        Ok(channel)
    }
}

/// Security level of a channel (GPCS Table E-11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum ChannelLevel {
    /// 00
    Authenticated,
    /// 01
    Mac,
    /// 03
    MacAndDecryption,
}

impl ChannelLevel {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x00 => Some(Self::Authenticated),
            0x01 => Some(Self::Mac),
            0x03 => Some(Self::MacAndDecryption),
            _ => None,
        }
    }
}

/// An open channel.
pub(super) struct CardChannel {
    keys: CardSessionKeys,
    level: ChannelLevel,
    icv_encryption: bool,
    last_mac: Option<DesBlock>,
}

impl CardChannel {
    /// Removes secure messaging from a command. An error ends the channel: the caller drops it.
    pub(super) fn unwrap(&mut self, mut command: CardCommand) -> Result<CardCommand, CardStatusWord> {
        if self.level == ChannelLevel::Authenticated {
            return if command.is_secured() { Err(CardStatusWord::NO_SECURE_MESSAGING) } else { Ok(command) };
        }
        if !command.is_secured() {
            return Err(CardStatusWord::SECURITY);
        }
        let mac = *command.data.last_chunk::<8>().ok_or(CardStatusWord::SECURITY)?;
        command.data.truncate(command.data.len().saturating_sub(8));
        if self.level == ChannelLevel::MacAndDecryption && !command.data.is_empty() {
            tdes::cbc_decrypt(&self.keys.enc, &mut command.data);
            let clear = tdes::unpad(&command.data).ok_or(CardStatusWord::SECURITY)?.len();
            command.data.truncate(clear);
        }
        let data = std::mem::take(&mut command.data);
        self.verify(&command, &data, mac)?;
        command.data = data;
        Ok(command)
    }

    /// Decrypts a secret value under the session DEK: ECB. The form of every secret DGI requires whole
    /// blocks.
    pub(super) fn decrypt(&self, value: &mut [u8]) {
        tdes::ecb_decrypt(&self.keys.dek, value);
    }

    /// Checks the C-MAC over the header and the data in clear, and chains it.
    fn verify(&mut self, command: &CardCommand, data: &[u8], mac: DesBlock) -> Result<(), CardStatusWord> {
        let icv = match self.last_mac {
            None => [0; 8],
            Some(last) if self.icv_encryption => tdes::des_left(&self.keys.mac, last),
            Some(last) => last,
        };
        let mut message = command.mac_header(data.len())?;
        message.extend(data);
        if tdes::retail_mac(&self.keys.mac, icv, &message) != mac {
            return Err(CardStatusWord::SECURITY);
        }
        self.last_mac = Some(mac);
        Ok(())
    }
}
