//! Puts the KMCs and KEKs of a TEST key list into a PKCS#11 token, as a ceremony at an HSM would. Returns a list in which each of
//! them names its object in place of its value.
//!
//! The objects are secret keys with the list's labels, sensitive and not extractable. Not here: tokens that work (`cardwright`,
//! which shares no code with this).

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use toml::{Table, Value};
use zeroize::Zeroizing;

/// How objects that are made differ from good ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectFaults {
    /// They may leave the token.
    pub extractable: bool,
    /// There are two of each label.
    pub twice: bool,
}

/// A logged-in session with a token, which its label or slot names.
pub struct KeyLoader {
    session: Session,
}

impl KeyLoader {
    /// Logs in.
    pub fn open(module: &Path, (label, number): (Option<&str>, Option<u64>), pin: &str) -> Result<Self> {
        let pkcs11 = Pkcs11::new(module).context("the module")?;
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let slots = pkcs11.get_slots_with_token()?;
        let fits = |slot: &&cryptoki::slot::Slot| {
            number == Some(slot.id())
                || pkcs11.get_token_info(**slot).is_ok_and(|info| Some(info.label().trim()) == label)
        };
        let slot = slots.iter().find(fits).context("the module has no such token")?;
        let session = pkcs11.open_rw_session(*slot)?;
        session.login(UserType::User, Some(&AuthPin::new(pin.into())))?;
        Ok(Self { session })
    }

    /// Makes the objects of a key list, and returns the list that names them.
    pub fn load(&self, list: &str, faults: ObjectFaults) -> Result<String> {
        let mut list: Table = list.parse()?;
        let keys = list.get_mut("key").and_then(Value::as_array_mut).context("the list holds no [[key]]")?;
        for key in keys {
            let key = key.as_table_mut().context("a [[key]] is no table")?;
            if matches!(text(key, "usage")?, "KMC" | "KEK") {
                let kcv = self.make(key, faults)?;
                let label = text(key, "label")?.to_owned();
                key.remove("value");
                key.insert("token".into(), Value::String(label));
                key.insert("kcv".into(), Value::String(kcv));
            }
        }
        Ok(toml::to_string(&list)?)
    }

    /// Makes one object, and returns its check value.
    fn make(&self, key: &Table, faults: ObjectFaults) -> Result<String> {
        let value = Zeroizing::new(hex::decode(text(key, "value")?)?);
        let (kind, how, block) = match text(key, "type")? {
            "TDES2" => (KeyType::DES2, Mechanism::Des3Ecb, vec![0; 8]),
            "AES128" | "AES256" => (KeyType::AES, Mechanism::AesEcb, vec![1; 16]),
            other => bail!("no object is made of type {other}"),
        };
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(kind),
            Attribute::Label(text(key, "label")?.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(faults.extractable),
            Attribute::Encrypt(true),
            Attribute::Derive(true),
            Attribute::Value(value.to_vec()),
        ];
        let object = self.session.create_object(&template)?;
        if faults.twice {
            self.session.create_object(&template)?;
        }
        let encrypted = self.session.encrypt(&how, object, &block)?;
        ensure!(encrypted.len() >= 3, "the token encrypts to nothing");
        Ok(hex::encode_upper(encrypted.iter().take(3).copied().collect::<Vec<_>>()))
    }
}

fn text<'k>(key: &'k Table, name: &str) -> Result<&'k str> {
    key.get(name).and_then(Value::as_str).with_context(|| format!("a [[key]] has no {name}"))
}
