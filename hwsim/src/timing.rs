//! The time that a chip takes: ISO 7816-3 character times, and the costs of the card's memory and processor.
//!
//! The model: `t = wire bytes x 12 etu + pages x t_page + channels x t_crypto + commands x t_command`. Wire
//! bytes are those of T=0 (ISO 7816-3, 10 and 12), counted from the APDUs themselves. Not here: waiting
//! ([`crate::pace`]).

use crate::card::ChipCost;
use crate::profile::SimTable;

/// Clock of the simulated readers, Hz: the NTSC colour carrier that readers derive it from.
const CLOCK_HZ: f64 = 3_579_545.0;
/// Character time of T=0, in etu: start, 8 data, parity, 2 guard.
const T0_CHARACTER_ETU: f64 = 12.0;
/// TA1 in force during the ATR: Fi = 372, Di = 1.
const TA1_DEFAULT: u8 = 0x11;

/// Bits per second at 3.579545 MHz for a TA1 (ISO 7816-3 tables 7 and 8); `None` if a half is reserved.
pub fn baud(ta1: u8) -> Option<f64> {
    let fi = match ta1 >> 4 {
        0x0 | 0x1 => 372.0,
        0x2 => 558.0,
        0x3 => 744.0,
        0x4 => 1116.0,
        0x5 => 1488.0,
        0x6 => 1860.0,
        0x9 => 512.0,
        0xA => 768.0,
        0xB => 1024.0,
        0xC => 1536.0,
        0xD => 2048.0,
        _ => return None,
    };
    let di = match ta1 & 0x0F {
        0x1 => 1.0,
        0x2 => 2.0,
        0x3 => 4.0,
        0x4 => 8.0,
        0x5 => 16.0,
        0x6 => 32.0,
        0x7 => 64.0,
        0x8 => 12.0,
        0x9 => 20.0,
        _ => return None,
    };
    Some(CLOCK_HZ * di / fi)
}

/// Bytes on a T=0 wire for one command and its response: header 5, procedure byte, data, SW 2; a case 4
/// command fetches its answer with GET RESPONSE, 5 + 1 + Lr + 2.
pub fn t0_bytes(command: &[u8], response: &[u8]) -> usize {
    const HEADER: usize = 5;
    const PROCEDURE: usize = 1;
    const STATUS: usize = 2;
    let lr = response.len().saturating_sub(STATUS);
    let lc = match command.get(4..) {
        None | Some([] | [_] | [0, _, _]) => 0, // no data: case 1, case 2 short or extended
        Some([0, hi, lo, ..]) => usize::from(u16::from_be_bytes([*hi, *lo])),
        Some([lc, ..]) => usize::from(*lc),
    };
    match (lc, lr) {
        (0, 0) => HEADER + STATUS,
        (0, _) => HEADER + PROCEDURE + lr + STATUS,
        (_, 0) => HEADER + PROCEDURE + lc + STATUS,
        _ => HEADER + PROCEDURE + lc + STATUS + HEADER + PROCEDURE + lr + STATUS,
    }
}

/// The times of one kind of chip, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct ChipTiming {
    byte_s: f64,
    atr_byte_s: f64,
    page_s: f64,
    channel_s: f64,
    command_s: f64,
}

impl ChipTiming {
    /// The times of the profile's chips; `None` if its TA1 is reserved.
    pub fn new(sim: &SimTable) -> Option<Self> {
        Some(Self {
            byte_s: T0_CHARACTER_ETU / baud(sim.ta1)?,
            atr_byte_s: T0_CHARACTER_ETU / baud(TA1_DEFAULT)?,
            page_s: sim.page_ms / 1000.0,
            channel_s: sim.crypto_ms / 1000.0,
            command_s: sim.command_ms / 1000.0,
        })
    }

    /// Seconds of a reset: the time of the ATR's characters.
    pub fn reset(&self, atr: &[u8]) -> f64 {
        atr.len() as f64 * self.atr_byte_s
    }

    /// Seconds of one command with its response and the chip's work.
    pub fn exchange(&self, command: &[u8], response: &[u8], cost: &ChipCost) -> f64 {
        t0_bytes(command, response) as f64 * self.byte_s
            + f64::from(cost.pages) * self.page_s
            + f64::from(cost.channels) * self.channel_s
            + f64::from(cost.commands) * self.command_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SimLineProfile;

    /// Rates of ISO 7816-3 tables 7 and 8 at 3.579545 MHz: TA1, baud, T=0 bytes per second.
    const RATES: &[(u8, f64, f64)] = &[
        (0x11, 9_622.0, 802.0),
        (0x12, 19_245.0, 1_604.0),
        (0x13, 38_490.0, 3_207.0),
        (0x18, 115_469.0, 9_622.0),
        (0x94, 55_930.0, 4_661.0),
        (0x95, 111_861.0, 9_322.0),
        (0x96, 223_722.0, 18_643.0),
        (0x97, 447_443.0, 37_287.0),
    ];

    fn timing(ta1: u8) -> ChipTiming {
        let mut sim = SimLineProfile::load("sim-chip-8").unwrap().sim;
        sim.ta1 = ta1;
        ChipTiming::new(&sim).unwrap()
    }

    #[test]
    fn rates_of_iso_7816_3() {
        for (ta1, bits, bytes) in RATES {
            assert!((baud(*ta1).unwrap() - bits).abs() < 1.0, "{ta1:02X}");
            assert!((1.0 / timing(*ta1).byte_s - bytes).abs() < 1.0, "{ta1:02X}");
        }
        for reserved in [0x71, 0x81, 0xE1, 0xF1, 0x10, 0x1A, 0x1F] {
            assert!(baud(reserved).is_none(), "{reserved:02X}");
        }
    }

    #[test]
    fn wire_bytes_of_t0() {
        let ok: &[u8] = &[0x90, 0x00];
        assert_eq!(t0_bytes(&[0x00, 0xA4, 0x04, 0x00], ok), 7);
        let store = [&[0x80, 0xE2, 0x00, 0x00, 0x20][..], &[0; 32]].concat();
        assert_eq!(t0_bytes(&store, ok), 32 + 8);
        let init = [&[0x80, 0x50, 0x01, 0x00, 0x08][..], &[0; 9]].concat();
        assert_eq!(t0_bytes(&init, &[0; 30]), 8 + 8 + 5 + 1 + 28 + 2);
        assert_eq!(t0_bytes(&[0x80, 0xCA, 0x00, 0xCF, 0x00], &[0; 15]), 5 + 1 + 13 + 2);
        let extended = [&[0x80, 0xE2, 0x00, 0x00, 0x00, 0x01, 0x2C][..], &[0; 300]].concat();
        assert_eq!(t0_bytes(&extended, ok), 300 + 8);
        assert_eq!(t0_bytes(&[0x80, 0xCA, 0x00, 0xCF, 0x00, 0x00, 0x00], &[0; 15]), 5 + 1 + 13 + 2);
        assert_eq!(t0_bytes(&[], &[]), 7);
    }

    /// Wire seconds by TA1 of 3108 bytes, the length of a real M/Chip personalization.
    #[test]
    fn wire_time_of_the_m_chip_trace() {
        let table = [
            (0x11, 3.88),
            (0x13, 0.97),
            (0x94, 0.67),
            (0x95, 0.33),
            (0x18, 0.32),
            (0x96, 0.17),
            (0x97, 0.08),
        ];
        for (ta1, seconds) in table {
            let wire = 3108.0 * timing(ta1).byte_s;
            assert!((wire - seconds).abs() <= 0.0051, "{ta1:02X}: {wire}");
        }
    }

    /// Wire seconds by TA1 of 6 kB in 60 STORE DATA.
    #[test]
    fn wire_time_of_six_kilobytes() {
        let store = [&[0x80, 0xE2, 0x00, 0x00, 0x64][..], &[0; 100]].concat();
        for (ta1, seconds) in [(0x11, 8.1), (0x13, 2.0), (0x95, 0.70), (0x96, 0.35), (0x97, 0.17)] {
            let all = 60.0 * timing(ta1).exchange(&store, &[0x90, 0x00], &ChipCost::default());
            assert!((all - seconds).abs() <= 0.05, "{ta1:02X}: {all}");
        }
    }

    #[test]
    fn memory_and_processor_are_added() {
        let timing = timing(0x13); // page 3 ms, channel 15 ms, command 2 ms
        let cost = ChipCost { commands: 1, pages: 4, channels: 1, ..ChipCost::default() };
        let bare = timing.exchange(&[], &[], &ChipCost::default());
        assert!((timing.exchange(&[], &[], &cost) - bare - 0.029).abs() < 1e-9);
    }
}
