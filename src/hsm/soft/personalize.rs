//! A session in one call: the rules of its command list, then wrapping.
//!
//! Allowed: `INSTALL [for personalization]` (E6, P1 20) of the handle's application before the first STORE DATA, STORE
//! DATA (E2) of the handle's DGIs, `SET STATUS` (F0, P1 40) of the handle's application (GPCS 11.5, 11.11, 11.10).

use zeroize::Zeroizing;

use super::stream::CommandStream;
use super::verify::{ExpectedValue, PreparedApplication};
use crate::hsm::{CardSessionRequest, DataPart, HsmError, HsmRefusal, PlainCommand, WipedBytes};
use crate::ids::KmcRef;
use crate::scp::{ChannelSession, CommandTooLong, SecretFault, SecureChannel, VerifiedChannel, WrapFault};

/// Most data of a short APDU before wrapping.
pub(super) const MAX_DATA: usize = 255;

const STORE_DATA: u8 = 0xE2;
const SET_STATUS: u8 = 0xF0;
const INSTALL: u8 = 0xE6;

/// Wraps the session's commands.
pub(super) fn run(
    mut prepared: PreparedApplication,
    channel: &SecureChannel,
    kmc: KmcRef,
    verified: VerifiedChannel,
    request: &CardSessionRequest,
) -> Result<Vec<WipedBytes>, HsmError> {
    // Only now is the card's KMC known, so the verification could not check this.
    if !prepared.allow.contains(&kmc) {
        return Err(HsmError::KmcNotAllowed { kek: prepared.kek, kmc });
    }
    if request.level != prepared.level {
        return Err(HsmRefusal::Level.into());
    }
    if prepared.card_block != channel.block() {
        return Err(
            HsmRefusal::Commands("the application was verified for a card of another block".into()).into()
        );
    }
    if !channel.has_level(request.level) {
        return Err(HsmError::Unsupported(format!("{channel} at level {}", String::from(request.level))));
    }
    let (mut session, first) = verified.authenticate(request.level)?;
    encrypt(&mut prepared, &session)?;
    let mut stream = CommandStream::new(&prepared.values);
    let mut apdus = Vec::with_capacity(request.commands.len() + 1);
    apdus.push(WipedBytes::from(first));
    let mut stored = false;
    for (place, command) in request.commands.iter().enumerate() {
        let data = match command.ins {
            STORE_DATA => {
                stored = true;
                stream.command(encrypted(command.p1)?, &command.data)?
            }
            INSTALL | SET_STATUS if !stream.at_rest() => {
                return Err(HsmRefusal::Commands("a DGI is cut short by another command".into()).into());
            }
            INSTALL if command.p1 == 0x20 && !stored => {
                let aid = prepared.aid.as_bytes();
                let length = u8::try_from(aid.len()).unwrap_or(u8::MAX);
                exactly(command, &[&[0, 0, length], aid, &[0, 0, 0]].concat())?
            }
            SET_STATUS if command.p1 == 0x40 => exactly(command, prepared.aid.as_bytes())?,
            other => return Err(HsmRefusal::Instruction(other).into()),
        };
        let apdu = session.wrap([command.ins, command.p1, command.p2], &data);
        let apdu = apdu.map_err(|fault| not_wrapped(place, fault))?;
        apdus.push(WipedBytes::from(apdu));
    }
    if !stream.at_rest() {
        return Err(HsmRefusal::Commands("the last DGI is cut short".into()).into());
    }
    Ok(apdus)
}

/// Encrypts protected values for the card, in place. They are whole blocks since they were verified.
fn encrypt(prepared: &mut PreparedApplication, session: &ChannelSession) -> Result<(), HsmError> {
    for (dgi, expected) in &mut prepared.values {
        if let ExpectedValue::Protected(value) = expected {
            session.encrypt_secret(value).map_err(|fault| match fault {
                SecretFault::Length => HsmRefusal::Commands(format!("DGI {dgi} is not whole blocks")).into(),
                SecretFault::Token(fault) => HsmError::from(fault),
            })?;
        }
    }
    Ok(())
}

/// The error of a command that was not wrapped.
fn not_wrapped(place: usize, fault: WrapFault) -> HsmError {
    match fault {
        WrapFault::TooLong(CommandTooLong(length)) => {
            let what = format!("command {} has {length} bytes of data, too many", place + 1);
            HsmRefusal::Commands(what).into()
        }
        WrapFault::Token(fault) => fault.into(),
    }
}

/// P1 b7 b6 of STORE DATA: 00 nothing encrypted, 11 every value encrypted. A mixture is never asked for.
fn encrypted(p1: u8) -> Result<bool, HsmRefusal> {
    match p1 & 0x60 {
        0x00 => Ok(false),
        0x60 => Ok(true),
        _ => Err(HsmRefusal::Commands("P1 b7 b6 of STORE DATA is neither 00 nor 11".into())),
    }
}

/// The data of a command that has exactly one allowed content.
fn exactly(command: &PlainCommand, right: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmRefusal> {
    let mut data = Zeroizing::new(Vec::with_capacity(MAX_DATA));
    for part in &command.data {
        match part {
            DataPart::Clear(bytes) => data.extend_from_slice(bytes),
            DataPart::Protected { dgi, .. } => return Err(HsmRefusal::ProtectedInClear(*dgi)),
        }
    }
    if *data != right {
        let what = format!("instruction {:02X} names something else than its application", command.ins);
        return Err(HsmRefusal::Commands(what));
    }
    Ok(data)
}
