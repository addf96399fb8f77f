//! The controller's end of a reader's host.

use std::time::{Duration, Instant};

use super::process::{HostPipe, HostSpec};
use crate::exchange::ReaderExchange;
use crate::link::{CardError, CardLink, CommandStep, LinkError, Protocols, Reset, SessionLimits};
use crate::presence::{DeviceConnection, LookFor, ReaderSighting};

/// Time for a host to start, where the caller has set none.
const START_TIME: Duration = Duration::from_secs(5);

/// A card link to a reader in a host process.
///
/// No process runs until the first power-on, probe or reopening. After the host has gone, commands are
/// answered with "closed", because the card has lost its session.
pub struct HostReader {
    exchange: ReaderExchange<HostPipe>,
    /// The connection of the last look, and whether the host that runs has confirmed it. A card is reset on no
    /// other connection.
    looked_at: Option<(DeviceConnection, bool)>,
}

impl HostReader {
    /// Takes the specification; starts nothing yet. [`CardLink::reopen`] starts the host and fails if the
    /// reader is not there.
    pub fn new(spec: HostSpec) -> Self {
        Self { exchange: ReaderExchange::over(HostPipe::new(spec)), looked_at: None }
    }

    /// The whole name of the reader, once a host has opened it.
    pub fn opened(&self) -> &str {
        &self.exchange.link().opened
    }

    /// The process of the host, if one runs.
    pub fn pid(&self) -> Option<u32> {
        self.exchange.link().pid()
    }

    /// Makes sure that a host runs for the next exchange; returns the time that is left after starting it.
    fn ready(&mut self, timeout: Duration) -> Result<Duration, CardError> {
        let begun = Instant::now();
        if !self.exchange.link().is_running() {
            if let Some((_, confirmed)) = &mut self.looked_at {
                *confirmed = false;
            }
            let outcome = self.exchange.reopen(timeout);
            outcome
                .map_err(|error| self.exchange.link_mut().refused.take().unwrap_or(error))
                .map_err(|error| within(timeout, error))?;
        }
        Ok(timeout.saturating_sub(begun.elapsed()))
    }

    /// Makes sure that a host that was started since the last look has the reader that was looked at.
    fn confirm(&mut self) -> Result<(), CardError> {
        let Some((connection, false)) = &self.looked_at else { return Ok(()) };
        let connection = connection.clone();
        let outcome = self.exchange.look(LookFor::Anything, Duration::ZERO);
        if !self.judged(outcome)?.connection.continues(&connection) {
            let what = format!("reader {}: it was connected anew since it was last looked at", self.opened());
            return Err(CardError::NoReader(what));
        }
        self.looked_at = Some((connection, true));
        Ok(())
    }

    /// Returns the outcome. After a timeout or a fault of the protocol the host is useless, and is killed.
    fn judged<T>(&mut self, outcome: Result<T, CardError>) -> Result<T, CardError> {
        if let Err(error) = &outcome {
            let fault = matches!(
                error,
                CardError::Malformed | CardError::Reader(LinkError::Timeout(_) | LinkError::Closed)
            );
            if fault || self.exchange.is_lost() {
                self.exchange.link_mut().kill();
            }
        }
        outcome
    }
}

impl CardLink for HostReader {
    fn power_on(
        &mut self,
        reset: Reset,
        protocols: Protocols,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError> {
        let left = self.ready(timeout)?;
        self.confirm()?;
        let outcome = self.exchange.power_on(reset, protocols, left);
        self.judged(outcome).map_err(|error| within(timeout, error))
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        let outcome = self.exchange.transmit(command, timeout);
        self.judged(outcome)
    }

    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        let outcome = self.exchange.transmit_all(steps, limits, responses);
        self.judged(outcome)
    }

    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError> {
        let outcome = self.exchange.power_off(timeout);
        self.judged(outcome)
    }

    fn probe(&mut self, timeout: Duration) -> Result<(), CardError> {
        let left = self.ready(timeout)?;
        let outcome = self.exchange.probe(left);
        self.judged(outcome).map_err(|error| within(timeout, error))
    }

    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        self.ready(START_TIME)?;
        let outcome = self.exchange.look(wanted, wait);
        let seen = self.judged(outcome)?;
        self.looked_at = Some((seen.connection.clone(), true));
        Ok(seen)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange.link_mut().kill();
        self.ready(timeout).map(drop)
    }
}

/// Makes a timeout report the caller's whole time, not the rest that was left after starting a host.
fn within(timeout: Duration, error: CardError) -> CardError {
    match error {
        CardError::Reader(LinkError::Timeout(_)) => CardError::Reader(LinkError::Timeout(timeout)),
        error => error,
    }
}
