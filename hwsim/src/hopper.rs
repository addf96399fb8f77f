//! The hopper: an endless pile of blanks, mixed from the profile's suppliers by weight, each with its own
//! serial number.
//!
//! The serial numbers (CSN) are a counter that starts at a number made of the seed, passed through a
//! bijection: no two of 2^32 blanks are alike, they look unordered, and two runs with different seeds rarely
//! share one.

use anyhow::{Context, Result};

use crate::blank::SimulatedBlank;
use crate::card::BlankSpec;
use crate::dump::DumpedChip;
use crate::faults::{FaultKind, FaultPlan};
use crate::profile::{BlankSupply, SimLineProfile, StripeCoercivity};
use crate::rng::{SplitMix64, mix32, mix64};

/// KMC_ID of a supplier whose KMC no store has.
const UNKNOWN_KMC_ID: [u8; 6] = [0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00];
/// Keeps the random numbers of blanks apart from those of faults.
const BLANK_PURPOSE: u64 = 0;

/// An endless hopper.
pub struct BlankHopper {
    seed: u64,
    fed: u64,
    /// A blank that was drawn and not fed.
    back: Option<SimulatedBlank>,
    supplies: Vec<BlankSupply>,
    coercivity: StripeCoercivity,
    faults: FaultPlan,
}

impl BlankHopper {
    /// A hopper with the pile that belongs to `seed`. The line must have a supply with a weight above 0.
    pub fn new(line: &SimLineProfile, seed: u64, faults: FaultPlan) -> Self {
        let supplies = line.sim.blanks.clone();
        Self { seed, fed: 0, back: None, supplies, coercivity: line.coercivity(), faults }
    }

    /// Puts the blank that was drawn last back: it is drawn next.
    pub fn put_back(&mut self, blank: SimulatedBlank) {
        self.back = Some(blank);
    }

    /// Draws the next blank; `None` only after 2^32 of them.
    pub fn draw(&mut self) -> Option<SimulatedBlank> {
        if let Some(blank) = self.back.take() {
            return Some(blank);
        }
        self.fed += 1;
        let n = self.fed;
        let counter = u32::try_from(n).ok()?;
        let mut rng = SplitMix64::of(self.seed, n, BLANK_PURPOSE);
        let supply = pick(&self.supplies, rng.next_u64())?;
        let faults = self.faults.of(n);
        let (mut kmc_id, mut kmc) = (supply.kmc_id, supply.kmc);
        let card_seed = rng.next_u64();
        let other_kmc = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        if faults.iter().any(|f| f.kind == FaultKind::UnknownKmc) {
            kmc_id = UNKNOWN_KMC_ID;
            kmc = other_kmc.to_be_bytes();
        }
        let start = u32::try_from(mix64(self.seed) >> 32).ok()?;
        let csn = mix32(start.wrapping_add(counter)).to_be_bytes();
        let mut key_data = [0; 10];
        for (to, from) in key_data.iter_mut().zip(kmc_id.iter().chain(&csn)) {
            *to = *from;
        }
        let spec = BlankSpec { kmc, ..supply.spec(key_data, card_seed) };
        Some(SimulatedBlank::new(n, spec, self.coercivity, faults))
    }

    /// Makes a new blank with the chip of a dump the next one to be drawn.
    pub fn put_dumped(&mut self, dumped: &DumpedChip) -> Result<()> {
        let supply = self.supplies.iter().find(|supply| dumped.is_from(supply));
        let supply = supply.context("the line has no blanks of the dumped card's KMC_ID")?;
        let n = self.fed + 1;
        let seed = SplitMix64::of(self.seed, n, BLANK_PURPOSE).next_u64();
        let faults = self.faults.of(n);
        let mut blank = SimulatedBlank::new(n, dumped.spec(supply, seed), self.coercivity, faults);
        dumped.fill(&mut blank.chip)?;
        self.fed = n;
        self.back = Some(blank);
        Ok(())
    }
}

/// Picks a supply by weight. The bias of the remainder is below weight / 2^64.
fn pick(supplies: &[BlankSupply], random: u64) -> Option<&BlankSupply> {
    let total: u64 = supplies.iter().map(|s| u64::from(s.weight)).sum();
    let mut at = random.checked_rem(total)?;
    supplies.iter().find(|s| match at.checked_sub(s.weight.into()) {
        None => true,
        Some(rest) => {
            at = rest;
            false
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};

    fn hopper(seed: u64, faults: &str) -> BlankHopper {
        BlankHopper::new(
            &SimLineProfile::load("sim-8").unwrap(),
            seed,
            FaultPlan::from_toml(faults, seed).unwrap(),
        )
    }

    #[test]
    fn serial_numbers_are_unique_and_not_in_order() {
        let mut hopper = hopper(5, "");
        let csns: Vec<String> = (0..5000).map(|_| hopper.draw().unwrap().csn()).collect();
        assert_eq!(csns.iter().collect::<HashSet<_>>().len(), 5000);
        let rising = csns.windows(2).filter(|w| w[0] < w[1]).count();
        assert!((2000..3000).contains(&rising), "{rising}");
        assert!(csns.iter().all(|c| c.len() == 8));
    }

    #[test]
    fn a_seed_repeats_its_pile_and_another_does_not() {
        let pile = |seed| {
            let mut hopper = hopper(seed, "");
            (0..50).map(|_| hopper.draw().unwrap().keydata).collect::<Vec<_>>()
        };
        assert_eq!(pile(1), pile(1));
        assert_ne!(pile(1), pile(2));
    }

    #[test]
    fn suppliers_are_mixed_by_weight() {
        let mut hopper = hopper(9, "");
        let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for _ in 0..5000 {
            *counts.entry(hopper.draw().unwrap().keydata[..6].to_vec()).or_default() += 1;
        }
        // Weights 3 + 1 of FFFFFF476173 to 1 of FFFFFF622800.
        let first = counts[&vec![0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73]];
        assert!((3850..4150).contains(&first), "{first}");
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn no_supply_is_picked_from_an_empty_list() {
        assert!(pick(&[], 1).is_none());
    }

    #[test]
    fn an_unknown_supplier_on_demand() {
        let mut hopper = hopper(9, "[[fault]]\nkind = \"unknown-kmc\"\nblanks = [2]");
        assert_ne!(hopper.draw().unwrap().keydata[..6], UNKNOWN_KMC_ID);
        assert_eq!(hopper.draw().unwrap().keydata[..6], UNKNOWN_KMC_ID);
    }
}
