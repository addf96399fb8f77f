//! The rules between the lists of an application (`src/manual/cwf1.md` section 5, "Rules between the lists").

use std::collections::HashMap;

use super::EncType;
use super::error::{ChipError, ChipFault, DgiList};
use super::view::{ApplicationView, at, groups, pairs, triples};
use crate::ids::Dgi;
use crate::record::cursor::FieldBytes;
use crate::tlv;
use crate::tlv::dgi::DgiError;

/// Working space that is reused from record to record. The lists are sorted, so that a check costs at most n
/// log n.
#[derive(Default)]
pub struct SectionScratch {
    /// AIDs of the section.
    pub(super) aids: Vec<(usize, u128)>,
    /// DGIs of the application.
    data: Vec<Dgi>,
    /// DGIs in ENC.
    secret: Vec<Dgi>,
    /// The list that is being checked.
    list: Vec<Dgi>,
    /// DGIs in GROUPs, each with the offset of its group.
    grouped: Vec<(Dgi, usize)>,
    /// DGIs in ORDER.
    ordered: Vec<Dgi>,
    /// GROUPs that an ORDER group has passed.
    passed: Vec<usize>,
    /// The shape of the application.
    shape: Vec<u8>,
    /// The shapes that follow the rules, each with its number. Files have few.
    sound: HashMap<Vec<u8>, u64>,
    /// Number of the last shape.
    last: u64,
}

/// Most shapes that are remembered.
const SHAPES: usize = 1024;

/// Checks every rule between the lists of an application, and returns the number of its shape. The rules depend on
/// nothing but the shape, so one that was right before is right.
pub(super) fn check(view: &ApplicationView<'_>, scratch: &mut SectionScratch) -> Result<u64, ChipError> {
    let readable = view.write_shape(&mut scratch.shape);
    if readable && let Some(number) = scratch.sound.get(&scratch.shape) {
        return Ok(*number);
    }
    lists(view, scratch)?;
    if scratch.sound.len() >= SHAPES {
        scratch.sound.clear();
    }
    // Never used twice, also not after the shapes were forgotten.
    scratch.last += 1;
    scratch.sound.insert(scratch.shape.clone(), scratch.last);
    Ok(scratch.last)
}

fn lists(view: &ApplicationView<'_>, scratch: &mut SectionScratch) -> Result<(), ChipError> {
    let SectionScratch { data, secret, list, grouped, ordered, passed, .. } = scratch;
    collect_data(view.data, data)?;

    whole(view.enc, 3, "ENC")?;
    if triples(view.enc.bytes).any(|(_, kind)| EncType::from_byte(kind).is_none()) {
        return Err(at(view.enc.at, ChipFault::Value("an ENC type is not known")));
    }
    once(DgiList::Enc, view.enc.at, triples(view.enc.bytes).map(|(dgi, _)| dgi), secret, data)?;

    once(DgiList::Tk, view.protected.at, pairs(view.protected.bytes), list, data)?;
    if let Some(dgi) = list.iter().find(|dgi| !holds(secret, **dgi)) {
        return Err(at(view.protected.at, ChipFault::NotInEnc(*dgi)));
    }

    whole(view.version_control, 2, "VERCNTL")?;
    once(DgiList::VersionControl, view.version_control.at, pairs(view.version_control.bytes), list, data)?;

    whole(view.log, 2, "LOGDATA")?;
    once(DgiList::Log, view.log.at, pairs(view.log.bytes), list, data)?;
    // Comparing with ENC is enough: every DGI under the TK is in ENC.
    if let Some(dgi) = list.iter().find(|dgi| holds(secret, **dgi)) {
        return Err(at(view.log.at, ChipFault::SecretLogged(*dgi)));
    }

    grouped.clear();
    for group in groups(DgiList::Group, view.group) {
        let group = group?;
        let secrets = pairs(group.bytes).filter(|dgi| holds(secret, *dgi)).count();
        if let (Some(dgi), true) =
            (pairs(group.bytes).next(), secrets != 0 && 2 * secrets != group.bytes.len())
        {
            return Err(at(group.at, ChipFault::MixedGroup(dgi)));
        }
        grouped.extend(pairs(group.bytes).map(|dgi| (dgi, group.at)));
    }
    once(DgiList::Group, view.group.at, grouped.iter().map(|(dgi, _)| *dgi), list, data)?;
    grouped.sort_unstable();

    ordered.clear();
    for group in groups(DgiList::Order, view.order) {
        let group = group?;
        ordered.extend(pairs(group.bytes));
        if !grouped.is_empty() {
            unsplit(group, grouped, passed)?;
        }
    }
    once(DgiList::Order, view.order.at, ordered.iter().copied(), list, data)
}

/// Checks that a group of ORDER puts no DGI between two of one GROUP, which are sent in one STORE DATA.
fn unsplit(
    group: FieldBytes<'_>,
    grouped: &[(Dgi, usize)],
    passed: &mut Vec<usize>,
) -> Result<(), ChipError> {
    passed.clear();
    let mut current = None;
    for dgi in pairs(group.bytes) {
        let place = grouped.binary_search_by_key(&dgi, |(member, _)| *member);
        let next = place.ok().and_then(|place| grouped.get(place)).map(|(_, group)| *group);
        if next != current {
            passed.extend(current);
            if next.is_some_and(|next| passed.contains(&next)) {
                return Err(at(group.at, ChipFault::SplitGroup(dgi)));
            }
            current = next;
        }
    }
    Ok(())
}

/// Collects the DGIs of the data, sorted. Each may stand once, with a minimal length.
fn collect_data(field: FieldBytes<'_>, data: &mut Vec<Dgi>) -> Result<(), ChipError> {
    data.clear();
    let mut groupings = tlv::dgi::read(field.bytes);
    while let Some(grouping) = groupings.next() {
        match grouping {
            Ok((dgi, _)) => data.push(dgi),
            Err(error) => {
                let fault = match error {
                    DgiError::NotMinimal => ChipFault::NotMinimal("the data"),
                    DgiError::Truncated | DgiError::TooLong => ChipFault::Short,
                };
                return Err(at(field.at + groupings.position(), fault));
            }
        }
    }
    sorted_once(DgiList::Data, field.at, data)
}

/// Collects `dgis` in `list`, sorted. Each may stand once, and must be in `data`.
fn once(
    name: DgiList,
    position: usize,
    dgis: impl Iterator<Item = Dgi>,
    list: &mut Vec<Dgi>,
    data: &[Dgi],
) -> Result<(), ChipError> {
    list.clear();
    list.extend(dgis);
    sorted_once(name, position, list)?;
    match list.iter().find(|dgi| !holds(data, **dgi)) {
        Some(dgi) => Err(at(position, ChipFault::NotInData(name, *dgi))),
        None => Ok(()),
    }
}

fn sorted_once(name: DgiList, position: usize, list: &mut [Dgi]) -> Result<(), ChipError> {
    list.sort_unstable();
    match list.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some([dgi, ..]) => Err(at(position, ChipFault::Twice(name, *dgi))),
        _ => Ok(()),
    }
}

fn holds(sorted: &[Dgi], dgi: Dgi) -> bool {
    sorted.binary_search(&dgi).is_ok()
}

/// Checks that the length of a list is a multiple of the length of an entry.
fn whole(field: FieldBytes<'_>, entry: usize, name: &'static str) -> Result<(), ChipError> {
    if field.bytes.len().is_multiple_of(entry) {
        Ok(())
    } else {
        Err(at(field.at + field.bytes.len(), ChipFault::Leftover(name)))
    }
}
