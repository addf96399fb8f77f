//! The stripe module: writes the tracks and reads them back.
//!
//! A stripe that holds something already is no blank. Encoders add sentinels and LRC themselves, so the texts go and come
//! without them. On a line whose profile says `read_back = false`, for an encoder that does not read, the stripe is neither
//! looked at nor compared: the encoder's word is all there is, and nothing counts as compared.

use drivers::stripe::{Recording, StripeEncoder, Tracks};

use super::{Blank, Done, Fault, Module, REOPEN_TIME, Work, sections};
use crate::ids::Mic;
use crate::reason::ReasonWord;
use crate::record::Record;

/// A magnetic stripe station.
pub struct StripeModule {
    machine: Box<dyn StripeEncoder>,
    recording: Recording,
    read_back: bool,
    mic: Mic,
}

impl StripeModule {
    /// A station that records the section of this MIC of the line profile in this way.
    pub fn new(machine: Box<dyn StripeEncoder>, recording: Recording, read_back: bool, mic: Mic) -> Self {
        Self { machine, recording, read_back, mic }
    }

    /// What is on the stripe, for a person who does not know any more how far the card came.
    pub fn read(&mut self) -> Result<Tracks, Fault> {
        Ok(self.machine.read()?)
    }

    /// Whether these are the tracks that a record wants.
    pub fn is_of(&self, found: &Tracks, record: &Record) -> Result<bool, Fault> {
        let Some(section) = record.section(self.mic.as_str()) else { return Ok(false) };
        Ok(same(&self.tracks(section)?, found))
    }

    fn tracks(&self, section: &[u8]) -> Result<Tracks, Fault> {
        let texts =
            sections::tracks(section).map_err(|what| Fault::data(format!("section {}: {what}", self.mic)))?;
        let owned = |t: Option<&str>| t.map(str::to_owned);
        Ok(Tracks { t1: owned(texts.t1), t2: owned(texts.t2), t3: owned(texts.t3) })
    }
}

impl Module for StripeModule {
    fn prepare(&mut self, work: &Work) -> Result<(), Fault> {
        match work.record.section(self.mic.as_str()) {
            Some(section) => self.tracks(section).map(|_| ()),
            None => Ok(()),
        }
    }

    fn inspect(&mut self, work: &Work) -> Result<Blank, Fault> {
        if self.read_back && self.wants(work) && !is_blank(&self.machine.read()?) {
            return Err(Fault::card(
                ReasonWord::StripeNotBlank,
                "the stripe holds data already; this card is no blank",
            ));
        }
        Ok(Blank::default())
    }

    fn personalize(&mut self, work: &Work) -> Result<Done, Fault> {
        let Some(section) = work.record.section(self.mic.as_str()) else { return Ok(Done::default()) };
        let tracks = self.tracks(section)?;
        self.machine.write(&tracks, &self.recording)?;
        if !self.read_back {
            return Ok(Done::default());
        }
        let found = self.machine.read()?;
        if !same(&tracks, &found) {
            return Err(Fault::card(
                ReasonWord::StripeReadBack,
                "the stripe reads otherwise than it was written; check coercivity and head if it happens again",
            ));
        }
        Ok(Done { compared: vec!["stripe read-back"], ..Done::default() })
    }

    fn wants(&self, work: &Work) -> bool {
        work.record.section(self.mic.as_str()).is_some()
    }

    fn probe(&mut self) -> Result<(), Fault> {
        self.machine.reopen(REOPEN_TIME)?;
        Ok(self.machine.ready().map(drop)?)
    }
}

/// Nothing stands on any track.
pub fn is_blank(found: &Tracks) -> bool {
    same(&Tracks::default(), found)
}

/// An empty track is none.
fn same(wanted: &Tracks, found: &Tracks) -> bool {
    let same = |wanted: &Option<String>, found: &Option<String>| {
        wanted.as_deref().unwrap_or_default() == found.as_deref().unwrap_or_default()
    };
    same(&wanted.t1, &found.t1) && same(&wanted.t2, &found.t2) && same(&wanted.t3, &found.t3)
}

#[cfg(test)]
mod tests;
