//! Stand-in for the simulated card, so that the machines build alone. To be dropped at the merge.

/// What a blank is made of.
#[derive(Debug, Clone)]
pub struct BlankSpec {
    /// KMC_ID (6), CSN (4).
    pub key_data: [u8; 10],
    /// Key version number.
    pub version: u8,
    /// KMC value (TEST).
    pub kmc: [u8; 16],
    /// SCP02 option i.
    pub scp02_i: u8,
    /// Answer to reset.
    pub atr: Vec<u8>,
    /// Seed of the card's own random numbers.
    pub seed: u64,
}

/// What the chip did since it was last asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Commands.
    pub commands: u32,
    /// Bytes to the card.
    pub bytes_in: u32,
    /// Bytes from the card.
    pub bytes_out: u32,
    /// EEPROM pages.
    pub pages: u32,
    /// Channels opened.
    pub channels: u32,
}

/// Faults that a card can be made to have.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Wrong card cryptogram.
    WrongCryptogram,
    /// The n-th STORE DATA answers `sw`.
    Status {
        /// Which STORE DATA, from 1.
        store_data: u32,
        /// Its answer.
        sw: u16,
    },
    /// Gone after so many commands.
    RemoveAfter(u32),
    /// No ATR.
    Deaf,
}

/// A card that answers 9000 to all and 28 bytes to INITIALIZE UPDATE.
pub struct Card {
    spec: BlankSpec,
    cost: Cost,
    writes: u64,
    stored: u32,
    faults: Vec<Fault>,
}

impl Card {
    /// New.
    pub fn new(spec: BlankSpec) -> Self {
        Self { spec, cost: Cost::default(), writes: 0, stored: 0, faults: Vec::new() }
    }
    /// ATR, or `None` = mute.
    pub fn power_on(&mut self) -> Option<Vec<u8>> {
        if self.faults.iter().any(|f| matches!(f, Fault::Deaf | Fault::RemoveAfter(0))) {
            None
        } else {
            Some(self.spec.atr.clone())
        }
    }
    /// Off.
    pub fn power_off(&mut self) {}
    /// One APDU; `None` = removed.
    pub fn transmit(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        for fault in &mut self.faults {
            if let Fault::RemoveAfter(left) = fault {
                *left = left.checked_sub(1)?;
            }
        }
        self.cost.commands += 1;
        match command.get(1) {
            Some(0x50) => {
                self.cost.channels += 1;
                let mut r = self.spec.key_data.to_vec();
                r.extend([self.spec.version, 2]);
                r.resize(28, 0);
                r.extend([0x90, 0]);
                Some(r)
            }
            Some(0xE2) => {
                self.stored += 1;
                for f in &self.faults {
                    if let Fault::Status { store_data, sw } = f
                        && *store_data == self.stored
                    {
                        return Some(sw.to_be_bytes().to_vec());
                    }
                }
                self.writes += 1;
                self.cost.pages += 1;
                Some(vec![0x90, 0])
            }
            _ => Some(vec![0x90, 0]),
        }
    }
    /// Takes the cost since last time.
    pub fn take_cost(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }
    /// Commands that changed the card.
    pub fn writes(&self) -> u64 {
        self.writes
    }
    /// The "chip" object.
    pub fn chip_dump(&self) -> serde_json::Value {
        serde_json::json!({ "applications": [] })
    }
    /// Makes it faulty.
    pub fn force(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}
