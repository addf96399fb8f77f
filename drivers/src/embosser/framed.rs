//! The framed embosser, also for indent print (wire section 3; the lines are Datacard's published escape
//! `~EM%font;x;y;text`).
//!
//! Not here: fonts, positions and the text on the card: the record brings complete lines, which acceptance
//! has checked. This driver only refuses lines that would break the transmission.

use std::time::Duration;

use zeroize::Zeroizing;

use super::CardEmbosser;
use crate::error::DeviceError;
use crate::framed::{FramedLink, QUICK_WORK};
use crate::identity::MachineIdentity;
use crate::link::ByteLink;
use crate::registry::Capability;
use crate::wire::FRAME_DATA_MAX;

/// Time for embossing one card. Machines take one to three seconds, and longer while the topping foil warms
/// up.
const EMBOSS_WORK: Duration = Duration::from_secs(20);

/// Bit/s of its serial port.
pub const BAUD: u32 = 9600;

/// The machine's abilities.
pub const CAPABILITIES: &[Capability] = &[Capability::Emboss, Capability::Indent, Capability::Number];

/// A framed embosser on its link.
pub struct FramedEmbosser<L> {
    framed: FramedLink<L>,
    work: Duration,
}

impl<L: ByteLink> FramedEmbosser<L> {
    /// Takes the link over.
    pub fn new(link: L) -> Self {
        Self { framed: FramedLink::new(link), work: EMBOSS_WORK }
    }

    /// Changes the time limit for embossing one card, which is 20 s otherwise.
    pub fn with_work_time(self, work: Duration) -> Self {
        Self { work, ..self }
    }
}

impl<L: ByteLink> CardEmbosser for FramedEmbosser<L> {
    fn emboss(&mut self, lines: &[String]) -> Result<(), DeviceError> {
        let frames = pack(lines)?;
        self.framed.begin()?;
        for frame in &frames {
            self.framed.command(b'L', frame, QUICK_WORK)?;
        }
        self.framed.command(b'E', &[], self.work)?;
        Ok(())
    }

    fn ready(&mut self) -> Result<String, DeviceError> {
        self.framed.model()
    }

    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        Some(&mut self.framed)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.framed.reopen(timeout)
    }
}

/// The lines in the machine's form, as many complete ones to a frame as fit.
fn pack(lines: &[String]) -> Result<Vec<Zeroizing<Vec<u8>>>, DeviceError> {
    let mut frames = Vec::new();
    // Never grows beyond a frame, so no copy of the text is left in freed memory.
    let mut frame = Zeroizing::new(Vec::with_capacity(FRAME_DATA_MAX));
    for line in lines {
        if !line.starts_with("~EM%") {
            return Err(DeviceError::Data("an emboss line does not begin with ~EM%"));
        }
        let length = line.chars().count() + 2;
        if length > FRAME_DATA_MAX {
            return Err(DeviceError::Data("an emboss line is longer than a frame"));
        }
        if frame.len() + length > FRAME_DATA_MAX {
            frames.push(std::mem::replace(&mut frame, Zeroizing::new(Vec::with_capacity(FRAME_DATA_MAX))));
        }
        for character in line.chars() {
            let byte = u8::try_from(u32::from(character)).ok().filter(|_| !character.is_control());
            frame.push(byte.ok_or(DeviceError::Data("an emboss line holds a character outside ISO 8859-1"))?);
        }
        frame.extend_from_slice(b"\r\n");
    }
    if !frame.is_empty() {
        frames.push(frame);
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Condition;
    use crate::testing::{Script, frame};

    #[test]
    fn clears_loads_and_embosses() {
        let script = Script::new().done(b'C', b"");
        let script = script.done(b'L', b"~EM%2;401;843;4761 7390\r\n~EM%1;307;328;M\xDCLLER;X\r\n");
        let script = script.done(b'E', b"");
        let (link, check) = script.build();
        let lines = ["~EM%2;401;843;4761 7390".to_string(), "~EM%1;307;328;MÜLLER;X".to_string()];
        FramedEmbosser::new(link).emboss(&lines).unwrap();
        check.finished();
    }

    #[test]
    fn lines_are_never_cut_between_frames() {
        let line = |n: usize| format!("~EM%1;1;1;{}", "X".repeat(n - 10));
        // Three lines of 340 + 2 bytes make 1,026, so the third goes into the second frame. 1,022 + 2 is
        // exactly one frame.
        let frames = pack(&[line(340), line(340), line(340), line(1022)]).unwrap();
        assert_eq!(frames.iter().map(|f| f.len()).collect::<Vec<_>>(), [684, 342, 1024]);
        assert!(frames.iter().all(|f| f.starts_with(b"~EM%") && f.ends_with(b"\r\n")));
        assert_eq!(pack(&[line(339), line(339), line(340)]).unwrap().len(), 1, "1,024 is a full frame");
        assert_eq!(pack(&[]).unwrap().len(), 0);
    }

    #[test]
    fn lines_that_would_break_the_transmission_are_not_sent() {
        for line in [
            "",
            "EM%1;1;1;A",
            "~EM%1;1;1;A\r\n~EM%1;1;1;B",
            "~EM%1;1;1;A\u{85}",
            "~EM%1;1;1;Ł",
            "~EM%1;1;1;\u{0}",
        ] {
            let (link, check) = Script::new().build();
            assert!(FramedEmbosser::new(link).emboss(&[line.to_string()]).unwrap_err().is_data(), "{line:?}");
            check.finished();
        }
        let (link, _) = Script::new().build();
        let long = format!("~EM%1;1;1;{}", "X".repeat(1013));
        assert!(FramedEmbosser::new(link).emboss(&[long]).unwrap_err().is_data());
    }

    #[test]
    fn a_fault_ends_the_card_and_nothing_more_is_sent() {
        let script = Script::new()
            .done(b'C', b"")
            .expect(&frame(b"L~EM%1;1;1;A\r\n"))
            .give(&[0x06])
            .give(&frame(b"L3"))
            .expect(&[0x06]);
        let (link, check) = script.build();
        let error = FramedEmbosser::new(link).emboss(&["~EM%1;1;1;A".to_string()]).unwrap_err();
        assert_eq!(error, DeviceError::Status { status: b'3', meaning: Condition::BadData });
        check.finished();
    }

    #[test]
    fn a_machine_that_stays_silent_ends_as_timeout() {
        let script = Script::new().done(b'C', b"").expect(&frame(b"E")).give(&[0x06]);
        let (link, check) = script.build();
        let work = Duration::from_secs(2);
        assert_eq!(
            FramedEmbosser::new(link).with_work_time(work).emboss(&[]).unwrap_err(),
            DeviceError::Timeout(work)
        );
        check.finished();
    }

    #[test]
    fn model_is_printable() {
        for (answer, good) in
            [(&b"S0CWE-1 rev. 2"[..], true), (b"S0", true), (b"S0A\x07", false), (b"S0\xFF", false)]
        {
            let (link, check) =
                Script::new().expect(&frame(b"S")).give(&[0x06]).give(&frame(answer)).expect(&[0x06]).build();
            assert_eq!(FramedEmbosser::new(link).ready().is_ok(), good);
            check.finished();
        }
    }

    proptest! {
        #[test]
        fn any_lines_are_packed_whole_or_refused(
            texts in proptest::collection::vec("\\PC{0,40}", 0..6),
            repeat in 1usize..30,
        ) {
            let lines: Vec<String> = texts.iter().map(|t| format!("~EM%1;1;1;{}", t.repeat(repeat))).collect();
            match pack(&lines) {
                Ok(frames) => {
                    let all: Vec<u8> = frames.iter().flat_map(|frame| frame.to_vec()).collect();
                    let wanted: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
                    prop_assert_eq!(all.iter().map(|byte| char::from(*byte)).collect::<String>(), wanted);
                    prop_assert!(frames.iter().all(|f| f.len() <= FRAME_DATA_MAX && f.ends_with(b"\r\n")));
                }
                Err(error) => prop_assert!(error.is_data()),
            }
        }
    }
}
