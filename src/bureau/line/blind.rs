//! How a line knows that each machine that does not notice cards stands at its own station. Such a machine has a serial
//! number in the line profile, or a person's word in the ledger for its connection. A machine needs neither if no other
//! machine of the line has its driver.
//!
//! Not here: test blanks and their marks (`bureau::card_test`), refusing the wrong machine (`drivers::identity`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drivers::identity::{ExpectedNumber, OnlyMachine};
use drivers::registry::{Capability, Driver, Family};
use drivers::stripe::T1_MAX;

use super::links::{Links, MachineNumber};
use super::stations;
use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;

/// The machines of a line that do not notice cards, by station.
pub struct BlindMachines(BTreeMap<String, BlindMachine>);

/// One of them.
pub struct BlindMachine {
    /// Its driver.
    pub driver: &'static Driver,
    /// The machine that the driver may write with.
    pub only: OnlyMachine,
}

impl BlindMachine {
    /// Whether only a person's word can say that it stands at its station.
    pub fn needs_word(&self) -> bool {
        matches!(self.only, OnlyMachine::At { .. })
    }
}

impl BlindMachines {
    /// The machines of a line. `words` takes the stations that need a person's word, and returns for each station that
    /// has one the connection for which it holds.
    pub fn of(
        line: &LineProfile,
        links: &dyn Links,
        words: impl FnOnce(&BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure>,
    ) -> Result<Self, Failure> {
        let mut blind = Vec::new();
        for module in line.working() {
            // A module without a right driver is refused when the line is opened.
            if let Ok(Some(driver)) = stations::driver(module)
                && !driver.can(Capability::NoticesCards)
            {
                let stations = module.station_names();
                blind.extend(stations.map(|station| {
                    let number = links.number(&station, driver);
                    (station, driver, number)
                }));
            }
        }
        let numbers: BTreeMap<_, _> = blind
            .iter()
            .filter_map(|(station, _, number)| match number {
                MachineNumber::Is(number) => Some((number.clone(), station.clone())),
                MachineNumber::Needless | MachineNumber::Unknown => None,
            })
            .collect();
        let numbers = Arc::new(numbers);
        let is_alone =
            |driver: &Driver| blind.iter().filter(|(_, other, _)| other.name == driver.name).count() == 1;
        let need: BTreeSet<_> = blind
            .iter()
            .filter(|(_, driver, number)| *number == MachineNumber::Unknown && !is_alone(driver))
            .map(|(station, ..)| station.clone())
            .collect();
        let words = if need.is_empty() { BTreeMap::new() } else { words(&need)? };
        let known = |station: String, number| match number {
            MachineNumber::Is(number) => {
                OnlyMachine::Numbered(ExpectedNumber { station, number, stations: Arc::clone(&numbers) })
            }
            MachineNumber::Unknown if need.contains(&station) => {
                let node = words.get(&station).cloned();
                OnlyMachine::At { station, node }
            }
            MachineNumber::Needless | MachineNumber::Unknown => OnlyMachine::Any,
        };
        let machines = blind.into_iter().map(|(station, driver, number)| {
            (station.clone(), BlindMachine { driver, only: known(station, number) })
        });
        Ok(Self(machines.collect()))
    }

    /// The machine of a station, if it does not notice cards.
    pub fn at(&self, station: &str) -> Option<&BlindMachine> {
        self.0.get(station)
    }

    /// The other stations whose machines have this station's driver and need a word, too.
    pub fn rivals(&self, station: &str) -> Vec<String> {
        let Some(own) = self.at(station) else { return Vec::new() };
        let is_rival = |(name, other): &(&String, &BlindMachine)| {
            *name != station && other.needs_word() && other.driver.name == own.driver.name
        };
        self.0.iter().filter(is_rival).map(|(name, _)| name.clone()).collect()
    }
}

/// Checks what a line profile says about machines that do not notice cards. A module without a right driver is passed
/// over: it is refused when the line is opened.
pub fn check(line: &LineProfile) -> Result<(), Failure> {
    numbers_can_be_given(line)?;
    names_can_be_marked(line)
}

/// Refuses a station whose name is too long for the mark on a test blank, if only that mark can prove its encoder.
fn names_can_be_marked(line: &LineProfile) -> Result<(), Failure> {
    let only_marks = |driver: &Driver| {
        !driver.can(Capability::NoticesCards)
            && !driver.can(Capability::Number)
            && driver.family() == Family::Stripe
    };
    let encoders: Vec<_> = line
        .working()
        .filter_map(|module| Some((module, stations::driver(module).ok()??)))
        .filter(|(_, driver)| only_marks(driver))
        .flat_map(|(module, driver)| module.station_names().map(move |station| (module, driver, station)))
        .collect();
    for (module, driver, station) in &encoders {
        let rivals = encoders.iter().filter(|(_, other, _)| other.name == driver.name).count() > 1;
        if rivals && station.len() > T1_MAX {
            let what = format!(
                "module {}: the name of its station {station} has {} characters, and {} writes at most {T1_MAX} on the \
                 test blank that proves where it stands: give the module a shorter name",
                module.name,
                station.len(),
                driver.model
            );
            return Err(Failure::new(Exit::Profile, what));
        }
    }
    Ok(())
}

/// Refuses serial numbers in a line profile for machines that give none.
fn numbers_can_be_given(line: &LineProfile) -> Result<(), Failure> {
    for module in line.working() {
        for station in module.station_names() {
            let has = line.link.get(&station).is_some_and(|link| link.number.is_some());
            if let Ok(Some(driver)) = stations::driver(module)
                && has
            {
                driver
                    .check(&[Capability::Number])
                    .map_err(|what| Failure::new(Exit::Profile, format!("link.{station}.number: {what}")))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::links::{Real, Simulated};
    use super::*;

    /// A line of these modules, with more text.
    fn line(modules: &[(&str, &str, &str)], more: &str) -> LineProfile {
        let module = |(name, kind, keys): &(&str, &str, &str)| {
            format!("[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\n{keys}\n")
        };
        let modules: String = modules.iter().map(module).collect();
        let text = format!(
            "name = \"t\"\ndescription = \"\"\nreorder_buffer = 16\nrejects = \"bin\"\n{modules}{more}"
        );
        LineProfile::from_toml(&text, "test").unwrap()
    }

    const TWO: &str = "mics = [\"EMB\"]\nstations = 2";
    const MSE: &str =
        "mics = [\"MAG\"]\nstations = 2\ncoercivity = \"hico\"\nread_back = false\ndriver = \"mse630\"";

    /// The stations that need a word.
    fn need_a_word(line: &LineProfile, links: &dyn Links) -> Vec<String> {
        let machines = BlindMachines::of(line, links, |_| Ok(BTreeMap::new())).unwrap();
        let names = line.working().flat_map(|module| module.station_names());
        names.filter(|name| machines.at(name).is_some_and(BlindMachine::needs_word)).collect()
    }

    #[test]
    fn only_machines_that_can_be_exchanged_and_have_no_number_need_a_word() {
        let one = line(
            &[("embosser", "embosser", "mics = [\"EMB\"]"), ("printer", "printer", "mics = [\"GFX\"]")],
            "",
        );
        assert!(need_a_word(&one, &Real::new(&one).unwrap()).is_empty());
        let two = line(&[("embosser", "embosser", TWO), ("printer", "printer", "mics = [\"GFX\"]")], "");
        assert_eq!(need_a_word(&two, &Real::new(&two).unwrap()), ["embosser-1", "embosser-2"]);
        let numbered = line(&[("embosser", "embosser", TWO)], "[link.embosser-1]\nnumber = \"7\"\n");
        assert_eq!(need_a_word(&numbered, &Real::new(&numbered).unwrap()), ["embosser-2"]);
        let msr605 =
            line(&[("stripe", "stripe", "mics = [\"MAG\"]\nstations = 2\ncoercivity = \"hico\"")], "");
        assert!(need_a_word(&msr605, &Real::new(&msr605).unwrap()).is_empty());
        let mse630 = line(&[("stripe", "stripe", MSE)], "");
        assert_eq!(need_a_word(&mse630, &Real::new(&mse630).unwrap()), ["stripe-1", "stripe-2"]);
        // The simulator's machines have numbers, or stand where it puts them.
        let simulated = Simulated { socket: PathBuf::new() };
        for line in [two, mse630] {
            assert!(need_a_word(&line, &simulated).is_empty());
        }
    }

    #[test]
    fn machines_of_two_modules_with_one_driver_can_be_exchanged() {
        let modules = [("a", "embosser", "mics = [\"EMB\"]"), ("b", "embosser", "mics = [\"IND\"]")];
        let line = line(&modules, "");
        let real = Real::new(&line).unwrap();
        assert_eq!(need_a_word(&line, &real), ["a-1", "b-1"]);
        let machines = BlindMachines::of(&line, &real, |_| Ok(BTreeMap::new())).unwrap();
        assert_eq!(machines.rivals("a-1"), ["b-1"]);
    }

    #[test]
    fn a_name_that_is_too_long_for_the_mark_of_its_encoder_is_refused() {
        let named = |length: usize, keys: &str| {
            let line = line(&[(&"s".repeat(length), "stripe", keys)], "");
            check(&line).err().map(|failure| (failure.exit, failure.message))
        };
        // Stations are named by their module and their number.
        assert_eq!(named(T1_MAX - 2, MSE), None);
        let (exit, said) = named(T1_MAX - 1, MSE).unwrap();
        assert!(
            exit == Exit::Profile && said.contains("has 77 characters") && said.contains("s-1"),
            "{said}"
        );
        // An encoder without rivals is never asked for a mark, and another model notices cards.
        assert_eq!(named(T1_MAX - 1, &MSE.replace("stations = 2", "stations = 1")), None);
        assert_eq!(named(T1_MAX - 1, "mics = [\"MAG\"]\nstations = 2\ncoercivity = \"hico\""), None);
    }

    #[test]
    fn a_number_of_a_machine_that_gives_none_is_refused() {
        let said = |line: &LineProfile| check(line).err().map(|f| f.message).unwrap_or_default();
        let mse630 = line(&[("stripe", "stripe", MSE)], "[link.stripe-1]\nnumber = \"7\"\n");
        assert!(said(&mse630).contains("link.stripe-1.number: driver mse630"), "{}", said(&mse630));
        assert_eq!(said(&line(&[("embosser", "embosser", TWO)], "[link.embosser-1]\nnumber = \"7\"\n")), "");
    }
}
