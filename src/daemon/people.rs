//! The people of a line and their roles. The kernel reports a user id for each connection, which identifies
//! the person.
//!
//! ```text
//! [[person]]
//! name = "anna"              # stands in the ledger
//! uid = 1001                 # one person each
//! roles = ["operator", "supervisor"]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::actor::NOT_PEOPLE;
use crate::toml_text::{self, Quoting};

/// The roles that a person may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Loads and releases jobs, clears rejects.
    Operator,
    /// Releases jobs after a restart or a fault, resolves UNKNOWN cards, authorizes remakes, closes jobs.
    Supervisor,
    /// Imports keys.
    KeyCustodian,
    /// Looks at everything, and proves the ledger.
    Auditor,
}

/// One person of the people file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Name of the person, as the ledger records it.
    pub name: String,
    /// User id, as the kernel reports it.
    pub uid: u32,
    /// The person's roles, at least one.
    pub roles: BTreeSet<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    person: Vec<Person>,
}

/// All people of a line, by user id.
#[derive(Debug, Clone)]
pub struct People(BTreeMap<u32, Person>);

impl People {
    /// Reads and checks the text of a people file. The error describes what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let file: File = toml_text::parse(text, Quoting::Values).map_err(|fault| fault.to_string())?;
        let (mut people, mut names) = (BTreeMap::new(), BTreeSet::new());
        for person in file.person {
            sound_name(&person.name).map_err(|what| format!("name = {:?}: {what}", person.name))?;
            if person.roles.is_empty() {
                return Err(format!(
                    "{} has no role; roles are operator, supervisor, key-custodian, auditor",
                    person.name
                ));
            }
            if !names.insert(person.name.clone()) {
                return Err(format!("{} stands twice: two people would look like one", person.name));
            }
            let uid = person.uid;
            if let Some(other) = people.insert(uid, person) {
                return Err(format!("uid {uid} is {} and somebody else", other.name));
            }
        }
        if people.is_empty() {
            return Err("nobody stands in it".into());
        }
        Ok(Self(people))
    }

    /// Number of people who have this role.
    pub fn with(&self, role: Role) -> usize {
        self.0.values().filter(|person| person.roles.contains(&role)).count()
    }

    /// The person who has this user id.
    pub fn of(&self, uid: u32) -> Option<&Person> {
        self.0.get(&uid)
    }
}

/// Checks a person's name for the ledger: it must not be a machine's name, and must have only plain
/// characters.
pub fn sound_name(name: &str) -> Result<(), String> {
    let sound = |c: char| c.is_alphanumeric() || ".-_ ".contains(c);
    if name.is_empty() || name.trim() != name || name.len() > 40 || !name.chars().all(sound) {
        return Err("a name has 1 to 40 letters, digits, dots, hyphens, and spaces inside".into());
    }
    if NOT_PEOPLE.contains(&name) {
        return Err(format!("{name:?} in the ledger means that nobody asked; take another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, uid: u32, roles: &str) -> String {
        format!("[[person]]\nname = \"{name}\"\nuid = {uid}\nroles = [{roles}]\n")
    }

    #[test]
    fn people_are_known_by_their_uid() {
        let text = person("anna", 1, "\"operator\", \"supervisor\"") + &person("Bo B.", 2, "\"auditor\"");
        let people = People::from_toml(&text).unwrap();
        assert!(people.of(1).unwrap().roles.contains(&Role::Supervisor));
        assert_eq!(people.of(2).unwrap().name, "Bo B.");
        assert_eq!(people.of(3), None);
    }

    #[test]
    fn wrong_files_are_refused() {
        let anna = person("anna", 1, "\"operator\"");
        for (text, why) in [
            (String::new(), "person"),
            ("person = []".into(), "nobody"),
            (anna.clone() + &person("bo", 1, "\"operator\""), "uid 1"),
            (anna.clone() + &person("anna", 2, "\"operator\""), "twice"),
            (person("anna", 1, ""), "no role"),
            (
                person("anna", 1, "\"boss\""),
                "line 4: person.roles: unknown variant `boss`, expected one of `operator`,",
            ),
            (person("anna", 1, "1"), "line 4: person.roles = 1: expected a word in quotes"),
            (
                anna.replace("uid = 1", "uid = -1"),
                "line 3: person.uid: invalid value: integer `-1`, expected a whole",
            ),
            (person("", 1, "\"operator\""), "name = \"\": a name has 1 to 40 letters"),
            (person("a\\u001b", 1, "\"operator\""), "1 to 40"),
            (person(" anna", 1, "\"operator\""), "1 to 40"),
            (person("anna, bo", 1, "\"operator\""), "1 to 40"),
            (person("line", 1, "\"operator\""), "nobody"),
            (anna + "age = 3", "line 5: person: unknown field `age`, expected one of `name`, `uid`, `roles`"),
        ] {
            let error = People::from_toml(&text).unwrap_err();
            assert!(error.contains(why) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
