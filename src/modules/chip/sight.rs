//! A reader's sight: PC/SC reports each card that comes and goes (SCardGetStatusChange). A reader without a
//! switch reports its empty place as a mute card, and is asked by a reset.

use std::time::Duration;

use drivers::link::{CardError, Protocols, Reset};
use drivers::presence::{CardPresence, DeviceConnection, LookFor};

use super::{ChipModule, POWER_OFF_TIME, PROBE_TIME};
use crate::modules::Fault;
use crate::modules::sight::{CardSight, LATE_TIME};

impl CardSight for ChipModule {
    fn connection(&mut self) -> Result<DeviceConnection, Fault> {
        Ok(self.link.look(LookFor::Anything, Duration::ZERO)?.connection)
    }

    fn stays_empty(&mut self, time: Duration) -> Result<bool, Fault> {
        if time.is_zero() {
            return Ok(true);
        }
        // A card that has just left may still be reported.
        self.link.look(LookFor::NoCard, LATE_TIME)?;
        Ok(self.link.look(LookFor::Card, time)?.presence != CardPresence::Card)
    }

    fn expect(&mut self) -> Result<bool, Fault> {
        let seen = self.link.look(LookFor::NoCard, LATE_TIME)?;
        self.without_switch = seen.presence == CardPresence::Mute;
        Ok(seen.presence != CardPresence::Card)
    }

    fn comes(&mut self, wait: Duration) -> Result<(bool, DeviceConnection), Fault> {
        if !self.without_switch {
            let seen = self.link.look(LookFor::Card, wait)?;
            return Ok((seen.presence != CardPresence::Empty, seen.connection));
        }
        let answers = match self.link.power_on(Reset::Cold, Protocols::ANY, wait.max(PROBE_TIME)) {
            Ok(_) => {
                self.link.power_off(POWER_OFF_TIME)?;
                true
            }
            Err(CardError::Mute | CardError::Absent | CardError::Removed) => false,
            Err(error) => return Err(error.into()),
        };
        Ok((answers, self.connection()?))
    }

    fn sees(&mut self) -> Result<bool, Fault> {
        Ok(self.link.look(LookFor::Anything, Duration::ZERO)?.presence != CardPresence::Empty)
    }
}
