//! One card, one set of data. Stripe and chip must agree in account number, date of expiry, service code and name; the
//! embossed account number must agree too.
//!
//! ```text
//! this pass:       rendered sections, templates of the chip ─┐
//!                                                            ├─► CardStatements ─ check
//! earlier passes:  sections and clear DGIs of the record ────┘
//! ```
//!
//! Templates take all of them from one row, so in one pass they differ only where a product writes them itself or takes them
//! from fields of its own; in several passes the rows may differ. ISO/IEC 7813 (tracks 1 and 2), ISO/IEC 4909 (track 3), EMV
//! Book 3 Annex A (57, 5A, 5F20, 5F24, 5F30). Each datum of stripe or embossing must be that of at
//! least one application that has this datum.
//! No message holds a digit of the data. The bureau compares account numbers again (`modules::crosscheck`). Not here: dates in
//! print, which may be others.

use zeroize::Zeroizing;

use super::fields::CardValues;
use super::plan::{ApplicationPlan, DataGroupPlan};
use crate::ids::{Aid, Dgi};
use crate::modules::sections;
use crate::tlv::{self, Objects, Tag};

/// Fewest digits of an account number (ISO/IEC 7812-1); shorter groups on plastic are dates and the like.
const SHORTEST: usize = 12;

/// Track 2 equivalent data.
const TRACK_2: Tag = Tag(0x57);
/// Application PAN.
const PAN: Tag = Tag(0x5A);
/// Cardholder name.
const NAME: Tag = Tag(0x5F20);
/// Application expiration date.
const EXPIRY: Tag = Tag(0x5F24);
/// Service code.
const SERVICE: Tag = Tag(0x5F30);

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

/// What all parts of a card say, whichever pass has made them. Cardholder data: no `Debug`.
#[derive(Default)]
pub(super) struct CardStatements {
    /// Stripe and plastic.
    outside: Vec<Statement>,
    chip: Vec<Statement>,
}

impl CardStatements {
    /// Adds a section of the record.
    pub fn add_section(&mut self, mic: &str, data: &[u8]) -> Result<(), String> {
        match mic {
            "MAG" => self.outside.extend(stripe(data)?),
            "EMB" => self.outside.extend(embossed(data)?),
            _ => {}
        }
        Ok(())
    }

    /// Adds an application with the DGIs that the card has of it. It must not contradict itself.
    pub fn add_planned<'p>(
        &mut self,
        plan: &ApplicationPlan,
        groups: impl Iterator<Item = &'p DataGroupPlan>,
        values: &CardValues,
    ) -> Result<(), String> {
        let mut found = Vec::new();
        for group in groups.filter(|group| group.enc.is_none()) {
            group.value.each_content(&mut |tag, content| {
                let tag = Tag(tag.iter().fold(0, |tag, byte| tag << 8 | u32::from(*byte)));
                if is_compared(tag)
                    && let Ok(bytes) = content.render_known(values)
                {
                    stated(tag, &bytes, &mut found);
                }
            });
        }
        self.add_application(&plan.aid, found)
    }

    /// Adds an application by the DGIs that stand in clear, without their templates. It must not contradict itself.
    pub fn add_clear<'d>(
        &mut self,
        aid: &Aid,
        clear: impl Iterator<Item = (Dgi, &'d [u8])>,
    ) -> Result<(), String> {
        let mut found = Vec::new();
        for (_, value) in clear.filter(|(dgi, _)| holds_tlvs(*dgi)) {
            each_stated(tlv::objects(value), &mut found);
        }
        self.add_application(aid, found)
    }

    fn add_application(&mut self, aid: &Aid, found: Vec<Statement>) -> Result<(), String> {
        alike(&found).map_err(|what| format!("application {aid}: {what}"))?;
        self.chip.extend(found);
        Ok(())
    }

    /// Checks that stripe, plastic and chip agree.
    pub fn check(&self) -> Result<(), String> {
        alike(&self.outside)?;
        for said in &self.outside {
            let mut same = self.chip.iter().filter(|other| other.datum == said.datum).peekable();
            if same.peek().is_some() && !same.any(|other| other.value == said.value) {
                return Err(format!(
                    "the {} of {} is that of no application in the chip: {CORRECT}",
                    said.datum.words(),
                    said.place
                ));
            }
        }
        Ok(())
    }
}

/// The end of each message: what to correct.
const CORRECT: &str = "correct the product's template, or the own field that it uses; if several passes make the card, give \
                       each pass equal data";

/// Checks that the first statement about each datum is not contradicted.
fn alike(statements: &[Statement]) -> Result<(), String> {
    for said in statements {
        let first = statements.iter().find(|first| first.datum == said.datum);
        if let Some(first) = first.filter(|first| first.value != said.value) {
            return Err(format!(
                "the {} of {} is not that of {}: {CORRECT}",
                said.datum.words(),
                said.place,
                first.place
            ));
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
        && let Some(number) = numbered("track 1", number)
    {
        found.push(number);
        found.extend(named("track 1", name));
        found.extend(dated("track 1", rest));
    }
    if let Some((number, rest)) = tracks.t2.and_then(|text| text.split_once('='))
        && let Some(number) = numbered("track 2", number)
    {
        found.push(number);
        found.extend(dated("track 2", rest));
    }
    // A format code of two digits stands before the number.
    if let Some((number, _)) = tracks.t3.and_then(|text| text.get(2..)).and_then(|text| text.split_once('='))
    {
        found.extend(numbered("track 3", number));
    }
    Ok(found)
}

/// The account number of the plastic: the longest group of digits, spaces left out.
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

/// Whether a DGI holds data elements, whatever its template: records of SFI 1 to 10, internal data (30) and answers to
/// commands (91), as EMV CPS has them. In others, bytes could look like a data element.
fn holds_tlvs(dgi: Dgi) -> bool {
    dgi.record().is_some_and(|(sfi, _)| sfi <= 10) || matches!(dgi.0 >> 8, 0x30 | 0x91)
}

/// What the data elements of an application say, those in templates too. Stops at the first bytes that
/// are no data element: a DGI with such bytes holds none from there on.
fn each_stated(objects: Objects<'_>, found: &mut Vec<Statement>) {
    for object in objects.map_while(Result::ok) {
        if is_compared(object.tag) {
            stated(object.tag, object.value, found);
        } else if object.tag.is_constructed()
            && let Ok(inside) = object.children()
        {
            each_stated(inside, found);
        }
    }
}

fn is_compared(tag: Tag) -> bool {
    matches!(tag, TRACK_2 | PAN | NAME | EXPIRY | SERVICE)
}

/// What one data element of the chip says.
fn stated(tag: Tag, value: &[u8], found: &mut Vec<Statement>) {
    if tag == NAME {
        found.extend(std::str::from_utf8(value).ok().and_then(|name| named("tag 5F20", name)));
        return;
    }
    let text = Zeroizing::new(hex::encode_upper(value));
    match tag {
        TRACK_2 => {
            let (number, rest) = text.split_once('D').unwrap_or((&text, ""));
            found.extend((!number.is_empty()).then(|| said(Datum::Number, "tag 57", number)));
            found.extend(dated("tag 57", rest));
        }
        PAN => found.push(said(Datum::Number, "tag 5A", text.trim_end_matches('F'))),
        EXPIRY => found.extend(text.get(..4).map(|expiry| said(Datum::Expiry, "tag 5F24", expiry))),
        SERVICE => found.extend(text.get(1..).map(|service| said(Datum::Service, "tag 5F30", service))),
        _ => {}
    }
}

fn said(datum: Datum, place: &'static str, value: &str) -> Statement {
    Statement { datum, place, value: Zeroizing::new(value.to_owned()) }
}

/// An account number of a track, where spaces may stand between digits; `None` for anything else.
fn numbered(place: &'static str, text: &str) -> Option<Statement> {
    let digits: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| *c != ' ').collect());
    is_number(&digits).then_some(Statement { datum: Datum::Number, place, value: digits })
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
