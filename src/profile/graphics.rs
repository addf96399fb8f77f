//! The SVG texts of graphics templates, by the names that records give.
//!
//! ```text
//! graphics/NAME-front.svg    the front; a template has one
//! graphics/NAME-back.svg     the back; without one the back of the card stays as it is
//! ```
//!
//! The folder of the bureau's own comes before the shipped templates. Not here: what may stand in a template, and drawing
//! it (`modules::template`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{OWN, PROFILE_MAX, TEMPLATES, is_plain};
use crate::files;

/// Folder in the bureau's own directory.
pub(super) const FOLDER: &str = "graphics";
const FRONT: &str = "-front.svg";
const BACK: &str = "-back.svg";

/// The text of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    /// SVG of the front.
    pub front: Cow<'static, str>,
    /// SVG of the back.
    pub back: Option<Cow<'static, str>>,
    /// Names it in messages.
    pub origin: String,
}

/// Returns the template with a name, if there is one. Safe on a name out of an issuer's file: it never leaves the
/// folder. The error quotes nothing.
pub fn template(name: &str) -> Result<Option<TemplateText>, String> {
    if let Some(folder) = own().filter(|_| is_plain(name)) {
        let front = folder.join(format!("{name}{FRONT}"));
        if front.exists() {
            let back = folder.join(format!("{name}{BACK}"));
            let back = back.exists().then(|| text(back)).transpose()?;
            let origin = format!("template {}", front.display());
            return Ok(Some(TemplateText { front: text(front)?, back, origin }));
        }
    }
    let shipped = TEMPLATES.iter().find(|template| template.name == name);
    Ok(shipped.map(|template| TemplateText {
        front: template.front.into(),
        back: template.back.map(Cow::Borrowed),
        origin: format!("the shipped template {name}"),
    }))
}

/// Returns the names of all templates: the bureau's own and the shipped ones.
pub fn names() -> Vec<String> {
    let shipped = TEMPLATES.iter().map(|template| template.name.to_owned());
    super::own_files(FOLDER, FRONT).into_iter().chain(shipped).collect::<BTreeSet<_>>().into_iter().collect()
}

fn own() -> Option<PathBuf> {
    std::env::var_os(OWN).map(|own| PathBuf::from(own).join(FOLDER))
}

fn text(path: PathBuf) -> Result<Cow<'static, str>, String> {
    let text = files::read_text(&path, PROFILE_MAX);
    text.map(|text| Cow::Owned(text.to_string())).map_err(|e| {
        format!("needs template {}, which cannot be read: {}", path.display(), files::trouble(&e))
    })
}
