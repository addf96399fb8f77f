//! Adds to the order of a card what its record in an unfinished file has.
//!
//! Not here: opening and protecting secrets (`hsm`).

use crate::hsm::{ApplicationToProtect, DgiToProtect, EarlierApplication, ValuePart};
use crate::ids::Aid;
use crate::prep::order::{OrderedCard, in_order};
use crate::record::chip::{ChipApplication, ChipSection};
use crate::record::{Record, Section, others_digest};

/// Adds the sections and applications of a record to an order for the same card. `applications` are the product's, in whose
/// order they stand on the card. What all passes have made must agree (`agreement`). The error quotes no data.
pub(in crate::prep) fn add_earlier(
    order: &mut OrderedCard,
    record: Record,
    applications: &[Aid],
) -> Result<(), String> {
    if order.card_ref != record.card_ref {
        return Err("the unfinished file was changed while it was read".into());
    }
    // A template may take whole data elements from a field, and then does not name them.
    for application in &order.applications {
        let clear = application.dgis.iter().filter_map(|group| match group.parts.as_slice() {
            [ValuePart::Clear(bytes)] => Some((group.dgi, bytes.as_slice())),
            _ => None,
        });
        order.statements.add_clear(&application.aid, clear)?;
    }
    let others = others_digest(&record);
    let Record { sequence, sections, .. } = record;
    for section in sections {
        if section.mic.as_str() == "CHP" {
            add_chip(order, &section, applications, (sequence, others))?;
            continue;
        }
        if order.sections.iter().any(|added| added.mic == section.mic) {
            return Err(twice("section", section.mic.as_str()));
        }
        order.statements.add_section(section.mic.as_str(), &section.data)?;
        order.sections.push(section);
    }
    in_order(&mut order.sections);
    let place = |aid: &Aid| applications.iter().position(|known| known == aid);
    order.applications.sort_by_key(|application| place(&application.aid));
    order.statements.check()
}

/// Adds the applications of the record with this number, whose other sections have this digest.
fn add_chip(
    order: &mut OrderedCard,
    section: &Section,
    applications: &[Aid],
    (sequence, others): (u32, [u8; 32]),
) -> Result<(), String> {
    let chip = ChipSection::parse(&section.data);
    let chip = chip.and_then(|chip| chip.check_crn(&order.card_ref).map(|()| chip));
    let chip = chip.map_err(|error| format!("its chip section in the unfinished file: {error}"))?;
    for application in chip.applications {
        let aid = &application.aid;
        if !applications.contains(aid) {
            return Err(format!(
                "application {aid} of the unfinished file is not one of the product's applications"
            ));
        }
        if order.applications.iter().any(|added| added.aid == *aid) {
            return Err(twice("application", &aid.to_string()));
        }
        let clear = application.dgis.iter().filter(|group| !application.protected.contains(&group.dgi));
        order.statements.add_clear(aid, clear.map(|group| (group.dgi, group.value.as_slice())))?;
        order.applications.push(again(application, sequence, others));
    }
    Ok(())
}

fn twice(what: &str, name: &str) -> String {
    format!("{what} {name} stands in the unfinished file already, and this pass would add it again")
}

/// The order of an application as it is, its secrets sealed.
fn again(application: ChipApplication, sequence: u32, others: [u8; 32]) -> ApplicationToProtect {
    let ChipApplication { aid, pdi, log, dgis, protected, raw, .. } = application;
    let dgis = dgis.into_iter().map(|group| {
        let part = match protected.contains(&group.dgi) {
            true => ValuePart::Sealed,
            false => ValuePart::Clear(group.value),
        };
        DgiToProtect { dgi: group.dgi, parts: vec![part] }
    });
    let earlier = EarlierApplication { sequence, others, application: raw };
    ApplicationToProtect { aid, pdi, log, dgis: dgis.collect(), offline: None, earlier: Some(earlier) }
}
