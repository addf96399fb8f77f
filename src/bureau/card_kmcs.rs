//! Whether a record's card can be made of any blank at all: of one whose KMC is in the key store, may get the secrets
//! of every KEK of the record, and serves the product's channel.
//!
//! A run finds out which KMC a blank has from the blank itself (`modules::chip`). Without this rule a file for which
//! there is no KMC would be accepted, and every blank thrown out. Not here: the record's other rules (`file_rules`).

use crate::crypto::KeyType;
use crate::exit::{Exit, Failure};
use crate::hsm::{HsmInfo, KekInfo, KmcInfo};
use crate::ids::KekId;
use crate::profile::ProductProfile;
use crate::profile::product::ChipProfile;

/// Most keys that a message names.
const NAMED: usize = 8;

/// Refuses a record whose applications come under these KEKs, all of which the key store has, if it has no KMC for them.
pub(super) fn check(
    info: &HsmInfo,
    keks: &[KekId],
    product: &ProductProfile,
    chip: &ChipProfile,
) -> Result<(), Failure> {
    let keks: Vec<&KekInfo> = info.keks.iter().filter(|kek| keks.contains(&kek.id)).collect();
    let allowed = |kmc: &&KmcInfo| keks.iter().all(|kek| kek.allow.contains(&kmc.kmc));
    let usable = |kmc: &KmcInfo| chip.channel.can_use(chip.derivation, kmc.kmc, kmc.key_type);
    let mut allowed = info.kmcs.iter().filter(allowed).peekable();
    let exit = if allowed.peek().is_none() { Exit::KeyUnknown } else { Exit::KeyMismatch };
    if allowed.any(usable) {
        return Ok(());
    }
    let what = format!(
        "key: the key store has no KMC for this card: {}; {}; {}; import a KMC that fits, or compare the KMCs that the \
         KEK allows with the issuer",
        named(keks.iter().map(|kek| allows(kek)), "no KEK"),
        wanted(product, chip),
        there(info)
    );
    Err(Failure::new(exit, what))
}

fn allows(kek: &KekInfo) -> String {
    let kmcs = named(kek.allow.iter().map(ToString::to_string), "no KMC");
    format!("KEK {} ({:?}) allows {kmcs}", kek.id, kek.label)
}

/// The KMCs that the product's channel can use.
fn wanted(product: &ProductProfile, chip: &ChipProfile) -> String {
    let types = KeyType::ALL.into_iter().filter(|key_type| chip.channel.takes(chip.derivation, *key_type));
    let types = named(types.map(|key_type| key_type.to_string()), "no type");
    let version = match chip.channel.spec().key_version {
        0 => String::new(),
        version => format!(" and key version {version}"),
    };
    format!("{} of product {} needs one of type {types}{version}", chip.channel, product.name)
}

fn there(info: &HsmInfo) -> String {
    let kmcs = info.kmcs.iter().map(|kmc| format!("{} ({:?}, {})", kmc.kmc, kmc.label, kmc.key_type));
    format!("the store has {}", named(kmcs, "no KMC"))
}

/// Joins the first names, and counts the others. A key store may hold hundreds of keys.
fn named(mut names: impl Iterator<Item = String>, none: &str) -> String {
    let first: Vec<String> = names.by_ref().take(NAMED).collect();
    match (first.is_empty(), names.count()) {
        (true, _) => none.to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::Realm;
    use crate::ids::{IssuerId, Kcv, KmcRef};
    use crate::scp::SecLevel;

    const FIRST: KekId = KekId([0x47, 0x61, 0x73, 0xFF, 1]);
    const SECOND: KekId = KekId([0x47, 0x61, 0x73, 0xFF, 2]);

    fn kek(id: KekId, allow: &[&str]) -> KekInfo {
        KekInfo {
            label: format!("kek-{}", id.0[4]),
            id,
            tk_type: 0x42,
            kcv: Kcv([0xAB; 3]),
            issuer_id: IssuerId::new("TESTBANK").unwrap(),
            allow: allow.iter().map(|kmc| KmcRef::parse(kmc).unwrap()).collect(),
            min_seclev: SecLevel::Mac,
        }
    }

    fn kmc(name: &str, key_type: KeyType) -> KmcInfo {
        KmcInfo { label: "a kmc".into(), kmc: KmcRef::parse(name).unwrap(), key_type, kcv: Kcv([0xCD; 3]) }
    }

    /// The exit code and message of a record under these KEKs, where the store has these KMCs; `None` if it is right.
    fn refused(
        product: &ProductProfile,
        (keks, of_record): (&[KekInfo], &[KekId]),
        kmcs: Vec<KmcInfo>,
    ) -> Option<(Exit, String)> {
        let info = HsmInfo { realm: Realm::Test, keks: keks.to_vec(), kmcs, token: None, out_of_reach: None };
        let chip = product.chip.as_ref().unwrap();
        check(&info, of_record, product, chip).err().map(|failure| (failure.exit, failure.message))
    }

    fn multiapp() -> ProductProfile {
        ProductProfile::load("multiapp").unwrap()
    }

    #[test]
    fn one_kmc_that_is_allowed_there_and_usable_is_enough() {
        let keks = [kek(FIRST, &["FFFFFF476173:1", "FFFFFF476173:2"])];
        let tdes = |name| kmc(name, KeyType::Tdes2);
        let refused = |kmcs| refused(&multiapp(), (&keks, &[FIRST]), kmcs);
        assert_eq!(refused(vec![tdes("FFFFFF476173:2")]), None);
        assert_eq!(refused(vec![kmc("FFFFFF476173:1", KeyType::Aes128), tdes("FFFFFF476173:2")]), None);
        let (exit, message) = refused(vec![tdes("FFFFFF476173:3")]).unwrap();
        assert_eq!(exit, Exit::KeyUnknown);
        assert_eq!(
            message,
            format!(
                "key: the key store has no KMC for this card: KEK 476173FF01 (\"kek-1\") allows FFFFFF476173:1, \
                 FFFFFF476173:2; {} of product multiapp needs one of type TDES2; the store has FFFFFF476173:3 (\"a \
                 kmc\", TDES2); import a KMC that fits, or compare the KMCs that the KEK allows with the issuer",
                multiapp().chip.unwrap().channel
            )
        );
        let (exit, message) = refused(vec![]).unwrap();
        assert!(exit == Exit::KeyUnknown && message.contains("the store has no KMC;"), "{message}");
    }

    #[test]
    fn a_kmc_that_the_channel_cannot_use_does_not_count() {
        let keks = [kek(FIRST, &["FFFFFF476173:1"])];
        for key_type in [KeyType::Aes128, KeyType::Aes192, KeyType::Aes256] {
            let kmcs = vec![kmc("FFFFFF476173:1", key_type)];
            let (exit, message) = refused(&multiapp(), (&keks, &[FIRST]), kmcs).unwrap();
            assert_eq!(exit, Exit::KeyMismatch, "{message}");
            assert!(message.contains(&format!("FFFFFF476173:1 (\"a kmc\", {key_type})")), "{message}");
        }
        let (text, origin) = multiapp().source;
        let second = text.replace("i = \"55\" }", "i = \"55\", key_version = 2 }");
        let second = ProductProfile::from_toml(&second, &origin).unwrap();
        let kmcs = vec![kmc("FFFFFF476173:1", KeyType::Tdes2)];
        let (exit, message) = refused(&second, (&keks, &[FIRST]), kmcs).unwrap();
        assert_eq!(exit, Exit::KeyMismatch, "{message}");
        assert!(message.contains("type TDES2 and key version 2;"), "{message}");
    }

    #[test]
    fn every_kek_of_the_record_must_allow_the_kmc() {
        let keks = [kek(FIRST, &["FFFFFF476173:1"]), kek(SECOND, &["FFFFFF476173:2"])];
        let kmcs = || vec![kmc("FFFFFF476173:1", KeyType::Tdes2), kmc("FFFFFF476173:2", KeyType::Tdes2)];
        assert_eq!(refused(&multiapp(), (&keks, &[FIRST]), kmcs()), None);
        assert_eq!(refused(&multiapp(), (&keks, &[SECOND]), kmcs()), None);
        let (exit, message) = refused(&multiapp(), (&keks, &[FIRST, SECOND]), kmcs()).unwrap();
        assert!(exit == Exit::KeyUnknown && message.contains("476173FF02"), "{message}");
        let none = [kek(FIRST, &[])];
        let (_, message) = refused(&multiapp(), (&none, &[FIRST]), kmcs()).unwrap();
        assert!(message.contains("allows no KMC;"), "{message}");
    }

    #[test]
    fn a_message_about_many_keys_counts_them() {
        let many: Vec<String> = (1..=30).map(|version| format!("FFFFFF476173:{version}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (_, message) = refused(&multiapp(), (&[kek(FIRST, &many)], &[FIRST]), vec![]).unwrap();
        assert!(message.contains("FFFFFF476173:8 and 22 more;"), "{message}");
    }
}
