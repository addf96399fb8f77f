//! The source: before any blank moves, it reads the next record from the spool, has the HSM verify its
//! applications, and checks that the parts of the record hold one account number.
//!
//! The source works only as far ahead as the dispatcher asks. Each record that it holds counts as a card
//! under way.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::hsm::{ApplicationToVerify, Hsm, HsmError, RecordHandle, RecordToVerify, timed};
use crate::ids::{FileId, IssuerId};
use crate::laws::HsmUse;
use crate::modules::{ApplicationWork, Blame, CardWork, Fault, crosscheck};
use crate::panics::{contained, ends_well};
use crate::profile::ProductProfile;
use crate::reason::ReasonWord;
use crate::record::chip::ChipSection;
use crate::record::{Record, Spool, others_digest};

/// The dispatcher's requests to the source.
pub enum Ask {
    /// Prepare the record with this sequence.
    Next(u32),
    /// Release what was verified for a card that will not be made.
    Release(RecordHandle),
}

/// The source's answer about a record.
pub struct Prepared {
    /// Sequence of the record.
    pub seq: u32,
    /// Its work, or the reason why there is none.
    pub work: Result<Arc<CardWork>, Unready>,
    /// What it asked of the HSM.
    pub hsm: HsmUse,
}

/// Why a record cannot be made now.
pub enum Unready {
    /// Its data is wrong, or the HSM failed.
    Fault(Fault),
    /// The spool does not return it.
    Spool(String),
}

/// The source's state. It runs in a thread of its own until `asks` is closed.
pub struct Source {
    /// The job's records.
    pub spool: Spool,
    /// The source's own connection to the HSM.
    pub hsm: Box<dyn Hsm>,
    /// Issuer of the file.
    pub issuer_id: IssuerId,
    /// Identifier of the file.
    pub file_id: FileId,
    /// Product of the file.
    pub product: Arc<ProductProfile>,
}

impl Source {
    /// Serves until the dispatcher hangs up. If the source dies, it prepares nothing more and closes
    /// `prepared`, which reports the death.
    pub fn run(mut self, asks: &Receiver<Ask>, prepared: Sender<Prepared>) {
        if !ends_well(|| self.serve(asks, &prepared)) {
            drop(prepared);
            // The connection stays open, because cards under way still need their handles, and the HSM forgets the handles
            // of a connection when it closes.
            asks.iter().for_each(drop);
        }
    }

    fn serve(&mut self, asks: &Receiver<Ask>, prepared: &Sender<Prepared>) {
        for ask in asks {
            match ask {
                Ask::Next(seq) => {
                    let mut hsm = HsmUse::default();
                    let work = self.prepare(seq, &mut hsm);
                    if prepared.send(Prepared { seq, work, hsm }).is_err() {
                        return;
                    }
                }
                // A handle that is not released now lies in the HSM's table until this connection ends.
                Ask::Release(handle) => drop(self.hsm.release(&[handle])),
            }
        }
    }

    fn prepare(&mut self, seq: u32, used: &mut HsmUse) -> Result<Arc<CardWork>, Unready> {
        let record = self.spool.read(seq).map_err(|e| Unready::Spool(e.to_string()))?;
        let (handle, applications) = self.verify(&record, used).map_err(Unready::Fault)?;
        let agreed = contained(|| crosscheck::agreed(&record, &applications));
        let agreed = match agreed.unwrap_or_else(|| Err(data_fault("its parts cannot be compared".into()))) {
            Ok(agreed) => agreed,
            Err(fault) => {
                // This card will not be made, so its handle is released.
                if let Some(handle) = handle {
                    drop(timed(used, || self.hsm.release(&[handle])));
                }
                return Err(Unready::Fault(fault));
            }
        };
        Ok(Arc::new(CardWork { record, applications, handle, product: Arc::clone(&self.product), agreed }))
    }

    fn verify(
        &mut self,
        record: &Record,
        used: &mut HsmUse,
    ) -> Result<(Option<RecordHandle>, Vec<ApplicationWork>), Fault> {
        let Some(chip) = record.section("CHP") else { return Ok((None, Vec::new())) };
        let section = ChipSection::parse(chip).map_err(|e| data_fault(format!("chip section: {e}")))?;
        let chip = self.product.chip.as_ref();
        let chip = chip.ok_or_else(|| data_fault(format!("product {} has no chip", self.product.name)))?;
        let mut applications = Vec::with_capacity(section.applications.len());
        for application in &section.applications {
            let product = self.product.application(&application.aid).ok_or_else(|| {
                data_fault(format!("application {} is not in the product", application.aid))
            })?;
            applications.push(ApplicationToVerify {
                bytes: application.raw.as_slice().into(),
                pass_through: product.pass_through.clone(),
            });
        }
        let request = RecordToVerify {
            issuer_id: self.issuer_id.clone(),
            file_id: self.file_id.clone(),
            sequence: record.sequence,
            card_ref: record.card_ref.clone(),
            others: others_digest(record),
            card_block: chip.channel.block(),
            allow_ecb: self.product.allow_ecb,
            applications,
        };
        let verified = timed(used, || self.hsm.verify_record(&request));
        let verified = verified.map_err(|error| hsm_fault(&error))?;
        let both = section.applications.into_iter().zip(verified.applications);
        let works = both.map(|(application, verified)| ApplicationWork { application, verified });
        Ok((Some(verified.handle), works.collect()))
    }
}

fn data_fault(detail: String) -> Fault {
    Fault::new(Blame::Data, ReasonWord::Data, detail)
}

fn hsm_fault(error: &HsmError) -> Fault {
    let blame = match error {
        HsmError::Data { .. } => Blame::Data,
        HsmError::Refused(_) | HsmError::Unknown(_) => Blame::Us,
        _ => Blame::Hsm,
    };
    let reason = if blame == Blame::Data { ReasonWord::Data } else { ReasonWord::Hsm };
    Fault::new(blame, reason, error.to_string())
}
