//! The token of a host: its keys, which are checked at start, and a session for each connection.
//!
//! ```text
//! open ──> find the token, log in, probe, find the keys ──> TokenHome
//! link ──> TokenLink of a connection ──> TokenKey
//! ```
//!
//! After a call failed, the connection's session is not used again: the request is asked once more (`soft`), in another session, and
//! logs in again if the token has lost the login. If the token refuses the PIN then, the PIN is not tried again, because a token locks it after
//! some wrong tries. Not here: what keys do (`keys`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeType};
use cryptoki::types::Ulong;

use super::keys::ecb;
use super::plan::{KeyKinds, TokenPart, TokenPlan};
use super::probe::probe;
use super::token::{CallRefused, Token, TokenDevice, TokenFault, TokenObject};
use super::{TokenKey, TokenPin};
use crate::crypto::KeyType;
use crate::ids::Kcv;
use crate::scp::TokenKeyFault;

/// How long the end of a failed session is waited for, where the token has room for no other, and how long between two looks.
const FREED_WITHIN: Duration = Duration::from_secs(2);
const FREED_PAUSE: Duration = Duration::from_millis(10);

/// A key of the store whose value lies in a token.
#[derive(Debug, Clone)]
pub struct TokenKeyTerms {
    /// The store's label of it.
    pub label: String,
    /// The label of the object in the token.
    pub object: String,
    /// Cipher and length.
    pub key_type: KeyType,
    /// Its check value: DES or AES-GP.
    pub kcv: Kcv,
    /// Whether it is a KMC; else it is a KEK.
    pub is_kmc: bool,
}

/// A token with the keys of a store.
pub struct TokenHome {
    device: Arc<TokenDevice>,
    pin: Option<TokenPin>,
    plan: TokenPlan,
    terms: Vec<TokenKeyTerms>,
    /// This session keeps the login while connections come and go. It also serves a connection for which the token has no more
    /// sessions; `None` after it failed, until the next one is open.
    first: Mutex<Option<Arc<OpenKeys>>>,
    /// The PIN was refused once it had been right.
    pin_refused: AtomicBool,
}

/// A session with the keys that were found in it.
pub(super) struct OpenKeys {
    pub(super) token: Token,
    pub(super) plan: TokenPlan,
    objects: Vec<(String, KeyType, TokenObject)>,
    label: String,
    failed: AtomicBool,
}

impl OpenKeys {
    /// The fault of a call. The session is not used for another request.
    pub(super) fn fault(&self, refused: &CallRefused) -> TokenKeyFault {
        self.failed.store(true, Ordering::SeqCst);
        TokenKeyFault(format!("token {}: {refused}", self.label))
    }

    /// A key by its place.
    pub(super) fn key(&self, place: usize) -> Result<(KeyType, &TokenObject), TokenKeyFault> {
        let key = self.objects.get(place).map(|(_, key_type, object)| (*key_type, object));
        key.ok_or_else(|| TokenKeyFault(format!("token {}: us: no key {place}", self.label)))
    }

    fn is_good(&self) -> bool {
        !self.failed.load(Ordering::SeqCst)
    }
}

impl TokenHome {
    /// Logs in to a token, finds out what it does, and looks for its keys.
    pub fn open(
        device: Arc<TokenDevice>,
        pin: Option<TokenPin>,
        terms: Vec<TokenKeyTerms>,
    ) -> Result<Self, TokenFault> {
        let pin = pin.filter(|_| !device.has_keyboard());
        let token = Token::login(&device, pin.as_ref().map(TokenPin::text))?;
        let kinds = terms.iter().fold(KeyKinds::default(), |kinds, key| {
            if key.is_kmc { KeyKinds { kmc: true, ..kinds } } else { kinds.with_kek(key.key_type) }
        });
        let plan = TokenPlan::of(&probe(&token), kinds)?;
        let first = Mutex::new(Some(Arc::new(find_keys(token, &plan, &terms, device.label())?)));
        Ok(Self { device, pin, plan, terms, first, pin_refused: AtomicBool::new(false) })
    }

    /// Refuses steps on the host, unless they are allowed.
    pub fn check(&self, host_crypto: bool) -> Result<(), TokenFault> {
        self.plan.check(self.device.label(), host_crypto)
    }

    /// What it does, for people.
    pub fn part(&self) -> TokenPart {
        self.plan.part(self.device.label())
    }

    /// The access of one more connection.
    pub fn link(self: &Arc<Self>) -> TokenLink {
        TokenLink { home: Arc::clone(self), keys: Mutex::new(None) }
    }

    fn first(&self) -> MutexGuard<'_, Option<Arc<OpenKeys>>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session with its keys.
    fn open_keys(&self) -> Result<Arc<OpenKeys>, TokenFault> {
        if self.pin_refused.load(Ordering::SeqCst) {
            return Err(TokenFault::Pin(self.device.label().to_owned()));
        }
        let token = Token::login(&self.device, self.pin.as_ref().map(TokenPin::text));
        let token = token.inspect_err(|fault| {
            if matches!(fault, TokenFault::Pin(_) | TokenFault::PinLocked(_)) {
                self.pin_refused.store(true, Ordering::SeqCst);
            }
        })?;
        Ok(Arc::new(find_keys(token, &self.plan, &self.terms, self.device.label())?))
    }

    /// A new session. Calls that are under way may still hold the one that failed: they end soon.
    fn open_when_free(&self) -> Result<Arc<OpenKeys>, TokenFault> {
        let until = Instant::now() + FREED_WITHIN;
        loop {
            match self.open_keys() {
                Err(TokenFault::Call(_, refused)) if refused.is_session_limit() && Instant::now() < until => {
                    std::thread::sleep(FREED_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    /// The keys in a session for one connection: its own, or, if the token has no more sessions, the one that all share.
    fn keys(&self) -> Result<LinkKeys, TokenFault> {
        let mut first = self.first();
        // Ended before another is opened: a token with a limit may have room for one alone.
        let good = first.take().filter(|first| first.is_good());
        let shared = first.insert(match good {
            Some(good) => good,
            None => self.open_when_free()?,
        });
        match self.open_keys() {
            Err(TokenFault::Call(_, refused)) if refused.is_session_limit() => {
                Ok(LinkKeys::Shared(Arc::clone(shared)))
            }
            opened => Ok(LinkKeys::Own(opened?)),
        }
    }
}

/// The keys that a connection works with.
enum LinkKeys {
    Own(Arc<OpenKeys>),
    Shared(Arc<OpenKeys>),
}

/// The access of one connection to a token.
pub struct TokenLink {
    home: Arc<TokenHome>,
    /// Its own session. A shared one is not kept here: nothing of it may stay open after it failed.
    keys: Mutex<Option<Arc<OpenKeys>>>,
}

impl TokenLink {
    /// The key with this label in the token.
    pub fn key(&self, object: &str) -> Result<TokenKey, TokenKeyFault> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match keys.take().filter(|keys| keys.is_good()) {
            Some(own) => LinkKeys::Own(own),
            None => self.home.keys().map_err(|fault| TokenKeyFault(fault.to_string()))?,
        };
        let open = match open {
            LinkKeys::Own(own) => Arc::clone(keys.insert(own)),
            LinkKeys::Shared(shared) => shared,
        };
        let place = open.objects.iter().position(|(label, ..)| label == object);
        let place = place.ok_or_else(|| TokenKeyFault(format!("us: {object:?} was not looked for")))?;
        Ok(TokenKey::new(open, place))
    }

    /// What the token does, for people.
    pub fn part(&self) -> TokenPart {
        self.home.part()
    }
}

/// Finds every key, and checks each.
fn find_keys(
    token: Token,
    plan: &TokenPlan,
    terms: &[TokenKeyTerms],
    label: &str,
) -> Result<OpenKeys, TokenFault> {
    let mut objects = Vec::with_capacity(terms.len());
    for key in terms {
        let wrong = |what: &str| {
            TokenFault::Key(label.to_owned(), key.object.clone(), key.label.clone(), what.to_owned())
        };
        let refused = |refused| TokenFault::Call(label.to_owned(), refused);
        let mut found = token.secret_keys_named(&key.object).map_err(refused)?;
        let (Some(object), true) = (found.pop(), found.is_empty()) else {
            return Err(wrong(
                "there must be one secret key of this label, and there is none or there are several",
            ));
        };
        check_attributes(&token, &object, key).map_err(wrong)?;
        let block: &[u8] = match key.key_type {
            KeyType::Tdes2 => &[0; 8],
            KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => &[1; 16],
        };
        let encrypted = token.encrypt(&object, &ecb(key.key_type), block).map_err(refused)?;
        if !encrypted.starts_with(&key.kcv.0) {
            return Err(wrong(
                "its KCV is not the one of the key store: make the store again with the right KCV (AES: by AES-GP), or correct the object",
            ));
        }
        objects.push((key.object.clone(), key.key_type, object));
    }
    let failed = AtomicBool::new(false);
    Ok(OpenKeys { token, plan: plan.clone(), objects, label: label.to_owned(), failed })
}

/// Checks that an object is a key of this kind which never leaves its token.
fn check_attributes(token: &Token, object: &TokenObject, key: &TokenKeyTerms) -> Result<(), &'static str> {
    use cryptoki::object::KeyType as TokenKeyType;

    let has = |wanted: Attribute| {
        let kind = wanted.attribute_type();
        // A token refuses to show what an object does not have.
        token.attributes(object, &[kind]).is_ok_and(|shown| shown.contains(&wanted))
    };
    if !has(Attribute::Sensitive(true)) || !has(Attribute::Extractable(false)) {
        return Err(
            "it could leave the token: it must be CKA_SENSITIVE, and not CKA_EXTRACTABLE; make it anew",
        );
    }
    let is_kind = match key.key_type {
        KeyType::Tdes2 => has(Attribute::KeyType(TokenKeyType::DES2)),
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => {
            // Some tokens do not show it (openCryptoki): the check value shows another length too.
            let shown = token.attributes(object, &[AttributeType::ValueLen]).unwrap_or_default();
            let wrong = |length: &Ulong| {
                let length = usize::try_from(**length).unwrap_or(usize::MAX);
                length != 0 && length != key.key_type.length()
            };
            has(Attribute::KeyType(TokenKeyType::AES))
                && !shown.iter().any(|shown| matches!(shown, Attribute::ValueLen(length) if wrong(length)))
        }
    };
    if !is_kind {
        return Err("its type or length is not the one in the key store: correct the object or the key list");
    }
    if !has(Attribute::Encrypt(true)) || !has(Attribute::Derive(true)) {
        return Err("it must have CKA_ENCRYPT, for its check value, and CKA_DERIVE");
    }
    Ok(())
}
