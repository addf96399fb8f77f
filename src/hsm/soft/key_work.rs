//! Keys in use: the one place that touches the value of a KMC or a KEK, whether it lies in the store or in a token. All rules
//! (what is checked, opened, allowed, wrapped) are above it.
//!
//! Not here: what a token does (`pkcs11`), sessions (`scp`).

use zeroize::Zeroizing;

use crate::crypto::{ApplicationScope, CipherKey, CryptoError, NameCipher, Purpose, Suite};
use crate::hsm::pkcs11::{TokenKey, TokenLink, TransportKeyInside};
use crate::hsm::store::{KeyStore, SecretEntry};
use crate::hsm::{DataFault, HsmError};
use crate::ids::KeyData;
use crate::record::chip::Cmode;
use crate::scp::{CardStaticKeys, KeyDerivation, TokenKeyFault};

/// Why a value was not opened, or a MAC not computed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenFault {
    /// The data is at fault.
    Data(DataFault),
    /// The token is: the data may be right.
    Hsm(HsmError),
}

impl OpenFault {
    /// The error about an application.
    pub(super) fn about(self, of_data: impl FnOnce(DataFault) -> HsmError) -> HsmError {
        match self {
            Self::Data(fault) => of_data(fault),
            Self::Hsm(error) => error,
        }
    }

    /// The error of a use of a key without data from outside: a fault of the data is then the host's own.
    pub(super) fn into_hsm(self) -> HsmError {
        self.about(|fault| HsmError::Host(fault.to_string()))
    }
}

impl From<DataFault> for OpenFault {
    fn from(fault: DataFault) -> Self {
        Self::Data(fault)
    }
}

impl From<CryptoError> for OpenFault {
    fn from(error: CryptoError) -> Self {
        Self::Data(DataFault::Malformed(error.to_string()))
    }
}

impl From<TokenKeyFault> for OpenFault {
    fn from(fault: TokenKeyFault) -> Self {
        Self::Hsm(fault.into())
    }
}

/// Asks again after a fault of the token: the session of a token that was started anew is an old one, and the next use of a key opens
/// another. The token may be started anew while that one is opened, so it is asked a third time, and no more.
pub(super) fn asked_again<T>(ask: impl Fn() -> Result<T, HsmError>) -> Result<T, HsmError> {
    for _ in 0..2 {
        match ask() {
            Err(HsmError::Token(fault)) => {
                tracing::warn!(%fault, "the token is asked again in a new session");
            }
            answered => return answered,
        }
    }
    ask()
}

/// The keys of a store, and the token in which some lie.
#[derive(Clone, Copy)]
pub(super) struct KeyShelf<'a> {
    pub(super) store: &'a KeyStore,
    pub(super) token: Option<&'a TokenLink>,
}

impl<'a> KeyShelf<'a> {
    /// A key of the store, for use.
    pub(super) fn work(self, entry: &'a SecretEntry) -> Result<WorkKey<'a>, HsmError> {
        match (entry.token_object(), self.token) {
            (Some(object), Some(token)) => Ok(WorkKey::Token(token.key(object)?)),
            (Some(_), None) | (None, _) => Ok(WorkKey::Value(entry.key()?)),
        }
    }
}

/// A key, where its value lies.
pub(super) enum WorkKey<'a> {
    Value(&'a CipherKey),
    Token(TokenKey),
}

impl WorkKey<'_> {
    /// The keys of a card, from this KMC; `None` if the derivation is not defined for its cipher.
    pub(super) fn card_keys(
        &self,
        derivation: KeyDerivation,
        key_data: &KeyData,
    ) -> Result<Option<CardStaticKeys>, HsmError> {
        match self {
            Self::Value(kmc) => Ok(CardStaticKeys::derive(derivation, kmc, key_data)),
            // A KMC of another cipher does not get into a store.
            Self::Token(kmc) => Ok(Some(kmc.card_keys(&derivation.data(key_data))?)),
        }
    }

    /// The TK of an application's values, from this KEK.
    pub(super) fn transport_key(
        &self,
        scope: &ApplicationScope<'_>,
        suite: Suite,
    ) -> Result<TransportKey, OpenFault> {
        if let Self::Token(kek) = self
            && let Some(inside) = kek.transport_key(suite, &scope.name(Purpose::Data)?)?
        {
            return Ok(TransportKey::Token(inside));
        }
        Ok(TransportKey::Value(scope.derive(self, suite, Purpose::Data)?))
    }
}

impl NameCipher for WorkKey<'_> {
    type Fault = OpenFault;

    fn encrypt_name(&self, name: &mut [u8]) -> Result<(), OpenFault> {
        match self {
            Self::Value(kek) => Ok(kek.encrypt_name(name)?),
            Self::Token(kek) => Ok(kek.encrypt(name)?),
        }
    }
}

/// A TK, where it lies.
pub(super) enum TransportKey {
    Value(CipherKey),
    Token(TransportKeyInside),
}

impl TransportKey {
    /// Block of its cipher in bytes.
    pub(super) fn block(&self) -> usize {
        match self {
            Self::Value(tk) => tk.block(),
            Self::Token(tk) => tk.block(),
        }
    }

    /// Decrypts a value, in place; the error is `wrong` if it is not whole blocks.
    pub(super) fn decrypt(
        &self,
        cmode: Cmode,
        value: &mut Zeroizing<Vec<u8>>,
        wrong: &DataFault,
    ) -> Result<(), OpenFault> {
        let cbc = matches!(cmode, Cmode::Cbc | Cmode::CbcPadded);
        match self {
            Self::Value(tk) if cbc => tk.cbc_decrypt(value).map_err(|_| wrong.clone().into()),
            Self::Value(tk) => tk.ecb_decrypt(value).map_err(|_| wrong.clone().into()),
            Self::Token(tk) if !value.len().is_multiple_of(tk.block()) => Err(wrong.clone().into()),
            Self::Token(_) if value.is_empty() => Ok(()),
            Self::Token(tk) => {
                let clear = tk.decrypt(cbc, value)?;
                value.clear();
                value.extend_from_slice(&clear);
                Ok(())
            }
        }
    }
}
