//! Filling STORE DATA commands: headers, cuts, P1 and P2.
//!
//! Not here: the order of DGIs (`order`), which of them may share a command (`plan`), finalization. EMV CPS 4.3.4.4-6.

use crate::hsm::{DataPart, PlainCommand, WipedBytes};
use crate::ids::Dgi;

use super::plan::PlanStep;
use super::status::CommandPhase;

/// STORE DATA (GPCS 11.11).
const STORE_DATA: u8 = 0xE2;
/// P1 b7 b6 = 11: every DGI value in the command is encrypted.
const ENCRYPTED: u8 = 0x60;

/// A DGI on its way to the card.
pub(super) struct PackedDgi<'a> {
    pub dgi: Dgi,
    /// Of the value, as the card gets it.
    pub length: u16,
    /// The value; `None` if only the HSM knows it.
    pub clear: Option<&'a [u8]>,
    /// Sent in a command that says "encrypted".
    pub secret: bool,
    /// In VERCNTL: alone in its command.
    pub may_refuse: bool,
}

impl PackedDgi<'_> {
    /// DGI and length: 1 byte 00-FE, or FF and 2 bytes.
    fn header(&self) -> Vec<u8> {
        let mut header = self.dgi.0.to_be_bytes().to_vec();
        match u8::try_from(self.length) {
            Ok(short) if short < 0xFF => header.push(short),
            _ => {
                header.push(0xFF);
                header.extend_from_slice(&self.length.to_be_bytes());
            }
        }
        header
    }

    /// Header and value.
    pub fn encoded_length(&self) -> usize {
        self.header().len() + usize::from(self.length)
    }

    /// Bytes `from..to` of the value.
    fn part(&self, from: u16, to: u16) -> DataPart {
        match self.clear {
            Some(value) => {
                DataPart::Clear(value.get(usize::from(from)..usize::from(to)).unwrap_or_default().into())
            }
            None => DataPart::Protected { dgi: self.dgi, from, to },
        }
    }
}

/// Fills commands one after the other, never going back.
pub(super) struct CommandPacker {
    limit: usize,
    share: bool,
    steps: Vec<PlanStep>,
    /// Room left in the last command for more DGIs of this secrecy.
    open: Option<(bool, usize)>,
}

impl CommandPacker {
    /// `limit` data bytes for each command; `share`: DGIs may share one without a GROUP.
    pub fn new(limit: usize, share: bool) -> Self {
        Self { limit, share, steps: Vec::new(), open: None }
    }

    /// Takes the DGIs of one unit. Several together fit one command and have one secrecy.
    ///
    /// Taking what fits and opening a command for the first that does not gives the fewest commands that keep the
    /// order: each command ends as late as it can.
    pub fn add(&mut self, unit: Vec<PackedDgi<'_>>) {
        let Some(first) = unit.first() else { return };
        let (secret, alone) = (first.secret, first.may_refuse);
        let length = unit.iter().map(PackedDgi::encoded_length).sum::<usize>();
        if length > self.limit {
            for item in &unit {
                self.add_long(item);
            }
            return;
        }
        let room = match self.open {
            Some((open, room)) if self.share && !alone && open == secret && length <= room => room,
            _ => {
                self.begin(secret, alone);
                self.limit
            }
        };
        for item in &unit {
            self.append(DataPart::Clear(item.header().into()));
            self.append(item.part(0, item.length));
            self.ends(item);
        }
        self.open = (!alone).then_some((secret, room - length));
    }

    /// A DGI longer than a command: cut at the limit, continued without a header.
    fn add_long(&mut self, item: &PackedDgi<'_>) {
        self.begin(item.secret, false);
        let header = item.header();
        let mut room = self.limit.saturating_sub(header.len());
        self.append(DataPart::Clear(header.into()));
        let mut from = 0u16;
        loop {
            let to = u16::try_from(room).map_or(item.length, |r| from.saturating_add(r)).min(item.length);
            self.append(item.part(from, to));
            if to == item.length {
                break;
            }
            from = to;
            room = self.limit;
            self.begin(item.secret, false);
        }
        self.ends(item);
        self.open = None;
    }

    fn begin(&mut self, secret: bool, may_refuse: bool) {
        let command = PlainCommand {
            ins: STORE_DATA,
            p1: if secret { ENCRYPTED } else { 0x00 },
            // The counter wraps after FF: its low byte is what counts.
            p2: self.steps.len().to_le_bytes()[0],
            data: Vec::new(),
        };
        self.steps.push(PlanStep {
            command,
            phase: CommandPhase::StoreData { may_refuse },
            ends: Vec::new(),
        });
    }

    /// Adds a part to the last command; neighbouring clear ones become one.
    fn append(&mut self, part: DataPart) {
        let Some(step) = self.steps.last_mut() else { return };
        match (step.command.data.last_mut(), part) {
            (_, DataPart::Clear(bytes)) if bytes.is_empty() => {}
            (_, DataPart::Protected { from, to, .. }) if from == to => {}
            (Some(DataPart::Clear(before)), DataPart::Clear(bytes)) => before.extend_from_slice(&bytes),
            // Room for the whole command at once: growing would leave unwiped copies of cardholder data.
            (_, DataPart::Clear(bytes)) => {
                let mut data = WipedBytes::with_capacity(self.limit);
                data.extend_from_slice(&bytes);
                step.command.data.push(DataPart::Clear(data));
            }
            (_, part) => step.command.data.push(part),
        }
    }

    fn ends(&mut self, item: &PackedDgi<'_>) {
        if let Some(step) = self.steps.last_mut() {
            step.ends.push((item.dgi, item.length));
        }
    }

    /// The commands.
    pub fn finish(self) -> Vec<PlanStep> {
        self.steps
    }
}
