//! One reader: connect, reset, transmit, disconnect.
//!
//! ```text
//! no context ──establish──> context ──choose──> reader ──connect, exclusive──> card
//!     ^                        |                  |                              |
//!     └── service gone (pcscd stopped or was restarted: old handles never recover)
//!                              └── unknown reader: chosen anew                   └── power off: disconnected, unpowered
//! ```
//!
//! A cold reset always takes the power away and gives it again, even right after a connect. Only then is the
//! ATR certainly that of the card in the reader, even if pcscd missed a change of cards. The driver
//! disconnects from a card explicitly; dropping the `pcsc` crate's `Card` would reset it.
//!
//! Between two cards any program can take the reader: pcsc-lite 1.9.9 cannot reserve an empty one. An
//! exclusive connect needs a card (without a protocol: "protocol mismatch"), and so does making a direct
//! connection exclusive. A direct connection is not exclusive, and inside a transaction it makes every other
//! connect block in pcscd for ever, including those of other stations' hosts that look for their own reader.
//! So the driver waits for a reader that another program took as it waits for a card, and then reports it as
//! held: the reader is to blame, not the card.
//!
//! The `pcsc` crate panics at an answer that it does not know. Such a panic ends here as a fault of the
//! reader, and the driver forgets its state of the service.

use std::ffi::{CStr, CString};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, mem, thread};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use pcsc::{Attribute, Card, Context, Disposition, Error, ReaderState, Scope, ShareMode, State};
use zeroize::{Zeroize, Zeroizing};

use super::select::{ReaderSelector, ReaderSpec, by_channel, by_name};
use super::trouble::PcscTrouble;
use super::usb;
use crate::apdu::ApduExchange;
use crate::atr;
use crate::link::{CardError, LinkError, Protocol, Protocols, Reset};
use crate::presence::{self, CardPresence, DeviceConnection, LookFor, ReaderSighting};

/// Longest answer to an extended APDU, with the bytes that PC/SC adds: its MAX_BUFFER_SIZE_EXTENDED.
const ANSWER_MAX: usize = 65_548;
/// Shortest time for which another program may hold a reader before that is reported: a host that looks for
/// its own reader holds each reader for an instant, and pcscd notices the death of a host a moment later.
const HELD_PATIENCE: Duration = Duration::from_millis(300);
/// Time within which pcscd notices that a card has gone: it polls a reader without interrupts every 400 ms.
const NOTICE_TIME: Duration = Duration::from_millis(600);
/// Pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(10);
/// Socket of the PC/SC library: the environment variable, and the library's default path.
const SOCKET: (&str, &str) = ("PCSCLITE_CSOCK_NAME", "/run/pcscd/pcscd.comm");
/// The kernel's view of USB.
const SYSFS: &str = "/sys";

/// A reader of PC/SC and the card in it.
pub struct PcscReader {
    spec: ReaderSpec,
    sysfs: PathBuf,
    // Declared in the order in which they must be dropped.
    card: Option<Card>,
    reader: Option<CString>,
    context: Option<Context>,
    answer: Zeroizing<Vec<u8>>,
    /// The process that has the reader, with the time of its start.
    service: String,
    /// The connection of the last look. A card is reset on no other one: it may be another reader's.
    looked_at: Option<String>,
    /// The whole response to the last command.
    response: Zeroizing<Vec<u8>>,
    /// The protocol in which the card was reset.
    protocol: Protocol,
    /// Whether the last card left, or may have left, in the middle of a command.
    torn: bool,
}

impl PcscReader {
    /// Looks for the reader, without connecting to it.
    pub fn open(spec: ReaderSpec) -> Result<Self, CardError> {
        Self::open_in(spec, Path::new(SYSFS))
    }

    /// Like [`Self::open`], with another root of sysfs.
    pub fn open_in(spec: ReaderSpec, sysfs: &Path) -> Result<Self, CardError> {
        spec.check()?;
        let mut reader = Self {
            spec,
            sysfs: sysfs.to_owned(),
            card: None,
            reader: None,
            context: None,
            service: String::new(),
            looked_at: None,
            answer: Zeroizing::new(vec![0; ANSWER_MAX]),
            response: Zeroizing::default(),
            protocol: Protocol::T1,
            // The session before this one is unknown: a host that was killed leaves the reader in this state.
            torn: true,
        };
        reader.guarded(|reader| reader.choose().map_err(PcscTrouble::error))?;
        Ok(reader)
    }

    /// The whole name under which PC/SC lists the reader now.
    pub fn name(&self) -> String {
        self.reader.as_deref().map(CStr::to_string_lossy).unwrap_or_default().into_owned()
    }

    /// Resets the card and returns its ATR; waits for a card as long as the spec says.
    pub fn power_on(&mut self, reset: Reset, protocols: Protocols) -> Result<Vec<u8>, CardError> {
        self.guarded(|reader| reader.twice(|reader| reader.reset(reset, protocols)))
    }

    /// Sends one command APDU and returns its whole response APDU. PC/SC leaves both the form of a T=0 command
    /// and the fetching of its response to the caller of SCardTransmit.
    pub fn transmit(&mut self, command: &[u8]) -> Result<&[u8], CardError> {
        let mut exchange = ApduExchange::new(self.protocol, command);
        while let Some(command) = exchange.pending() {
            let length = self.guarded(|reader| reader.exchange(command))?;
            exchange.answer(self.answer.get(..length).unwrap_or_default());
        }
        self.response = Zeroizing::new(exchange.take_response());
        Ok(&self.response)
    }

    /// Sends one command as it is; returns the length of the answer.
    fn exchange(&mut self, command: &[u8]) -> Result<usize, CardError> {
        let Some(card) = &self.card else { return Err(CardError::Removed) };
        let trouble = match card.transmit(command, &mut self.answer).map(<[u8]>::len) {
            // A reader driver reports a card that went away during the command in this way.
            Ok(0) => PcscTrouble::Final(CardError::Removed),
            Ok(length) => return Ok(length),
            Err(error) => error.into(),
        };
        let trouble = self.blamed(trouble);
        let outdated = matches!(trouble, PcscTrouble::Outdated(_));
        if outdated {
            self.forget();
        }
        let error = trouble.error();
        self.torn = outdated || error == CardError::Removed;
        Err(error)
    }

    /// Takes the power off and disconnects from the card.
    pub fn power_off(&mut self) -> Result<(), CardError> {
        self.answer.as_mut_slice().zeroize();
        self.response.zeroize();
        self.guarded(Self::let_go)
    }

    fn let_go(&mut self) -> Result<(), CardError> {
        match self.card.take().map(|card| card.disconnect(Disposition::UnpowerCard)) {
            None | Some(Ok(())) => Ok(()),
            // A card that went away has no power.
            Some(Err((_, error))) if is_gone(error) => Ok(()),
            Some(Err((_, error))) => {
                let trouble = self.blamed(error.into());
                if let PcscTrouble::Outdated(_) = trouble {
                    self.forget();
                }
                Err(trouble.error())
            }
        }
    }

    /// Returns what the reader sees, once that is what is looked for, and after `wait` at the latest. No card
    /// is touched.
    pub fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        let until = Instant::now() + wait;
        self.guarded(|reader| reader.twice(|reader| reader.look_until(wanted, until)))
    }

    fn look_until(&mut self, wanted: LookFor, until: Instant) -> Result<ReaderSighting, PcscTrouble> {
        self.choose()?;
        let (Some(context), Some(name)) = (&self.context, &self.reader) else {
            return Err(Error::NoService.into());
        };
        let mut states = look(context, name)?;
        // After a card that left in the middle of a command, pcscd may not notice the next one by itself.
        let mut ask = (wanted == LookFor::Card && self.torn).then(|| Instant::now() + NOTICE_TIME);
        loop {
            let [state] = &mut states;
            let presence = presence(state.event_state());
            let now = Instant::now();
            if wanted.is_met(presence) || now >= until {
                let count = u16::try_from(state.event_count()).unwrap_or(u16::MAX);
                let connection = DeviceConnection { node: self.node(name), count };
                self.looked_at = Some(connection.node.clone());
                return Ok(ReaderSighting { presence, connection });
            }
            if ask.take_if(|ask| now >= *ask).is_some()
                && let Some(card) = unnoticed(context, name, pcsc::Protocols::ANY)
            {
                drop(card.disconnect(Disposition::UnpowerCard));
                states = look(context, name)?;
                continue;
            }
            let [state] = &mut states;
            state.sync_current_state();
            let time = ask.map_or(until, |ask| ask.min(until)).saturating_duration_since(now);
            match context.get_status_change(time, &mut states) {
                Err(Error::Timeout) => {}
                outcome => outcome?,
            }
        }
    }

    /// The service that has the reader, the reader's name there, and its device if it is bound by USB path.
    fn node(&self, name: &CStr) -> String {
        let device = match &self.spec.by {
            ReaderSelector::Usb(path) => usb::channel(&self.sysfs, path).ok(),
            ReaderSelector::Name(_) => None,
        };
        format!("{} {} {:x}", self.service, name.to_string_lossy(), device.unwrap_or_default())
    }

    /// Whether the reader answers, with a card or without.
    pub fn probe(&mut self) -> Result<(), CardError> {
        self.guarded(|reader| reader.twice(Self::answers))
    }

    fn answers(&mut self) -> Result<(), PcscTrouble> {
        if let Some(card) = &self.card {
            return match card.status2_len() {
                Ok(_) | Err(Error::RemovedCard | Error::ResetCard) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        match self.connect(pcsc::Protocols::ANY, Instant::now()) {
            // The reader answers; failing to take the power off again is no fault of it.
            Ok(card) => drop(card.disconnect(Disposition::UnpowerCard)),
            Err(PcscTrouble::Final(CardError::Absent | CardError::Mute | CardError::Protocol)) => {}
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// Survives a panic of the `pcsc` crate. Its handles are not even released, because that would be further
    /// calls of the crate.
    fn guarded<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, CardError>) -> Result<T, CardError> {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| call(self)));
        outcome.unwrap_or_else(|_| {
            mem::forget((self.card.take(), self.context.take()));
            self.reader = None;
            Err(CardError::Reader(LinkError::Io(format!(
                "PC/SC: reader {}: what no pcscd answers; look what listens at {} and restart pcscd",
                self.spec,
                socket().display()
            ))))
        })
    }

    /// Blames the service for a card that seems to have gone, if the service itself has gone.
    fn blamed(&self, trouble: PcscTrouble) -> PcscTrouble {
        let answers = || match self.context.as_ref().map(Context::list_readers_owned) {
            Some(outcome) => matches!(outcome, Ok(_) | Err(Error::NoReadersAvailable)),
            None => true,
        };
        match trouble {
            PcscTrouble::Final(CardError::Removed) if !answers() => PcscTrouble::service_gone(),
            trouble => trouble,
        }
    }

    /// Runs the attempt. If the state was out of date, forgets it all and tries once more.
    fn twice<T>(&mut self, attempt: impl Fn(&mut Self) -> Result<T, PcscTrouble>) -> Result<T, CardError> {
        match attempt(self).map_err(|trouble| self.blamed(trouble)) {
            Err(PcscTrouble::Outdated(_)) => {
                self.forget();
                let again = attempt(self).map_err(|trouble| self.blamed(trouble));
                if let Err(PcscTrouble::Outdated(_)) = again {
                    self.forget();
                }
                again.map_err(PcscTrouble::error)
            }
            outcome => outcome.map_err(PcscTrouble::error),
        }
    }

    /// Forgets the old connection, which is useless now.
    fn forget(&mut self) {
        if let Some(card) = self.card.take() {
            // The result would change nothing.
            drop(card.disconnect(Disposition::UnpowerCard));
        }
        self.reader = None;
        self.context = None;
    }

    /// Resets the card. If the card gives no ATR or one of another protocol, resets it once more: it may be a
    /// card that has gone, which pcscd notices only after a while, sometimes together with the next card.
    fn reset(&mut self, reset: Reset, protocols: Protocols) -> Result<Vec<u8>, PcscTrouble> {
        let until = Instant::now() + Duration::from_millis(self.spec.wait_ms.into());
        let mut outcome = self.reset_now(reset, protocols, until);
        if let Err(PcscTrouble::Final(CardError::Mute | CardError::Protocol)) = outcome {
            self.settle()?;
            outcome = self.reset_now(reset, protocols, until);
        }
        match outcome {
            // pcscd reports a garbled ATR in this way too.
            Err(PcscTrouble::Final(CardError::Protocol)) if !atr::is_whole(&self.last_atr()?) => {
                Err(PcscTrouble::Final(CardError::Mute))
            }
            outcome => outcome,
        }
    }

    /// Gives pcscd the time to notice that a card has gone.
    fn settle(&self) -> Result<(), PcscTrouble> {
        let (Some(context), Some(name)) = (&self.context, &self.reader) else { return Ok(()) };
        let until = Instant::now() + NOTICE_TIME;
        let mut states = look(context, name)?;
        let [state] = &states;
        let before = state.event_count();
        loop {
            let [state] = &mut states;
            if state.event_state().contains(State::EMPTY) || state.event_count() != before {
                return Ok(());
            }
            // Only the holder of the reader has changed.
            state.sync_current_state();
            match context.get_status_change(until.saturating_duration_since(Instant::now()), &mut states) {
                Err(Error::Timeout) => return Ok(()),
                outcome => outcome?,
            }
        }
    }

    /// Returns the ATR that pcscd has for the card in the reader.
    fn last_atr(&self) -> Result<Vec<u8>, PcscTrouble> {
        let (Some(context), Some(name)) = (&self.context, &self.reader) else { return Ok(Vec::new()) };
        let [state] = look(context, name)?;
        Ok(state.atr().to_vec())
    }

    fn reset_now(
        &mut self,
        reset: Reset,
        protocols: Protocols,
        until: Instant,
    ) -> Result<Vec<u8>, PcscTrouble> {
        let mut allowed = pcsc::Protocols::UNDEFINED;
        allowed.set(pcsc::Protocols::T0, protocols.t0);
        allowed.set(pcsc::Protocols::T1, protocols.t1);
        let how = match reset {
            Reset::Cold => Disposition::UnpowerCard,
            Reset::Warm => Disposition::ResetCard,
        };
        if let Some(mut card) = self.card.take() {
            match card.reconnect(ShareMode::Exclusive, allowed, how) {
                Ok(()) => return self.keep(card),
                Err(error) => {
                    // A card may lie there or not; there is no session with it.
                    drop(card.disconnect(Disposition::UnpowerCard));
                    if !is_gone(error) || reset == Reset::Warm {
                        return Err(error.into());
                    }
                }
            }
        }
        loop {
            let mut card = self.connect(allowed, until)?;
            match card.reconnect(ShareMode::Exclusive, allowed, how) {
                Ok(()) => return self.keep(card),
                Err(error) => {
                    drop(card.disconnect(Disposition::UnpowerCard));
                    // The connection was to a card that had been taken away, which pcscd noticed only now.
                    // The next card may still come, and may be overlooked as after any card that left in the
                    // middle of a command.
                    self.torn = is_gone(error);
                    if !self.torn || Instant::now() >= until {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Keeps the connection to a card that was just reset, and its protocol; returns its ATR.
    fn keep(&mut self, card: Card) -> Result<Vec<u8>, PcscTrouble> {
        let (mut names, mut atr) = ([0; 256], [0; pcsc::MAX_ATR_SIZE]);
        let status = card.status2(&mut names, &mut atr);
        let status = status.map(|status| (status.atr().to_vec(), status.protocol2()));
        self.card = Some(card);
        let (atr, protocol) = status?;
        // pcscd chose it, from those that the card offers and the caller allows.
        self.protocol = if protocol == Some(pcsc::Protocol::T0) { Protocol::T0 } else { Protocol::T1 };
        Ok(atr)
    }

    /// Connects exclusively; waits for a card until `until`.
    fn connect(&mut self, protocols: pcsc::Protocols, until: Instant) -> Result<Card, PcscTrouble> {
        self.choose()?;
        let (Some(context), Some(name)) = (&self.context, &self.reader) else {
            return Err(Error::NoService.into());
        };
        if self.looked_at.as_ref().is_some_and(|node| *node != self.node(name)) {
            let what = format!("reader {}: it was connected anew since it was last looked at", self.spec);
            return Err(PcscTrouble::Final(CardError::NoReader(what)));
        }
        let free = until.max(Instant::now() + HELD_PATIENCE);
        // After a card that left in the middle of a command, pcscd may not notice the next one by itself.
        let mut look = mem::take(&mut self.torn).then(|| Instant::now() + NOTICE_TIME);
        loop {
            let outcome = context.connect(name, ShareMode::Exclusive, protocols);
            let now = Instant::now();
            match outcome {
                Ok(card) => return Ok(card),
                Err(Error::NoSmartcard) if now < until => {
                    let time = look.map_or(until, |look| until.min(look)).saturating_duration_since(now);
                    await_card(context, name, time)?;
                    if look.take_if(|look| Instant::now() >= *look).is_some()
                        && let Some(card) = unnoticed(context, name, protocols)
                    {
                        return Ok(card);
                    }
                }
                Err(Error::SharingViolation) if now < free => {}
                Err(error) => {
                    // The next card may be overlooked as well.
                    self.torn = error == Error::NoSmartcard;
                    return Err(error.into());
                }
            }
            thread::sleep(PAUSE);
        }
    }

    /// Establishes a context and chooses the reader, unless that is done.
    fn choose(&mut self) -> Result<(), PcscTrouble> {
        if self.context.is_none() {
            self.reader = None;
            self.context = Some(Context::establish(Scope::System)?);
            self.service = service();
        }
        let Some(context) = self.context.as_ref().filter(|_| self.reader.is_none()) else { return Ok(()) };
        let listed = match context.list_readers_owned() {
            Ok(listed) => listed,
            Err(Error::NoReadersAvailable) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let text = |name: &CString| name.to_string_lossy().into_owned();
        let chosen = match &self.spec.by {
            ReaderSelector::Name(name) => {
                by_name(&listed.iter().map(text).collect::<Vec<_>>(), &self.spec, name)
            }
            ReaderSelector::Usb(path) => usb::channel(&self.sysfs, path).and_then(|channel| {
                let there: Vec<_> =
                    listed.iter().map(|name| (text(name), channel_of(context, name))).collect();
                by_channel(&there, &self.spec, channel)
            }),
        };
        let chosen = chosen.map_err(PcscTrouble::Final)?;
        self.reader = listed.into_iter().find(|name| text(name) == chosen);
        Ok(())
    }
}

impl Drop for PcscReader {
    fn drop(&mut self) {
        // There is no caller left to receive an error.
        drop(self.guarded(|reader| {
            reader.forget();
            Ok(())
        }));
    }
}

/// Whether this error of pcscd says that the card has gone.
fn is_gone(error: Error) -> bool {
    matches!(error, Error::RemovedCard | Error::NoSmartcard | Error::ResetCard)
}

/// The card in a reader of this state.
fn presence(state: State) -> CardPresence {
    if state.contains(State::MUTE) {
        CardPresence::Mute
    } else if state.contains(State::PRESENT) {
        CardPresence::Card
    } else {
        CardPresence::Empty
    }
}

/// The path of the PC/SC library's socket.
fn socket() -> PathBuf {
    let (variable, default) = SOCKET;
    env::var_os(variable).unwrap_or_else(|| default.into()).into()
}

/// The process that listens at the PC/SC library's socket, with the time of its start. Where the system's
/// manager listens for pcscd, that is the manager, and the file that pcscd keeps there is new with each pcscd.
fn service() -> String {
    let socket = socket();
    let peer = UnixStream::connect(&socket).ok().and_then(|stream| {
        let peer = getsockopt(&stream, PeerCredentials).ok()?;
        Some(presence::process(peer.pid()))
    });
    let own_file = presence::node_at(&socket.with_extension("pid"));
    format!("{} {}", peer.unwrap_or_default(), own_file.unwrap_or_default())
}

/// Asks pcscd for the reader's state, to wait for a change of it.
fn look(context: &Context, name: &CStr) -> Result<[ReaderState; 1], Error> {
    let mut states = [ReaderState::new(name, State::UNAWARE)];
    context.get_status_change(Duration::ZERO, &mut states)?;
    Ok(states)
}

/// Finds a card that lies in the reader although pcscd reports none: it replaced one that left in the middle
/// of a command, between two looks of pcscd (1.9.9: each look finds a card, so nothing seems to have
/// changed). Powering it up without asking makes pcscd notice it.
fn unnoticed(context: &Context, name: &CStr, protocols: pcsc::Protocols) -> Option<Card> {
    let mut card = context.connect(name, ShareMode::Direct, pcsc::Protocols::UNDEFINED).ok()?;
    match card.reconnect(ShareMode::Exclusive, protocols, Disposition::UnpowerCard) {
        Ok(()) => Some(card),
        Err(_) => {
            // Most likely there is none.
            drop(card.disconnect(Disposition::LeaveCard));
            None
        }
    }
}

/// Waits until a card lies in the reader; a card that does not come in time is no fault here.
fn await_card(context: &Context, name: &CStr, time: Duration) -> Result<(), Error> {
    let until = Instant::now() + time;
    let mut states = look(context, name)?;
    loop {
        let [state] = &mut states;
        if !state.event_state().contains(State::EMPTY) {
            return Ok(());
        }
        state.sync_current_state();
        match context.get_status_change(until.saturating_duration_since(Instant::now()), &mut states) {
            Err(Error::Timeout) => return Ok(()),
            outcome => outcome?,
        }
    }
}

/// Asks the driver where the reader is plugged in. A reader that another program holds is asked later; this
/// station's own is not held.
fn channel_of(context: &Context, name: &CStr) -> Option<u32> {
    let card = context.connect(name, ShareMode::Direct, pcsc::Protocols::UNDEFINED).ok()?;
    let mut value = [0; 8];
    let channel = card.get_attribute(Attribute::ChannelId, &mut value).ok();
    let channel = channel.and_then(|value| value.first_chunk()).map(|chunk| u32::from_ne_bytes(*chunk));
    drop(card.disconnect(Disposition::LeaveCard));
    channel
}
