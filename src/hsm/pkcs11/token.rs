//! A token: its module, its label or slot, and sessions with it. Objects that are made here are session objects, and
//! are destroyed when dropped: some tokens keep thousands that are forgotten, and slow down.

use std::ffi::c_ulong;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::misc::KeyDerivationStringData;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::printable::one_line;

/// CKM_DES3_ECB_ENCRYPT_DATA of PKCS #11.
const DES3_ECB_DERIVE: c_ulong = 0x1102;
/// CKM_DES3_CBC_ENCRYPT_DATA of PKCS #11.
const DES3_CBC_DERIVE: c_ulong = 0x1103;
/// CKM_AES_ECB_ENCRYPT_DATA of PKCS #11.
const AES_ECB_DERIVE: c_ulong = 0x1104;

/// Why a token cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    /// The module cannot be loaded or started.
    #[error(
        "device: the PKCS#11 module {0} cannot be used: {1}: look for its path, and for the service that it needs"
    )]
    Module(String, String),
    /// No token, or not the one that was meant.
    #[error(
        "operator: the module has no token {0}; it has: {1}: name one of them, or find out why the token is not there"
    )]
    NoToken(String, String),
    /// Several tokens may be meant.
    #[error("operator: the module has several such tokens: {0}: name one by its slot")]
    Several(String),
    /// The PIN is wrong.
    #[error(
        "operator: the token {0} refuses the PIN: after some wrong ones it locks itself; look for the right one"
    )]
    Pin(String),
    /// The PIN is locked.
    #[error("operator: the PIN of token {0} is locked: its security officer sets a new one")]
    PinLocked(String),
    /// A call that must succeed did not.
    #[error("device: token {0}: {1}: look at the token, then try again")]
    Call(String, CallRefused),
    /// A key of the store is not in the token as it must be.
    #[error("key: token {0}, object {1:?} (key {2:?} of the store): {3}")]
    Key(String, String, String, String),
    /// Steps that neither the token nor the host can do.
    #[error(
        "device: token {0} cannot make cards: neither it nor the host can do these steps: {1}: use another token"
    )]
    Refuses(String, String),
    /// Steps on the host that nobody allowed.
    #[error(
        "profile: token {0} leaves steps to the host, so that keys of cards or clear secrets come into its memory: {1}: use \
         another token, or accept that by host_crypto = \"allowed\" in the table [hsm] of the line profile"
    )]
    HostCrypto(String, String),
}

impl From<TokenFault> for Failure {
    fn from(fault: TokenFault) -> Self {
        Self::new(Exit::Hsm, fault.to_string())
    }
}

/// A call that the token refused: the PKCS#11 function and its return code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRefused {
    function: String,
    code: String,
}

impl CallRefused {
    fn of(error: &Error) -> Self {
        match error {
            Error::Pkcs11(code, function) => {
                Self { function: format!("C_{function:?}"), code: format!("{code:?}") }
            }
            other => Self { function: "its library".into(), code: one_line(&other.to_string()).into_owned() },
        }
    }
}

impl CallRefused {
    /// Whether the token has no more sessions.
    pub(super) fn is_session_limit(&self) -> bool {
        self.code == format!("{:?}", RvError::SessionCount)
    }
}

impl fmt::Display for CallRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.function, self.code)
    }
}

/// The result of a call to a token.
pub(super) type Called<T> = Result<T, CallRefused>;

/// Which token of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenChoice {
    /// Its only one.
    Only,
    /// The one with this label.
    Label(String),
    /// The one in this slot.
    Slot(u64),
}

impl TokenChoice {
    /// By a label, else by a slot, else the only one.
    pub fn of(label: Option<String>, slot: Option<u64>) -> Self {
        match (label, slot) {
            (Some(label), _) => Self::Label(label),
            (None, Some(slot)) => Self::Slot(slot),
            (None, None) => Self::Only,
        }
    }
}

/// A token of a module that is started.
pub struct TokenDevice {
    module: LoadedModule,
    slot: Slot,
    label: String,
    maker: String,
    has_keyboard: bool,
}

impl TokenDevice {
    /// Loads a module and finds the token.
    pub fn find(module: &Path, choice: &TokenChoice) -> Result<Self, TokenFault> {
        let unusable = |error: Error| {
            let why = CallRefused::of(&error).to_string();
            TokenFault::Module(module.display().to_string(), why)
        };
        let pkcs11 = Pkcs11::new(module).map_err(unusable)?;
        let started = LoadedModule(pkcs11.clone());
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(unusable)?;
        let slots = pkcs11.get_slots_with_token().map_err(unusable)?;
        let found = slots.into_iter().filter_map(|slot| FoundToken::in_slot(&pkcs11, slot)).collect();
        let FoundToken { slot, label, maker, has_keyboard } = choose(choice, found)?;
        Ok(Self { module: started, slot, label, maker, has_keyboard })
    }

    /// Whether its PIN is typed on it, and not given to it by a program.
    pub fn has_keyboard(&self) -> bool {
        self.has_keyboard
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// A logged-in session with a token. One thread uses it at a time.
#[derive(Clone)]
pub struct Token(Arc<TokenSession>);

struct TokenSession {
    // Dropped before its module. A session may go from thread to thread, and must not be shared: the standard lets a token
    // mix up calls of two threads.
    session: Mutex<Session>,
    device: Arc<TokenDevice>,
}

impl TokenSession {
    fn with<T>(&self, call: impl FnOnce(&Session) -> Result<T, Error>) -> Called<T> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        call(&session).map_err(|error| CallRefused::of(&error))
    }
}

impl Token {
    /// Loads a module, finds the token and logs in. `pin` is not asked for if the token has a keyboard of its own.
    pub fn open(
        module: &Path,
        choice: &TokenChoice,
        pin: impl FnOnce() -> Result<Zeroizing<String>, Failure>,
    ) -> Result<Self, Failure> {
        let device = Arc::new(TokenDevice::find(module, choice)?);
        let pin = if device.has_keyboard { None } else { Some(pin()?) };
        Ok(Self::login(&device, pin.as_ref().map(|pin| pin.as_str()))?)
    }

    /// Opens a session, and logs in. A login is the token's, not the session's, so it may be done already.
    pub fn login(device: &Arc<TokenDevice>, pin: Option<&str>) -> Result<Self, TokenFault> {
        let refused = |error: Error| TokenFault::Call(device.label.clone(), CallRefused::of(&error));
        let session = device.module.0.open_ro_session(device.slot).map_err(refused)?;
        login(&session, &device.label, pin)?;
        Ok(Self(Arc::new(TokenSession { session: Mutex::new(session), device: Arc::clone(device) })))
    }

    /// The objects on the token of this class and label.
    pub(super) fn secret_keys_named(&self, label: &str) -> Called<Vec<TokenObject>> {
        let template = [
            Attribute::Token(true),
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let found = self.0.with(|session| session.find_objects(&template))?;
        Ok(found
            .into_iter()
            .map(|handle| TokenObject { of: Arc::clone(&self.0), handle, lasts: true })
            .collect())
    }

    /// What the token says of an object: those of these attributes that it shows.
    pub(super) fn attributes(
        &self,
        object: &TokenObject,
        wanted: &[AttributeType],
    ) -> Called<Vec<Attribute>> {
        self.0.with(|session| session.get_attributes(object.handle, wanted))
    }

    /// Its label, and its maker and model.
    pub(super) fn names(&self) -> (String, String) {
        (self.0.device.label.clone(), self.0.device.maker.clone())
    }

    /// Makes a key of a known value.
    pub(super) fn import(&self, kind: KeyType, value: &[u8], uses: &[Attribute]) -> Called<TokenObject> {
        let template = [&key(kind)[..], &[Attribute::Value(value.to_vec())], uses].concat();
        self.object(|session| session.create_object(&template))
    }

    /// Makes a value that may be wrapped.
    pub(super) fn import_value(&self, value: &[u8]) -> Called<TokenObject> {
        let template = [
            &secret(KeyType::GENERIC_SECRET)[..],
            &[Attribute::Sensitive(true), Attribute::Extractable(true), Attribute::Value(value.to_vec())],
        ]
        .concat();
        self.object(|session| session.create_object(&template))
    }

    /// Derives a TDES key: its value is `data`, encrypted by ECB.
    pub(super) fn derive_tdes_by_ecb(
        &self,
        base: &TokenObject,
        data: &[u8; 16],
        uses: &[Attribute],
    ) -> Called<TokenObject> {
        let data = KeyDerivationStringData::new(data);
        let template = [&key(KeyType::DES2), uses].concat();
        self.derive(base, VendorDefinedMechanism::new(mechanism(DES3_ECB_DERIVE), Some(&data)), &template)
    }

    /// Derives a TDES key: its value is `data`, encrypted by CBC with zero IV.
    pub(super) fn derive_tdes_by_cbc(
        &self,
        base: &TokenObject,
        data: &[u8; 16],
        uses: &[Attribute],
    ) -> Called<TokenObject> {
        let data = CbcDeriveParameters { iv: [0; 8], data: data.as_ptr(), length: 16 };
        let template = [&key(KeyType::DES2), uses].concat();
        self.derive(base, VendorDefinedMechanism::new(mechanism(DES3_CBC_DERIVE), Some(&data)), &template)
    }

    /// Derives an AES key: its value is `data`, encrypted by ECB.
    pub(super) fn derive_aes_by_ecb(
        &self,
        base: &TokenObject,
        data: &[u8],
        uses: &[Attribute],
    ) -> Called<TokenObject> {
        let length = data.len().try_into().map_err(|error| CallRefused::of(&error))?;
        let data = KeyDerivationStringData::new(data);
        let template = [&key(KeyType::AES)[..], &[Attribute::ValueLen(length)], uses].concat();
        self.derive(base, VendorDefinedMechanism::new(mechanism(AES_ECB_DERIVE), Some(&data)), &template)
    }

    fn derive(
        &self,
        base: &TokenObject,
        how: VendorDefinedMechanism<'_>,
        template: &[Attribute],
    ) -> Called<TokenObject> {
        self.object(|session| session.derive_key(&Mechanism::VendorDefined(how), base.handle, template))
    }

    /// Encrypts in the token.
    pub(super) fn encrypt(&self, key: &TokenObject, how: &Mechanism<'_>, data: &[u8]) -> Called<Vec<u8>> {
        self.0.with(|session| session.encrypt(how, key.handle, data))
    }

    /// Decrypts in the token; the clear data comes to the host.
    pub(super) fn decrypt(
        &self,
        key: &TokenObject,
        how: &Mechanism<'_>,
        data: &[u8],
    ) -> Called<Zeroizing<Vec<u8>>> {
        self.0.with(|session| session.decrypt(how, key.handle, data)).map(Zeroizing::new)
    }

    /// Decrypts to an object of the token. Its kind is a secret without a type: a token (openCryptoki 3.8) cuts values
    /// of a TDES type to 24 bytes without an error. The length and whether it may be wrapped are not named, because
    /// the same token refuses the names.
    pub(super) fn unwrap(&self, key: &TokenObject, how: &Mechanism<'_>, data: &[u8]) -> Called<TokenObject> {
        let template = [&secret(KeyType::GENERIC_SECRET)[..], &[Attribute::Sensitive(true)]].concat();
        self.object(|session| session.unwrap_key(how, key.handle, data, &template))
    }

    /// Encrypts an object of the token.
    pub(super) fn wrap(
        &self,
        key: &TokenObject,
        how: &Mechanism<'_>,
        object: &TokenObject,
    ) -> Called<Vec<u8>> {
        self.0.with(|session| session.wrap_key(how, key.handle, object.handle))
    }

    /// Whether the token shows the value of an object to its user.
    pub(super) fn shows(&self, object: &TokenObject) -> bool {
        self.attributes(object, &[AttributeType::Value]).is_ok_and(|attributes| {
            attributes.iter().any(|a| matches!(a, Attribute::Value(value) if !value.is_empty()))
        })
    }

    fn object(&self, made: impl FnOnce(&Session) -> Result<ObjectHandle, Error>) -> Called<TokenObject> {
        let handle = self.0.with(made)?;
        Ok(TokenObject { of: Arc::clone(&self.0), handle, lasts: false })
    }
}

/// An object of a session with a token, or of the token.
pub(super) struct TokenObject {
    of: Arc<TokenSession>,
    handle: ObjectHandle,
    /// Whether it lies in the token for good. Else it is destroyed when this is dropped.
    lasts: bool,
}

impl Drop for TokenObject {
    fn drop(&mut self) {
        if !self.lasts {
            // A token that is gone has no session objects any more.
            let _ = self.of.with(|session| session.destroy_object(self.handle));
        }
    }
}

/// Ends a module: some have a service that counts the programs that use it.
struct LoadedModule(Pkcs11);

impl Drop for LoadedModule {
    fn drop(&mut self) {
        // One that did not start refuses, and the process ends soon.
        let _ = self.0.clone().finalize();
    }
}

/// A token that a module has.
struct FoundToken {
    slot: Slot,
    label: String,
    maker: String,
    has_keyboard: bool,
}

impl FoundToken {
    /// None if the token was never initialized. `cryptoki` cannot read the description of every token: that of
    /// openCryptoki 3.8 has a time in a wrong form. Such a token is known by its slot.
    fn in_slot(pkcs11: &Pkcs11, slot: Slot) -> Option<Self> {
        let Ok(info) = pkcs11.get_token_info(slot) else {
            let maker = pkcs11
                .get_slot_info(slot)
                .map_or_else(|_| "unknown".into(), |slot| name(slot.manufacturer_id()));
            return Some(Self { slot, label: slot_label(slot.id()), maker, has_keyboard: false });
        };
        info.token_initialized().then(|| Self {
            slot,
            label: name(info.label()),
            maker: name(&format!("{} {}", info.manufacturer_id(), info.model())),
            has_keyboard: info.protected_authentication_path(),
        })
    }

    fn is(&self, choice: &TokenChoice) -> bool {
        match choice {
            TokenChoice::Only => true,
            TokenChoice::Label(label) => self.label == *label,
            TokenChoice::Slot(number) => self.slot.id() == *number,
        }
    }
}

fn slot_label(number: u64) -> String {
    format!("in slot {number}")
}

/// The token that is meant.
fn choose(choice: &TokenChoice, found: Vec<FoundToken>) -> Result<FoundToken, TokenFault> {
    let all = found.iter().map(|token| match slot_label(token.slot.id()) {
        slot if slot == token.label => slot,
        slot => format!("{} {slot}", token.label),
    });
    let all = if found.is_empty() { "none".to_owned() } else { all.collect::<Vec<_>>().join(", ") };
    let mut fitting: Vec<FoundToken> = found.into_iter().filter(|token| token.is(choice)).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(token), true) => Ok(token),
        (Some(_), false) => Err(TokenFault::Several(all)),
        (None, _) => Err(TokenFault::NoToken(
            match choice {
                TokenChoice::Label(label) => name(label),
                TokenChoice::Slot(number) => slot_label(*number),
                TokenChoice::Only => "that was initialized".into(),
            },
            all,
        )),
    }
}

fn login(session: &Session, label: &str, pin: Option<&str>) -> Result<(), TokenFault> {
    let pin = pin.map(|pin| AuthPin::new(pin.into()));
    match session.login(UserType::User, pin.as_ref()) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(TokenFault::Pin(label.to_owned()))
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenFault::PinLocked(label.to_owned())),
        Err(error) => Err(TokenFault::Call(label.to_owned(), CallRefused::of(&error))),
    }
}

/// A text of a module, for people.
fn name(text: &str) -> String {
    // Padded with blanks by the standard, with zeros by some.
    one_line(text.trim_matches(|c: char| c.is_whitespace() || c == '\0')).into_owned()
}

/// A session object that is a secret key.
fn secret(kind: KeyType) -> [Attribute; 3] {
    [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(kind), Attribute::Token(false)]
}

/// A session object that is a key which never leaves the token.
fn key(kind: KeyType) -> Vec<Attribute> {
    [&secret(kind)[..], &[Attribute::Sensitive(true), Attribute::Extractable(false)]].concat()
}

/// CK_DES_CBC_ENCRYPT_DATA_PARAMS of PKCS #11.
#[repr(C)]
struct CbcDeriveParameters {
    iv: [u8; 8],
    data: *const u8,
    length: c_ulong,
}

/// A mechanism by its number. `cryptoki` has no names for these, and takes numbers of vendors alone.
#[allow(unsafe_code, reason = "the only way to name a mechanism that the library does not know")]
fn mechanism(number: c_ulong) -> MechanismType {
    // SAFETY: `MechanismType` is `repr(transparent)` over CK_MECHANISM_TYPE, which is an unsigned long of which every
    // value is lawful.
    unsafe { std::mem::transmute::<c_ulong, MechanismType>(number) }
}
