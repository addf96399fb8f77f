//! The line on real devices: besides its socket, it serves stations on virtual readers (`vpcd`) and serial
//! ports (pseudo-terminals), to try a controller's own readers and ports. `[sim.attach.STATION]` in the
//! profile:
//!
//! ```toml
//! [sim.attach.chip-1]
//! vpcd = "localhost:35963"          # where vpcd waits for a card; connected while one touches the contacts
//! transport = "/tmp/line/chip-1.t"  # symbolic link to a pseudo-terminal: card transport (framed)
//! [sim.attach.printer-1]
//! machine = "/tmp/line/printer-1"   # the machine's commands
//! stream = "localhost:35001"        # listens: the printer's pictures
//! [sim.attach.output]
//! transport = "/tmp/line/output"
//! ```
//!
//! There is no hello: the bytes are those that follow the hello on the socket. Each device has its own
//! thread.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::device::{self, pty::PseudoTerminal, vpcd};
use crate::profile::OUTPUT;
use crate::sync::lock;
use crate::world::{SimulatedLine, SimulatedStation};

/// Pause after a failed accept, or after a port that could not be reopened.
const AGAIN: Duration = Duration::from_millis(200);

/// A serial port, or `None` while it is closed.
type SharedTerminal = Arc<Mutex<Option<Arc<PseudoTerminal>>>>;

/// The devices being served; dropping this removes the symbolic links to their ports.
#[derive(Default)]
pub struct AttachedDevices {
    ports: Vec<SharedTerminal>,
}

impl AttachedDevices {
    /// Starts to serve the devices that the profile attaches.
    pub fn start(world: &Arc<SimulatedLine>) -> Result<Self> {
        let mut attached = Self::default();
        for (name, attach) in &world.sim.attach {
            let context = || format!("sim.attach.{name}");
            if name == OUTPUT {
                if let Some(path) = &attach.transport {
                    attached
                        .serial(world, path, None, false, |link, world, _| device::output(link, world))?;
                }
                continue;
            }
            let Some(at) = world.position(name) else { continue };
            if let Some(address) = &attach.vpcd {
                let (world, address) = (Arc::clone(world), address.clone());
                spawn(move || {
                    if let Some(station) = world.at(at) {
                        vpcd::attend(&world, station, &address);
                    }
                })
                .with_context(context)?;
            }
            if let Some(path) = &attach.machine {
                attached.serial(world, path, Some(at), true, device::machine).with_context(context)?;
            }
            if let Some(path) = &attach.transport {
                attached.serial(world, path, Some(at), false, device::transport).with_context(context)?;
            }
            if let Some(address) = &attach.stream {
                pictures(world, at, address).with_context(context)?;
            }
        }
        Ok(attached)
    }

    /// Serves a device on a pseudo-terminal, and on a new one each time that the device has closed it.
    fn serial(
        &mut self,
        world: &Arc<SimulatedLine>,
        path: &Path,
        at: Option<usize>,
        moves: bool,
        serve: fn(&PseudoTerminal, &SimulatedLine, Option<&SimulatedStation>) -> io::Result<()>,
    ) -> Result<()> {
        let first = Arc::new(PseudoTerminal::open(path).with_context(|| path.display().to_string())?);
        let port: SharedTerminal = Arc::new(Mutex::new(Some(first)));
        self.ports.push(Arc::clone(&port));
        let (world, path) = (Arc::clone(world), path.to_owned());
        spawn(move || {
            loop {
                let Some(pty) = lock(&port).clone() else { return };
                let own = at.and_then(|at| world.at(at));
                // A transport stays where it is.
                let station = if moves { own.and_then(|own| world.device_of(&own.name)) } else { own };
                if let Err(error) = serve(&pty, &world, station) {
                    tracing::warn!(path = %path.display(), %error, "serial port");
                }
                *lock(&port) = None;
                drop(pty);
                std::thread::sleep(station.map_or(AGAIN, SimulatedStation::absence));
                *lock(&port) = Some(Arc::new(reopened(&path)));
            }
        })?;
        Ok(())
    }
}

impl Drop for AttachedDevices {
    fn drop(&mut self) {
        for port in &self.ports {
            if let Some(pty) = lock(port).take() {
                pty.unlink();
            }
        }
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name("attached".into()).spawn(run)?;
    Ok(())
}

/// Opens the port again, as soon as the system allows it.
fn reopened(path: &Path) -> PseudoTerminal {
    loop {
        match PseudoTerminal::open(path) {
            Ok(pty) => return pty,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the port cannot be opened again");
                std::thread::sleep(AGAIN);
            }
        }
    }
}

/// Listens for a printer's pictures.
fn pictures(world: &Arc<SimulatedLine>, at: usize, address: &str) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| address.to_owned())?;
    let world = Arc::clone(world);
    spawn(move || {
        for stream in listener.incoming() {
            let world = Arc::clone(&world);
            let served = stream.map_err(anyhow::Error::from).and_then(|stream| {
                spawn(move || {
                    if let Some(Err(error)) = world.at(at).map(|station| station.inbox.receive(&stream)) {
                        tracing::warn!(%error, "pictures");
                    }
                })
            });
            if let Err(error) = served {
                tracing::error!(%error, "a connection could not be served");
                std::thread::sleep(AGAIN);
            }
        }
    })
}
