//! Embosser with indent wheel (`drivers::wire` section 3). Its lines are the emboss escape of Datacard's
//! published desktop driver: `~EM%font;x;y;text` CR LF, `EM` in any case, blanks allowed after `;` before a
//! number, the text being everything after the third `;`.
//!
//! Limits are those of Datacard machines without topping: x 100-3275, y 135-1460 mils, fonts 1-11, plus 20
//! for the other side; text in ISO 8859-1 without control characters, `<` and `>`. A frame with one bad line
//! adds none of its lines. The buffer stays after 'E' until 'C', so a controller that forgets to clear it
//! embosses one card's name on the next; 'E' with an empty buffer is '3'.

use drivers::wire::status;

use super::frame::{FramedMachine, MachineAnswer};
use crate::blank::EmbossedLine;
use crate::faults::{DamagedMachine, FaultKind};
use crate::pace::LinkPace;
use crate::sync::lock;
use crate::world::{SimulatedLine, SimulatedStation, TransportMove};

/// Answer to 'S', before the number.
const MODEL: &str = "hwsim embosser SIMULATED";
/// Lines that the buffer holds.
const LINES_MAX: usize = 64;

/// An embosser at a station of the simulated line.
pub struct SimulatedEmbosser<'a> {
    world: &'a SimulatedLine,
    station: &'a SimulatedStation,
    pace: LinkPace,
    buffer: Vec<EmbossedLine>,
}

impl<'a> SimulatedEmbosser<'a> {
    /// Makes the machine with an empty buffer.
    pub fn new(world: &'a SimulatedLine, station: &'a SimulatedStation) -> Self {
        Self { world, station, pace: LinkPace::new(world.speed), buffer: Vec::new() }
    }

    fn add(&mut self, data: &[u8]) -> TransportMove {
        let lines = lines(data).ok_or(status::BAD_DATA)?;
        if self.buffer.len() + lines.len() > LINES_MAX {
            return Err(status::BAD_DATA);
        }
        self.buffer.extend(lines);
        Ok(())
    }

    fn emboss(&mut self) -> TransportMove {
        let slot = self.station.slot();
        let card = slot.card().ok_or(status::NO_CARD)?;
        if self.world.jams(&mut lock(card), FaultKind::JamEmbosser, self.station) {
            return Err(status::JAM);
        }
        let (foil, embosser) = ((FaultKind::FoilOut, status::SUPPLY), DamagedMachine::Embosser);
        self.world.may_begin(&mut lock(card), foil, embosser, self.station)?;
        if self.buffer.is_empty() {
            return Err(status::BAD_DATA);
        }
        self.pace.work(self.world.sim.embosser_s);
        let mut blank = lock(card);
        blank.emboss.extend(self.buffer.iter().cloned());
        blank.worked_on();
        Ok(())
    }
}

impl FramedMachine for SimulatedEmbosser<'_> {
    const COMMANDS: &'static [u8] = b"CLES";

    fn run(&mut self, command: u8, data: &[u8]) -> Option<MachineAnswer> {
        let done = match (command, data) {
            (b'C', []) => {
                self.buffer.clear();
                Ok(())
            }
            (b'L', data) => self.add(data),
            (b'E', []) if self.world.closes(FaultKind::CloseEmbosser, self.station) => return None,
            (b'E', []) => self.emboss(),
            (b'S', []) => match self.station.machine_wants.refuses() {
                Ok(()) => return Some(MachineAnswer::numbered(MODEL, &self.station.name)),
                wanted => wanted,
            },
            _ => Err(status::BAD_DATA),
        };
        Some(MachineAnswer::of(done))
    }

    fn damage(&mut self, frame: &mut [u8]) {
        self.world.damage(DamagedMachine::Embosser, self.station, frame);
    }
}

/// Parses complete lines, at least one, each ended by CR LF; `None` if any is bad.
fn lines(mut data: &[u8]) -> Option<Vec<EmbossedLine>> {
    let mut lines = Vec::new();
    loop {
        let end = data.windows(2).position(|w| w == b"\r\n")?;
        let (text, rest) = data.split_at_checked(end)?;
        lines.push(line(text)?);
        data = rest.strip_prefix(b"\r\n")?;
        if data.is_empty() {
            return Some(lines);
        }
    }
}

/// Parses one line without its CR LF.
fn line(line: &[u8]) -> Option<EmbossedLine> {
    let (escape, rest) = line.split_first_chunk::<4>()?;
    if !escape.eq_ignore_ascii_case(b"~EM%") {
        return None;
    }
    let mut fields = rest.splitn(4, |b| *b == b';');
    let font = u8::try_from(number(fields.next()?)?).ok()?;
    let x = number(fields.next()?)?;
    let y = number(fields.next()?)?;
    let text = fields.next()?;
    let fits = matches!(font, 1..=11 | 21..=31)
        && (100..=3275).contains(&x)
        && (135..=1460).contains(&y)
        && text.iter().all(|c| matches!(c, 0x20..=0x7E | 0xA0..=0xFF) && !matches!(c, b'<' | b'>'));
    fits.then(|| EmbossedLine { font, x, y, text: text.iter().copied().map(char::from).collect() })
}

/// Reads decimal digits, with blanks allowed before them.
fn number(field: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(field).ok()?.trim_start_matches(' ');
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::frame::{QUIET, serve};
    use crate::testing::{LinkClient, feed, link, look, world};

    fn embossing<T>(
        faults: &str,
        client: impl FnOnce(&SimulatedLine, &SimulatedStation, &mut LinkClient) -> T,
    ) -> T {
        let world = world(faults);
        let station = feed(&world, "embosser-1");
        let mut embosser = SimulatedEmbosser::new(&world, station);
        link(|stream| serve(stream, &mut embosser, true, QUIET), |c| client(&world, station, c))
    }

    fn texts(station: &SimulatedStation) -> Vec<String> {
        look(station, |blank| blank.emboss.iter().map(|line| line.text.clone()).collect())
    }

    #[test]
    fn lines_are_collected_embossed_and_kept_until_cleared() {
        embossing("", |_, station, client| {
            assert_eq!(client.command(b'E', b"").0, b'3', "empty buffer");
            assert_eq!(client.command(b'L', b"~EM%2;401;843;A\r\n~EM%1;307;328;B\r\n").0, b'0');
            assert_eq!(client.command(b'L', b"~EM%10;307;600;C\r\n").0, b'0');
            assert_eq!(client.command(b'L', b"~EM%1;307;328;D\r\n~EM%99;307;328;E\r\n").0, b'3', "neither");
            assert_eq!(client.command(b'E', b"").0, b'0');
            assert_eq!(texts(station), ["A", "B", "C"]);
            assert_eq!(client.command(b'E', b"").0, b'0', "not cleared: again, as the machine would");
            assert_eq!(texts(station).len(), 6);
            assert_eq!(client.command(b'C', b"").0, b'0');
            assert_eq!(client.command(b'E', b"").0, b'3');
            assert_eq!(look(station, |blank| blank.jobs), 2);
            assert_eq!(client.command(b'S', b""), (b'0', format!("{MODEL} no.SIM-embosser-1").into_bytes()));
            assert_eq!(client.command(b'E', b"x").0, b'3');
        });
    }

    #[test]
    fn the_buffer_is_bounded() {
        embossing("", |_, _, client| {
            for n in 0..=LINES_MAX {
                let status = client.command(b'L', b"~EM%1;307;328;A\r\n").0;
                assert_eq!(status, if n < LINES_MAX { b'0' } else { b'3' });
            }
        });
    }

    #[test]
    fn jam_and_no_card() {
        embossing("[[fault]]\nkind = \"jam-embosser\"\nevery = 1", |world, station, client| {
            assert_eq!(client.command(b'L', b"~EM%1;307;328;A\r\n").0, b'0');
            assert_eq!(client.command(b'E', b"").0, b'1');
            assert_eq!(client.command(b'E', b"").0, b'1');
            assert!(texts(station).is_empty());
            world.reject(station, &mut LinkPace::new(0.0)).unwrap();
            assert_eq!(client.command(b'E', b"").0, b'2');
        });
    }

    fn parsed(text: &[u8]) -> Option<Vec<(u8, u16, u16, String)>> {
        Some(lines(text)?.into_iter().map(|l| (l.font, l.x, l.y, l.text)).collect())
    }

    /// Samples of Datacard's desktop driver, with made-up numbers.
    #[test]
    fn lines_of_the_vendor() {
        let data = b"~EM%2;401;843;4761 7390 0101 0119\r\n~em%1; 307; 480;12/22\r\n~EM%21;307;328;A;B;C \r\n";
        assert_eq!(
            parsed(data).unwrap(),
            [
                (2, 401, 843, "4761 7390 0101 0119".to_owned()),
                (1, 307, 480, "12/22".to_owned()),
                (21, 307, 328, "A;B;C ".to_owned()),
            ]
        );
        assert_eq!(parsed(b"~EM%1;100;135;M\xDCLLER\r\n").unwrap()[0].3, "MÜLLER");
        assert_eq!(parsed(b"~EM%11;3275;1460;\r\n").unwrap()[0].3, "");
    }

    #[test]
    fn bad_lines() {
        let cases: &[&[u8]] = &[
            b"",
            b"\r\n",
            b"~EM%1;307;328;A",
            b"~EM%1;307;328;A\n",
            b"~EM%1;307;328;A\r\nB",
            b"~EM%1;307;328;A\r\n\r\n",
            b"~EM%1;307;328;A\rB\r\n",
            b"~EM1;307;328;A\r\n",
            b"EM%1;307;328;A\r\n",
            b" ~EM%1;307;328;A\r\n",
            b"~EM%1;307;328\r\n",
            b"~EM%;307;328;A\r\n",
            b"~EM%0;307;328;A\r\n",
            b"~EM%12;307;328;A\r\n",
            b"~EM%20;307;328;A\r\n",
            b"~EM%32;307;328;A\r\n",
            b"~EM%257;307;328;A\r\n",
            b"~EM%1;99;328;A\r\n",
            b"~EM%1;3276;328;A\r\n",
            b"~EM%1;307;134;A\r\n",
            b"~EM%1;307;1461;A\r\n",
            b"~EM%1;+307;328;A\r\n",
            b"~EM%1;-307;328;A\r\n",
            b"~EM%1;30.7;328;A\r\n",
            b"~EM%1;307 ;328;A\r\n",
            b"~EM%1;66000;328;A\r\n",
            b"~EM%1;307;328;<A>\r\n",
            b"~EM%1;307;328;A\x1fB\r\n",
            b"~EM%1;307;328;A\x7fB\r\n",
            b"~EM%1;307;328;A\x85B\r\n",
        ];
        for case in cases {
            assert!(lines(case).is_none(), "{}", String::from_utf8_lossy(case));
        }
    }
}
