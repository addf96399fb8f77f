//! `key component`: custodians give the components of a key, one in each command.
//!
//! Not here: the rules of components (`hsm::store`), the opening of the store (`custody`).

use std::path::Path;

use zeroize::Zeroizing;

use super::custody::{opened, terminal};
use super::{kcvs, terms};
use crate::cli::suggested::quoted;
use crate::cli::terminal::Terminal;
use crate::exit::{Exit, Failure};
use crate::hsm::store::{KeyComponent, KeyTerms, LockedStore, OpenStore, PendingKey, SecretEntry, StoreSide};
use crate::ids::Kcv;

/// How often a custodian may type a component.
const TRIES: u8 = 3;

/// The terms of a key before its first component, its check value, and the number of its components.
pub(super) type FirstTerms = (KeyTerms, Kcv, u8);

/// Takes the next component of a key. Returns what is stored.
pub(super) fn give(
    store: &Path,
    label: &str,
    first: Option<FirstTerms>,
    side: StoreSide,
) -> Result<String, Failure> {
    let locked = LockedStore::to_change(store)?.of_side(side)?;
    if let Some((key, _, of)) = &first {
        locked.check_components(key, *of)?;
    }
    let mut terminal = terminal()?;
    terminal.say(&match &first {
        Some((key, kcv, of)) => {
            format!("A component of {label}: {}, KCV {kcv}, the first of {of}.", terms::shown(key))
        }
        None => format!("A component of {label}."),
    })?;
    let mut open = opened(&mut terminal, locked.collect())?;
    if let Some((key, kcv, of)) = first {
        open.begin(key, kcv, of)?;
    }
    let key = pending(&open, label)?;
    let (number, wanted) = (key.next(), key.wanted());
    terminal.say(&state(key))?;
    let by = giver(&mut terminal, &open, key)?;
    let component = component(&mut terminal, &open, key, &by)?;
    if let Some(key) = open.give(label, component)? {
        return Ok(stored(key));
    }
    let missing = match wanted.saturating_sub(number) {
        1 => "1 is missing".to_owned(),
        more => format!("{more} are missing"),
    };
    let next = format!("{} key component {} --store {}", side.program(), quoted(label), shown_path(store));
    Ok(format!("component {number} of {wanted} stored; {missing}. next: {next}\n"))
}

/// Forgets the components of a key. Returns what is done.
pub(super) fn forget(store: &Path, label: &str, side: StoreSide) -> Result<String, Failure> {
    let locked = LockedStore::to_change(store)?.of_side(side)?;
    let mut terminal = terminal()?;
    terminal.say(&format!("Drop the components of {label}."))?;
    let mut open = opened(&mut terminal, locked.collect())?;
    let key = pending(&open, label)?;
    terminal.say(&format!("{label}: {}. Given so far: {}.", terms::shown(key.terms()), given(key)))?;
    confirm(&mut terminal, "Backups keep them. Type yes to drop them: ")?;
    open.drop_components(label)?;
    Ok(format!("components of {label} dropped\n"))
}

/// Asks the custodians to type yes, and fails if they type anything else.
pub(super) fn confirm(terminal: &mut Terminal, prompt: &str) -> Result<(), Failure> {
    match terminal.line(prompt)?.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Custody, "operator: you did not type yes: nothing was changed")),
    }
}

/// `kmc-1 stored: KMC FFFFFF476173:1, DES B82EC5`
pub(super) fn stored(key: &SecretEntry) -> String {
    let (label, usage, id, version) = (key.label(), key.usage(), key.id(), key.version());
    let doubt = key.doubt().map(|doubt| format!("; warning: {doubt}")).unwrap_or_default();
    format!("{label} stored: {usage} {id}:{version}, {}{doubt}\n", kcvs(&key.kcvs()))
}

fn pending<'a>(open: &'a OpenStore, label: &str) -> Result<&'a PendingKey, Failure> {
    open.pending(label).ok_or_else(|| {
        if open.keys().entries().iter().any(|key| key.label() == label) {
            let what = format!("{label:?} is stored already: it has all its components");
            return Failure::new(Exit::Custody, format!("operator: {what}"));
        }
        let what = format!(
            "no component of {label:?} is there: give the first one with --usage and the options that it requires"
        );
        Failure::new(Exit::KeyUnknown, format!("key: {what}"))
    })
}

/// Describes a key, and the component that is asked for next.
fn state(key: &PendingKey) -> String {
    let (number, wanted) = (key.next(), key.wanted());
    let whole = match key.stated() {
        (Some(method), kcv) => format!("{method} {kcv}"),
        (None, kcv) => format!("KCV {kcv}"),
    };
    format!(
        "Component {number} of {wanted} of {}: {}, whole key {whole}. Given so far: {}.",
        key.terms().label,
        terms::shown(key.terms()),
        given(key)
    )
}

/// `1 by anna, 2 by ben`
fn given(key: &PendingKey) -> String {
    let given: Vec<_> = (1..).zip(key.given_by()).map(|(number, by)| format!("{number} by {by}")).collect();
    if given.is_empty() { "none".to_owned() } else { given.join(", ") }
}

/// Asks which of those who opened the store gives the component.
fn giver(terminal: &mut Terminal, open: &OpenStore, key: &PendingKey) -> Result<String, Failure> {
    let refusals: Vec<_> = open.by().iter().map(|name| key.check_giver(name)).collect();
    let all_gave = refusals.iter().all(Result::is_err);
    if let Some(Err(failure)) = refusals.into_iter().next().filter(|_| all_gave) {
        return Err(failure);
    }
    loop {
        let name = terminal.line(&format!("Who gives component {}, name: ", key.next()))?;
        let name = name.trim();
        if !open.by().iter().any(|opener| opener == name) {
            terminal.say(&format!(
                "that person did not open the store; it was opened by {}",
                open.by().join(", ")
            ))?;
        } else if let Err(failure) = key.check_giver(name) {
            terminal.say(&failure.message)?;
        } else {
            return Ok(name.to_owned());
        }
    }
}

/// Asks for a component and its check value, at most three times.
fn component(
    terminal: &mut Terminal,
    open: &OpenStore,
    key: &PendingKey,
    by: &str,
) -> Result<KeyComponent, Failure> {
    let mut left = TRIES;
    loop {
        left = left.saturating_sub(1);
        let failure = match typed(terminal, key) {
            Ok((value, kcv)) => match open.component(&key.terms().label, by, value, kcv) {
                Ok(component) => return Ok(component),
                // Only a slip is asked again.
                Err(failure) if failure.exit == Exit::KeyMismatch => failure,
                Err(failure) => return Err(failure),
            },
            Err(failure) if failure.exit == Exit::Custody => failure,
            Err(failure) => return Err(failure),
        };
        if left == 0 {
            return Err(failure);
        }
        terminal.say(&format!("{}. Type it again.", failure.message))?;
    }
}

fn typed(terminal: &mut Terminal, key: &PendingKey) -> Result<(Zeroizing<Vec<u8>>, Kcv), Failure> {
    let (number, digits) = (key.next(), 2 * key.terms().key_type.length());
    let text = terminal.secret(&format!("Component {number}, {digits} hex digits: "))?;
    let value = component_bytes(text.as_deref().map(Vec::as_slice), digits)?;
    let kcv = terminal.line(&format!("KCV of component {number}, 6 hex digits: "))?;
    let kcv = Kcv::from_hex(kcv.trim());
    Ok((value, kcv.map_err(|fault| slip(format!("the KCV {fault}")))?))
}

/// The bytes of a component. Blanks are left out. Messages never quote it.
fn component_bytes(text: Option<&[u8]>, digits: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let text = text.ok_or_else(|| slip("a component has hex digits only".into()))?;
    let mut bare: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(text.len()));
    bare.extend(text.iter().filter(|byte| **byte != b' '));
    if let Some(at) = bare.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        return Err(slip(format!("character {} of the component is no hex digit", at + 1)));
    }
    if bare.len() != digits {
        return Err(slip(format!("{} digits, {digits} are needed", bare.len())));
    }
    let mut bytes = Zeroizing::new(vec![0; digits / 2]);
    hex::decode_to_slice(&*bare, &mut bytes).map_err(|_| slip("a component has hex digits only".into()))?;
    Ok(bytes)
}

fn slip(what: String) -> Failure {
    Failure::new(Exit::Custody, format!("operator: {what}"))
}

/// A path as a shell takes it.
fn shown_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_read_with_or_without_blanks_and_is_never_quoted() {
        let read = |text: &str| component_bytes(Some(text.as_bytes()), 8);
        assert_eq!(*read("8C25D16B").unwrap(), [0x8C, 0x25, 0xD1, 0x6B]);
        assert_eq!(*read(" 8c25 d16b ").unwrap(), [0x8C, 0x25, 0xD1, 0x6B]);
        for (text, said) in [
            ("8C25D16", "operator: 7 digits, 8 are needed"),
            ("8C25 D16B 3", "operator: 9 digits, 8 are needed"),
            ("", "operator: 0 digits, 8 are needed"),
            ("8C25D16G", "operator: character 8 of the component is no hex digit"),
        ] {
            let failure = read(text).err().unwrap();
            assert_eq!((failure.exit, failure.message.as_str()), (Exit::Custody, said));
        }
        assert!(component_bytes(None, 8).is_err());
    }
}
