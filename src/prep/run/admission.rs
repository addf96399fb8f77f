//! What a run refuses before it reads its input: what the bureau would refuse later, and pools that are not there.
//!
//! Not here: which keys of the issuer a product needs (`order`).

use std::path::{Path, PathBuf};

use crate::crypto::Suite;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{IssuerInfo, KekInfo};
use crate::prep::counter::NumberCounter;
use crate::prep::keys::{choose_kek, kek_name, kek_type};
use crate::prep::offline::CardKeySize;
use crate::prep::order::CardBuilder;
use crate::prep::plan::ApplicationPlan;
use crate::prep::pool::KeyPool;
use crate::prep::unfinished::UnfinishedFile;
use crate::profile::ProductProfile;

/// The KEK of the file: that of the earlier pass, if there was one.
pub(super) fn file_kek<'i>(
    info: &'i IssuerInfo,
    wanted: Option<&str>,
    earlier: Option<&UnfinishedFile>,
) -> Result<&'i KekInfo, Failure> {
    let Some(earlier) = earlier else { return choose_kek(info, wanted) };
    let name = kek_name(earlier.kek);
    if wanted.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&name)) {
        let what = format!(
            "key: --kek: the unfinished file has KEK {name}, which every pass keeps; leave --kek out"
        );
        return Err(Failure::new(Exit::KeyMismatch, what));
    }
    choose_kek(info, Some(&name))
}

/// Opens the pools of key pairs. Checks that each size the product needs has a pool, and that this HSM opens the next pair of
/// each: pairs that it cannot open would be taken and lost.
pub(super) fn pools(
    builder: &CardBuilder,
    paths: &[PathBuf],
    hsm: &mut HsmClient,
) -> Result<Vec<KeyPool>, Failure> {
    let pools = paths.iter().map(|path| KeyPool::open(path)).collect::<Result<Vec<_>, _>>()?;
    pools.iter().try_for_each(|pool| pool.check_store(hsm))?;
    for CardKeySize { bits, exponent } in builder.key_sizes() {
        if !pools.iter().any(|pool| pool.size() == CardKeySize { bits, exponent }) {
            let what = format!(
                "key: the product needs key pairs of {bits} bits with exponent {exponent}: make a pool of them, and name it \
                 with --pool"
            );
            return Err(Failure::new(Exit::KeyUnknown, what));
        }
    }
    Ok(pools)
}

/// Opens the counter of a product that has one.
pub(super) fn counter(builder: &CardBuilder, path: Option<&Path>) -> Result<Option<NumberCounter>, Failure> {
    match (&builder.plan().input.counter, path) {
        (Some(_), Some(path)) => NumberCounter::open(path).map(Some),
        (Some(counted), None) => {
            let what = format!(
                "operator: the product counts {}: name its counter with --counter (cardwright-prep counter new makes one)",
                counted.column.name()
            );
            Err(Failure::new(Exit::Usage, what))
        }
        (None, Some(_)) => {
            let what = "operator: --counter is for a product with [prep.counter]; this product has none: leave the option out";
            Err(Failure::new(Exit::Usage, what))
        }
        (None, None) => Ok(None),
    }
}

/// Refuses what the bureau would refuse later: a KEK too weak for the product, a security level too low for
/// the KEK.
pub(super) fn admitted(
    product: &ProductProfile,
    builder: &CardBuilder,
    kek: &KekInfo,
) -> Result<(), Failure> {
    if !Suite::from_tk_type(kek.tk_type).is_some_and(|suite| product.min_suite.admits(suite)) {
        let what = format!(
            "key: KEK {} is {}, weaker than min_suite of product {}; name another with --kek",
            kek_name(kek.id),
            kek_type(kek),
            product.name
        );
        return Err(Failure::new(Exit::KeyMismatch, what));
    }
    let too_low = |a: &&ApplicationPlan| {
        a.dgis.iter().any(|d| d.enc.is_some()) && a.level.byte() < kek.min_seclev.byte()
    };
    match builder.plan().applications.iter().find(too_low) {
        Some(application) => Err(Failure::new(
            Exit::Profile,
            format!(
                "profile {}: seclev of application {} is below min_seclev of the KEK",
                product.name, application.aid
            ),
        )),
        None => Ok(()),
    }
}
