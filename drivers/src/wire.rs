//! Wire formats, byte by byte: the agreement between both ends of a link. Constants only; the codecs are in
//! the other modules of this crate (controller's end) and in `hwsim` (machine's end), each written
//! independently from this page.
//!
//! # 1. Simulated links (`sim` here, `hwsim serve` there)
//!
//! `hwsim serve` listens on one Unix stream socket. A connection begins with one frame from the controller:
//!
//! ```text
//! hello  = length u32 BE | UTF-8 JSON {"station": "chip-1", "device": "reader" | "machine" | "stream" | "transport"}
//! answer = length u32 BE | UTF-8 JSON {"simulated": true, "wiring": n} or {"error": "..."}
//! ```
//!
//! `wiring` changes when the device has changed its place; its links end then.
//!
//! After that, `machine`, `stream` and `transport` are plain byte streams (sections 2 to 6 and 8), and
//! `reader` is a sequence of exchanges, each one request and one answer (04: one answer for each command):
//!
//! ```text
//! request = kind u8 | length u32 BE | body      answer = kind u8 | length u32 BE | body      length at most 65,544
//!   01 power on, body = reset u8 | protocols u8   81 body = ATR
//!   02 transmit, body = command APDU              82 body = response APDU
//!   03 power off                                  83
//!   04 transmit all, body = { n u8 | n x status word u16 BE | length u16 BE | command APDU }+
//!                                                 82 for each command, as it comes
//!   05 probe                                      85 the reader answers, with a card or without
//!   06 look, body = for u8 | wait u32 BE          86 body = presence u8 | count u16 BE | connection, UTF-8
//!                                                 FF body = 1 byte: 01 no card, 02 mute, 03 card removed,
//!                                                    04 protocol refused, 05 held by another program,
//!                                                    06 no such reader, 07 the reader failed;
//!                                                    06 and 07: then UTF-8 text for a technician
//! ```
//!
//! As PC/SC does, `hwsim` carries what the card's protocol carries. A card whose ATR offers T=1 gets command
//! APDUs; of T=1 and T=0, T=1 is used. Any other card speaks T=0: what stands here as command and response
//! APDU is then a command TPDU and its response (ISO/IEC 7816-3, 12.2), so a command with data has no Le, and
//! the controller follows 61xx and 6Cxx. A station host (section 7) does that itself, and its commands and
//! responses are APDUs.
//!
//! reset: 00 cold, 01 warm (ISO 7816-3, 6.2). protocols: the sum of 01 (T=0) and 02 (T=1), those that the
//! product allows.
//!
//! 06 is answered as soon as the reader sees what it looks for (00 anything, 01 no card, 02 a card), and after
//! `wait` milliseconds at the latest, with what it sees then: 00 no card, 01 a card without an ATR, 02 a card.
//! count: how often a card came or went since the connection is there, modulo 2^16. connection: a name that
//! changes when the reader, or the service that has it, was gone; `hwsim` leaves it empty, because its socket is
//! the connection.
//!
//! The stop rule of 04: no further command is sent to the card, and no further answer comes, after an answer
//! that is not a response APDU, or that ends neither with 9000 nor with one of that command's n status words.
//!
//! # 2. Framed machines: embosser, printer, transport
//!
//! ```text
//! command  STX(02) cmd data ETX(03) BCC        answer  STX(02) cmd status data ETX(03) BCC
//! ```
//!
//! `cmd` and `status` are one printable ASCII character each. BCC = XOR of all bytes on the wire from `cmd`
//! to ETX inclusive. In `cmd status data`, the bytes 02, 03, 06, 10, 15 are sent as 10 (DLE) followed by the
//! byte xor 40; data is at most 1,024 bytes before that stuffing. The BCC byte itself is never stuffed.
//!
//! The machine answers a command at once with one byte. ACK (06): it will carry out the command. NAK (15):
//! the command arrived damaged and must be sent again (at most 3 times in all). DLE (10) alone: the machine
//! does not know the command; nothing follows the DLE. After ACK, when the work is done, the machine sends
//! its answer; the controller acknowledges the answer with ACK, or asks for it again with NAK (at most 3
//! times in all). A machine cannot distinguish a command that is repeated because its ACK was lost from a new
//! one, so the controller never repeats a command after an ACK.
//!
//! Status: '0' done, '1' jam, '2' no card in the station, '3' bad data, '4' supply out (foil, ribbon, hopper
//! empty), '5' failed, '6' output full (stacker, reject bin), '7' cover open.
//!
//! 'S' is answered with the model's name. An embosser or a printer may give its serial number as well: the answer then
//! ends with a blank, "no." and the number ("CWE-1 embosser no.A7-0012"). A number is 1 to 64 printable characters
//! without blanks. It belongs to the machine, not to the station where the machine stands.
//!
//! With '4', '6' and '7' the machine says that it has not begun the command and changed no card: a person has
//! to help it, and the command may then be given again. A machine that had begun, and could not end, says '5'.
//!
//! # 3. Embosser
//!
//! ```text
//! 'C'                      clear the buffer
//! 'L' lines                add complete lines "~EM%font;x;y;text" CR LF (Datacard's published escape, see `embosser`)
//! 'E'                      emboss the buffer on the card (the machine's work time)
//! 'S'                      status; answer data = model name, ASCII, with the word "embosser" in it, in any case; '4'
//!                          or '7' while the foil is out or a cover is open
//! ```
//!
//! # 4. Card printer
//!
//! ```text
//! 'C'                      nothing announced, for both sides
//! 'H' side length digest   side 'F' or 'B', length = u32 BE of the side's PNG, digest = its SHA-256 (32 bytes)
//! 'P'                      print the sides announced (the machine's work time); '3' if an image does not come within
//!                          5 s, is not the one that was announced, or is no PNG
//! 'S'                      status; answer data = model name, ASCII, with the word "printer" in it, in any case; '4'
//!                          or '7' while the ribbon is out or a cover is open
//! ```
//!
//! The PNGs, compressed rasters in full colour, travel over a separate link (`stream`), on which the printer
//! sends nothing back:
//!
//! ```text
//! image = side u8 | length u32 BE | PNG
//! ```
//!
//! For each side the printer keeps the last whole image; the digest shows whether it is the one that was
//! announced.
//!
//! # 5. Transport
//!
//! One transport link for each station, and one named `output`.
//!
//! ```text
//! at a station:  'F'             feed a blank from the hopper into this station ('4' hopper empty)
//!                'T' station     lift the card that lies in that station ("chip-3"): it is on its way to this one, and
//!                                that station is free
//!                'A'             wait until the card that is on its way lies in this station
//!                'R'             throw the card of this station, or on its way to it, into the reject bin
//! at `output`:   'T' station     lift the card of that station: it is on its way into the output's hand
//!                'B' slot        wait for the card on its way, and put it into buffer place `slot` (u16 BE)
//!                'K' slot pos    stack the card of that buffer place at `pos` (u32 BE), the good cards' stacker
//!                'M' slot pos    stack it apart, in the remakes' stacker
//!                'R'             throw one card that lies in the hand or in a buffer place into the reject bin,
//!                                whichever; '2' when none does
//!                'R' slot        throw the card of that buffer place into the reject bin
//! both:          'S'             status; answer data = the station's name ("chip-3") or "output", a blank, the
//!                                model's name, ASCII; '4' while the hopper is empty (at a station), '6' while a
//!                                stacker is full (at `output`), '7' while a cover is open
//! ```
//!
//! # 6. Magnetic stripe encoder MSR605/MSR206
//!
//! As the manuals of MSR605, MSR206 (Unitech, pages 12 to 16) and MSRE206 (pages 11 and 12) describe it: ESC
//! commands, 9600 8N1. The machine adds the sentinels when it writes and returns them when it reads. A card
//! must lie in the station; it is not swiped by hand.
//!
//! # 7. Station hosts (`host` here, both ends of this crate)
//!
//! A station host is a process that owns one device. It speaks on its standard input, which is one end of a
//! socket pair:
//!
//! ```text
//! hello  = "CWSH" | version u16 BE = 0001 | length u32 BE | UTF-8 JSON of the device to open    length at most 4,096
//! answer = "CWSH" | version u16 BE = 0001 | length u32 BE | UTF-8 JSON {"opened": "...", "node": "..."}
//!                                                                  or {"error": "...", "why": n}
//!
//! device = {"reader": {"by": {"name": "..."} | {"usb": "1-4.2"}, "slot": n, "wait_ms": n}}
//!        | {"serial": {"path": "...", "baud": n}} | {"tcp": {"address": "host:port"}}
//! ```
//!
//! `node`: a name of a serial port's node in the system, which changes when the device is plugged in again;
//! empty for other devices. `wait_ms`: how long a power-on waits for a card. `why`: the first byte of section 1's FF. After an error
//! the host ends. After a hello that opened its device, a reader's host speaks section 1's exchanges, and a
//! byte link's host sends and takes these frames:
//!
//! ```text
//! frame = kind u8 | length u32 BE | body, at most 4,096 bytes        10 bytes        11 the link is closed, body = why
//! ```
//!
//! # 8. Magnetic stripe encoder MSE-630T
//!
//! As the vendor's manual gives it (tysso.org, `mse630t_card_writer_manual`, chapters 7 and 8):
//!
//! ```text
//! us                                     machine
//! ESC(1B)  is it there?                  ACK(06)
//! DEL(7F)  reset                         (nothing)
//! STX W %t1? ;t2? +t3? ETX BCC           STX %t1? ;t2? +t3? ETX BCC: written and read back right; or NAK(15)
//! R n      read track 1 (n = '1'), 2 ('2'), 3 ('4'), or several: the sum, but for '5'
//!                                        STX %t1? ;t2? +t3? ETX BCC; or NAK(15)
//! ```
//!
//! There are no blanks in a package; the host adds the sentinels. The BCC covers all bytes after STX up to
//! and including ETX, also `W`. The manual's tables of characters leave out `<` on every track: it cannot be
//! written.
//!
//! Assumed, because the manual does not say: 9600 8N1; a track that must stay unchanged is left out of the
//! package (the manual shows only packages of three tracks); BCC is the XOR ("NOR" in the manual is taken for
//! a misprint); a damaged package is answered with NAK as well; DEL drops a package that waits for its card;
//! the coercivity is set at the machine. The manual does not say what R returns for a blank track, and the
//! machine itself reads after each write, so neither end here reads.

/// Start of a frame.
pub const STX: u8 = 0x02;
/// End of a frame, before the BCC.
pub const ETX: u8 = 0x03;
/// ACK: the command is accepted.
pub const ACK: u8 = 0x06;
/// Refused when alone; escapes a byte inside a frame.
pub const DLE: u8 = 0x10;
/// NAK: the bytes arrived damaged; send them again.
pub const NAK: u8 = 0x15;
/// XORed into a byte that is escaped.
pub const ESCAPE_XOR: u8 = 0x40;
/// Most data bytes of a frame, before stuffing.
pub const FRAME_DATA_MAX: usize = 1024;
/// Attempts at one command or one answer, counting the first.
pub const FRAME_TRIES: u32 = 3;
/// Longest body of an exchange with a simulated reader, in bytes: an extended APDU and its header.
pub const READER_BODY_MAX: usize = 65_544;
/// The status word after which [`reader::TRANSMIT_ALL`] goes on.
pub const SW_DONE: [u8; 2] = [0x90, 0x00];
/// ESC: begins a command of the MSR605; asks an MSE-630T whether it is there.
pub const ESC: u8 = 0x1B;
/// Resets an MSE-630T.
pub const DEL: u8 = 0x7F;
/// Ends an MSR605 data block, after `?`.
pub const FS: u8 = 0x1C;

/// First bytes of both ends' first message between controller and station host.
pub const HOST_MAGIC: [u8; 4] = *b"CWSH";
/// Version of the message that follows [`HOST_MAGIC`].
pub const HOST_VERSION: u16 = 1;
/// Longest JSON of a hello, and longest body of a byte link's frame, in bytes.
pub const HOST_BODY_MAX: usize = 4096;

/// Kinds of a byte link's frame between controller and station host.
pub mod host {
    /// Bytes of the link.
    pub const BYTES: u8 = 0x10;
    /// The link is closed; the body gives the cause.
    pub const CLOSED: u8 = 0x11;
}

/// Kinds of a simulated reader's exchange.
pub mod reader {
    /// Request: reset the card.
    pub const POWER_ON: u8 = 0x01;
    /// Request: one APDU.
    pub const TRANSMIT: u8 = 0x02;
    /// Request: power off.
    pub const POWER_OFF: u8 = 0x03;
    /// Request: several APDUs, until one is not answered with 9000.
    pub const TRANSMIT_ALL: u8 = 0x04;
    /// Request: does the reader answer?
    pub const PROBE: u8 = 0x05;
    /// Request: what does the reader see?
    pub const LOOK: u8 = 0x06;
    /// [`LOOK`]: ends at once.
    pub const FOR_ANYTHING: u8 = 0x00;
    /// [`LOOK`]: ends when there is no card.
    pub const FOR_NO_CARD: u8 = 0x01;
    /// [`LOOK`]: ends when there is a card.
    pub const FOR_CARD: u8 = 0x02;
    /// Answer to [`POWER_ON`]: ATR.
    pub const ATR: u8 = 0x81;
    /// Answer to [`TRANSMIT`] and to each command of [`TRANSMIT_ALL`].
    pub const RESPONSE: u8 = 0x82;
    /// Answer to [`POWER_OFF`].
    pub const OFF: u8 = 0x83;
    /// Answer to [`PROBE`].
    pub const READY: u8 = 0x85;
    /// Answer to [`LOOK`].
    pub const SEEN: u8 = 0x86;
    /// [`SEEN`]: no card.
    pub const SEES_NONE: u8 = 0x00;
    /// [`SEEN`]: a card without an ATR.
    pub const SEES_MUTE: u8 = 0x01;
    /// [`SEEN`]: a card.
    pub const SEES_CARD: u8 = 0x02;
    /// Answer: failed; one byte gives the cause.
    pub const FAILED: u8 = 0xFF;
    /// The reader has no card.
    pub const NO_CARD: u8 = 0x01;
    /// The card gives no ATR.
    pub const MUTE: u8 = 0x02;
    /// The card has gone.
    pub const REMOVED: u8 = 0x03;
    /// The card speaks none of the protocols allowed.
    pub const PROTOCOL: u8 = 0x04;
    /// Another program has the reader, or the reader is still busy with a card.
    pub const HELD: u8 = 0x05;
    /// No reader of that name or place.
    pub const NO_READER: u8 = 0x06;
    /// The reader itself failed.
    pub const BROKEN: u8 = 0x07;
    /// [`POWER_ON`]: cold reset.
    pub const COLD: u8 = 0x00;
    /// [`POWER_ON`]: warm reset.
    pub const WARM: u8 = 0x01;
    /// [`POWER_ON`]: T=0 is allowed.
    pub const T0: u8 = 0x01;
    /// [`POWER_ON`]: T=1 is allowed.
    pub const T1: u8 = 0x02;
}

/// Status characters of a framed machine.
pub mod status {
    /// Done.
    pub const DONE: u8 = b'0';
    /// Jam.
    pub const JAM: u8 = b'1';
    /// No card in the station.
    pub const NO_CARD: u8 = b'2';
    /// Bad data.
    pub const BAD_DATA: u8 = b'3';
    /// Foil, ribbon or hopper empty.
    pub const SUPPLY: u8 = b'4';
    /// Failed.
    pub const FAILED: u8 = b'5';
    /// Output full.
    pub const FULL: u8 = b'6';
    /// Cover open.
    pub const COVER_OPEN: u8 = b'7';
}
