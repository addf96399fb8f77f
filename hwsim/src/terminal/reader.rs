//! What the terminal asks the card, and what it keeps of the answers: SELECT, GET PROCESSING OPTIONS, READ
//! RECORD (EMV Book 1, 11; Book 3, 6.5, 10.1 and 10.2).

use super::data::TerminalData;
use super::failure::{AuthenticationFailure, StepFault, TerminalStep};
use super::tlv::{self, CardObjects};
use crate::card::SimulatedCard;

/// The way to a card.
pub trait TerminalLink {
    /// Sends a command; returns data and status word of the answer, nothing if none came. A link of T=0 fetches
    /// the whole answer by itself.
    fn transmit(&mut self, apdu: &[u8]) -> Vec<u8>;
}

impl TerminalLink for SimulatedCard {
    fn transmit(&mut self, apdu: &[u8]) -> Vec<u8> {
        Self::transmit(self, apdu).unwrap_or_default()
    }
}

/// Sends a command and returns the data of its answer.
pub(super) fn send(
    link: &mut impl TerminalLink,
    step: TerminalStep,
    header: [u8; 4],
    data: &[u8],
) -> Result<Vec<u8>, AuthenticationFailure> {
    let mut apdu = header.to_vec();
    if !data.is_empty() {
        apdu.push(u8::try_from(data.len()).map_err(|_| StepFault::TooLong.at(step))?);
        apdu.extend(data);
    }
    apdu.push(0);
    let answer = link.transmit(&apdu);
    match answer.split_last_chunk() {
        Some((data, [0x90, 0x00])) => Ok(data.to_vec()),
        Some((_, status)) => Err(StepFault::Status(u16::from_be_bytes(*status)).at(step)),
        None => Err(StepFault::NoAnswer.at(step)),
    }
}

/// Selects an application; returns its PDOL, which is empty if it has none.
pub(super) fn select(link: &mut impl TerminalLink, aid: &[u8]) -> Result<Vec<u8>, AuthenticationFailure> {
    let step = TerminalStep::Select;
    let answer = send(link, step, [0x00, 0xA4, 0x04, 0x00], aid)?;
    pdol(&answer, aid).map_err(|fault| fault.at(step))
}

fn pdol(fci: &[u8], aid: &[u8]) -> Result<Vec<u8>, StepFault> {
    let mut file = CardObjects::default();
    file.add(tlv::template(0x6F, fci)?)?;
    if file.get(0x84)? != aid {
        return Err(StepFault::Malformed);
    }
    let mut proprietary = CardObjects::default();
    proprietary.add(file.get(0xA5)?)?;
    Ok(proprietary.find(0x9F38).unwrap_or_default().to_vec())
}

/// READ RECORD: the value of the record's template.
pub(super) fn record(
    link: &mut impl TerminalLink,
    sfi: u8,
    number: u8,
) -> Result<Vec<u8>, AuthenticationFailure> {
    let step = TerminalStep::ReadRecord;
    let whole = send(link, step, [0x00, 0xB2, number, sfi << 3 | 4], &[])?;
    Ok(tlv::template(0x70, &whole).map_err(|fault| fault.at(step))?.to_vec())
}

/// What a payment application shows a terminal before authentication.
pub(super) struct ReadApplication {
    /// Application interchange profile.
    pub(super) aip: [u8; 2],
    /// Values sent for the PDOL.
    pub(super) pdol_values: Vec<u8>,
    /// Data objects of all records.
    pub(super) objects: CardObjects,
    /// The records that the AFL marks for authentication, one after the other.
    marked: Vec<u8>,
}

/// One entry of the AFL.
struct FileEntry {
    sfi: u8,
    first: u8,
    last: u8,
    /// Records that are marked, from the first one.
    marked: u8,
}

impl ReadApplication {
    /// Selects the application, begins a transaction and reads the records.
    pub(super) fn read(
        link: &mut impl TerminalLink,
        aid: &[u8],
        data: &TerminalData,
    ) -> Result<Self, AuthenticationFailure> {
        let pdol = select(link, aid)?;
        let step = TerminalStep::ProcessingOptions;
        let at = |fault: StepFault| fault.at(step);
        let pdol_values = data.fill(&pdol).map_err(at)?;
        let field = match u8::try_from(pdol_values.len()) {
            Ok(short @ 0..=0x7F) => [&[0x83, short], &pdol_values[..]].concat(),
            Ok(long) => [&[0x83, 0x81, long], &pdol_values[..]].concat(),
            Err(_) => return Err(at(StepFault::TooLong)),
        };
        let answer = send(link, step, [0x80, 0xA8, 0x00, 0x00], &field)?;
        let (aip, locator) = options(&answer).map_err(at)?;
        let files = entries(&locator).map_err(at)?;
        let mut read = Self { aip, pdol_values, objects: CardObjects::default(), marked: Vec::new() };
        for file in files {
            read.file(link, &file)?;
        }
        Ok(read)
    }

    /// Reads the records of one entry.
    fn file(&mut self, link: &mut impl TerminalLink, file: &FileEntry) -> Result<(), AuthenticationFailure> {
        let step = TerminalStep::ReadRecord;
        for (number, at) in (file.first..=file.last).zip(0..) {
            // Records of SFI 11 to 30 are signed with tag and length and may have any form.
            let part = match file.sfi {
                1..=10 => {
                    let value = record(link, file.sfi, number)?;
                    self.objects.add(&value).map_err(|fault| fault.at(step))?;
                    value
                }
                _ => send(link, step, [0x00, 0xB2, number, file.sfi << 3 | 4], &[])?,
            };
            if at < file.marked {
                self.marked.extend(part);
            }
        }
        Ok(())
    }

    /// The static data to be authenticated: the marked records, and the AIP if 9F4A names it (EMV Book 3,
    /// 10.3). 9F4A can name nothing else.
    pub(super) fn static_data(&self) -> Result<Vec<u8>, StepFault> {
        match self.objects.find(0x9F4A) {
            None => Ok(self.marked.clone()),
            Some([0x82]) => Ok([&self.marked[..], &self.aip].concat()),
            Some(_) => Err(StepFault::TagList),
        }
    }
}

/// AIP and AFL of an answer in format 1 (80) or 2 (77).
fn options(answer: &[u8]) -> Result<([u8; 2], Vec<u8>), StepFault> {
    if let [0x80, ..] = answer {
        let value = tlv::template(0x80, answer)?;
        let (aip, locator) = value.split_first_chunk().ok_or(StepFault::Malformed)?;
        return Ok((*aip, locator.to_vec()));
    }
    let mut objects = CardObjects::default();
    objects.add(tlv::template(0x77, answer)?)?;
    let aip = objects.get(0x82)?.try_into().map_err(|_| StepFault::Malformed)?;
    Ok((aip, objects.get(0x94)?.to_vec()))
}

fn entries(locator: &[u8]) -> Result<Vec<FileEntry>, StepFault> {
    let (chunks, rest) = locator.as_chunks();
    if chunks.is_empty() || !rest.is_empty() {
        return Err(StepFault::FileLocator);
    }
    let entry = |&[file, first, last, marked]: &[u8; 4]| {
        let sfi = file >> 3;
        let valid = file & 7 == 0
            && (1..=30).contains(&sfi)
            && (1..=last).contains(&first)
            && marked <= last - first + 1;
        valid.then_some(FileEntry { sfi, first, last, marked }).ok_or(StepFault::FileLocator)
    };
    chunks.iter().map(entry).collect()
}
