//! The terminal against cards of others' making (`published`), cards made here by the tables of the standard
//! (`made`: static, dynamic, combined, and every check by a card that breaks it), and a dump (`dumped`).

mod dumped;
mod made;
mod made_cards;
mod published;

use super::*;
use crate::card::{BlankSpec, SimulatedCard};

const PAYMENT: [u8; 7] = [0xA0, 0, 0, 0, 0x03, 0x10, 0x10];

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// The terminal's data on 2026-11-29.
fn data() -> TerminalData {
    TerminalData::on([0x26, 0x11, 0x29]).unwrap()
}

/// A powered card with the `chip` object of a dump.
fn simulated(chip: &serde_json::Value) -> SimulatedCard {
    let mut card = SimulatedCard::new(BlankSpec {
        key_data: [7; 10],
        version: 1,
        kmc: [0; 16],
        scp02_i: 0x55,
        atr: hex("3BE000008131204535"),
        seed: 7,
    });
    card.restore(chip).unwrap();
    card.power_on().unwrap();
    card
}

#[track_caller]
fn fails<T>(result: Result<T, AuthenticationFailure>, step: TerminalStep, fault: StepFault) {
    assert_eq!(result.map(drop), Err(AuthenticationFailure { step, fault }));
}
