//! Makes a sample card of a product as issuer and bureau would, without a line: prepared, accepted, opened, and planned to
//! the last command to its chip.
//!
//! All keys are made for it, held in this process, and thrown away. Not here: the preparation (`prep::dry_run`), the rules of
//! acceptance (`file_check`), the plan of a chip (`chip`), the card itself, which only a line can make.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::file_check::FileCheck;
use super::line::hsm_host::serve_own;
use crate::chip::plan;
use crate::crypto::KeyType;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::socket_directory;
use crate::hsm::store::{KeyStore, KeyUsage, StoreSide};
use crate::hsm::{ApplicationToVerify, CallerRole, Hsm, HsmDoor, RecordToVerify};
use crate::ids::{Aid, Dgi, Mic};
use crate::modules::LineProfile;
use crate::prep::dry_run::sample_file;
use crate::prep::fill_random;
use crate::profile::{LINES, ProductProfile};
use crate::record::chip::ChipSection;
use crate::record::{Cwf1Reader, FileLimits, check, others_digest};
use crate::report::ProgressDisplay;

/// The shipped line with a module for every MIC, by whose rules the card is checked.
const LINE: &str = "sim-8";
/// Issuer identifier of the keys: that of the samples' account numbers.
const ISSUER: &str = "476173FF";
/// KMC_ID of the key of the chip.
const KMC_ID: &str = "FFFFFF476173";

/// The sample card.
pub struct DryRun {
    /// The MICs of its record.
    pub sections: Vec<Mic>,
    /// Its applications, in file order.
    pub applications: Vec<PlannedApplication>,
}

/// An application of the sample card.
pub struct PlannedApplication {
    /// AID.
    pub aid: Aid,
    /// Commands to the chip after EXTERNAL AUTHENTICATE.
    pub commands: usize,
    /// The DGI that ends last.
    pub last: Option<Dgi>,
}

/// Makes a sample card of a product with `[prep]`.
pub fn dry_run(product: ProductProfile) -> Result<DryRun, Failure> {
    let folder = socket_directory()?;
    let lists = key_lists(&product)?;
    let issuer = serve(folder.path(), "issuer", &lists.issuer, StoreSide::Issuer)?;
    let bureau = serve(folder.path(), "bureau", &lists.bureau, StoreSide::Bureau)?;
    let origin = product.source.1.clone();
    let found = || {
        let bytes =
            sample_file(&product, &|| Ok(HsmClient::connect(&issuer, CallerRole::Issuer)?), folder.path())?;
        accepted(&bytes, product.clone(), &bureau)?;
        planned(&bytes, &product, &mut HsmClient::connect(&bureau, CallerRole::Source)?)
    };
    found().map_err(|failure| of_the_profile(failure, &origin))
}

/// Blames the profile for what is a fault of the input or the file elsewhere: both are made here.
fn of_the_profile(failure: Failure, origin: &str) -> Failure {
    match failure.exit {
        Exit::Input
        | Exit::FileFormat
        | Exit::FileProfile
        | Exit::RecordData
        | Exit::KeyUnknown
        | Exit::KeyMismatch
        | Exit::Profile => {
            let what = failure.message.split("; nothing of this file is used").next().unwrap_or_default();
            let what = what.strip_prefix(&format!("profile {origin}: ")).unwrap_or(what);
            Failure::new(Exit::Profile, format!("profile {origin}: a sample card: {what}"))
        }
        _ => failure,
    }
}

/// The key lists of both sides.
struct KeyLists {
    issuer: Zeroizing<String>,
    bureau: Zeroizing<String>,
}

/// Draws keys: a KEK of the strongest type, a KMC that the product's channel takes, and the issuer's master keys.
fn key_lists(product: &ProductProfile) -> Result<KeyLists, Failure> {
    let mut lists = KeyLists { issuer: Zeroizing::default(), bureau: Zeroizing::default() };
    let version = product.chip.as_ref().map_or(0, |chip| chip.channel.spec().key_version).max(1);
    let kek = entry("KEK", KeyType::Aes256, ISSUER, 1)?;
    for list in [&mut lists.issuer, &mut lists.bureau] {
        list.push_str(&kek);
        list.push_str(&format!(
            "issuer_id = \"SAMPLE\"\nallow = [\"{KMC_ID}:{version}\"]\nmin_seclev = \"00\"\n"
        ));
    }
    if let Some(chip) = &product.chip {
        let taken = KeyType::ALL.into_iter().find(|key| chip.channel.takes(chip.derivation, *key));
        lists.bureau.push_str(&entry("KMC", taken.unwrap_or(KeyType::Tdes2), KMC_ID, version)?);
    }
    for usage in KeyUsage::MASTERS {
        lists.issuer.push_str(&entry(&usage.to_string(), KeyType::Tdes2, ISSUER, 1)?);
    }
    Ok(lists)
}

/// An entry of a key list, with a value that is drawn.
fn entry(usage: &str, key_type: KeyType, id: &str, version: u8) -> Result<Zeroizing<String>, Failure> {
    let mut value = Zeroizing::new(vec![0; key_type.length()]);
    fill_random(&mut value)?;
    let value = Zeroizing::new(hex::encode_upper(&*value));
    let mut text = Zeroizing::new(String::new());
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "[[key]]\nlabel = \"{usage}\"\nusage = \"{usage}\"\ntype = \"{key_type}\"\nid = \"{id}\"\nversion = {version}\n\
         value = \"{}\"\n",
        &*value
    );
    Ok(text)
}

/// Holds the keys of a list. Returns the door of their HSM.
fn serve(folder: &Path, name: &str, list: &str, side: StoreSide) -> Result<HsmDoor, Failure> {
    let socket = folder.join(format!("{name}.sock"));
    serve_own(KeyStore::create_test(list, &folder.join(name), side)?, &socket)
}

/// Makes the checks of acceptance.
fn accepted(bytes: &[u8], product: ProductProfile, keys: &HsmDoor) -> Result<(), Failure> {
    let text = LINES.iter().find(|(name, _)| *name == LINE).map_or("", |(_, text)| text);
    let line = LineProfile::from_toml(text, LINE)?;
    let connect = || Ok(HsmClient::connect(keys, CallerRole::Check)?);
    let checks = FileCheck::new(&line, Some(&connect), ProgressDisplay::Nothing);
    check(bytes, FileLimits::default(), &mut checks.by(Arc::new(product)))?;
    Ok(())
}

/// Opens the applications of the card, and plans the commands of each.
fn planned(bytes: &[u8], product: &ProductProfile, hsm: &mut HsmClient) -> Result<DryRun, Failure> {
    let mut reader = Cwf1Reader::open(bytes, FileLimits::default())?;
    let header = reader.header().clone();
    let mut found = DryRun { sections: Vec::new(), applications: Vec::new() };
    while let Some(record) = reader.next_record()? {
        found.sections.extend(record.sections.iter().map(|section| section.mic.clone()));
        let Some(chip) = record.section("CHP") else { continue };
        let section = ChipSection::parse(chip).map_err(|e| Failure::new(Exit::Bug, format!("us: {e}")))?;
        let Some(channel) = product.chip.as_ref().map(|chip| &chip.channel) else { continue };
        let others = others_digest(&record);
        for application in &section.applications {
            let Some(of_product) = product.application(&application.aid) else { continue };
            let request = RecordToVerify {
                issuer_id: header.issuer_id.clone(),
                file_id: header.file_id.clone(),
                sequence: record.sequence,
                card_ref: record.card_ref.clone(),
                others,
                card_block: channel.block(),
                allow_ecb: product.allow_ecb,
                applications: vec![ApplicationToVerify {
                    bytes: application.raw.as_slice().into(),
                    pass_through: of_product.pass_through.clone(),
                }],
            };
            let verified = hsm.verify_record(&request)?;
            let Some(verified) = verified.applications.first() else { continue };
            let plan = plan(application, verified, of_product, channel)
                .map_err(|e| Failure::new(Exit::Profile, format!("application {}: {e}", application.aid)))?;
            let last = plan.steps.iter().flat_map(|step| &step.ends).next_back().map(|(dgi, _)| *dgi);
            found.applications.push(PlannedApplication {
                aid: application.aid.clone(),
                commands: plan.steps.len(),
                last,
            });
        }
    }
    Ok(found)
}
