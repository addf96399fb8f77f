//! Profiles as texts: one to be looked at, and the start of an own one, which is a copy of another.
//!
//! Not here: what a profile means ([`super::line`], [`super::product`]).

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::line::LINE;
use super::product::PRODUCT;
use super::{OWN, ProfileFolder, file, is_plain, named, unknown};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::ids::ProductName;

/// The text of a line or product.
pub struct ProfileText {
    /// Where its kind is found.
    kind: ProfileFolder,
    /// The text.
    pub text: String,
    /// Its name in messages.
    origin: String,
}

/// The text of a profile that a person names: a product or line by name, or a `.toml` file.
pub fn text_of(name: &str) -> Result<ProfileText, Failure> {
    if name.ends_with(".toml") {
        let (text, origin) = file(Path::new(name))?;
        let table: toml::Table = super::parse(&text, &origin)?;
        let kind = if table.contains_key("module") { LINE } else { PRODUCT };
        return Ok(ProfileText { kind, text, origin });
    }
    for kind in [PRODUCT, LINE] {
        if let Some((text, origin)) = named(kind, name)? {
            return Ok(ProfileText { kind, text, origin });
        }
    }
    let what = format!("operator: {}; {}", unknown(PRODUCT, name), unknown(LINE, name));
    Err(Failure::new(Exit::Profile, what))
}

/// Writes a copy of a profile under another name, into the bureau's own folder if there is one, else into the working
/// directory. A file that exists is never written over. Returns the path.
pub fn begin(name: &str, from: &str) -> Result<PathBuf, Failure> {
    if !is_plain(name) || ProductName::new(name).is_err() {
        let what = format!("operator: {name:?} is no name of a profile: letters A to Z, digits, - and _");
        return Err(Failure::new(Exit::Usage, what));
    }
    let ProfileText { kind, text, origin } = text_of(from)?;
    let text = renamed(&text, name)
        .ok_or_else(|| Failure::new(Exit::Profile, format!("profile {origin}: it has no name")))?;
    let path = match std::env::var_os(OWN) {
        Some(own) => Path::new(&own).join(kind.folder).join(format!("{name}.toml")),
        None => PathBuf::from(format!("{name}.toml")),
    };
    write_new(&path, &text)
        .map_err(|what| Failure::new(Exit::Io, format!("operator: profile {}: {what}", path.display())))?;
    Ok(path)
}

fn write_new(path: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).create(folder).map_err(|e| files::trouble(&e))?;
    }
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            "a file lies there, and is not written over: choose another name".to_owned()
        }
        _ => files::trouble(&error),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| files::trouble(&e))
}

/// A profile's text with another name, and all else as it is, comments too.
fn renamed(text: &str, name: &str) -> Option<String> {
    let parsed = DeTable::parse(text).ok()?;
    let place = parsed.get_ref().get("name")?.span();
    Some(format!("{}\"{name}\"{}", text.get(..place.start)?, text.get(place.end..)?))
}

#[cfg(test)]
mod tests {
    use super::super::{LINES, PRODUCTS};
    use super::*;

    #[test]
    fn only_the_name_changes() {
        for (name, text) in LINES.iter().chain(PRODUCTS) {
            let copy = renamed(text, "house").unwrap();
            assert_eq!(copy.replacen("name = \"house\"", &format!("name = \"{name}\""), 1), *text);
            assert_eq!(copy.parse::<toml::Table>().unwrap()["name"].as_str(), Some("house"), "{name}");
        }
        let inner = "[chip]\nname = \"no\"\n";
        assert_eq!(renamed(inner, "house"), None, "the name of a table is not that of the profile");
        let quoted = "# name = 'a'\nname   =   'a' # b\n";
        assert_eq!(renamed(quoted, "house").unwrap(), "# name = 'a'\nname   =   \"house\" # b\n");
    }

    #[test]
    fn a_file_that_lies_there_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("products/house.toml");
        write_new(&path, "text").unwrap();
        assert!(write_new(&path, "other").unwrap_err().contains("not written over"));
        let link = folder.path().join("products/link.toml");
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        assert!(write_new(&link, "other").is_err(), "a link is not followed");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
    }

    #[test]
    fn a_name_is_no_path() {
        for name in ["", "../house", "a/b", "house.toml", "ä", &"a".repeat(300)] {
            assert_eq!(begin(name, "multiapp").unwrap_err().exit, Exit::Usage, "{name}");
        }
        let refused = begin("house", "no-such").unwrap_err();
        assert!(refused.exit == Exit::Profile && refused.message.contains("multiapp"), "{refused}");
    }
}
