//! The bureau's HSM verifies the files of the preparation: every Trailer and every application, under each
//! kind of KEK.

use crate::prep_support::*;
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, StoreSide};
use cardwright::hsm::{ApplicationToVerify, DataFault, Hsm, HsmError, RecordToVerify, TrailerRequest};
use cardwright::record::chip::ChipSection;
use cardwright::record::{Cwf1Reader, FileLimits, others_digest};

#[test]
fn every_trailer_and_every_application_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let store = issuer_store(dir.path());
    let list = std::fs::read_to_string(data("keys-bureau.toml")).unwrap();
    let mut hsm = SoftHsm::new(
        KeyStore::create_test(&list, &dir.path().join("bureau.keys"), StoreSide::Bureau).unwrap(),
    )
    .unwrap();

    for kek in ["476173FF:1", "476173FF:2", "476173FF:3"] {
        let output = dir.path().join("out.cwf");
        run(&data("cards-4.csv"), &store, &output).args(["--kek", kek]).assert().success();
        let bytes = std::fs::read(&output).unwrap();
        let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
        let header = reader.header().clone();
        while let Some(record) = reader.next_record().unwrap() {
            let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
            let mut secrets = Vec::new();
            for application in chip.applications {
                let mut request = RecordToVerify {
                    issuer_id: header.issuer_id.clone(),
                    file_id: header.file_id.clone(),
                    sequence: record.sequence,
                    card_ref: record.card_ref.clone(),
                    others: others_digest(&record),
                    card_block: 8,
                    allow_ecb: false,
                    applications: vec![ApplicationToVerify {
                        bytes: application.raw.as_slice().into(),
                        pass_through: Vec::new(),
                    }],
                };
                let verified = hsm.verify_record(&request).unwrap().applications.remove(0);
                assert_eq!(verified.allow.len(), 3);
                secrets.extend(verified.protected.iter().map(|(_, length)| *length));
                // The application does not verify as that of another card of the file.
                request.sequence += 1;
                let moved = hsm.verify_record(&request).unwrap_err();
                assert!(matches!(moved, HsmError::Data { fault: DataFault::Mac, .. }), "{moved}");
            }
            if record.sequence == 1 {
                // Lengths as the card gets them: PIN block, three keys, KDL and KDU.
                assert_eq!(secrets, [8, 48, 32]);
            }
        }
        let end = reader.finish().unwrap();
        let trailer = end.trailer;
        let request = TrailerRequest {
            issuer_id: header.issuer_id,
            file_id: header.file_id,
            kek: trailer.kek,
            tk_type: trailer.tk_type,
            kcv: trailer.kcv,
            body: end.body,
            wrapped_mac_key: trailer.wrapped_mac_key,
            mac: trailer.mac,
        };
        hsm.verify_trailer(&request).unwrap();
        std::fs::remove_file(&output).unwrap();
    }
}
