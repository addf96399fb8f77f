//! Turns the byte stream of the MSR605 into commands. Garbage before an ESC is skipped; a broken data block
//! is one [`EncoderCommand::Malformed`]; an ESC `a` inside an ISO block resets at once. The parser swallows
//! as many bytes as a raw block announces, as the machine does.

use drivers::wire::{ESC, FS};

/// The strings or bytes of three tracks.
pub type BlockTracks = [Vec<u8>; 3];

/// Longest track text that is kept; a longer one is malformed. The longest track has 107 characters.
const TEXT_MAX: usize = 128;

/// Commands of the manuals' table (`drivers::wire` section 6), with their codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncoderCommand {
    /// 61
    Reset,
    /// 72
    ReadIso,
    /// 77
    WriteIso(BlockTracks),
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
    WriteRaw(BlockTracks),
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
    /// A broken data block.
    Malformed,
    /// ESC and another byte.
    Unknown,
}

/// Position in the stream.
#[derive(Debug, Default)]
enum StreamState {
    /// Before an ESC.
    #[default]
    Idle,
    /// After an ESC that begins a command.
    Escape,
    /// Inside the parameters of `command`, of which this many are wanted.
    Parameters { command: u8, wanted: usize, got: Vec<u8> },
    /// Inside a data block.
    Block(DataBlock),
}

/// A data block: ESC `s`, then tracks 1 to 3 in order, then `?` FS.
#[derive(Debug)]
struct DataBlock {
    raw: bool,
    tracks: BlockTracks,
    at: BlockPosition,
}

/// The next byte expected in a data block.
#[derive(Debug)]
enum BlockPosition {
    /// ESC before `s` or before a track number.
    Escape { mark: u8 },
    /// `s`, or a track number.
    Mark { mark: u8 },
    /// Characters of a track (ISO), ended by ESC or `?` FS.
    Text { track: u8 },
    /// LEN of a track (raw).
    Length { track: u8 },
    /// Bytes of a track (raw), of which this many are missing.
    Bytes { track: u8, missing: u8 },
    /// `?` after raw track 3.
    End,
    /// FS after that `?`.
    FileSeparator,
}

/// The effect of a byte on a data block.
enum BlockStep {
    Going,
    Whole,
    Broken,
    Reset,
}

/// Parser of the byte stream.
#[derive(Debug, Default)]
pub struct CommandParser {
    state: StreamState,
}

impl CommandParser {
    /// Takes a byte; returns a command when it is complete.
    pub fn push(&mut self, byte: u8) -> Option<EncoderCommand> {
        let (state, command) = match std::mem::take(&mut self.state) {
            StreamState::Idle if byte == ESC => (StreamState::Escape, None),
            StreamState::Idle => (StreamState::Idle, None),
            StreamState::Escape => begin(byte),
            StreamState::Parameters { command, wanted, mut got } => {
                got.push(byte);
                if got.len() < wanted {
                    (StreamState::Parameters { command, wanted, got }, None)
                } else {
                    (StreamState::Idle, Some(with_parameters(command, &got)))
                }
            }
            StreamState::Block(mut block) => match block.push(byte) {
                BlockStep::Going => (StreamState::Block(block), None),
                BlockStep::Broken => (StreamState::Idle, Some(EncoderCommand::Malformed)),
                BlockStep::Reset => (StreamState::Idle, Some(EncoderCommand::Reset)),
                BlockStep::Whole if block.raw => {
                    (StreamState::Idle, Some(EncoderCommand::WriteRaw(block.tracks)))
                }
                BlockStep::Whole => (StreamState::Idle, Some(EncoderCommand::WriteIso(block.tracks))),
            },
        };
        self.state = state;
        command
    }
}

/// Processes the byte after ESC.
fn begin(byte: u8) -> (StreamState, Option<EncoderCommand>) {
    let simple = match byte {
        0x61 => EncoderCommand::Reset,
        0x72 => EncoderCommand::ReadIso,
        0x65 => EncoderCommand::CommTest,
        0x81..=0x85 => EncoderCommand::Leds,
        0x86 => EncoderCommand::SensorTest,
        0x87 => EncoderCommand::RamTest,
        0x6C => EncoderCommand::GetZeros,
        0x6D => EncoderCommand::ReadRaw,
        0x74 => EncoderCommand::Model,
        0x76 => EncoderCommand::Firmware,
        0x78 => EncoderCommand::Hico,
        0x79 => EncoderCommand::Loco,
        0x64 => EncoderCommand::Coercivity,
        0x62 | 0x63 => return (parameters(byte, 1), None),
        0x7A => return (parameters(byte, 2), None),
        0x6F => return (parameters(byte, 3), None),
        0x6E | 0x77 => {
            let at = BlockPosition::Escape { mark: b's' };
            return (
                StreamState::Block(DataBlock { raw: byte == 0x6E, tracks: BlockTracks::default(), at }),
                None,
            );
        }
        ESC => return (StreamState::Escape, None), // the one before was garbage
        _ => EncoderCommand::Unknown,
    };
    (StreamState::Idle, Some(simple))
}

fn parameters(command: u8, wanted: usize) -> StreamState {
    StreamState::Parameters { command, wanted, got: Vec::with_capacity(wanted) }
}

fn with_parameters(command: u8, got: &[u8]) -> EncoderCommand {
    match (command, got) {
        (0x62, [x]) => EncoderCommand::SelectBpi(*x),
        (0x63, [mask]) => EncoderCommand::Erase(*mask),
        (0x7A, [t13, t2]) => EncoderCommand::SetZeros([*t13, *t2]),
        (0x6F, [t1, t2, t3]) => EncoderCommand::SetBpc([*t1, *t2, *t3]),
        _ => EncoderCommand::Unknown,
    }
}

impl DataBlock {
    fn track(&mut self, track: u8) -> Option<&mut Vec<u8>> {
        self.tracks.get_mut(usize::from(track).wrapping_sub(1))
    }

    fn push(&mut self, byte: u8) -> BlockStep {
        let next = match self.at {
            BlockPosition::Escape { mark } if byte == ESC => BlockPosition::Mark { mark },
            BlockPosition::Mark { .. } if byte == 0x61 && !self.raw => return BlockStep::Reset,
            BlockPosition::Mark { mark: b's' } if byte == b's' => BlockPosition::Escape { mark: 1 },
            BlockPosition::Mark { mark } if byte == mark && mark != b's' => {
                if self.raw {
                    BlockPosition::Length { track: mark }
                } else {
                    BlockPosition::Text { track: mark }
                }
            }
            BlockPosition::Text { track: track @ (1 | 2) } if byte == ESC => {
                BlockPosition::Mark { mark: track + 1 }
            }
            BlockPosition::Text { .. } if byte == ESC => BlockPosition::Mark { mark: 0 }, // only a reset may follow
            BlockPosition::Text { track: 3 } if byte == FS => return self.end_of_text(),
            BlockPosition::Text { track } => {
                let Some(text) = self.track(track) else { return BlockStep::Broken };
                if byte == FS || text.len() >= TEXT_MAX {
                    return BlockStep::Broken;
                }
                text.push(byte);
                BlockPosition::Text { track }
            }
            BlockPosition::Length { track } | BlockPosition::Bytes { track, .. } => {
                let missing = match self.at {
                    BlockPosition::Bytes { missing, .. } => {
                        if let Some(bytes) = self.track(track) {
                            bytes.push(byte);
                        }
                        missing - 1
                    }
                    _ => byte,
                };
                match (missing, track) {
                    (0, 3) => BlockPosition::End,
                    (0, _) => BlockPosition::Escape { mark: track + 1 },
                    _ => BlockPosition::Bytes { track, missing },
                }
            }
            BlockPosition::End if byte == b'?' => BlockPosition::FileSeparator,
            BlockPosition::FileSeparator if byte == FS => return BlockStep::Whole,
            _ => return BlockStep::Broken,
        };
        self.at = next;
        BlockStep::Going
    }

    /// Ends the block at FS after track 3: the `?` before it belongs to the block, not to the track.
    fn end_of_text(&mut self) -> BlockStep {
        let [.., third] = &mut self.tracks;
        if third.pop() == Some(b'?') { BlockStep::Whole } else { BlockStep::Broken }
    }
}
