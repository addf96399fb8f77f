//! What a product's templates take from the input: a column is required if no card can be built without it, and a text may
//! hold what the narrowest of its media takes.
//!
//! What stands under a `when` requires nothing, for a card may do without it. Verification values need their columns on
//! every card, because the HSM computes them for all. Not here: `required` and own fields (`input::schema`).

use super::PrepPlan;
use crate::hsm::store::KeyUsage;
use crate::prep::columns::Column;
use crate::prep::fields::CardField;
use crate::prep::input::{ColumnUse, TextLimit};
use crate::prep::template::DataTemplate;

/// Reads the templates of a plan.
pub(super) fn of(plan: &PrepPlan) -> ColumnUse {
    let mut found = ColumnUse::default();
    if plan.needs().contains(&KeyUsage::Cvk) {
        found.required.extend([Column::Pan, Column::Expiry, Column::ServiceCode]);
    }
    plan.stripe.iter().for_each(|(_, template)| add(&mut found, template, true, Some(TextLimit::Ascii)));
    let lines = plan.emboss.iter().chain(&plan.indent);
    lines.for_each(|line| add(&mut found, &line.text, true, Some(TextLimit::Latin1)));
    let printed = plan.graphics.iter().flat_map(|graphics| graphics.text.values());
    printed.for_each(|template| add(&mut found, template, true, None));
    for application in &plan.applications {
        let always = application.when.is_none();
        for group in &application.dgis {
            add(&mut found, &group.value, always && group.when.is_none(), Some(TextLimit::Ascii));
        }
        if let Some(offline) = application.offline.as_ref().filter(|_| always) {
            found.required.extend([offline.number, Column::Expiry]);
        }
    }
    found
}

/// Adds what a template takes for a medium with this limit; `always` if every card has the template.
fn add(found: &mut ColumnUse, template: &DataTemplate, always: bool, limit: Option<TextLimit>) {
    for field in template.fields() {
        if always {
            found.required.extend(field.columns());
            found.printed_name |= field == CardField::NamePrinted;
        }
        if let Some((column, limit)) = field.text_column().zip(limit) {
            let narrowest = found.limits.entry(column).or_insert(limit);
            *narrowest = limit.min(*narrowest);
        }
    }
}
