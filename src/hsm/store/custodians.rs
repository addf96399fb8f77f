//! The custodians of a LIVE store: any `m` of `n` have its master key together, each with a passphrase.
//!
//! ```text
//! custody id (16) | m u8 | n u8 | n times { L1 name | salt (16) | share (32) sealed | tag (16) }
//! ```
//!
//! `2 <= m <= n <= 9`; a TEST store has `m = n = 0`. A share of the master key ([`sharing`](crate::crypto::sharing)) has the number
//! of its place, from 1. It is sealed by AES-256-GCM under Argon2id(passphrase, salt), nonce zero, since a salt is drawn for
//! each share and its key is used once; associated data is "CWKS2 share" | store id | custody id | m | n | number | L1 name. So a
//! share opens in its own place of its own store and custody only, and a wrong passphrase is known by itself. The custody
//! id is drawn when custodians are set, so that a store that went on from a backup shares none with the one that went on without.
//!
//! Argon2id (RFC 9106) has the parameters of the format's version: the second recommended option of section 4. A file
//! cannot ask for less, nor for so much that this machine has no memory left.
//!
//! Who has the file can guess one passphrase at a time without this program: Argon2id and the passphrase are what is in the way.
//!
//! Not here: who is asked and how often (`opening`), the prompts (`cli`).

use std::fmt;

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::header::FormatFault;
use super::seal::SealKey;
use crate::crypto::sharing;
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::record::cursor::FieldCursor;

/// Memory of Argon2id in KiB.
const MEMORY: u32 = 1 << 16;
/// Passes over it.
const PASSES: u32 = 3;
/// Lanes of it.
const LANES: u32 = 4;
/// Bytes of a salt.
const SALT: usize = 16;
/// Bytes of a tag.
const TAG: usize = 16;
/// Most custodians.
const CUSTODIANS_MAX: usize = 9;
/// Most characters of a name.
const NAME_MAX: usize = 32;
/// Words that stand in records where a name may stand.
const NO_NAMES: [&str; 2] = ["line", "signal"];
/// Separates shares from all else that is sealed.
const SHARE: &[u8] = b"CWKS2 share";
/// Least and most characters of a passphrase.
const PASSPHRASE: std::ops::RangeInclusive<usize> = 16..=128;
/// Least different characters of a passphrase.
const DIFFERENT: usize = 8;

/// Most characters of custodians in a note.
const NOTE_MAX: usize = 80;

/// A share of a master key.
pub(super) type KeyShare = Zeroizing<[u8; SealKey::LENGTH]>;

/// A custodian with the share.
struct Custodian {
    name: String,
    salt: [u8; SALT],
    share: [u8; SealKey::LENGTH],
    tag: [u8; TAG],
}

/// Who opens a store; nobody is needed for a TEST store.
pub(super) struct Custody {
    id: [u8; 16],
    threshold: u8,
    custodians: Vec<Custodian>,
}

impl Custody {
    /// A TEST store's.
    pub(super) fn none() -> Result<Self, getrandom::Error> {
        Ok(Self { id: drawn()?, threshold: 0, custodians: Vec::new() })
    }

    /// TEST without custodians, LIVE with them.
    pub(super) fn realm(&self) -> Realm {
        if self.custodians.is_empty() { Realm::Test } else { Realm::Live }
    }

    /// How many open it.
    pub(super) fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Their names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.custodians.iter().map(|custodian| custodian.name.as_str())
    }

    /// Who opens it, for the note of an act, which has no room for many long names.
    pub(super) fn note(&self) -> String {
        let whole = self.to_string();
        if whole.len() <= NOTE_MAX {
            whole
        } else {
            format!("{} of {}", self.threshold, self.custodians.len())
        }
    }

    pub(super) fn read(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        let id = fields.array()?;
        let [threshold, count] = fields.array()?;
        let mut custodians: Vec<Custodian> = Vec::new();
        for _ in 0..count {
            let name = String::from_utf8(fields.l1()?.bytes.to_vec()).map_err(|_| FormatFault::Changed)?;
            let (salt, share, tag) = (fields.array()?, fields.array()?, fields.array()?);
            custodians.push(Custodian { name, salt, share, tag });
        }
        let custody = Self { id, threshold, custodians };
        let names: Vec<_> = custody.names().collect();
        if (threshold, count) == (0, 0) || fault_of(&names, threshold).is_none() {
            Ok(custody)
        } else {
            Err(FormatFault::Changed)
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&[self.threshold, u8::try_from(self.custodians.len()).ok()?]);
        for Custodian { name, salt, share, tag } in &self.custodians {
            out.push(u8::try_from(name.len()).ok()?);
            for part in [name.as_bytes(), salt, share, tag] {
                out.extend_from_slice(part);
            }
        }
        Some(())
    }

    /// Opens a custodian's share, with its number; `None` if nobody has this name, or by a wrong passphrase. Fails if there
    /// is no memory for it.
    pub(super) fn open(
        &self,
        store: &[u8; 16],
        name: &str,
        passphrase: &[u8],
    ) -> Result<Option<(u8, KeyShare)>, Failure> {
        let Some((number, custodian)) = (1..).zip(&self.custodians).find(|(_, one)| one.name == name) else {
            return Ok(None);
        };
        let key = stretched(passphrase, &custodian.salt)?;
        Ok(self.share(store, number, custodian, &key).map(|share| (number, share)))
    }

    fn share(&self, store: &[u8; 16], number: u8, custodian: &Custodian, key: &[u8; 32]) -> Option<KeyShare> {
        let mut share = Zeroizing::new(custodian.share);
        let cipher = cipher(key)?;
        let bound = self.bound(store, number, &custodian.name)?;
        let place = InOutBuf::from(share.as_mut_slice());
        cipher.decrypt_inout_detached(&[0; 12].into(), &bound, place, &custodian.tag.into()).ok()?;
        Some(share)
    }

    /// The master key, of exactly as many shares as are needed.
    pub(super) fn master(&self, shares: &[(u8, KeyShare)]) -> Option<SealKey> {
        if shares.len() != usize::from(self.threshold) {
            return None;
        }
        let points: Vec<_> = shares.iter().map(|(number, share)| (*number, &**share)).collect();
        sharing::value_at(0, &points).map(|master| SealKey::of(&master))
    }

    /// What a share belongs to.
    fn bound(&self, store: &[u8; 16], number: u8, name: &str) -> Option<Vec<u8>> {
        let count = u8::try_from(self.custodians.len()).ok()?;
        let length = u8::try_from(name.len()).ok()?;
        let counts = [self.threshold, count, number, length];
        Some([SHARE, store, &self.id, &counts, name.as_bytes()].concat())
    }
}

/// `2 of anna, ben, carla`
impl fmt::Display for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().collect();
        write!(f, "{} of {}", self.threshold, names.join(", "))
    }
}

/// The custodians that a store is to have, while they choose their passphrases one after the other.
pub struct NewCustodians {
    threshold: u8,
    names: Vec<String>,
    /// Salt and key of those who have chosen.
    chosen: Vec<([u8; SALT], Zeroizing<[u8; 32]>)>,
}

impl NewCustodians {
    /// These people, of whom so many open the store.
    pub fn new(names: &[String], threshold: u8) -> Result<Self, Failure> {
        let words: Vec<_> = names.iter().map(String::as_str).collect();
        match fault_of(&words, threshold) {
            Some(fault) => Err(Failure::new(Exit::Usage, format!("operator: {fault}"))),
            None => Ok(Self { threshold, names: names.to_vec(), chosen: Vec::with_capacity(names.len()) }),
        }
    }

    /// How many open the store.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Their names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Who chooses next; `None` after the last one.
    pub fn next(&self) -> Option<&str> {
        self.names.get(self.chosen.len()).map(String::as_str)
    }

    /// Takes the passphrase of who is next, or says why it is none.
    pub fn choose(&mut self, passphrase: &[u8]) -> Result<(), String> {
        check_passphrase(passphrase)?;
        let salt = drawn().map_err(|_| "the system gives no random numbers")?;
        let key = stretched(passphrase, &salt).map_err(|failure| failure.message)?;
        self.chosen.push((salt, key));
        Ok(())
    }

    /// Shares a master key among them; `None` unless each has chosen, or if the system gives no random numbers.
    pub(super) fn custody(&self, store: &[u8; 16], master: &SealKey) -> Option<Custody> {
        if self.next().is_some() {
            return None;
        }
        let mut coefficients = Vec::with_capacity(self.names.len());
        for _ in 1..self.threshold {
            let mut coefficient = Zeroizing::new([0; SealKey::LENGTH]);
            getrandom::fill(&mut *coefficient).ok()?;
            coefficients.push(coefficient);
        }
        // A share comes when it can be sealed at once.
        let unshared = |(name, (salt, _)): (&String, &(_, _))| Custodian {
            name: name.clone(),
            salt: *salt,
            share: [0; SealKey::LENGTH],
            tag: [0; TAG],
        };
        let custodians = self.names.iter().zip(&self.chosen).map(unshared).collect();
        let mut custody = Custody { id: drawn().ok()?, threshold: self.threshold, custodians };
        for (number, (_, key)) in (1..).zip(&self.chosen) {
            let at = usize::from(number) - 1;
            let bound = custody.bound(store, number, &custody.custodians.get(at)?.name)?;
            let custodian = custody.custodians.get_mut(at)?;
            custodian.share.copy_from_slice(&*sharing::share(master.expose(), &coefficients, number));
            let place = InOutBuf::from(custodian.share.as_mut_slice());
            custodian.tag = cipher(key)?.encrypt_inout_detached(&[0; 12].into(), &bound, place).ok()?.into();
        }
        Some(custody)
    }
}

fn drawn<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The key of a share.
fn stretched(passphrase: &[u8], salt: &[u8; SALT]) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut key = Zeroizing::new([0; 32]);
    let done = Params::new(MEMORY, PASSES, LANES, Some(32)).and_then(|parameters| {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(passphrase, salt, &mut *key)
    });
    match done {
        Ok(()) => Ok(key),
        Err(error) => {
            let what = format!("a passphrase cannot be worked on ({error}): it takes 64 MiB of memory");
            Err(Failure::new(Exit::Io, format!("us: {what}")))
        }
    }
}

fn cipher(key: &[u8; 32]) -> Option<Aes256Gcm> {
    Aes256Gcm::new_from_slice(key).ok()
}

/// Why these cannot be the custodians of a store.
fn fault_of(names: &[&str], threshold: u8) -> Option<String> {
    if !(2..=CUSTODIANS_MAX).contains(&names.len()) {
        return Some(format!("a LIVE store has 2 to {CUSTODIANS_MAX} custodians, not {}", names.len()));
    }
    if threshold < 2 || usize::from(threshold) > names.len() {
        return Some(format!(
            "2 or more of the {} custodians open the store, but no more than there are; {threshold} is wrong",
            names.len()
        ));
    }
    let twice = |at: usize, name: &&str| names.iter().take(at).any(|earlier| earlier == name);
    names.iter().enumerate().find_map(|(at, name)| match name {
        _ if !is_name(name) => Some(format!(
            "custodian {}: a name has 1 to {NAME_MAX} of a-z 0-9 . _ -, a letter first, and is not {}",
            at + 1,
            NO_NAMES.join(" or ")
        )),
        _ if twice(at, name) => Some(format!("custodian {}: {name} is named twice", at + 1)),
        _ => None,
    })
}

/// Whether a custodian may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(rest)
        && name.len() <= NAME_MAX
        && !NO_NAMES.contains(&name)
}

/// Refuses what is no good passphrase, or cannot be typed alike on every keyboard.
fn check_passphrase(passphrase: &[u8]) -> Result<(), String> {
    if passphrase.iter().any(|byte| !(0x20..0x7F).contains(byte)) {
        return Err(
            "a passphrase has only the letters, digits and signs of ASCII: keyboards differ in others".into(),
        );
    }
    if !PASSPHRASE.contains(&passphrase.len()) {
        return Err(format!(
            "a passphrase has {} to {} characters, and this one has {}",
            PASSPHRASE.start(),
            PASSPHRASE.end(),
            passphrase.len()
        ));
    }
    if passphrase.first() == Some(&b' ') || passphrase.last() == Some(&b' ') {
        return Err("a passphrase has no blank at its beginning or end".into());
    }
    let mut seen = Zeroizing::new([false; 256]);
    for byte in passphrase {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    if seen.iter().filter(|seen| **seen).count() < DIFFERENT {
        return Err(format!("a passphrase has at least {DIFFERENT} different characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};

    use super::*;

    /// RFC 9106, 5.3.
    #[test]
    fn argon2id_is_that_of_rfc_9106() {
        let parameters = ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let secret = [3; 8];
        let argon2 =
            Argon2::new_with_secret(&secret, Algorithm::Argon2id, Version::V0x13, parameters).unwrap();
        let mut tag = [0; 32];
        argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
        assert_eq!(hex::encode(tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    #[test]
    fn a_passphrase_that_is_weak_or_differs_by_keyboard_is_refused() {
        for good in ["correct horse battery staple", "0123456789abcdef", &"0123456789".repeat(20)[..128]] {
            assert_eq!(check_passphrase(good.as_bytes()), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "16 to 128 characters, and this one has 0"),
            ("0123456789abcde", "has 15"),
            (&"0123456789".repeat(20)[..129], "has 129"),
            (" 123456789abcdefg", "no blank"),
            ("123456789abcdefg ", "no blank"),
            ("abababababababababab", "8 different"),
            ("gr\u{fc}n und blau und rot", "ASCII"),
            ("tab\tis no character here", "ASCII"),
        ] {
            let said = check_passphrase(bad.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    fn people(names: &[&str], threshold: u8) -> Result<NewCustodians, Failure> {
        NewCustodians::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), threshold)
    }

    #[test]
    fn who_cannot_be_a_custodian_is_named() {
        let many = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        for (names, threshold, why) in [
            (&["anna"][..], 2, "2 to 9 custodians"),
            (&many, 2, "2 to 9 custodians"),
            (&["anna", "ben"], 1, "1 is wrong"),
            (&["anna", "ben"], 0, "0 is wrong"),
            (&["anna", "ben"], 3, "3 is wrong"),
            (&["anna", "anna"], 2, "named twice"),
            (&["anna", "Ben"], 2, "a letter first"),
            (&["anna", "1ben"], 2, "a letter first"),
            (&["anna", ""], 2, "a letter first"),
            (&["anna", "line"], 2, "line or signal"),
            (&["anna", "abcdefghijabcdefghijabcdefghijabc"], 2, "1 to 32"),
        ] {
            let failure = people(names, threshold).err().unwrap();
            assert!(failure.exit == Exit::Usage && failure.message.contains(why), "{failure}");
        }
        people(&many[..9], 9).unwrap();
    }

    /// Each thing that a share is bound to.
    #[test]
    fn a_share_of_another_store_custody_place_or_name_does_not_fit() {
        let master = SealKey::of(&[7; 32]);
        let mut new = people(&["anna", "ben", "carla"], 2).unwrap();
        while let Some(name) = new.next().map(str::to_owned) {
            assert!(new.custody(&[1; 16], &master).is_none(), "not all have chosen");
            new.choose(format!("six words of {name} by dice").as_bytes()).unwrap();
        }
        let custody = || new.custody(&[1; 16], &master).unwrap();
        let anna = b"six words of anna by dice";
        let good = custody();
        let (one, first) = good.open(&[1; 16], "anna", anna).unwrap().unwrap();
        let (two, second) = good.open(&[1; 16], "ben", b"six words of ben by dice").unwrap().unwrap();
        assert_eq!((one, two), (1, 2));
        let shares = [(one, first), (two, second)];
        assert_eq!(good.master(&shares).unwrap().expose(), master.expose());
        assert!(good.master(&shares[..1]).is_none());
        assert!(good.open(&[2; 16], "anna", anna).unwrap().is_none(), "another store");
        assert!(good.open(&[1; 16], "anna", b"six words of anna by dic").unwrap().is_none());
        assert!(good.open(&[1; 16], "dora", anna).unwrap().is_none());
        let changed = |change: &dyn Fn(&mut Custody)| {
            let mut custody = custody();
            change(&mut custody);
            ["anna", "dora"].iter().all(|name| custody.open(&[1; 16], name, anna).unwrap().is_none())
        };
        assert!(changed(&|custody| custody.id[0] ^= 1), "another custody");
        assert!(changed(&|custody| custody.threshold = 3));
        assert!(changed(&|custody| drop(custody.custodians.pop())));
        assert!(changed(&|custody| custody.custodians.swap(0, 1)), "another place");
        assert!(changed(&|custody| custody.custodians[0].name = "dora".into()));
        assert!(changed(&|custody| custody.custodians[0].salt[0] ^= 1));
        assert!(changed(&|custody| custody.custodians[0].share[0] ^= 1));
        assert!(changed(&|custody| custody.custodians[0].tag[0] ^= 1));
    }
}
