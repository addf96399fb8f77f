//! Opens an application of an unfinished file, so that the next pass can protect its secrets anew.
//!
//! An application goes on as a whole: what is ordered must have its processing instructions, its DGIs in their order and its
//! clear values, so no secret gets another place, another type of ENC or a lower level. Nothing is opened before the MAC was
//! found right. Not here: the new protection (`protect`), the Trailer (`verify`).

use zeroize::Zeroizing;

use super::malformed;
use crate::crypto::{ApplicationScope, CipherKey, FileKind, Purpose};
use crate::hsm::soft::key_work::{TransportKey, WorkKey};
use crate::hsm::soft::{secrets, verify};
use crate::hsm::store::KekRules;
use crate::hsm::{
    ApplicationToProtect, CardToProtect, DataFault, EarlierApplication, HsmError, ProtectRequest, ValuePart,
};
use crate::ids::Dgi;
use crate::record::chip::{ApplicationView, ChipApplication, SectionScratch};

/// The secrets of an application of an unfinished file. It has no `Debug` and is wiped when dropped.
pub(super) struct OpenedApplication {
    secrets: Vec<(Dgi, Zeroizing<Vec<u8>>)>,
}

/// The card, the file and the key of an application that is opened.
pub(super) struct EarlierFile<'a> {
    pub request: &'a ProtectRequest,
    pub card: &'a CardToProtect,
    pub kek: &'a CipherKey,
    pub rules: &'a KekRules,
}

impl EarlierFile<'_> {
    /// Checks an application, and opens its secrets for an order that takes it over.
    pub(super) fn open(
        &self,
        wanted: &ApplicationToProtect,
        earlier: &EarlierApplication,
    ) -> Result<OpenedApplication, HsmError> {
        let wrong = |fault| HsmError::Data { aid: wanted.aid.to_string(), fault };
        let application = ApplicationView::parse(&earlier.application, 0, &mut SectionScratch::default())
            .map_err(|e| wrong(DataFault::Malformed(e.to_string())))?;
        if application.kek != self.rules.id || application.suite != self.rules.suite {
            return Err(malformed("earlier application: it has another KEK"));
        }
        let scope = ApplicationScope {
            kind: FileKind::Unfinished,
            issuer_id: self.request.issuer_id.as_str(),
            file_id: self.request.file_id.as_str(),
            sequence: earlier.sequence,
            card_ref: self.card.card_ref.as_str(),
            aid: application.aid,
        };
        let mac = verify::application_mac(&application, &earlier.others, &scope, &WorkKey::Value(self.kek));
        mac.map_err(|fault| fault.about(wrong))?;
        let whole = application.to_application().map_err(|e| wrong(DataFault::Malformed(e.to_string())))?;
        if !is_taken_over(&whole, wanted) {
            return Err(malformed("earlier application: it is not taken over as it is"));
        }
        let tk = scope.derive(self.kek, self.rules.suite, Purpose::Data);
        let tk = tk.map_err(|e| wrong(DataFault::Malformed(e.to_string())))?;
        let tk = TransportKey::Value(tk);
        let secrets = application.dgis().filter(|(dgi, _)| application.is_protected(*dgi));
        let opened = secrets.map(|(dgi, value)| {
            let value = secrets::open(&tk, application.cmode, dgi, value);
            Ok((dgi, value.map_err(|fault| fault.about(wrong))?))
        });
        Ok(OpenedApplication { secrets: opened.collect::<Result<_, HsmError>>()? })
    }
}

/// Whether an order is that of the same application, with every secret sealed and every other value as it is.
fn is_taken_over(application: &ChipApplication, wanted: &ApplicationToProtect) -> bool {
    let groups = application.dgis.iter().zip(&wanted.dgis).all(|(group, ordered)| {
        let is_secret = application.protected.contains(&group.dgi);
        let value = match ordered.parts.as_slice() {
            [ValuePart::Sealed] => is_secret,
            [ValuePart::Clear(bytes)] => !is_secret && *bytes == group.value,
            _ => false,
        };
        group.dgi == ordered.dgi && value
    });
    // Every DGI of ENC will be under the TK again.
    let enc = application.pdi.enc.iter().all(|(dgi, _)| application.protected.contains(dgi));
    (&application.aid, &application.pdi, &application.log) == (&wanted.aid, &wanted.pdi, &wanted.log)
        && application.dgis.len() == wanted.dgis.len()
        && wanted.offline.is_none()
        && groups
        && enc
}

impl OpenedApplication {
    /// The value of a secret DGI.
    pub(super) fn value(&self, dgi: Dgi) -> Option<&[u8]> {
        self.secrets.iter().find(|(known, _)| *known == dgi).map(|(_, value)| value.as_slice())
    }
}

#[cfg(test)]
mod tests;
