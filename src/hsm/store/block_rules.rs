//! The keys that a key block may become in a store: usage, mode, key version and algorithm, and the ZMK that it is under.
//!
//! Everything is compared after the MAC is checked, and the block alone decides nothing. The command describes the key,
//! because a block has no identifier and no partner. Exportability is recorded: nothing is ever exported.
//!
//! Not here: the block itself (`crypto::key_block`), rules of every key (`rules`).

use super::entry::{KeyTerms, KeyUsage, SecretEntry, StoreSide};
use crate::crypto::KeyType;
use crate::crypto::key_block::{BlockHeader, KeyBlock, KeyBlockFault, OpenedBlock};
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;

/// A usage, the usage codes of the blocks that may carry it, and their modes.
struct BlockRule {
    usage: KeyUsage,
    codes: &'static [&'static str],
    bureau: &'static [char],
    issuer: &'static [char],
}

const BOTH_DECRYPT_ANY: &[char] = &['B', 'D', 'N'];
const DERIVE_ANY: &[char] = &['X', 'N'];
/// An issuer makes and checks these values: a key that only verifies does not serve it.
const BOTH_MAKE_ANY: &[char] = &['C', 'G', 'N'];

const fn rule(usage: KeyUsage, codes: &'static [&'static str], modes: &'static [char]) -> BlockRule {
    BlockRule { usage, codes, bureau: modes, issuer: modes }
}

/// TR-31:2018 A.5.2 and A.5.4, of the keys that a store holds. KML and KMU have no code.
const RULES: [BlockRule; 8] = [
    rule(KeyUsage::Zmk, &["K0", "K1"], BOTH_DECRYPT_ANY),
    // An issuer encrypts under its KEK.
    BlockRule { issuer: &['B', 'N'], ..rule(KeyUsage::Kek, &["K0"], BOTH_DECRYPT_ANY) },
    rule(KeyUsage::Kmc, &["E5"], DERIVE_ANY),
    rule(KeyUsage::ImkAc, &["E0"], DERIVE_ANY),
    rule(KeyUsage::ImkSmc, &["E1"], DERIVE_ANY),
    rule(KeyUsage::ImkSmi, &["E2"], DERIVE_ANY),
    rule(KeyUsage::Cvk, &["C0"], BOTH_MAKE_ANY),
    rule(KeyUsage::Pvk, &["V2"], BOTH_MAKE_ANY),
];

/// Reads the text of a key block.
pub fn read_block(text: &str) -> Result<KeyBlock, Failure> {
    KeyBlock::read(text).map_err(|fault| failure(&fault))
}

/// Opens a block with a ZMK.
pub(super) fn opened(block: KeyBlock, zmk: &SecretEntry) -> Result<OpenedBlock, Failure> {
    let key = zmk.key()?;
    let named = block.kbpk_kcv().filter(|kcv| !kcv.fits(key)).map(ToString::to_string);
    block.open(key).map_err(|fault| match fault {
        KeyBlockFault::Mac => {
            let label = zmk.label();
            let kcvs: Vec<_> = zmk.kcvs().iter().map(|(method, kcv)| format!("{method} {kcv}")).collect();
            let named =
                named.map_or_else(String::new, |kcv| format!("; the block names a key with the KCV {kcv}"));
            let what = format!(
                "the MAC is wrong: the block was changed, or is under another key than {label}: compare the KCV of {label}, {}, \
                 with the sender{named}",
                kcvs.join(", ")
            );
            Failure::new(Exit::FileMac, format!("file: {what}"))
        }
        fault => failure(&fault),
    })
}

fn failure(fault: &KeyBlockFault) -> Failure {
    let exit = match fault {
        KeyBlockFault::Form { .. }
        | KeyBlockFault::Old(_)
        | KeyBlockFault::Restricting { .. }
        | KeyBlockFault::ForStorage
        | KeyBlockFault::KeyLength => Exit::FileFormat,
        KeyBlockFault::Mac => Exit::FileMac,
        KeyBlockFault::WrongKbpkType(..)
        | KeyBlockFault::Algorithm(_)
        | KeyBlockFault::ThreeKey
        | KeyBlockFault::SingleDes
        | KeyBlockFault::KcvOfKey
        | KeyBlockFault::KcvOfKbpk => Exit::KeyMismatch,
    };
    Failure::new(exit, format!("file: {fault}"))
}

/// Refuses a block whose header or key does not agree with the command.
pub(super) fn check_block(
    header: &BlockHeader,
    key_type: KeyType,
    terms: &KeyTerms,
    side: StoreSide,
) -> Result<(), Failure> {
    let refused = |what: String| Err(Failure::new(Exit::KeyMismatch, format!("file: {what}")));
    let usage = terms.usage;
    let Some(rule) = RULES.iter().find(|rule| rule.usage == usage) else {
        return refused(format!("{usage} keys come in no key block: ask for components"));
    };
    if !rule.codes.contains(&header.usage.as_str()) {
        let codes = rule.codes.join(" or ");
        return refused(format!(
            "the block is a {} key, and {usage} keys come as {codes}: ask the sender",
            header.usage
        ));
    }
    let modes = match side {
        StoreSide::Bureau => rule.bureau,
        StoreSide::Issuer => rule.issuer,
    };
    if !modes.contains(&header.mode) {
        let modes: Vec<_> = modes.iter().map(char::to_string).collect();
        return refused(format!(
            "the block has mode {}, and {usage} keys of this {side} come with {}: ask the sender",
            header.mode,
            modes.join(" or ")
        ));
    }
    let version = header.key_version.as_str();
    if version.starts_with('c') {
        return refused("the block holds a component: ask for the whole key".into());
    }
    if version != "00" && version != format!("{:02}", terms.version) {
        let ask = if terms.version > 99 { "ask for 00" } else { "ask for 00 or the version" };
        return refused(format!(
            "the block has key version {version}, and the command says {}: {ask}",
            terms.version
        ));
    }
    if key_type != terms.key_type {
        return refused(format!(
            "the block holds a key of type {key_type}, and the command says {}: ask the sender",
            terms.key_type
        ));
    }
    Ok(())
}

/// Refuses a key that does not belong to the partner who shares the ZMK, and notes that partner if the command names none.
pub(super) fn check_partner(terms: &mut KeyTerms, zmk: &SecretEntry, side: StoreSide) -> Result<(), Failure> {
    let partner = zmk.partner();
    let (usage, label) = (terms.usage, zmk.label());
    match usage {
        // An issuer's ZMK is shared with its bureau.
        KeyUsage::Kek if side == StoreSide::Issuer => {}
        _ if terms.partner.is_empty() => partner.clone_into(&mut terms.partner),
        _ if terms.partner == partner => {}
        _ => {
            let what = format!("{label} is {partner}'s, and the {usage} is for {}", terms.partner);
            return Err(Failure::new(
                Exit::KeyMismatch,
                format!("key: {what}: take the ZMK of {}, or ask who sent the block", terms.partner),
            ));
        }
    }
    Ok(())
}

/// A LIVE store refuses a ZMK weaker than the key that it brings; for a TEST store, returns a warning.
pub(super) fn check_strength(
    zmk: &SecretEntry,
    key_type: KeyType,
    realm: Realm,
) -> Result<Option<String>, Failure> {
    if zmk.key_type().strength() >= key_type.strength() {
        return Ok(None);
    }
    let what =
        format!("{} ({}) is weaker than the {key_type} key that it brings", zmk.label(), zmk.key_type());
    match realm {
        Realm::Test => Ok(Some(what)),
        Realm::Live => Err(Failure::new(
            Exit::KeyMismatch,
            format!("key: {what}: a LIVE store refuses it; ask for the key under a stronger ZMK"),
        )),
    }
}
