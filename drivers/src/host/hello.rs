//! The first message of each end: the device to open, and whether it is open.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::exchange;
use crate::link::{CardError, LinkError};
use crate::pcsc::ReaderSpec;
use crate::stream::{StreamSocket, TimedSocket};
use crate::wire::{HOST_BODY_MAX, HOST_MAGIC, HOST_VERSION, reader};

/// magic (4), version u16, length u32.
const HEADER: usize = 10;

/// Longest text in an answer, in bytes. It fits in a hello even after escaping, if it is a name without
/// control characters.
const TEXT_MAX: usize = HOST_BODY_MAX / 2 - 64;

/// The device that a station host opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostedDevice {
    /// A reader of PC/SC.
    Reader(ReaderSpec),
    /// A serial port, 8N1.
    Serial {
        /// `/dev/ttyS0`.
        path: String,
        /// Bits per second.
        baud: u32,
    },
    /// A machine on the network.
    Tcp {
        /// `host:port`.
        address: String,
    },
}

/// The host's answer to a hello: `opened` or `error`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct HostAnswer {
    /// Name of the device that was opened, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opened: Option<String>,
    /// Name of its node in the system; empty for a device without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) node: String,
    /// The reason why no device was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// First byte of the FF of wire section 1 for this error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<u8>,
}

impl HostAnswer {
    /// Turns the answer into the names of the device and its node, or an error of the controller.
    pub(super) fn outcome(self) -> Result<(String, String), CardError> {
        match (self.opened, self.error) {
            (Some(name), None) => {
                Ok((exchange::shown(name.as_bytes()), exchange::shown(self.node.as_bytes())))
            }
            (None, Some(text)) => {
                let why = self.why.unwrap_or(reader::BROKEN);
                let with_text = matches!(why, reader::NO_READER | reader::BROKEN);
                let text = if with_text { text.as_bytes() } else { b"" };
                Err(exchange::failure_of(&[&[why], text].concat()).unwrap_or(CardError::Malformed))
            }
            _ => Err(CardError::Malformed),
        }
    }

    /// Makes the answer that reports this error.
    pub(super) fn refusal(error: &CardError) -> Self {
        let mut text = match error {
            CardError::Reader(error) => error.to_string(),
            error => error.to_string(),
        };
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        Self { error: Some(text), why: exchange::failure(error).first().copied(), ..Self::default() }
    }
}

/// Sends a message. Both ends use it.
pub(super) fn send<T: Serialize>(
    socket: &mut TimedSocket<impl StreamSocket>,
    message: &T,
    deadline: Instant,
) -> Result<(), LinkError> {
    let body = serde_json::to_vec(message).map_err(|_| LinkError::Io("a hello that is no JSON".into()))?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= HOST_BODY_MAX);
    let length = length.ok_or_else(|| LinkError::Io("a hello that is too long".into()))?;
    let version = HOST_VERSION.to_be_bytes();
    let message = [&HOST_MAGIC[..], &version, &length.to_be_bytes(), &body].concat();
    socket.send(&message, deadline.saturating_duration_since(Instant::now()))
}

/// Reads the other end's message; the error describes its fault.
pub(super) fn receive<T: for<'a> Deserialize<'a>>(
    socket: &mut TimedSocket<impl StreamSocket>,
    deadline: Instant,
) -> Result<T, LinkError> {
    let fault = |what: &str| LinkError::Io(format!("station host: {what}"));
    let mut header = [0; HEADER];
    socket.receive_all(&mut header, deadline)?;
    let [m0, m1, m2, m3, v0, v1, l0, l1, l2, l3] = header;
    if [m0, m1, m2, m3] != HOST_MAGIC {
        return Err(fault("the other end speaks something else"));
    }
    let version = u16::from_be_bytes([v0, v1]);
    if version != HOST_VERSION {
        return Err(fault(&format!(
            "the other end speaks version {version}, this one {HOST_VERSION}; both must come from one build"
        )));
    }
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > HOST_BODY_MAX {
        return Err(fault("the other end says hello at too great a length"));
    }
    let mut body = vec![0; length];
    socket.receive_all(&mut body, deadline)?;
    serde_json::from_slice(&body).map_err(|_| fault("the other end says hello in words that are not known"))
}
