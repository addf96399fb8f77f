//! Limits of an event's texts: length and characters (`src/manual/ledger-events.md`, sections 2 to 5). Pure.

use crate::laws::types::Context;
use crate::printable::is_hidden;

/// Longest `detail`, in bytes.
pub(crate) const DETAIL_MAX: usize = 2048;
/// Longest name of a station, a person, a line ...
pub(crate) const NAME_MAX: usize = 255;
/// Longest short word.
pub(crate) const WORD_MAX: usize = 40;
/// Longest text of what was compared.
pub(crate) const COMPARED_MAX: usize = 512;
/// Longest path of a spool.
pub(crate) const PATH_MAX: usize = 1024;
/// Longest public value that a card returns, in bytes.
pub(crate) const PUBLIC_MAX: usize = 2048;
/// Longest idempotency key.
pub(crate) const ACT_KEY_MAX: usize = 64;
/// The bytes as text, if they are UTF-8, 1 to `max` bytes long, and free of hidden characters ([`is_hidden`]).
pub(crate) fn sound_text(bytes: &[u8], max: usize) -> Option<&str> {
    if !(1..=max).contains(&bytes.len()) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    // Nearly every text is plain ASCII, and needs no look at its characters.
    let plain = bytes.iter().all(|byte| (0x20..0x7F).contains(byte));
    (plain || !text.chars().any(is_hidden)).then_some(text)
}

/// CLA, INS, P1 and P2 from eight hex digits.
pub(crate) fn header_bytes(hexed: &str) -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    hex::decode_to_slice(hexed, &mut bytes).ok()?;
    Some(bytes)
}

/// Checks that a context fits into an event. The error names the part that does not.
pub(crate) fn context_fits(context: &Context) -> Result<(), &'static str> {
    let fits = |text: &Option<String>, max| {
        text.as_ref().is_none_or(|text| sound_text(text.as_bytes(), max).is_some())
    };
    let named = [
        (&context.station, "station"),
        (&context.module, "module"),
        (&context.actor, "person"),
        (&context.first_person, "first person"),
        (&context.on_line, "line"),
    ];
    if let Some((_, what)) = named.into_iter().find(|(text, _)| !fits(text, NAME_MAX)) {
        return Err(what);
    }
    let reason =
        context.reason.as_ref().is_none_or(|r| sound_text(r.as_str().as_bytes(), WORD_MAX).is_some());
    let header = context.header.as_deref().is_none_or(|header| header_bytes(header).is_some());
    let act = context.act.as_ref();
    let act =
        act.is_none_or(|act| act.key.is_ascii() && sound_text(act.key.as_bytes(), ACT_KEY_MAX).is_some());
    match (reason, header, act) {
        (false, ..) => Err("reason"),
        (_, false, _) => Err("command header"),
        (.., false) => Err("idempotency key"),
        _ => Ok(()),
    }
}

/// Makes a text for people fit into an event: hidden characters become spaces, and a text that is too long is cut and
/// ends in "...". `None` if the text is empty.
pub(crate) fn tidied(text: &str, max: usize) -> Option<String> {
    let clean: String = text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect();
    if clean.len() <= max {
        return (!clean.is_empty()).then_some(clean);
    }
    let mut end = max.saturating_sub("...".len());
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    Some(format!("{}...", clean.get(..end).unwrap_or_default()))
}
