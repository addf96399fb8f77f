//! Card printer (wire section 4): one PNG a side.
//!
//! Not here: drawing. The printer takes pixels as they are.

use std::time::Duration;

use crate::error::DeviceError;
use crate::framed::{Framed, QUICK_WORK};
use crate::link::Link;
use crate::wire::FRAME_DATA_MAX;

/// For printing both sides of one card. Dye sublimation with overlay takes up to 25 s, warming up the same again.
const PRINT_WORK: Duration = Duration::from_secs(60);

/// A card printer on a link.
pub struct Printer<L> {
    framed: Framed<L>,
    work: Duration,
}

impl<L: Link> Printer<L> {
    /// Takes the link over.
    pub fn new(link: L) -> Self {
        Self { framed: Framed::new(link), work: PRINT_WORK }
    }

    /// Another time limit for printing one card than 60 s.
    pub fn with_work_time(self, work: Duration) -> Self {
        Self { work, ..self }
    }

    /// Prints the card in the station; a side is the bytes of a PNG, or `None` to leave it as it is.
    pub fn print(&mut self, front: Option<&[u8]>, back: Option<&[u8]>) -> Result<(), DeviceError> {
        self.framed.command(b'C', &[], QUICK_WORK)?;
        for (side, image) in [(b'F', front), (b'B', back)] {
            if let Some(image) = image {
                self.load(side, image)?;
            }
        }
        self.framed.command(b'P', &[], self.work)?;
        Ok(())
    }

    /// The model's name.
    pub fn model(&mut self) -> Result<String, DeviceError> {
        self.framed.model()
    }

    /// Side 'F' or 'B', the length as u32 BE, then the bytes in frames.
    fn load(&mut self, side: u8, image: &[u8]) -> Result<(), DeviceError> {
        let length =
            u32::try_from(image.len()).map_err(|_| DeviceError::Data("an image of 4 GiB or more"))?;
        let [a, b, c, d] = length.to_be_bytes();
        self.framed.command(b'H', &[side, a, b, c, d], QUICK_WORK)?;
        for chunk in image.chunks(FRAME_DATA_MAX) {
            self.framed.command(b'D', chunk, QUICK_WORK)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Condition;
    use crate::testing::{Script, frame};

    #[test]
    fn sends_each_side_with_its_length_in_frames() {
        let front: Vec<u8> = (0..=255u8).cycle().take(2050).collect();
        let back = [0x89, b'P', b'N', b'G'];
        let mut script = Script::new().done(b'C', b"");
        script = script.done(b'H', b"F\x00\x00\x08\x02");
        for chunk in [&front[..1024], &front[1024..2048], &front[2048..]] {
            script = script.done(b'D', chunk);
        }
        script = script.done(b'H', b"B\x00\x00\x00\x04");
        script = script.done(b'D', &back);
        script = script.done(b'P', b"");
        let (link, check) = script.build();
        Printer::new(link).print(Some(&front), Some(&back)).unwrap();
        check.finished();
    }

    #[test]
    fn a_side_without_image_is_left_out() {
        let mut script = Script::new().done(b'C', b"");
        script = script.done(b'H', b"B\x00\x00\x00\x01");
        script = script.done(b'D', b"x");
        script = script.done(b'P', b"");
        let (link, check) = script.build();
        Printer::new(link).print(None, Some(b"x")).unwrap();
        check.finished();
    }

    #[test]
    fn ribbon_out_is_a_supply_fault() {
        let script = Script::new()
            .done(b'C', b"")
            .expect(&frame(b"P"))
            .give(&[0x06])
            .give(&frame(b"P4"))
            .expect(&[0x06]);
        let (link, check) = script.build();
        let error = Printer::new(link).print(None, None).unwrap_err();
        assert_eq!(error.condition(), Some(Condition::Supply));
        check.finished();
    }

    #[test]
    fn a_printer_that_stays_silent_ends_as_timeout() {
        let (link, check) = Script::new().done(b'C', b"").expect(&frame(b"P")).give(&[0x06]).build();
        let work = Duration::from_secs(3);
        let error = Printer::new(link).with_work_time(work).print(None, None).unwrap_err();
        assert_eq!(error, DeviceError::Timeout(work));
        check.finished();
    }
}
