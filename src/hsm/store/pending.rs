//! Keys that still lack components: the terms that were stated before the first component, and the components so far.
//!
//! A component is as long as its key, and the key is the XOR of all. Each component comes from a different custodian, with the
//! check value that its sender states. The check value of the whole key is stated before the first component, so that the person
//! who gives the last one cannot choose the key.
//!
//! Not here: rules of the whole key (`rules`), writing it (`change`).

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::body::{BodyWriter, METHODS, code_of, coded, kcv, several, text};
use super::custodians::is_name;
use super::doubt;
use super::entry::KeyTerms;
use super::header::FormatFault;
use super::rules::{canonical, cipher_key, method_of};
use crate::crypto::KcvMethod;
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::ids::Kcv;
use crate::record::cursor::FieldCursor;

/// How many components a key may have.
const COMPONENTS: std::ops::RangeInclusive<u8> = 2..=3;

/// A key of which components are missing. It has no `Debug`.
pub struct PendingKey {
    pub(super) terms: KeyTerms,
    /// Method of the whole key's check value. For an AES key it is known only when the key is whole.
    method: Option<KcvMethod>,
    kcv: Kcv,
    wanted: u8,
    pub(super) components: Vec<KeyComponent>,
}

/// A component whose length and check value are right. It has no `Debug`.
pub struct KeyComponent {
    pub(super) by: String,
    value: Zeroizing<Vec<u8>>,
    pub(super) kcv: (KcvMethod, Kcv),
    time: u64,
}

/// Refuses a number of components that no key has.
pub(super) fn check_number(wanted: u8) -> Result<(), Failure> {
    if COMPONENTS.contains(&wanted) {
        return Ok(());
    }
    Err(operator(format!("a key has 2 or 3 components, not {wanted}")))
}

impl PendingKey {
    /// A key before its first component. `stated` is the check value of the whole key.
    pub(super) fn new(terms: KeyTerms, stated: Kcv, wanted: u8) -> Result<Self, Failure> {
        check_number(wanted)?;
        let method = terms.key_type.only_method();
        Ok(Self { terms, method, kcv: stated, wanted, components: Vec::with_capacity(wanted.into()) })
    }

    /// What was said of the key.
    pub fn terms(&self) -> &KeyTerms {
        &self.terms
    }

    /// The check value that was stated of the whole key, with its method if that is known before the key.
    pub fn stated(&self) -> (Option<KcvMethod>, Kcv) {
        (self.method, self.kcv)
    }

    /// How many components it has.
    pub fn wanted(&self) -> u8 {
        self.wanted
    }

    /// Number of the component that is given next.
    pub fn next(&self) -> u8 {
        u8::try_from(self.components.len()).unwrap_or(u8::MAX).saturating_add(1)
    }

    /// Who gave the components so far, in their order.
    pub fn given_by(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|component| component.by.as_str())
    }

    /// Refuses a custodian who gave a component.
    pub fn check_giver(&self, name: &str) -> Result<(), Failure> {
        match (1..).zip(self.given_by()).find(|(_, by)| *by == name) {
            Some((number, _)) => {
                Err(operator(format!("{name} gave component {number}; another custodian must give this one")))
            }
            None => Ok(()),
        }
    }

    /// Checks the component that the next custodian typed, and takes it.
    pub(super) fn component(
        &self,
        by: &str,
        value: Zeroizing<Vec<u8>>,
        stated: Kcv,
        (realm, time): (Realm, u64),
    ) -> Result<KeyComponent, Failure> {
        self.check_giver(by)?;
        let (number, key_type) = (self.next(), self.terms.key_type);
        let kept = canonical(key_type, &value);
        let key = cipher_key(key_type, &kept).map_err(operator)?;
        for (other, component) in (1..).zip(&self.components) {
            if bool::from(canonical(key_type, &component.value).ct_eq(&kept)) {
                let what = format!("component {number} equals component {other}: ask the partner");
                return Err(Failure::new(Exit::Custody, format!("key: {what}")));
            }
        }
        if let Some(doubt) = doubt::about(key_type, &kept).filter(|_| realm == Realm::Live) {
            let what = format!("component {number}: {doubt}: a LIVE store refuses it; ask the partner");
            return Err(Failure::new(Exit::Custody, format!("key: {what}")));
        }
        let method = method_of(&key, stated).map_err(|other| {
            let methods: Vec<_> = key.kcvs().iter().map(|(method, _)| method.to_string()).collect();
            let what = other.map_or_else(
                || {
                    format!(
                        "the KCV does not fit component {number} ({}): look for a slip, or ask the partner",
                        methods.join(", ")
                    )
                },
                |other| {
                    format!(
                        "the KCV of component {number} is right by another method ({other}); ask for DES (TDES), AES-GP or \
                         AES-CMAC"
                    )
                },
            );
            Failure::new(Exit::KeyMismatch, format!("key: {what}"))
        })?;
        Ok(KeyComponent { by: by.to_owned(), value, kcv: (method, stated), time })
    }

    /// The XOR of all components, if this is the last one.
    pub(super) fn whole(&self, last: &KeyComponent) -> Option<Zeroizing<Vec<u8>>> {
        if self.next() != self.wanted {
            return None;
        }
        let mut sum = last.value.clone();
        for component in &self.components {
            for (byte, other) in sum.iter_mut().zip(component.value.iter()) {
                *byte ^= other;
            }
        }
        Some(sum)
    }

    pub(super) fn read(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        let mut terms = KeyTerms::read_name(fields)?;
        terms.read_rules(fields)?;
        let method = match fields.u8()? {
            0 => None,
            code => Some(coded(&METHODS, code)?),
        };
        let (kcv, wanted) = (Kcv(fields.array()?), fields.u8()?);
        let components = several(fields.u8()?.into(), || KeyComponent::read(fields))?;
        let key = Self { terms, method, kcv, wanted, components };
        let names: Vec<_> = key.given_by().collect();
        let twice = (1..).zip(&names).any(|(next, name)| names.iter().skip(next).any(|other| other == name));
        let length = key.terms.key_type.length();
        let sound = COMPONENTS.contains(&wanted)
            && (2..=wanted).contains(&key.next())
            && !twice
            && names.iter().all(|name| is_name(name))
            && key.components.iter().all(|component| component.value.len() == length);
        if sound { Ok(key) } else { Err(FormatFault::Changed) }
    }

    pub(super) fn write(&self, out: &mut BodyWriter) -> Option<()> {
        self.terms.write_name(out)?;
        self.terms.write_rules(out)?;
        out.bytes(&[self.method.map_or(0, |method| code_of(&METHODS, method))]);
        out.bytes(&self.kcv.0);
        out.bytes(&[self.wanted, u8::try_from(self.components.len()).ok()?]);
        self.components.iter().try_for_each(|component| component.write(out))
    }

    /// Most bytes that it takes in a body.
    pub(super) fn room(&self) -> usize {
        self.terms.room() + 128 * self.components.len()
    }
}

impl KeyComponent {
    fn read(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        Ok(Self {
            by: text(fields)?,
            value: Zeroizing::new(fields.l1()?.bytes.to_vec()),
            kcv: kcv(fields)?,
            time: fields.u64()?,
        })
    }

    fn write(&self, out: &mut BodyWriter) -> Option<()> {
        out.l1(self.by.as_bytes())?;
        out.l1(&self.value)?;
        out.kcv(self.kcv.0, self.kcv.1);
        out.bytes(&self.time.to_be_bytes());
        Some(())
    }
}

fn operator(what: String) -> Failure {
    Failure::new(Exit::Custody, format!("operator: {what}"))
}
