//! How an issuer's file comes in: sealed to the bureau's recipient, or bare.
//!
//! Not here: the envelope (`record::envelope`), its private key (`hsm`), the checks of what is inside (`acceptance`).

use std::io::Read;

use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{Realm, open_delivered};
use crate::record::envelope::DeliveredFile;
use crate::record::{FileError, FileFault};

/// Opens a file that is to become a job, with the keys that the job would use. Only a job with TEST keys may come bare.
pub(super) fn open_for_job<R: Read>(
    input: R,
    keys: Option<&mut HsmClient>,
) -> Result<DeliveredFile<R>, FileError> {
    let realm = keys.as_ref().map(|keys| keys.realm());
    let file = open_delivered(input, keys)?;
    may_come(file.is_bare(), realm).map_err(|failure| FileError {
        record: None,
        offset: 0,
        fault: FileFault::Refused(failure),
    })?;
    Ok(file)
}

/// Refuses a bare file for LIVE keys.
fn may_come(is_bare: bool, realm: Option<Realm>) -> Result<(), Failure> {
    if is_bare && realm == Some(Realm::Live) {
        let what = "file: it is not sealed, and a file for LIVE keys must be; nothing of it is used: ask the issuer to seal it to \
                    this bureau's recipient";
        return Err(Failure::new(Exit::FileFormat, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_for_live_keys_must_be_sealed() {
        let refused = may_come(true, Some(Realm::Live)).unwrap_err();
        assert_eq!(refused.exit, Exit::FileFormat);
        for (is_bare, realm) in
            [(false, Some(Realm::Live)), (true, Some(Realm::Test)), (false, Some(Realm::Test)), (true, None)]
        {
            assert!(may_come(is_bare, realm).is_ok(), "{is_bare} {realm:?}");
        }
    }
}
