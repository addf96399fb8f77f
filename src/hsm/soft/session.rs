//! Decides on a session: whose card it is, which application comes next, and whether the chip is the one of the attempt.
//!
//! ```text
//! the last question of the attempt again ──> its answer
//! challenge of the connection · handle ─ begin(attempt, chip, step) ─ card's cryptogram ─ commands ──> answered
//!                                              └── a fault of the card: the handle stays
//!                                              └── another refusal: the handle is used up
//! ```
//!
//! Not here: what the commands may be (`personalize`), which attempts there are (`memory::attempts`).

use sha2::{Digest, Sha256};

use super::SharedState;
use super::key_work::{KeyShelf, asked_again};
use super::personalize;
use crate::hsm::memory::{AskedStep, AttemptRefusal};
use crate::hsm::{CardSessionRequest, HsmError, HsmRefusal, WipedBytes};
use crate::laws::ChipId;
use crate::scp::{ChannelOpenError, HostChallenge, InitializeUpdateAnswer, SecureChannel, VerifiedChannel};

/// The APDUs of a session. `alive` is the challenge of the connection.
pub(super) fn apdus(
    shared: &SharedState,
    keys: KeyShelf<'_>,
    alive: Option<&HostChallenge>,
    channel: &SecureChannel,
    request: &CardSessionRequest,
) -> Result<Vec<WipedBytes>, HsmError> {
    let question = digest(request)?;
    if let Some(answer) = shared.book.attempts()?.answer_again(request.card, &question) {
        return Ok(answer.clone());
    }
    if alive != Some(&request.host_challenge) {
        return Err(HsmRefusal::HostChallenge.into());
    }
    let answer = channel.read_answer(&request.card_answer).map_err(|e| HsmError::Response(e.to_string()))?;
    let (record, aid) = shared.tables()?.step(request.handle, request.step)?;
    let chip = ChipId::globalplatform(answer.key_data, Some(answer.kmc()));
    let asked = AskedStep { card: request.card, chip, record, step: request.step, aid, question };
    shared.book.attempts()?.begin(&asked).map_err(HsmRefusal::from)?;
    let open = || opened(keys, channel, request, &answer);
    let wrapped = asked_again(open).and_then(|verified| {
        let prepared = shared.tables()?.take(request.handle, request.step)?;
        // A token may be started anew between two calls of it. The same card's answer opens the same channel again.
        let copy = keys.token.map(|_| prepared.clone());
        let wrapped = match (personalize::run(prepared, channel, answer.kmc(), verified, request), copy) {
            (Err(HsmError::Token(_)), Some(copy)) => asked_again(open)
                .and_then(|verified| personalize::run(copy, channel, answer.kmc(), verified, request)),
            (wrapped, _) => wrapped,
        };
        if wrapped.is_err() {
            shared.tables()?.use_up(request.handle);
        }
        wrapped
    });
    let mut attempts = shared.book.attempts()?;
    match wrapped {
        Ok(apdus) if attempts.answered(&asked, apdus.clone()) => Ok(apdus),
        Ok(_) => Err(HsmRefusal::from(AttemptRefusal::Stale).into()),
        Err(error) => {
            attempts.refused(request.card);
            Err(error)
        }
    }
}

/// SHA-256 of the whole question.
fn digest(request: &CardSessionRequest) -> Result<[u8; 32], HsmError> {
    let sha = postcard::serialize_with_flavor(request, DigestBytes(Sha256::new()));
    Ok(sha.map_err(|_| HsmError::Host("a question cannot be encoded".into()))?.finalize().into())
}

/// Takes the encoding of a question, which holds cardholder data, and keeps its digest alone.
struct DigestBytes(Sha256);

impl postcard::ser_flavors::Flavor for DigestBytes {
    type Output = Sha256;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.update([byte]);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.update(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Sha256> {
        Ok(self.0)
    }
}

/// Opens the channel: the card is proved when this returns.
fn opened(
    keys: KeyShelf<'_>,
    channel: &SecureChannel,
    request: &CardSessionRequest,
    answer: &InitializeUpdateAnswer,
) -> Result<VerifiedChannel, HsmError> {
    let kmc = answer.kmc();
    let entry = keys.store.kmc(kmc).ok_or(HsmError::UnknownKmc(kmc))?;
    let unsuitable = || HsmError::Unsupported(format!("{channel} under an {} KMC", entry.key_type()));
    let card = keys.work(entry)?.card_keys(request.derivation, &answer.key_data)?;
    let card = card.ok_or_else(unsuitable)?;
    let pending = channel.open_with(&card, answer, &request.host_challenge);
    let pending = pending.map_err(|error| match error {
        ChannelOpenError::UnsuitableKey => unsuitable(),
        // Drawn for a channel with another length.
        ChannelOpenError::ChallengeLength => HsmRefusal::HostChallenge.into(),
        ChannelOpenError::Token(fault) => fault.into(),
    })?;
    pending.verify().map_err(|_| HsmError::CardCryptogram(kmc))
}
