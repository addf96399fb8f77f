//! Byte stream of the MSR605 into commands. Garbage before an ESC is passed over; a broken data block is one
//! [`Command::Malformed`]; an ESC `a` inside an ISO block resets at once. What a raw block announces by its length bytes is
//! swallowed, as on the machine.

use drivers::wire::{ESC, FS};

/// The strings or bytes of three tracks.
pub type Tracks = [Vec<u8>; 3];

/// Longest track text that is kept; longer ones are malformed. The longest track has 107 characters.
const TEXT_MAX: usize = 128;

/// Commands of the table in standards.md 5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// 61
    Reset,
    /// 72
    ReadIso,
    /// 77
    WriteIso(Tracks),
    /// 65
    CommTest,
    /// 81 to 85
    Leds,
    /// 86
    SensorTest,
    /// 87
    RamTest,
    /// 7A: tracks 1 and 3, track 2
    SetZeros([u8; 2]),
    /// 6C
    GetZeros,
    /// 63
    Erase(u8),
    /// 62
    SelectBpi(u8),
    /// 6D
    ReadRaw,
    /// 6E
    WriteRaw(Tracks),
    /// 74
    Model,
    /// 76
    Firmware,
    /// 6F
    SetBpc([u8; 3]),
    /// 78
    Hico,
    /// 79
    Loco,
    /// 64
    Coercivity,
    /// A data block that is none.
    Malformed,
    /// ESC and something else.
    Unknown,
}

/// Where the stream stands.
#[derive(Debug, Default)]
enum State {
    /// Before an ESC.
    #[default]
    Idle,
    /// Behind an ESC that begins a command.
    Escape,
    /// Inside the parameters of `command`, so many wanted.
    Parameters { command: u8, wanted: usize, got: Vec<u8> },
    /// Inside a data block.
    Block(Block),
}

/// A data block: ESC `s`, then tracks 1 to 3 in order, then `?` FS.
#[derive(Debug)]
struct Block {
    raw: bool,
    tracks: Tracks,
    at: At,
}

/// What comes next in a data block.
#[derive(Debug)]
enum At {
    /// ESC before `s` or before a track number.
    Escape { mark: u8 },
    /// `s`, or a track number.
    Mark { mark: u8 },
    /// Characters of a track (ISO), ended by ESC or `?` FS.
    Text { track: u8 },
    /// LEN of a track (raw).
    Length { track: u8 },
    /// Bytes of a track (raw), so many missing.
    Bytes { track: u8, missing: u8 },
    /// `?` behind raw track 3.
    End,
    /// FS behind it.
    FileSeparator,
}

/// What a byte did to a block.
enum Step {
    Going,
    Whole,
    Broken,
    Reset,
}

/// Byte stream to commands.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
}

impl Parser {
    /// Takes a byte; gives a command when one is complete.
    pub fn push(&mut self, byte: u8) -> Option<Command> {
        let (state, command) = match std::mem::take(&mut self.state) {
            State::Idle if byte == ESC => (State::Escape, None),
            State::Idle => (State::Idle, None),
            State::Escape => begin(byte),
            State::Parameters { command, wanted, mut got } => {
                got.push(byte);
                if got.len() < wanted {
                    (State::Parameters { command, wanted, got }, None)
                } else {
                    (State::Idle, Some(with_parameters(command, &got)))
                }
            }
            State::Block(mut block) => match block.push(byte) {
                Step::Going => (State::Block(block), None),
                Step::Broken => (State::Idle, Some(Command::Malformed)),
                Step::Reset => (State::Idle, Some(Command::Reset)),
                Step::Whole if block.raw => (State::Idle, Some(Command::WriteRaw(block.tracks))),
                Step::Whole => (State::Idle, Some(Command::WriteIso(block.tracks))),
            },
        };
        self.state = state;
        command
    }
}

/// The byte behind ESC.
fn begin(byte: u8) -> (State, Option<Command>) {
    let simple = match byte {
        0x61 => Command::Reset,
        0x72 => Command::ReadIso,
        0x65 => Command::CommTest,
        0x81..=0x85 => Command::Leds,
        0x86 => Command::SensorTest,
        0x87 => Command::RamTest,
        0x6C => Command::GetZeros,
        0x6D => Command::ReadRaw,
        0x74 => Command::Model,
        0x76 => Command::Firmware,
        0x78 => Command::Hico,
        0x79 => Command::Loco,
        0x64 => Command::Coercivity,
        0x62 | 0x63 => return (parameters(byte, 1), None),
        0x7A => return (parameters(byte, 2), None),
        0x6F => return (parameters(byte, 3), None),
        0x6E | 0x77 => {
            let at = At::Escape { mark: b's' };
            return (State::Block(Block { raw: byte == 0x6E, tracks: Tracks::default(), at }), None);
        }
        ESC => return (State::Escape, None), // the one before was garbage
        _ => Command::Unknown,
    };
    (State::Idle, Some(simple))
}

fn parameters(command: u8, wanted: usize) -> State {
    State::Parameters { command, wanted, got: Vec::with_capacity(wanted) }
}

fn with_parameters(command: u8, got: &[u8]) -> Command {
    match (command, got) {
        (0x62, [x]) => Command::SelectBpi(*x),
        (0x63, [mask]) => Command::Erase(*mask),
        (0x7A, [t13, t2]) => Command::SetZeros([*t13, *t2]),
        (0x6F, [t1, t2, t3]) => Command::SetBpc([*t1, *t2, *t3]),
        _ => Command::Unknown,
    }
}

impl Block {
    fn track(&mut self, track: u8) -> Option<&mut Vec<u8>> {
        self.tracks.get_mut(usize::from(track).wrapping_sub(1))
    }

    fn push(&mut self, byte: u8) -> Step {
        let next = match self.at {
            At::Escape { mark } if byte == ESC => At::Mark { mark },
            At::Mark { .. } if byte == 0x61 && !self.raw => return Step::Reset,
            At::Mark { mark: b's' } if byte == b's' => At::Escape { mark: 1 },
            At::Mark { mark } if byte == mark && mark != b's' => {
                if self.raw {
                    At::Length { track: mark }
                } else {
                    At::Text { track: mark }
                }
            }
            At::Text { track: track @ (1 | 2) } if byte == ESC => At::Mark { mark: track + 1 },
            At::Text { .. } if byte == ESC => At::Mark { mark: 0 }, // only a reset may follow
            At::Text { track: 3 } if byte == FS => return self.end_of_text(),
            At::Text { track } => {
                let Some(text) = self.track(track) else { return Step::Broken };
                if byte == FS || text.len() >= TEXT_MAX {
                    return Step::Broken;
                }
                text.push(byte);
                At::Text { track }
            }
            At::Length { track } | At::Bytes { track, .. } => {
                let missing = match self.at {
                    At::Bytes { missing, .. } => {
                        if let Some(bytes) = self.track(track) {
                            bytes.push(byte);
                        }
                        missing - 1
                    }
                    _ => byte,
                };
                match (missing, track) {
                    (0, 3) => At::End,
                    (0, _) => At::Escape { mark: track + 1 },
                    _ => At::Bytes { track, missing },
                }
            }
            At::End if byte == b'?' => At::FileSeparator,
            At::FileSeparator if byte == FS => return Step::Whole,
            _ => return Step::Broken,
        };
        self.at = next;
        Step::Going
    }

    /// FS behind track 3: the `?` before it is the block's, not the track's.
    fn end_of_text(&mut self) -> Step {
        let [.., third] = &mut self.tracks;
        if third.pop() == Some(b'?') { Step::Whole } else { Step::Broken }
    }
}
