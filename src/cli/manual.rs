//! `cardwright manual [TOPIC]`: prints a page of the manual, or the list of pages.

use std::io::Write;

use super::common::on_stdout;
use crate::exit::{Exit, Failure};
use crate::manual::{MANUAL_PAGES, find_page};

/// Arguments of `cardwright manual`.
#[derive(Debug, clap::Args)]
pub struct ManualArgs {
    /// Page to print; without it, the list of pages
    topic: Option<String>,
}

/// Prints the page or the list.
pub fn run(args: &ManualArgs) -> Result<Exit, Failure> {
    let page = match &args.topic {
        None => None,
        Some(topic) => Some(find_page(topic).ok_or_else(|| unknown(topic))?),
    };
    on_stdout(|out| {
        match page {
            Some(page) => out.write_all(page.text.as_bytes())?,
            None => list(out)?,
        }
        Ok(Exit::Ok)
    })
}

fn list(out: &mut dyn Write) -> std::io::Result<()> {
    for page in MANUAL_PAGES {
        writeln!(out, "{:<14} {}", page.topic, page.about)?;
    }
    writeln!(out, "\nnext: cardwright manual TOPIC")
}

fn unknown(topic: &str) -> Failure {
    let topics: Vec<_> = MANUAL_PAGES.iter().map(|page| page.topic).collect();
    let what = format!("operator: the manual has no page {topic:?}; its pages are {}", topics.join(", "));
    Failure::new(Exit::Usage, what)
}
