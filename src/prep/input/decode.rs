//! Decodes a source to UTF-8 while it is read.
//!
//! What is no text in the encoding becomes the byte FF, which no UTF-8 has: the reader of lines then finds it in its line
//! and column, as any other fault. UTF-16 by RFC 2781. Not here: lines (`lines`).

use std::io::Read;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE};

use super::format::TextEncoding;

/// Bytes read at once.
const BLOCK: usize = 16 << 10;

/// Stands for what cannot be decoded.
const NO_TEXT: u8 = 0xFF;

/// Reads text in any of the encodings as UTF-8, without a byte order mark.
pub(super) struct DecodedText<R> {
    source: R,
    declared: Option<TextEncoding>,
    /// Known after the first bytes.
    decoding: Option<Decoding>,
    /// Bytes of the source that are not decoded yet.
    input: Vec<u8>,
    /// Decoded bytes, and how many of them were read.
    output: (Vec<u8>, usize),
    ended: bool,
}

/// How bytes become characters.
enum Decoding {
    /// Taken as they are.
    Utf8,
    Latin1,
    Utf16(Box<Decoder>),
    /// Nothing can be decoded.
    Unknown,
}

impl<R: Read> DecodedText<R> {
    pub fn new(source: R, declared: Option<TextEncoding>) -> Self {
        Self { source, declared, decoding: None, input: Vec::new(), output: (Vec::new(), 0), ended: false }
    }

    /// Reads the next block, and decodes it.
    fn fill(&mut self) -> std::io::Result<()> {
        self.output.0.clear();
        self.output.1 = 0;
        while self.output.0.is_empty() && !self.ended {
            // The first bytes may be fewer than a byte order mark.
            let wanted = self.input.len() + BLOCK;
            let limit = u64::try_from(BLOCK).unwrap_or(u64::MAX);
            (&mut self.source).take(limit).read_to_end(&mut self.input)?;
            self.ended = self.input.len() < wanted;
            self.decode();
        }
        Ok(())
    }

    fn decode(&mut self) {
        let (declared, input) = (self.declared, &mut self.input);
        let decoding = self.decoding.get_or_insert_with(|| {
            let (decoding, mark) = begin(declared, input);
            input.drain(..mark);
            decoding
        });
        let out = &mut self.output.0;
        match decoding {
            Decoding::Utf8 => out.append(&mut self.input),
            Decoding::Latin1 => {
                for byte in self.input.drain(..) {
                    match byte {
                        0x80..=0x9F => out.push(NO_TEXT),
                        byte => out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes()),
                    }
                }
            }
            Decoding::Utf16(decoder) => {
                utf16(decoder, &self.input, self.ended, out);
                self.input.clear();
            }
            Decoding::Unknown => {
                self.input.clear();
                self.ended = true;
                out.push(NO_TEXT);
            }
        }
    }
}

/// Returns how a source is decoded, and the length of its byte order mark.
fn begin(declared: Option<TextEncoding>, first: &[u8]) -> (Decoding, usize) {
    let utf16 = |encoding: &'static Encoding, mark| {
        (Decoding::Utf16(Box::new(encoding.new_decoder_without_bom_handling())), mark)
    };
    let marked = Encoding::for_bom(first);
    let mark =
        |of: &'static Encoding| marked.filter(|(found, _)| *found == of).map_or(0, |(_, length)| length);
    match (declared, marked) {
        (Some(TextEncoding::Latin1), _) => (Decoding::Latin1, 0),
        (Some(TextEncoding::Utf16Le), _) => utf16(UTF_16LE, mark(UTF_16LE)),
        (Some(TextEncoding::Utf16Be), _) => utf16(UTF_16BE, mark(UTF_16BE)),
        (None | Some(TextEncoding::Utf16), Some((encoding, length))) if encoding != encoding_rs::UTF_8 => {
            utf16(encoding, length)
        }
        (Some(TextEncoding::Utf16), _) => (Decoding::Unknown, 0),
        (None | Some(TextEncoding::Utf8), _) => (Decoding::Utf8, mark(encoding_rs::UTF_8)),
    }
}

fn utf16(decoder: &mut Decoder, mut input: &[u8], last: bool, out: &mut Vec<u8>) {
    loop {
        let room = decoder.max_utf8_buffer_length_without_replacement(input.len()).unwrap_or(4 * BLOCK);
        let begin = out.len();
        out.resize(begin + room, 0);
        let free = out.get_mut(begin..).unwrap_or_default();
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(input, free, last);
        out.truncate(begin + written);
        input = input.get(read..).unwrap_or_default();
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => out.push(NO_TEXT),
        }
    }
}

impl<R: Read> Read for DecodedText<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.output.1 >= self.output.0.len() {
            self.fill()?;
        }
        let (bytes, done) = &mut self.output;
        let rest = bytes.get(*done..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        *done += count;
        Ok(count)
    }
}
