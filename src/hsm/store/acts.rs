//! What was done with a store, by whom and when: a list in the sealed body, so that an act and its record are one write.
//!
//! Not here: doing it (`store`).

use serde::Serialize;

use super::body::{BodyWriter, code_of, coded, kcv, several, text};
use super::entry::KeyUsage;
use super::header::FormatFault;
use crate::crypto::KcvMethod;
use crate::ids::Kcv;
use crate::record::cursor::FieldCursor;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ActKind {
    /// The store was made.
    Made,
    /// A component of a key was given.
    Component,
    /// The components of a key were dropped.
    Dropped,
    /// A key of components was stored.
    Stored,
    /// A key came in a key block.
    Imported,
    /// A key was destroyed.
    Destroyed,
    /// Custodians were changed.
    Custodians,
    /// The store came from a backup.
    Restored,
    /// The store came from a store of an earlier version.
    Upgraded,
    /// The recipient's key was made.
    Recipient,
}

impl ActKind {
    /// In the order of their numbers, from 1.
    const ALL: [Self; 10] = [
        Self::Made,
        Self::Component,
        Self::Dropped,
        Self::Stored,
        Self::Imported,
        Self::Destroyed,
        Self::Custodians,
        Self::Restored,
        Self::Upgraded,
        Self::Recipient,
    ];

    /// Its word in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Made => "MADE",
            Self::Component => "COMPONENT",
            Self::Dropped => "DROPPED",
            Self::Stored => "STORED",
            Self::Imported => "IMPORTED",
            Self::Destroyed => "DESTROYED",
            Self::Custodians => "CUSTODIANS",
            Self::Restored => "RESTORED",
            Self::Upgraded => "UPGRADED",
            Self::Recipient => "RECIPIENT",
        }
    }
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodyAct {
    /// Unix time in seconds.
    pub time: u64,
    /// What was done.
    pub kind: ActKind,
    /// Label of the key; empty if the act is about no key.
    pub label: String,
    /// Its usage.
    pub usage: Option<KeyUsage>,
    /// Its identifier, in hex.
    pub id: String,
    /// Its version.
    pub version: u8,
    /// Its check values.
    pub kcvs: Vec<(KcvMethod, Kcv)>,
    /// The custodians who did it; none for a store that opens without them.
    pub by: Vec<String>,
    /// More about it.
    pub note: String,
}

impl CustodyAct {
    /// An act about the store as a whole, without custodians.
    pub(super) fn of_store(time: u64, kind: ActKind, note: impl Into<String>) -> Self {
        Self {
            time,
            kind,
            label: String::new(),
            usage: None,
            id: String::new(),
            version: 0,
            kcvs: Vec::new(),
            by: Vec::new(),
            note: note.into(),
        }
    }

    pub(super) fn read(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        Ok(Self {
            time: fields.u64()?,
            kind: coded(&ActKind::ALL, fields.u8()?)?,
            label: text(fields)?,
            usage: match fields.u8()? {
                0 => None,
                code => Some(coded(&KeyUsage::ALL, code)?),
            },
            id: hex::encode_upper(fields.l1()?.bytes),
            version: fields.u8()?,
            kcvs: several(fields.u8()?.into(), || kcv(fields))?,
            by: several(fields.u8()?.into(), || text(fields))?,
            note: text(fields)?,
        })
    }

    pub(super) fn write(&self, out: &mut BodyWriter) -> Option<()> {
        out.bytes(&self.time.to_be_bytes());
        out.bytes(&[code_of(&ActKind::ALL, self.kind)]);
        out.l1(self.label.as_bytes())?;
        out.bytes(&[self.usage.map_or(0, |usage| code_of(&KeyUsage::ALL, usage))]);
        out.l1(&hex::decode(&self.id).ok()?)?;
        out.bytes(&[self.version, u8::try_from(self.kcvs.len()).ok()?]);
        self.kcvs.iter().for_each(|(method, kcv)| out.kcv(*method, *kcv));
        out.bytes(&[u8::try_from(self.by.len()).ok()?]);
        self.by.iter().try_for_each(|name| out.l1(name.as_bytes()))?;
        out.l1(self.note.as_bytes())
    }

    /// Most bytes that it takes in a body.
    pub(super) fn room(&self) -> usize {
        1024 + 4 * self.kcvs.len() + 256 * self.by.len()
    }
}
