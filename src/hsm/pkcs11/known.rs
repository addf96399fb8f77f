//! Published keys and values, and what they give: the known answers of the probe. Everybody knows these keys.
//!
//! Sources: a session with a card of pySim (osmocom), its card keys by the derivation of EMV CPS; GlobalPlatformPro,
//! `TestPlaintextKeys`; NIST SP 800-38A, F.1.5.

/// Bytes from a number: sixteen of them in one literal.
const fn bytes(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

/// pySim: the KMC.
pub(super) const KMC: [u8; 16] = bytes(0xFF67_2D2A_B051_640B_32A1_17D8_EEDA_10E3);
/// pySim: the last six bytes of KEYDATA.
const KEYDATA: [u8; 6] = [0x89, 0xA0, 0x5A, 0x38, 0x32, 0xE2];
/// pySim: the card's counter.
const COUNTER: [u8; 2] = 13527_u16.to_be_bytes();

/// A key of the card and of the session, with what they are derived from.
pub(super) struct KnownKeys {
    /// Number of the card key in its derivation.
    pub(super) number: u8,
    /// The card key.
    pub(super) card: [u8; 16],
    /// Constant of the session key in its derivation.
    pub(super) constant: u8,
    /// The session key.
    pub(super) session: [u8; 16],
}

/// pySim: the keys for encryption.
pub(super) const ENC: KnownKeys = KnownKeys {
    number: 1,
    card: bytes(0x7F5B_F08F_4174_E0EF_5F0D_FB12_3D73_691A),
    constant: 0x82,
    session: bytes(0x4C07_12B4_3E3C_7945_1825_E050_3BD6_41F7),
};
/// pySim: the keys for C-MACs.
pub(super) const MAC: KnownKeys = KnownKeys {
    number: 2,
    card: bytes(0xFB0D_919F_5D2D_4302_8ECA_628A_B916_AB1E),
    constant: 0x01,
    session: bytes(0x4DDF_1424_027F_6875_832C_5594_23F9_5986),
};
/// pySim: the keys for secrets.
pub(super) const DEK: KnownKeys = KnownKeys {
    number: 3,
    card: bytes(0x6633_DE23_9FB0_406E_0FE1_00D0_DD80_2D50),
    constant: 0x81,
    session: bytes(0xECA9_97B9_9CB1_3D2D_A1BD_4617_A5A8_56F8),
};

impl KnownKeys {
    /// What the KMC encrypts to make the card key (EMV CPS): KEYDATA F0 n, KEYDATA 0F n.
    pub(super) const fn card_data(&self) -> [u8; 16] {
        let [a, b, c, d, e, f] = KEYDATA;
        [a, b, c, d, e, f, 0xF0, self.number, a, b, c, d, e, f, 0x0F, self.number]
    }

    /// What the card key encrypts to make the session key (GPCS E.4.1): constant, counter, zeros.
    pub(super) const fn session_data(&self) -> [u8; 16] {
        let [high, low] = COUNTER;
        [0x01, self.constant, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    /// What the card key encrypts, block by block, to make a key of which each half is the left half of the session key.
    /// TDES under it is DES under that half, which many tokens do not have.
    pub(super) const fn left_data(&self) -> [u8; 16] {
        let [high, low] = COUNTER;
        [0x01, self.constant, high, low, 0, 0, 0, 0, 0x01, self.constant, high, low, 0, 0, 0, 0]
    }
}

/// pySim: what the session key for encryption encrypts for the card's cryptogram, host challenge first, and the cryptogram.
pub(super) const CARD_CRYPTOGRAM: ([u8; 24], [u8; 8]) = (
    [
        0xA8, 0x16, 0x8E, 0x8B, 0x45, 0xAD, 0x69, 0x35, COUNTER[0], COUNTER[1], 0xAA, 0xE7, 0x78, 0x8E, 0x20,
        0x9B, 0x80, 0, 0, 0, 0, 0, 0, 0,
    ],
    [0xA4, 0x2C, 0x55, 0x92, 0x90, 0xFF, 0x25, 0x2B],
);
/// pySim: the same for the host's cryptogram, host challenge last.
pub(super) const HOST_CRYPTOGRAM: ([u8; 24], [u8; 8]) = (
    [
        COUNTER[0], COUNTER[1], 0xAA, 0xE7, 0x78, 0x8E, 0x20, 0x9B, 0xA8, 0x16, 0x8E, 0x8B, 0x45, 0xAD, 0x69,
        0x35, 0x80, 0, 0, 0, 0, 0, 0, 0,
    ],
    [0x5B, 0xA9, 0x3C, 0xA0, 0x17, 0xE2, 0x8E, 0xB2],
);

/// pySim: two commands of the session, padded for their C-MACs, and these. The second begins with the first, encrypted.
pub(super) const COMMANDS: [([u8; 16], [u8; 8]); 2] = [
    (bytes(0x8482_0100_105B_A93C_A017_E28E_B280_0000), [0x70, 0xED, 0x69, 0xC2, 0x15, 0xEE, 0xEF, 0x40]),
    (bytes(0x84E2_0000_103D_C5FF_7505_4952_1D80_0000), [0xC2, 0x97, 0x2D, 0xDD, 0x24, 0x3C, 0xC0, 0xC2]),
];

/// pySim: a secret, and the secret under the session's DEK.
pub(super) const SECRET: ([u8; 24], [u8; 24]) = (
    [
        0x35, 0x1C, 0xEF, 0x37, 0x73, 0x7C, 0xC1, 0x60, 0xEB, 0xD3, 0xCA, 0x89, 0x5A, 0x3A, 0x5B, 0x94, 0x2A,
        0xE1, 0xE2, 0x6A, 0x26, 0xCC, 0x5B, 0xF6,
    ],
    [
        0x15, 0x9C, 0xCB, 0xF3, 0x83, 0x4E, 0x5F, 0x60, 0xE1, 0x5C, 0x94, 0xE9, 0x6A, 0x2C, 0x01, 0x43, 0xFD,
        0xEC, 0xA6, 0x08, 0xB8, 0x75, 0x6F, 0xEC,
    ],
);

/// GlobalPlatformPro: a TDES key, two blocks, and these encrypted block by block, as a TK is derived from its KEK.
pub(super) const TDES_KEK: ([u8; 16], [u8; 16], [u8; 16]) = (
    bytes(0x4041_4243_4445_4647_4849_4A4B_4C4D_4E4F),
    bytes(0x0405_0607_0809_F001_0405_0607_0809_0F01),
    bytes(0x0EF5_9FCB_F801_9B62_E62A_F6EA_20B8_BF25),
);

/// Two blocks of AES.
type TwoBlocks = [[u8; 16]; 2];

/// NIST SP 800-38A F.1.5: an AES-256 key, two blocks, and these encrypted block by block, as a TK is derived from its KEK.
pub(super) const AES_KEK: (TwoBlocks, TwoBlocks, TwoBlocks) = (
    [bytes(0x603D_EB10_15CA_71BE_2B73_AEF0_857D_7781), bytes(0x1F35_2C07_3B61_08D7_2D98_10A3_0914_DFF4)],
    [bytes(0x6BC1_BEE2_2E40_9F96_E93D_7E11_7393_172A), bytes(0xAE2D_8A57_1E03_AC9C_9EB7_6FAC_45AF_8E51)],
    [bytes(0xF3EE_D1BD_B5D2_A03C_064B_5A7E_3DB1_81F8), bytes(0x591C_CB10_D410_ED26_DC5B_A74A_3136_2870)],
);
