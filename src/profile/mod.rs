//! Profiles: TOML files that describe a line and a card product. An unknown key is an error.
//!
//! [`line::LineProfileOf`] names modules, stations and links; [`product::ProductProfile`] names applications, channel
//! and rules. The shipped profiles are part of the program; a path names any other. Not here: acting on profiles.

pub mod graphics;
pub mod kind;
pub mod line;
pub mod own;
pub mod product;
mod shipped;

pub use product::ProductProfile;
pub use shipped::{LINES, PRODUCTS, TEMPLATES, TemplateSource};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::output_path::full_folder;
use crate::toml_text::{self, Quoting};

/// Most bytes of a profile file.
const PROFILE_MAX: u64 = 1 << 20;
/// The variable that names the bureau's own directory with `lines/`, `products/` and `graphics/`, which come before shipped
/// ones.
const OWN: &str = "CARDWRIGHT_PROFILES";

/// The folders in which profiles of lines, or of products, are found.
#[derive(Clone, Copy)]
struct ProfileFolder {
    /// The word for it in messages.
    noun: &'static str,
    /// Folder in the bureau's own directory.
    folder: &'static str,
    /// Name and text of each shipped profile.
    shipped: &'static [(&'static str, &'static str)],
}

/// Text and origin of a profile that an operator names: by name, or by the path of a `.toml` file.
fn chosen(kind: ProfileFolder, name: &str) -> Result<(String, String), Failure> {
    if name.ends_with(".toml") {
        return file(std::path::Path::new(name));
    }
    named(kind, name)?
        .ok_or_else(|| Failure::new(Exit::Profile, format!("operator: {}", unknown(kind, name))))
}

/// Text and origin of a profile by its name alone, if there is one. Safe on a name out of an issuer's file: it never
/// leaves the profiles' own folders.
fn named(kind: ProfileFolder, name: &str) -> Result<Option<(String, String)>, Failure> {
    if is_plain(name)
        && let Some(own) = std::env::var_os(OWN)
    {
        let path = std::path::Path::new(&own).join(kind.folder).join(format!("{name}.toml"));
        if path.exists() {
            return file(&path).map(Some);
        }
    }
    let shipped = kind.shipped.iter().find(|(n, _)| *n == name);
    Ok(shipped.map(|(_, text)| ((*text).to_owned(), format!("shipped {} {name}", kind.noun))))
}

/// The name by which a file is found, if it lies in the bureau's own folder of its kind.
fn own_name(kind: ProfileFolder, path: &std::path::Path) -> Option<String> {
    let own = std::path::Path::new(&std::env::var_os(OWN)?).join(kind.folder).canonicalize().ok()?;
    if full_folder(path)? != own {
        return None;
    }
    Some(path.file_stem()?.to_str()?.to_owned())
}

/// Whether a name can be that of a file in a profiles' folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Most files of a folder that are listed.
const LISTED: usize = 1000;

/// Returns the names of the bureau's own profiles in one folder, sorted: of the files that end like this.
fn own_files(folder: &str, end: &str) -> Vec<String> {
    let Some(own) = std::env::var_os(OWN) else { return Vec::new() };
    let entries = std::fs::read_dir(std::path::Path::new(&own).join(folder)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names
        .filter_map(|name| Some(name.strip_suffix(end)?.to_owned()).filter(|n| is_plain(n)))
        .take(LISTED)
        .collect();
    names.sort_unstable();
    names
}

/// Returns the names of all lines: the bureau's own and the shipped ones.
pub fn line_names() -> Vec<String> {
    all_names("lines", LINES)
}

/// Returns the names of all products: the bureau's own and the shipped ones.
pub fn product_names() -> Vec<String> {
    all_names("products", PRODUCTS)
}

fn all_names(folder: &str, shipped: &[(&str, &str)]) -> Vec<String> {
    let own = own_files(folder, ".toml");
    let only_shipped = shipped.iter().filter(|(name, _)| !own.iter().any(|o| o == name));
    let shipped: Vec<String> = only_shipped.map(|(name, _)| (*name).to_owned()).collect();
    own.into_iter().chain(shipped).collect()
}

/// The message about a name that no profile has.
fn unknown(kind: ProfileFolder, name: &str) -> String {
    format!(
        "no {} profile {name:?}; there are {}; put your own into {}/ of the directory that {OWN} names",
        kind.noun,
        all_names(kind.folder, kind.shipped).join(", "),
        kind.folder
    )
}

/// Reads the text of a profile file.
pub fn source(path: &std::path::Path) -> Result<String, Failure> {
    files::read_text(path, PROFILE_MAX).map(|text| text.to_string()).map_err(|e| {
        Failure::new(
            Exit::Profile,
            format!("profile {}: cannot be read: {}", path.display(), files::trouble(&e)),
        )
    })
}

fn file(path: &std::path::Path) -> Result<(String, String), Failure> {
    let origin = path.display().to_string();
    Ok((source(path)?, origin))
}

/// Parses a profile. An error names line, key and value.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str, origin: &str) -> Result<T, Failure> {
    toml_text::parse(text, Quoting::Values)
        .map_err(|fault| Failure::new(Exit::Profile, format!("profile {origin}: {fault}")))
}
