//! Authenticates all good cards of a dump ([`crate::witness`]).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{AuthenticationMethod, CertificationKeys, PURSE, TerminalData, authenticate, authenticate_purse};
use crate::card::SimulatedCard;
use crate::dump::DumpedChip;
use crate::profile::BlankSupply;
use crate::text_file;

/// A terminal's job over a dump.
pub struct DumpAuthentication {
    /// Folder that the witness wrote.
    pub dump: PathBuf,
    /// File with the keys of certification authorities.
    pub authority: PathBuf,
    /// The application of each card; the purse has only its certificates checked.
    pub aid: Vec<u8>,
    /// Date of the transactions, YYMMDD in decimal digits; `None` is today.
    pub date: Option<[u8; 3]>,
}

/// How a blank left the line.
#[derive(Deserialize)]
struct DumpedFate {
    fate: String,
}

impl DumpAuthentication {
    /// Authenticates every card that was stacked. Prints a line for each failure, and last how many of how many
    /// authenticate. An error if one fails, or if there is none.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let keys = text_file::read(&self.authority).and_then(|text| CertificationKeys::parse(&text));
        let keys = keys.with_context(|| format!("authority file {}", self.authority.display()))?;
        let mut methods = BTreeMap::<AuthenticationMethod, usize>::new();
        let mut cards = 0;
        for path in self.objects()? {
            let text = text_file::read(&path).with_context(|| format!("dump {}", path.display()))?;
            let object: DumpedFate =
                serde_json::from_str(&text).with_context(|| format!("dump {}", path.display()))?;
            if object.fate != "stacked" {
                continue;
            }
            cards += 1;
            match self.one(&text, &keys) {
                Ok(method) => *methods.entry(method).or_default() += 1,
                Err(error) => {
                    let blank = path.file_stem().unwrap_or_default();
                    writeln!(out, "{}: {error:#}", blank.display())?;
                }
            }
        }
        let passed: usize = methods.values().sum();
        writeln!(out, "{passed} of {cards} authenticate{}", listed(&methods))?;
        out.flush()?;
        ensure!(cards > 0, "no card in {} was stacked, so none was authenticated", self.dump.display());
        ensure!(passed == cards, "{} of {cards} cards do not authenticate", cards - passed);
        Ok(())
    }

    /// The objects of blanks, by name.
    fn objects(&self) -> Result<Vec<PathBuf>> {
        let folder = || format!("dump directory {}", self.dump.display());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.dump).with_context(folder)? {
            let path = entry.with_context(folder)?.path();
            // A name that begins with a dot is of an object that was not written to its end.
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension() == Some("json".as_ref()) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn one(&self, text: &str, keys: &CertificationKeys) -> Result<AuthenticationMethod> {
        let mut card = restored(text)?;
        let data = match self.date {
            Some(date) => TerminalData::on(date)?,
            None => TerminalData::today()?,
        };
        Ok(if self.aid == PURSE {
            authenticate_purse(&mut card, keys, &data)?
        } else {
            authenticate(&mut card, &self.aid, keys, &data)?
        })
    }
}

/// The card of a dump, with power. A terminal opens no secure channel, so the card needs no keys of a
/// supplier; it speaks T=1, which delivers answers whole.
fn restored(text: &str) -> Result<SimulatedCard> {
    let dumped = DumpedChip::parse(text)?;
    let supply = BlankSupply {
        product: String::new(),
        kmc_id: [0; 6],
        version: 1,
        kmc: [0; 16],
        scp02_i: 0x55,
        atr: vec![0x3B, 0xE0, 0x00, 0x00, 0x81, 0x31, 0x20, 0x45, 0x35],
        weight: 1,
    };
    let mut card = dumped.card(&supply, 0)?;
    card.power_on().context("the card gives no answer to reset")?;
    Ok(card)
}

/// ` (CDA)` if there is one method, ` (CDA 3, DDA 2)` if there are several.
fn listed(methods: &BTreeMap<AuthenticationMethod, usize>) -> String {
    match methods.first_key_value() {
        None => String::new(),
        Some((method, _)) if methods.len() == 1 => format!(" ({method})"),
        Some(_) => {
            let each: Vec<String> =
                methods.iter().map(|(method, count)| format!("{method} {count}")).collect();
            format!(" ({})", each.join(", "))
        }
    }
}
