//! One card, one set of data: account number, date of expiry, service code and name must be the same on stripe and plastic
//! and in each application of the chip.
//!
//! Templates take all of them from one row, so they differ only where a product writes them itself or takes them from
//! fields of its own. ISO/IEC 7813 (tracks 1 and 2), ISO/IEC 4909 (track 3), EMV Book 3 Annex A (57, 5A, 5F20, 5F24, 5F30).
//! Of several applications in the chip one must have what stripe and plastic show. No message holds a digit of the data.
//! The bureau compares account numbers again (`modules::crosscheck`). Not here: dates in print, which may be others.

use zeroize::Zeroizing;

use super::ClearBytes;
use super::fields::CardValues;
use super::plan::{ApplicationPlan, DataGroupPlan};
use super::template::DataTemplate;
use crate::ids::Aid;
use crate::modules::sections;

/// Fewest digits of an account number (ISO/IEC 7812-1); shorter groups on plastic are dates and the like.
const SHORTEST: usize = 12;

/// What must be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Datum {
    Number,
    Expiry,
    Service,
    Name,
}

impl Datum {
    fn words(self) -> &'static str {
        match self {
            Self::Number => "account number",
            Self::Expiry => "date of expiry",
            Self::Service => "service code",
            Self::Name => "name",
        }
    }
}

/// What a part of the card says. Cardholder data: no `Debug`.
struct Statement {
    datum: Datum,
    place: &'static str,
    value: Zeroizing<String>,
}

/// Checks a card: the sections for stripe and plastic, and the applications with the DGIs that it has.
pub(super) fn check<'p>(
    sections: &[(&'static str, ClearBytes)],
    applications: impl Iterator<Item = (&'p ApplicationPlan, Vec<&'p DataGroupPlan>)>,
    values: &CardValues,
) -> Result<(), String> {
    let section = |wanted: &str| sections.iter().find(|(mic, _)| *mic == wanted).map(|(_, data)| data);
    let mut outside = section("MAG").map_or(Ok(Vec::new()), |data| stripe(data))?;
    outside.extend(section("EMB").map(|data| embossed(data)).transpose()?.flatten());
    alike(&outside).map_err(|(datum, one, other)| differ(datum, one, other))?;
    let mut chip = Vec::new();
    for (plan, groups) in applications {
        let found = application(&groups, values);
        alike(&found).map_err(|(datum, one, other)| of_application(&plan.aid, &differ(datum, one, other)))?;
        chip.extend(found);
    }
    for said in &outside {
        let mut same = chip.iter().filter(|other| other.datum == said.datum).peekable();
        if same.peek().is_some() && !same.any(|other| other.value == said.value) {
            let (what, place) = (said.datum.words(), said.place);
            return Err(format!(
                "the {what} of {place} is that of no application in the chip: correct the product's template, or the own field that it uses"
            ));
        }
    }
    Ok(())
}

fn differ(datum: Datum, one: &str, other: &str) -> String {
    format!(
        "the {} of {other} is not that of {one}: correct the product's template, or the own field that it uses",
        datum.words()
    )
}

fn of_application(aid: &Aid, what: &str) -> String {
    format!("application {aid}: {what}")
}

/// Checks that the first statement about each datum is not contradicted.
fn alike(statements: &[Statement]) -> Result<(), (Datum, &'static str, &'static str)> {
    for said in statements {
        let first = statements.iter().find(|first| first.datum == said.datum);
        if let Some(first) = first.filter(|first| first.value != said.value) {
            return Err((said.datum, first.place, said.place));
        }
    }
    Ok(())
}

/// What the tracks say.
fn stripe(data: &[u8]) -> Result<Vec<Statement>, String> {
    let tracks = sections::tracks(data)?;
    let mut found = Vec::new();
    let mut fields = tracks.t1.and_then(|text| text.strip_prefix('B')).unwrap_or_default().split('^');
    if let (Some(number), Some(name), Some(rest)) = (fields.next(), fields.next(), fields.next())
        && is_number(number)
    {
        found.push(said(Datum::Number, "track 1", number));
        found.extend(named("track 1", name));
        found.extend(dated("track 1", rest));
    }
    if let Some((number, rest)) = tracks.t2.and_then(|text| text.split_once('='))
        && is_number(number)
    {
        found.push(said(Datum::Number, "track 2", number));
        found.extend(dated("track 2", rest));
    }
    // A format code of two digits stands before the number.
    if let Some((number, _)) = tracks.t3.and_then(|text| text.get(2..)).and_then(|text| text.split_once('='))
        && is_number(number)
    {
        found.push(said(Datum::Number, "track 3", number));
    }
    Ok(found)
}

/// The account number of the plastic: the longest group of digits, blanks left out.
fn embossed(data: &[u8]) -> Result<Option<Statement>, String> {
    let mut longest = Zeroizing::new(String::new());
    for line in sections::emboss_lines(data)? {
        let text = line.text.iter().filter(|b| **b != b' ').map(|b| char::from(*b));
        let text: Zeroizing<String> = Zeroizing::new(text.collect());
        let group = text.split(|c: char| !c.is_ascii_digit()).max_by_key(|group| group.len());
        if let Some(group) = group.filter(|group| group.len() > longest.len()) {
            longest = Zeroizing::new(group.to_owned());
        }
    }
    let found = Some(longest).filter(|number| number.len() >= SHORTEST);
    Ok(found.map(|value| Statement { datum: Datum::Number, place: "the embossing", value }))
}

/// What the DGIs of an application say.
fn application(groups: &[&DataGroupPlan], values: &CardValues) -> Vec<Statement> {
    let mut found = Vec::new();
    for group in groups.iter().filter(|group| group.enc.is_none()) {
        group.value.each_content(&mut |tag, content| stated(tag, content, values, &mut found));
    }
    found
}

/// What one data element of the chip says.
fn stated(tag: &[u8], content: &DataTemplate, values: &CardValues, found: &mut Vec<Statement>) {
    let known = || content.render_known(values).ok();
    let hex = || known().map(|bytes| Zeroizing::new(hex::encode_upper(&*bytes)));
    match tag {
        [0x57] => {
            let text = hex();
            if let Some((number, rest)) = text.as_ref().and_then(|text| text.split_once('D')) {
                found.push(said(Datum::Number, "tag 57", number));
                found.extend(dated("tag 57", rest));
            }
        }
        [0x5A] => found.extend(hex().map(|text| said(Datum::Number, "tag 5A", text.trim_end_matches('F')))),
        [0x5F, 0x24] => {
            let text = hex();
            let expiry = text.as_ref().and_then(|text| text.get(..4));
            found.extend(expiry.map(|expiry| said(Datum::Expiry, "tag 5F24", expiry)));
        }
        [0x5F, 0x30] => {
            let text = hex();
            let service = text.as_ref().and_then(|text| text.get(1..));
            found.extend(service.map(|service| said(Datum::Service, "tag 5F30", service)));
        }
        [0x5F, 0x20] => {
            let name = known();
            let name = name.as_ref().and_then(|name| std::str::from_utf8(name).ok());
            found.extend(name.and_then(|name| named("tag 5F20", name)));
        }
        _ => {}
    }
}

fn said(datum: Datum, place: &'static str, value: &str) -> Statement {
    Statement { datum, place, value: Zeroizing::new(value.to_owned()) }
}

/// A name; one of blanks and / alone says nothing, as a chip has it that keeps the name to itself.
fn named(place: &'static str, name: &str) -> Option<Statement> {
    let name = name.trim_end();
    (!name.trim_matches([' ', '/']).is_empty()).then(|| said(Datum::Name, place, name))
}

/// YYMM and service code at the beginning of what follows number or name.
fn dated(place: &'static str, rest: &str) -> impl Iterator<Item = Statement> {
    let digits = |from: usize, to: usize| rest.get(from..to).filter(|text| is_number(text));
    let expiry = digits(0, 4).map(|expiry| said(Datum::Expiry, place, expiry));
    let service = expiry.as_ref().and(digits(4, 7)).map(|service| said(Datum::Service, place, service));
    expiry.into_iter().chain(service)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::input::CardholderReader;
    use super::super::testing;
    use crate::exit::Failure;
    use crate::profile::ProductProfile;

    const HEADER: &str = "card_ref,pan,psn,name,expiry,effective,service_code,pin,purse_id";
    const ROW: &str = "C000001,4761739001010119,01,TEST/CARD,2912,2601,201,1234,1234567890";

    /// Builds a card of product multiapp after these changes of its text; the error is the fault.
    fn built(changes: &[(&str, &str)]) -> Result<(), String> {
        let mut product = include_str!("../../tests/data/multiapp.toml").to_owned();
        for (from, to) in changes {
            assert!(product.contains(from), "{from}");
            product = product.replace(from, to);
        }
        let product = ProductProfile::from_toml(&product, "test").unwrap();
        let mut hsm = testing::vectors();
        let builder = testing::builder(&product, &mut hsm).map_err(|f| f.message).unwrap();
        let text = format!("{HEADER}\n{ROW}\n");
        let mut cards = CardholderReader::new(text.as_bytes(), &builder.plan().input).unwrap();
        let card = cards.next().unwrap().unwrap();
        testing::order(&builder, &card, &mut hsm).map(drop).map_err(|e| Failure::from(e).message)
    }

    #[test]
    fn media_of_one_card_agree() {
        assert_eq!(built(&[]), Ok(()));
        // A chip that keeps the name to itself, and an application with a number that is on no plastic.
        assert_eq!(built(&[("5F20{name}", "5F20{' /'}")]), Ok(()));
    }

    #[test]
    fn each_contradiction_is_named_without_its_data() {
        let track1 = "track1 = \"track1\"";
        let track2 = "track2 = \"track2\"";
        let number = "text = \"pan_number_line\"";
        for (from, to, what) in [
            (
                track1,
                "track1 = \"'%B62280001' '00001117^' name '^' expiry_digits '201?'\"",
                "account number of track 2",
            ),
            (
                track1,
                "track1 = \"'%B' pan_digits '^OTHER/CARD^' expiry_digits '201?'\"",
                "name of track 1 is that of no",
            ),
            (track1, "track1 = \"'%B' pan_digits '^' name '^3001201?'\"", "date of expiry of track 2"),
            (
                track1,
                "track1 = \"'%B' pan_digits '^' name '^' expiry_digits '601?'\"",
                "service code of track 2",
            ),
            (
                track2,
                "track2 = \"';62280001' '00001117=' expiry_digits '201?'\"",
                "account number of track 2",
            ),
            (track2, "track2 = \"';' pan_digits '=3001201?'\"", "date of expiry of track 2"),
            (
                track2,
                "track2 = \"track2\"\ntrack3 = \"';0162280001' '00001117=' '?'\"",
                "account number of track 3",
            ),
            (number, "text = \"'6228 0001 0000 1117'\"", "account number of the embossing"),
            ("5F24{expiry_date}", "5F24{300131}", "the date of expiry of tag 5F24 is not that of tag 57"),
            ("5A{pan}", "5A{62280001 00001117}", "the account number of tag 5A is not that of tag 57"),
            ("5F20{name}", "5F20{'OTHER/CARD'}", "the name of track 1 is that of no application"),
            ("5F30{service_code}", "5F30{0601}", "the service code of tag 5F30 is not that of tag 57"),
        ] {
            let fault = built(&[(from, to)]).unwrap_err();
            assert!(fault.starts_with("input: line 2: ") && fault.contains(what), "{to}: {fault}");
            for data in ["4761739001010119", "6228000100001117", "OTHER", "TEST", "3001", "2912"] {
                assert!(!fault.contains(data), "{to}: {fault}");
            }
        }
    }
}
