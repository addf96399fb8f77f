//! What a run counted: calls to the HSM by kind, and cards by station. It stands in the event that ends the
//! run, and is summed up again for the close-out.

use std::collections::BTreeMap;

/// Counts by name.
pub type Tally = BTreeMap<String, u64>;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Calls to the HSM, by kind.
    HsmCalls,
    /// Cards that a station worked on, by `module/station`.
    Cards,
}

impl Of {
    fn begin(self) -> &'static str {
        match self {
            Self::HsmCalls => "HSM calls: ",
            Self::Cards => "Cards: ",
        }
    }
}

/// As it stands in an event's detail, behind what else is said there.
pub fn told(detail: Option<String>, of: Of, tally: &Tally) -> Option<String> {
    if tally.is_empty() {
        return detail;
    }
    let counts: Vec<String> = tally.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let counts = format!("{}{}", of.begin(), counts.join(", "));
    Some(match detail {
        Some(detail) => format!("{detail}; {counts}"),
        None => counts,
    })
}

/// Adds what an event's detail tells.
pub fn add(detail: &str, of: Of, sum: &mut Tally) {
    let Some((_, counts)) = detail.rsplit_once(of.begin()) else { return };
    let counts = counts.split("; ").next().unwrap_or_default();
    for (name, count) in counts.split(", ").filter_map(|count| count.split_once(' ')) {
        if let Ok(count) = count.parse::<u64>() {
            *sum.entry(name.to_owned()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_added() {
        let calls = Tally::from([("session".to_owned(), 12), ("verify".to_owned(), 4)]);
        let cards = Tally::from([("chip/chip-1".to_owned(), 3)]);
        let (mut all_calls, mut all_cards) = (Tally::new(), Tally::new());
        for before in [None, Some("stopped; HSM calls: none".to_owned())] {
            let detail = told(told(before, Of::Cards, &cards), Of::HsmCalls, &calls).unwrap();
            add(&detail, Of::HsmCalls, &mut all_calls);
            add(&detail, Of::Cards, &mut all_cards);
        }
        add("nothing of it; and, more", Of::HsmCalls, &mut all_calls);
        assert_eq!(all_calls, Tally::from([("session".to_owned(), 24), ("verify".to_owned(), 8)]));
        assert_eq!(all_cards, Tally::from([("chip/chip-1".to_owned(), 6)]));
        assert_eq!(told(Some("said".into()), Of::Cards, &Tally::new()), Some("said".into()));
    }
}
