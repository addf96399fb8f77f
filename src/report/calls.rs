//! How often the HSM was asked for what: as it stands in the events that end a run, and summed up again for the close-out.

use std::collections::BTreeMap;

/// Calls by kind.
pub type Calls = BTreeMap<String, u64>;

const BEGIN: &str = "HSM calls: ";

/// As it stands in an event's detail, behind what else is said there.
pub fn told(detail: Option<String>, calls: &Calls) -> Option<String> {
    if calls.is_empty() {
        return detail;
    }
    let calls: Vec<String> = calls.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let calls = format!("{BEGIN}{}", calls.join(", "));
    Some(match detail {
        Some(detail) => format!("{detail}; {calls}"),
        None => calls,
    })
}

/// Adds what an event's detail tells.
pub fn add(detail: &str, sum: &mut Calls) {
    let Some((_, calls)) = detail.rsplit_once(BEGIN) else { return };
    for (kind, count) in calls.split(", ").filter_map(|call| call.split_once(' ')) {
        if let Ok(count) = count.parse::<u64>() {
            *sum.entry(kind.to_owned()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_added() {
        let calls = Calls::from([("session".to_owned(), 12), ("verify".to_owned(), 4)]);
        let mut sum = Calls::new();
        for detail in [told(None, &calls), told(Some("stopped; HSM calls: none".into()), &calls)] {
            add(&detail.unwrap(), &mut sum);
        }
        add("nothing of it; and, more", &mut sum);
        assert_eq!(sum, Calls::from([("session".to_owned(), 24), ("verify".to_owned(), 8)]));
        assert_eq!(told(Some("said".into()), &Calls::new()), Some("said".into()));
    }
}
