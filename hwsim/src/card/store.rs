//! STORE DATA (CPS 4.3; GPCS 11.11): P1 and P2, the data field, status words.
//!
//! A refused command changes only the block counter: none of its DGIs is kept, and a long DGI under way is
//! dropped.

use super::apdu::{CardCommand, CardStatusWord};
use super::application::CardApplication;
use super::ber::CardBytes;
use super::channel::CardChannel;
use super::rules::{self, DgiRule, StoredDgis};

/// P1 b8: last STORE DATA of this application.
const LAST: u8 = 0x80;
/// P1 b7 b6: encryption.
const ENCRYPTION: u8 = 0x60;
/// P1 b7 b6 = 11: every value is encrypted under the session DEK.
const ALL_SECRET: u8 = 0x60;
/// P1 b5 b4: structure of the data field.
const STRUCTURE: u8 = 0x18;
/// P1 b5 b4 = 01: DGI format (00 gives no format).
const DGI_FORMAT: u8 = 0x08;
/// P1 b3 b2: reserved.
const RESERVED: u8 = 0x06;
/// EEPROM page, in bytes.
const PAGE: usize = 64;

/// The state of STORE DATA within one channel.
#[derive(Default)]
pub(super) struct DgiLoader {
    /// P2 of the next command; wraps after FF.
    block: u8,
    /// A DGI that is longer than its command.
    open: Option<PartialDgi>,
}

/// A DGI of which a part has arrived.
struct PartialDgi {
    dgi: u16,
    rule: &'static DgiRule,
    length: usize,
    value: Vec<u8>,
}

impl DgiLoader {
    /// Whether a DGI has arrived in part.
    pub(super) fn is_inside_dgi(&self) -> bool {
        self.open.is_some()
    }

    /// Counts a command that is refused for outside reasons: it has used up its block number.
    pub(super) fn skip(&mut self) {
        self.block = self.block.wrapping_add(1);
        self.open = None;
    }

    /// Takes a command without its secure messaging; `room` is how many bytes this application may occupy.
    /// Returns the count of EEPROM pages written.
    pub(super) fn receive(
        &mut self,
        command: &CardCommand,
        channel: &CardChannel,
        application: &mut CardApplication,
        room: usize,
    ) -> Result<u32, CardStatusWord> {
        if command.p2 != self.block {
            return Err(CardStatusWord::P1P2);
        }
        let open = self.open.take();
        self.skip();
        let p1 = command.p1;
        let last = p1 & LAST != 0;
        let secret = match p1 & ENCRYPTION {
            0 => false,
            ALL_SECRET => true,
            _ => return Err(CardStatusWord::P1P2),
        };
        if !matches!(p1 & STRUCTURE, 0 | DGI_FORMAT) || p1 & RESERVED != 0 {
            return Err(CardStatusWord::P1P2);
        }
        if command.data.is_empty() && !last {
            return Err(CardStatusWord::DATA);
        }
        let dgis = std::mem::take(&mut application.dgis);
        let mut staged = StagedDgis { dgis, before: Vec::new(), room, pages: 0 };
        let parsed = staged.parse(&command.data, open, secret, channel, application);
        let StagedDgis { dgis, before, pages, .. } = staged;
        application.dgis = dgis;
        let done = parsed.and_then(|open| match open {
            Some(_) if last => Err(CardStatusWord::DATA),
            None if last => application.personalize().map(|()| pages.saturating_add(1)),
            open => {
                self.open = open;
                Ok(pages)
            }
        });
        if done.is_err() {
            for (dgi, value) in before.into_iter().rev() {
                match value {
                    Some(value) => application.dgis.insert(dgi, value),
                    None => application.dgis.remove(&dgi),
                };
            }
        }
        done
    }
}

/// The DGIs that the application will hold if the command is accepted.
struct StagedDgis {
    dgis: StoredDgis,
    /// The application's former values of the DGIs that have arrived, in order: put back after a refusal.
    before: Vec<(u16, Option<Vec<u8>>)>,
    room: usize,
    pages: u32,
}

impl StagedDgis {
    /// Parses the data field, continuing `open` if there is one. Returns the DGI that is not complete.
    fn parse(
        &mut self,
        data: &[u8],
        mut open: Option<PartialDgi>,
        secret: bool,
        channel: &CardChannel,
        application: &CardApplication,
    ) -> Result<Option<PartialDgi>, CardStatusWord> {
        let mut data = CardBytes(data);
        while !data.0.is_empty() {
            let mut long = match open.take() {
                Some(long) => long,
                None => self.header(&mut data, application)?,
            };
            if long.rule.secret != secret {
                return Err(CardStatusWord::DATA);
            }
            let missing = long.length.saturating_sub(long.value.len());
            long.value.extend(data.take(missing.min(data.0.len())).ok_or(CardStatusWord::DATA)?);
            if long.value.len() < long.length {
                return Ok(Some(long));
            }
            self.complete(long, channel, application)?;
        }
        Ok(open)
    }

    /// Reads the DGI (2 bytes) and its length: one byte 00-FE, or FF and two bytes for 255 and more.
    fn header(
        &self,
        data: &mut CardBytes<'_>,
        application: &CardApplication,
    ) -> Result<PartialDgi, CardStatusWord> {
        let dgi = data.u16().ok_or(CardStatusWord::DATA)?;
        let length = match data.u8().ok_or(CardStatusWord::DATA)? {
            0xFF => data.u16().filter(|&n| n >= 0xFF).ok_or(CardStatusWord::DATA)?,
            short => short.into(),
        };
        let length = usize::from(length);
        let rule = rules::rule(dgi).filter(|_| application.accepts(dgi)).ok_or(CardStatusWord::NOT_FOUND)?;
        let replaced = self.dgis.get(&dgi).map_or(0, |old| old.len().saturating_add(4));
        let used = CardApplication::size(&self.dgis)
            .saturating_sub(replaced)
            .saturating_add(length)
            .saturating_add(4);
        if used > self.room {
            return Err(CardStatusWord::MEMORY);
        }
        Ok(PartialDgi { dgi, rule, length, value: Vec::new() })
    }

    fn complete(
        &mut self,
        mut long: PartialDgi,
        channel: &CardChannel,
        application: &CardApplication,
    ) -> Result<(), CardStatusWord> {
        if long.rule.secret {
            channel.decrypt(&mut long.value);
        }
        long.rule.check(&long.value, &self.dgis, application.rom.accepts)?;
        let pages = long.length.saturating_add(4).div_ceil(PAGE);
        self.pages = self.pages.saturating_add(u32::try_from(pages).unwrap_or(u32::MAX));
        let old = self.dgis.insert(long.dgi, long.value);
        self.before.push((long.dgi, old));
        Ok(())
    }
}
