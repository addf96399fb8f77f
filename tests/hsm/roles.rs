//! What each role of a connection may ask: every operation is asked in every role.

use cardwright::audit::{ChainPlace, DocumentKind, LedgerId};
use cardwright::crypto::FileKind;
use cardwright::hsm::client::HsmClient;
use cardwright::hsm::store::KeyUsage;
use cardwright::hsm::{
    AuditInfo, Auditor, AuthorityKey, AuthorityName, CallerRole, CardAttempt, CertificateToInstall, Checker,
    CodesRequest, DocumentRequest, FileAdmission, FileReceiver, Following, Hsm, HsmError, HsmRefusal, Issuer,
    IssuerKeyName, MasterKeyRef, NewCardKeys, NewIssuerKey, OwnCertificate, ProtectRequest, RecordHandle,
    SealedCardKey, ShownEvents, TrailerToProtect, Vault,
};
use cardwright::ids::{FileId, IssuerId, KekId, SpoolKeyName};
use cardwright::laws::{JobId, LAWS};
use cardwright::scp::SecLevel;

use super::host::{place, threads};
use super::personalize::{asks, channel};
use crate::card::blank;
use crate::file::{self, app, asked, kek_tdes};

type Asked = Box<dyn Fn(&mut HsmClient) -> Result<(), HsmError>>;

/// An operation: its callers, and a request that is refused for its content or does no harm.
pub struct Operation {
    pub name: &'static str,
    pub callers: &'static [CallerRole],
    pub ask: Asked,
}

fn operation<T>(
    name: &'static str,
    callers: &'static [CallerRole],
    ask: impl Fn(&mut HsmClient) -> Result<T, HsmError> + 'static,
) -> Operation {
    Operation { name, callers, ask: Box::new(move |client| ask(client).map(drop)) }
}

const LEDGER: LedgerId = LedgerId([7; 16]);
const SPOOL: SpoolKeyName = SpoolKeyName([8; 16]);
const NAME: IssuerKeyName = IssuerKeyName { issuer: [0x47, 0x61, 0x73, 0xFF], version: 9 };
const AUTHORITY: AuthorityName = AuthorityName { rid: [0xA0, 0, 0, 0, 3], index: 1 };

fn names() -> (IssuerId, FileId) {
    (IssuerId::new("TESTBANK").unwrap(), FileId::new("FILE-1").unwrap())
}

/// The operations of a line, a ledger and an inspection.
fn of_a_bureau() -> Vec<Operation> {
    use CallerRole::{Check, Ledger, Source, Station};
    let place = ChainPlace { ledger: LEDGER, n: 1, hash: [1; 32] };
    let request = || asked(&kek_tdes(), &app(0x12, 1));
    let admission = || {
        let trailer = file::trailer(&kek_tdes(), "TESTBANK", "FILE-1");
        FileAdmission { digest: [3; 32], ledger: LEDGER, trailer }
    };
    vec![
        operation("info", &[Ledger, Station, Check], Hsm::info),
        operation("verify_trailer", &[Check], |c| {
            c.verify_trailer(&file::trailer(&kek_tdes(), "TESTBANK", "FILE-1"))
        }),
        operation("verify_record", &[Source], move |c| c.verify_record(&request())),
        operation("draw_challenge", &[Station], |c| c.draw_challenge(channel(0x55))),
        operation("session", &[Station], |c| c.session(&a_session())),
        operation("release", &[Source], |c| c.release(&[RecordHandle([1; 16])])),
        operation("audit", &[Ledger, Check], |c| c.audit(LEDGER).map(|_: AuditInfo| ())),
        operation("follow", &[Ledger], |c| {
            c.follow(&Following { ledger: LEDGER, laws: LAWS, signed: None, last: None })
        }),
        operation("show", &[Ledger], move |c| {
            c.show(&ShownEvents { after: place, events: Vec::new(), sign: false })
        }),
        operation("admit", &[Ledger], move |c| c.admit(&admission())),
        operation("seal_document", &[Ledger], |c| {
            let (kind, job) = (DocumentKind::Report, JobId(1));
            c.seal_document(&DocumentRequest { kind, ledger: LEDGER, job, text: [2; 32] })
        }),
        operation("new_spool", &[Ledger], |c| c.new_spool(LEDGER)),
        operation("seal", &[Ledger], |c| c.seal(SPOOL, 0, b"clear")),
        operation("unseal", &[Ledger, Source], |c| c.unseal(SPOOL, 0, &[])),
        operation("abandon_spool", &[Ledger], |c| c.abandon_spool(SPOOL)),
        operation("check", &[Check], |c| c.check(&file::check_request(&[asked(&kek_tdes(), &app(0x12, 1))]))),
        operation("unwrap_file_key", &[Check], |c| c.unwrap_file_key(&[])),
    ]
}

/// A session that nothing was verified for.
fn a_session() -> cardwright::hsm::CardSessionRequest {
    let card = CardAttempt { ledger: LEDGER, job: JobId(1), seq: 1, attempt: 1 };
    asks(&blank(), [5; 8], (card, 1), RecordHandle([9; 16]), SecLevel::Mac, Vec::new())
}

/// The operations of the preparation.
fn of_an_issuer() -> Vec<Operation> {
    use CallerRole::Issuer as Preparation;
    const ISSUER: &[CallerRole] = &[Preparation];
    let kek = || KekId::from_hex(&hex::encode_upper(kek_tdes().id)).unwrap();
    let authority = || AuthorityKey { name: AUTHORITY, modulus: vec![1], exponent: 3 };
    let install = move || CertificateToInstall {
        key: NAME,
        authority: authority(),
        certificate: vec![1],
        remainder: Vec::new(),
        today: [0, 0],
    };
    let protect = move || {
        let ((issuer_id, file_id), issuer) = (names(), "476173FF".to_owned());
        ProtectRequest { kind: FileKind::Finished, kek: kek(), issuer_id, file_id, issuer, cards: Vec::new() }
    };
    let trailer = move || {
        let (issuer_id, file_id) = names();
        TrailerToProtect { kind: FileKind::Finished, kek: kek(), issuer_id, file_id, head: vec![1] }
    };
    let codes = || {
        let cvk = MasterKeyRef { usage: KeyUsage::Cvk, version: 1 };
        CodesRequest { issuer: "476173FF".to_owned(), cvk, pvk: None, cards: Vec::new() }
    };
    vec![
        operation("issuer_keys", ISSUER, Issuer::issuer_keys),
        operation("card_codes", ISSUER, move |c| c.card_codes(&codes())),
        operation("protect_cards", ISSUER, move |c| c.protect_cards(&protect())),
        operation("protect_trailer", ISSUER, move |c| c.protect_trailer(&trailer())),
        operation("make_issuer_key", ISSUER, |c| {
            c.make_issuer_key(&NewIssuerKey { issuer: NAME.issuer, bits: 1024, exponent: 3 })
        }),
        operation("request_certificate", ISSUER, |c| c.request_certificate(NAME)),
        operation("install_certificate", ISSUER, move |c| c.install_certificate(&install())),
        operation("certify_own", ISSUER, |c| {
            c.certify_own(&OwnCertificate { key: NAME, authority: AUTHORITY, expiry: [0x12, 0x49] })
        }),
        operation("make_card_keys", ISSUER, |c| {
            c.make_card_keys(&NewCardKeys { bits: 1024, exponent: 3, count: 1 })
        }),
        operation("verify_unfinished", ISSUER, |c| {
            c.verify_unfinished(&file::trailer(&kek_tdes(), "TESTBANK", "FILE-1"))
        }),
        operation("check_card_key", ISSUER, |c| {
            c.check_card_key(&SealedCardKey { modulus: vec![1], sealed: vec![2] })
        }),
    ]
}

/// Every operation.
pub fn operations() -> Vec<Operation> {
    of_a_bureau().into_iter().chain(of_an_issuer()).collect()
}

#[test]
fn a_role_does_only_its_part() {
    let place = place();
    let door = threads(&place);
    let table = include_str!("../../src/hsm/operations.rs");
    let listed = table.lines().filter(|line| line.trim_start().starts_with("#[counted")).count();
    assert_eq!(operations().len(), listed, "every operation of the table");
    for Operation { name, callers, ask } in operations() {
        for role in CallerRole::ALL {
            let mut client = HsmClient::connect(&door, role).unwrap();
            let answer = ask(&mut client);
            let refused = answer == Err(HsmError::Refused(HsmRefusal::Role));
            assert_eq!(refused, !callers.contains(&role), "{name} of {role:?}: {answer:?}");
            // A connection that asks what it may not has ended. Any other error is an answer.
            let again = ask(&mut client);
            assert_eq!(matches!(again, Err(HsmError::Host(_))), refused, "{name} of {role:?}: {again:?}");
        }
    }
}
