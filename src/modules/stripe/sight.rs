//! An encoder's sight: its sensor, armed before the card moves.

use std::time::Duration;

use drivers::presence::DeviceConnection;
use drivers::stripe::CardSensor;

use super::StripeModule;
use crate::modules::Fault;
use crate::modules::sight::CardSight;

/// Time in which an armed sensor reports a card that lies there.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The sensor of the encoder at a stripe station.
impl StripeModule {
    fn sensor(&mut self) -> Result<&mut dyn CardSensor, Fault> {
        self.machine.sensor().ok_or_else(|| Fault::us("an encoder without a sensor was asked for a card"))
    }
}

impl CardSight for StripeModule {
    fn connection(&mut self) -> Result<DeviceConnection, Fault> {
        Ok(self.sensor()?.connection())
    }

    fn stays_empty(&mut self, _: Duration) -> Result<bool, Fault> {
        Ok(true)
    }

    fn expect(&mut self) -> Result<bool, Fault> {
        let sees_none = self.sensor()?.arm()?;
        self.armed = sees_none;
        Ok(sees_none)
    }

    fn comes(&mut self, wait: Duration) -> Result<(bool, DeviceConnection), Fault> {
        let armed = std::mem::take(&mut self.armed);
        let sensor = self.sensor()?;
        Ok((!armed || sensor.sees(wait)?, sensor.connection()))
    }

    fn sees(&mut self) -> Result<bool, Fault> {
        let sensor = self.sensor()?;
        Ok(!sensor.arm()? || sensor.sees(LOOK_TIME)?)
    }
}
