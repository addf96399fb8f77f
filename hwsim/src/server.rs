//! The Unix socket of the line: a hello, then one device per connection, one thread per connection
//! (`drivers::wire` section 1). All reads block; nothing polls.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::attach::AttachedDevices;
use crate::device::{self, reader};
use crate::profile::{MachineKind, OUTPUT};
use crate::world::SimulatedLine;

/// Longest hello that is read, in bytes.
const HELLO_MAX: u32 = 4096;
/// How long, and how far, the rest of a refused hello is read.
const REST_TIME: Duration = Duration::from_secs(1);
const REST_MAX: u64 = 64 << 10;
/// Pause after a failed accept (no descriptors or threads left).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// First message of the controller.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StationHello {
    station: String,
    device: StationDevice,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum StationDevice {
    Reader,
    Machine,
    Stream,
    Transport,
}

/// A simulated line that listens on its socket.
pub struct LineServer {
    world: Arc<SimulatedLine>,
    path: PathBuf,
    _attached: AttachedDevices,
}

impl LineServer {
    /// Binds the socket and starts to serve.
    pub fn start(world: SimulatedLine, path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| format!("socket {}", path.display()))?;
        let world = Arc::new(world);
        let attached = AttachedDevices::start(&world)?;
        let shared = Arc::clone(&world);
        std::thread::Builder::new().name("accept".into()).spawn(move || accept(&listener, &shared))?;
        Ok(Self { world, path: path.to_owned(), _attached: attached })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Switches the line off; cards in it are left there. Returns whether the witness is complete.
    pub fn stop(self) -> bool {
        self.world.switch_off();
        !self.world.witness_has_failed()
    }
}

impl Drop for LineServer {
    fn drop(&mut self) {
        // Best effort: if the socket stays, the next start refuses it by name.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, world: &Arc<SimulatedLine>) {
    for stream in listener.incoming() {
        let world = Arc::clone(world);
        let spawned = stream.and_then(|stream| {
            std::thread::Builder::new().name("link".into()).spawn(move || {
                if let Err(error) = serve(&stream, &world)
                    && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
                {
                    tracing::warn!(%error, "connection ended");
                }
            })
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "a connection could not be served");
            std::thread::sleep(ACCEPT_AGAIN);
        }
    }
}

/// Serves one connection until the other end hangs up.
fn serve(stream: &UnixStream, world: &SimulatedLine) -> io::Result<()> {
    let hello = match hello(stream) {
        Ok(hello) => hello,
        Err(error) if error.kind() == ErrorKind::InvalidData => return refuse(stream, &error.to_string()),
        Err(error) => return Err(error),
    };
    if hello.device == StationDevice::Transport && hello.station == OUTPUT {
        welcome(stream, world, &hello)?;
        return device::output(stream, world);
    }
    let place = match hello.device {
        StationDevice::Transport | StationDevice::Stream => world.station(&hello.station),
        StationDevice::Reader | StationDevice::Machine => world.device_of(&hello.station),
    };
    let Some(station) = place else {
        return refuse(stream, &format!("no station {} in this line", hello.station));
    };
    match (hello.device, station.kind) {
        (StationDevice::Transport, _) => {
            welcome(stream, world, &hello)?;
            device::transport(stream, world, Some(station))
        }
        (StationDevice::Reader, MachineKind::Chip) => {
            welcome(stream, world, &hello)?;
            reader::serve(stream, world, station)
        }
        (StationDevice::Stream, MachineKind::Printer) => {
            welcome(stream, world, &hello)?;
            station.inbox.receive(stream)
        }
        (StationDevice::Machine, MachineKind::Stripe | MachineKind::Printer | MachineKind::Embosser) => {
            welcome(stream, world, &hello)?;
            device::machine(stream, world, Some(station))
        }
        (StationDevice::Reader | StationDevice::Machine | StationDevice::Stream, _) => {
            refuse(stream, &format!("station {} has no such device", station.name))
        }
    }
}

fn hello(mut stream: &UnixStream) -> io::Result<StationHello> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > HELLO_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "hello too long"));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut body)?;
    serde_json::from_slice(&body).map_err(|e| io::Error::new(ErrorKind::InvalidData, format!("hello: {e}")))
}

fn welcome(stream: &UnixStream, world: &SimulatedLine, hello: &StationHello) -> io::Result<()> {
    say(stream, &json!({ "simulated": true, "wiring": world.wiring.moves(&hello.station) }))
}

fn refuse(stream: &UnixStream, why: &str) -> io::Result<()> {
    tracing::warn!(why, "hello refused");
    say(stream, &json!({ "error": why }))?;
    // A client that still writes would get EPIPE from a closed socket, and not read the answer.
    stream.set_read_timeout(Some(REST_TIME))?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream.take(REST_MAX), &mut io::sink()).map(drop)
}

fn say(mut stream: &UnixStream, object: &serde_json::Value) -> io::Result<()> {
    let text = object.to_string();
    let mut bytes = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend(text.bytes());
    stream.write_all(&bytes)
}
