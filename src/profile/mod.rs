//! Profiles: what a line is made of and what a card product needs, as TOML with strict keys.
//!
//! [`line::Line`] names modules, stations and links; [`product::Product`] names applications, channel and rules.
//! Shipped ones are embedded; a path loads any other. Not here: doing anything with them.

pub mod line;
pub mod product;
mod shipped;

pub use line::Line;
pub use product::Product;
pub use shipped::{LINES, PRODUCTS, TEMPLATES};

use crate::exit::{Exit, Failure};

/// Reads a shipped profile by name, or a file if `name` ends in `.toml`. Gives its text and where it came from.
fn text(shipped: &[(&str, &'static str)], kind: &str, name: &str) -> Result<(String, String), Failure> {
    if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name)
            .map_err(|e| Failure::new(Exit::Profile, format!("profile {name}: cannot be read: {e}")))?;
        return Ok((text, name.to_owned()));
    }
    match shipped.iter().find(|(n, _)| *n == name) {
        Some((_, text)) => Ok(((*text).to_owned(), format!("shipped {kind} {name}"))),
        None => {
            let known: Vec<_> = shipped.iter().map(|(n, _)| *n).collect();
            Err(Failure::new(
                Exit::Profile,
                format!(
                    "no {kind} profile {name:?}; shipped are {}; a path to a .toml file works too",
                    known.join(", ")
                ),
            ))
        }
    }
}

/// Parses a profile; the message names the place and the key.
fn parse<T: serde::de::DeserializeOwned>(text: &str, origin: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|e| Failure::new(Exit::Profile, format!("profile {origin}: {e}")))
}
