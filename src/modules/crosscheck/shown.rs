//! What a record shows of its cardholder: account numbers and name. They must not stand where everybody reads
//! them: in the card_ref, and in the fulfilment data of the return file.

use zeroize::Zeroizing;

use super::{AccountDigits, PAN, RECORD, SHORTEST, TRACK_2};
use crate::ids::NameError;
use crate::modules::sections::{self, FulfilmentSection};
use crate::record::chip::{ChipApplication, ChipSection};
use crate::record::{FileError, Frame, Record};
use crate::tlv::{self, Tag};

/// Longest account number (ISO/IEC 7812-1).
const LONGEST: usize = 19;
/// Cardholder name.
const NAME: Tag = Tag(0x5F20);

/// Checks the card_ref of a record of a file as [`card_ref`] does; `refuse` makes the error that names the place. A wrong
/// section is no error here: the checks of sections report it.
pub fn card_ref_of(frame: &Frame<'_>, refuse: impl FnOnce(NameError) -> FileError) -> Result<(), FileError> {
    // Most card_refs have fewer digits, so their records need no search.
    if !has_digits_of_account(frame.card_ref) {
        return Ok(());
    }
    let record = frame.to_record()?;
    let chip = record.section("CHP").and_then(|data| ChipSection::parse(data).ok());
    let applications = chip.map_or_else(Vec::new, |chip| chip.applications);
    card_ref(&record, &applications).map_err(refuse)
}

/// Checks that the card_ref of a record whose sections are right holds no account number: none that the record
/// shows, and none that could be of an issuer to whom a KEK of the record belongs.
pub(super) fn card_ref(record: &Record, applications: &[ChipApplication]) -> Result<(), NameError> {
    if !has_digits_of_account(record.card_ref.as_str()) {
        return Ok(());
    }
    let shown = numbers(record, applications);
    let keks = applications.iter().map(|application| application.kek);
    record.card_ref.check_accounts(shown.iter().map(|number| number.as_str()), keks)
}

/// Whether a card_ref has as many digits as an account number.
fn has_digits_of_account(card_ref: &str) -> bool {
    card_ref.bytes().filter(u8::is_ascii_digit).count() >= SHORTEST
}

/// Returns the groups of digits on plastic, stripe and chip that have the length of an account number.
fn numbers(record: &Record, applications: &[ChipApplication]) -> Vec<AccountDigits> {
    let mut numbers = Vec::new();
    for mic in ["EMB", "IND"] {
        let lines = record.section(mic).and_then(|data| sections::emboss_lines(data).ok());
        lines.iter().flatten().for_each(|line| add_groups(&mut numbers, line.text));
    }
    let graphics = record.section("GFX").and_then(|data| sections::graphics(data).ok());
    let texts = graphics.iter().flat_map(|graphics| &graphics.fields);
    texts.for_each(|(_, text)| add_groups(&mut numbers, text.as_bytes()));
    if let Some(tracks) = record.section("MAG").and_then(|data| sections::tracks(data).ok()) {
        let texts = [tracks.t1, tracks.t2, tracks.t3];
        texts.into_iter().flatten().for_each(|text| add_groups(&mut numbers, text.as_bytes()));
        // On track 3 a format code of two digits stands before the number (ISO/IEC 4909).
        let after_code = tracks.t3.and_then(|text| text.get(2..));
        after_code.into_iter().for_each(|text| add_groups(&mut numbers, text.as_bytes()));
    }
    for value in applications.iter().flat_map(|application| values(application, &[TRACK_2, PAN])) {
        let text = Zeroizing::new(hex::encode_upper(value));
        let number = text.split(['D', 'F']).next().unwrap_or_default();
        add_groups(&mut numbers, number.as_bytes());
    }
    numbers
}

/// Adds the groups of digits of a text, blanks left out.
fn add_groups(numbers: &mut Vec<AccountDigits>, text: &[u8]) {
    let joined: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().copied().filter(|b| *b != b' ').collect());
    let groups = joined.split(|b| !b.is_ascii_digit());
    let of_account = groups.filter(|group| (SHORTEST..=LONGEST).contains(&group.len()));
    numbers.extend(of_account.map(|group| Zeroizing::new(group.iter().copied().map(char::from).collect())));
}

/// Returns the values of these tags in the clear records of an application.
fn values<'a>(application: &'a ChipApplication, tags: &[Tag]) -> Vec<&'a [u8]> {
    let clear = application.dgis.iter().filter(|d| d.dgi.record().is_some());
    let clear = clear.filter(|d| !application.protected.contains(&d.dgi));
    let templates = clear.filter_map(|record| tlv::find(&record.value, RECORD).ok().flatten());
    templates
        .flat_map(|template| tags.iter().filter_map(|tag| tlv::find(template, *tag).ok().flatten()))
        .collect()
}

/// Returns the fulfilment data of a record for papers. A text that holds the cardholder's name is replaced.
pub fn fulfilment_without_name(record: &Record) -> FulfilmentSection {
    let data = record.section("FUL").and_then(|data| sections::fulfilment(data).ok());
    let mut fulfilment = data.unwrap_or_default();
    let names = names(record);
    let FulfilmentSection { product: _, stock, carrier, ship_group, priority, group } = &mut fulfilment;
    for text in [stock, carrier, ship_group, priority, group].into_iter().flatten() {
        if names.iter().any(|name| holds_name(text, name)) {
            "(withheld: the cardholder's name)".clone_into(text);
        }
    }
    fulfilment
}

/// Returns the name of track 1 and the names in the chip, SURNAME/FIRST MIDDLE.TITLE.
fn names(record: &Record) -> Vec<Zeroizing<String>> {
    let tracks = record.section("MAG").and_then(|data| sections::tracks(data).ok());
    let stripe = tracks.and_then(|tracks| tracks.t1).and_then(|text| text.split('^').nth(1));
    let mut names: Vec<_> = stripe.into_iter().map(|name| Zeroizing::new(name.to_owned())).collect();
    let chip = record.section("CHP").and_then(|data| ChipSection::parse(data).ok());
    for application in chip.iter().flat_map(|chip| &chip.applications) {
        let found = values(application, &[NAME]).into_iter();
        names.extend(found.map(|name| Zeroizing::new(String::from_utf8_lossy(name).into_owned())));
    }
    names
}

/// Whether a text holds the surname and the first name, each as whole words, in whatever order; for a name
/// without a first name, whether it is that name. A surname alone is often a word of its own, as GOLD.
fn holds_name(text: &str, name: &str) -> bool {
    let (surname, given) = name.split_once('/').unwrap_or((name, ""));
    let (text, surname, given) = (words(text), words(surname), words(given));
    let holds = |wanted: &[Zeroizing<String>]| text.windows(wanted.len()).any(|window| window == wanted);
    match (surname.is_empty(), given.split_at_checked(1)) {
        (true, _) => false,
        (false, Some((first, _))) => holds(&surname) && holds(first),
        (false, None) => text == surname,
    }
}

/// Returns the words of a text in upper case.
fn words(text: &str) -> Vec<Zeroizing<String>> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| Zeroizing::new(word.to_uppercase())).collect()
}
