//! The identity of machines that do not notice cards. When cables are exchanged, another machine of that model may
//! answer. A driver therefore writes only with the machine that its line has found to be the right one.
//!
//! Not here: how a line finds that out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::DeviceError;
use crate::presence::DeviceConnection;

/// Text before the serial number at the end of a framed machine's answer to 'S' (wire section 2).
const NUMBER: &str = " no.";

/// The machine that a driver may write with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OnlyMachine {
    /// Any machine.
    #[default]
    Any,
    /// The machine with this serial number. The driver asks for the number each time the connection is opened.
    Numbered(ExpectedNumber),
    /// The machine on this connection, by a person's word. If no word holds, no machine may be written with.
    At {
        /// The station that the machine belongs to.
        station: String,
        /// The connection's node; `None` if no word holds.
        node: Option<String>,
    },
}

impl OnlyMachine {
    /// Checks the connection that the driver has now.
    pub(crate) fn is_at(&self, connected: &str) -> Result<(), DeviceError> {
        match self {
            // A connection without a name cannot be distinguished from another one.
            Self::At { station, node } if connected.is_empty() || node.as_deref() != Some(connected) => {
                Err(DeviceError::Unproved { station: station.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// The serial number that the machine of a station must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedNumber {
    /// The station.
    pub station: String,
    /// The number.
    pub number: String,
    /// The stations of the line by the number of their machine.
    pub stations: Arc<BTreeMap<String, String>>,
}

impl ExpectedNumber {
    /// Compares the number with the one in the machine's answer to 'S'.
    pub(crate) fn compare(&self, says: &str) -> Result<(), DeviceError> {
        let found = number_in(says);
        if found == Some(self.number.as_str()) {
            return Ok(());
        }
        let found = match found.map(|number| (number, self.stations.get(number))) {
            Some((number, Some(other))) => format!("has number {number}, which is that of {other}"),
            Some((number, None)) => format!("has number {number}"),
            None => format!("gives no number ({says:?})"),
        };
        Err(DeviceError::OtherMachine { station: self.station.clone(), number: self.number.clone(), found })
    }
}

/// The serial number at the end of a framed machine's answer to 'S', if it gives one.
pub fn number_in(says: &str) -> Option<&str> {
    let (_, number) = says.rsplit_once(NUMBER)?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_graphic())).then_some(number)
}

/// A machine that does not notice cards.
pub trait MachineIdentity {
    /// From now on the driver writes with this machine only.
    fn only(&mut self, machine: OnlyMachine);

    /// Makes sure that this is the machine to write with. Asks it for its number if the connection is new.
    fn check(&mut self) -> Result<(), DeviceError>;

    /// The connection to the machine.
    fn connection(&self) -> DeviceConnection;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_at_the_end_of_what_a_machine_says() {
        assert_eq!(number_in("CWP-1 printer no.A7-12"), Some("A7-12"));
        assert_eq!(number_in("printer no.1 no.2"), Some("2"));
        for none in ["CWP-1 printer", "printer no.", "printer no. 12", "printer no.1 2", "no.12", ""] {
            assert_eq!(number_in(none), None, "{none:?}");
        }
    }

    #[test]
    fn another_number_names_both_machines() {
        let stations = Arc::new(BTreeMap::from([("7".to_owned(), "embosser-2".to_owned())]));
        let expected = ExpectedNumber { station: "embosser-1".into(), number: "6".into(), stations };
        assert_eq!(expected.compare("embosser no.6"), Ok(()));
        let said = |says: &str| expected.compare(says).unwrap_err().to_string();
        assert!(said("embosser no.7").contains(
            "number 6, but the machine that answers there has number 7, which is that of embosser-2"
        ));
        assert!(said("embosser no.8").contains("has number 8:"), "{}", said("embosser no.8"));
        assert!(said("embosser").contains("gives no number (\"embosser\")"));
    }

    #[test]
    fn a_word_holds_for_its_connection_alone() {
        let at =
            |node: Option<&str>| OnlyMachine::At { station: "embosser-1".into(), node: node.map(Into::into) };
        assert_eq!(at(Some("a")).is_at("a"), Ok(()));
        assert_eq!(OnlyMachine::Any.is_at(""), Ok(()));
        for (word, now) in [(Some("a"), "b"), (Some("a"), ""), (None, "a"), (Some(""), ""), (None, "")] {
            assert_eq!(at(word).is_at(now), Err(DeviceError::Unproved { station: "embosser-1".into() }));
        }
    }
}
