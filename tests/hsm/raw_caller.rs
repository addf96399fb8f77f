//! Callers that do not keep to the rules: they write to the HSM host's socket by hand, as `src/hsm/greeting.rs` and
//! `src/hsm/wire.rs` describe it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardwright::hsm::client::HsmClient;
use cardwright::hsm::{CallerRole, CallerSecrets, HsmDoor, HsmError};

/// Bytes with which a caller begins.
pub const CALL: usize = 39;
/// Longest wait for an answer: more than the host's own limits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that shows `call` first.
pub fn stranger(socket: &Path, call: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A host that has refused it may be gone already.
    let _ = stream.write_all(call);
    stream
}

/// A caller that knows the secrets of a host.
#[derive(Clone)]
pub struct RawCaller {
    socket: PathBuf,
    /// Protocol of this build.
    protocol: [u8; 2],
    secrets: Vec<u8>,
}

impl RawCaller {
    pub fn new(socket: &Path, secrets: &CallerSecrets) -> Self {
        let mut given = Vec::new();
        secrets.give(&mut given).unwrap();
        let (call, _) = heard(CallerRole::Check, |_| ());
        Self { socket: socket.to_owned(), protocol: [call[4], call[5]], secrets: given }
    }

    /// What a caller of this role shows.
    pub fn call(&self, role: CallerRole) -> Vec<u8> {
        let place = CallerRole::ALL.iter().position(|other| *other == role).unwrap();
        let secret = &self.secrets[place * 32..][..32];
        [b"CWHC", &self.protocol[..], &[place as u8 + 1], secret].concat()
    }

    /// A connection that the host has let in.
    pub fn admitted(&self, role: CallerRole) -> UnixStream {
        let mut stream = stranger(&self.socket, &self.call(role));
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, [b"CWHSM", &self.protocol[..], b"T"].concat()[..], "{role:?}");
        stream
    }
}

/// All that a host still sends before it closes.
pub fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        // The host closed with bytes of ours unread.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it does not close"),
    }
    rest
}

/// A frame with these bytes.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// The error in an answer; `None` if it carried the request out.
pub fn refusal(answer: &[u8]) -> Option<HsmError> {
    let (length, reply) = answer.split_first_chunk::<4>().expect("an answer");
    assert_eq!(u32::from_be_bytes(*length) as usize, reply.len(), "one answer");
    (reply[0] == 1).then(|| postcard::from_bytes::<Result<(), HsmError>>(reply).unwrap().unwrap_err())
}

/// What a client of this role shows, and the frame that it sends for a call, heard by a host that never answers.
pub fn heard<T>(role: CallerRole, ask: impl FnOnce(&mut HsmClient) -> T) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let door = HsmDoor::new(&socket, std::process::id(), Arc::new(CallerSecrets::draw().unwrap()));
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut call = vec![0; CALL];
        stream.read_exact(&mut call).unwrap();
        stream.write_all(&[b"CWHSM", &call[4..6], b"T"].concat()).unwrap();
        let mut sent = Vec::new();
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_ok() {
            sent.resize(u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut sent).unwrap();
        }
        (call, sent)
    });
    let mut client = HsmClient::connect(&door, role).unwrap();
    ask(&mut client);
    drop(client);
    host.join().unwrap()
}
