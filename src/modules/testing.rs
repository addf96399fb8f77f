//! For the tests of the modules: records, and machines at the other end of a link, written from `drivers::wire` and
//! the MSR605 programmer's manual.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drivers::link::{ByteLink, LinkError};
use zeroize::Zeroizing;

use super::{ApplicationWork, CardWork};
use crate::hsm::{RecordHandle, VerifiedApplication};
use crate::ids::{Aid, CardRef, Dgi, KekId, KmcRef, Mic};
use crate::profile::ProductProfile;
use crate::record::chip::{ChipApplication, Cmode, DgiValue, Pdi};
use crate::record::{Record, Section};
use crate::scp::SecLevel;
use crate::wiped::WipedBytes;

/// A verified application with these DGIs, all in clear, for cards of two test KMCs.
pub fn checked(aid: &str, dgis: &[(u16, &[u8])]) -> ApplicationWork {
    ApplicationWork {
        application: ChipApplication {
            aid: Aid::new(&hex::decode(aid).unwrap()).unwrap(),
            kek: KekId([0; 5]),
            tk_type: 0x40,
            cmode: Cmode::Cbc,
            protected: vec![],
            pdi: Pdi {
                order: vec![],
                version_control: vec![],
                enc: vec![],
                group: vec![],
                level: SecLevel::Mac,
                update_cplc: 0,
            },
            log: vec![],
            dgis: dgis
                .iter()
                .map(|(d, v)| DgiValue { dgi: Dgi(*d), value: WipedBytes::from(v.to_vec()) })
                .collect(),
            wrapped_mac_key: vec![],
            mac: vec![],
            raw: WipedBytes::from(vec![]),
            maced: 0..0,
        },
        verified: VerifiedApplication {
            protected: vec![],
            allow: vec![KmcRef::parse("FFFFFF476173:1").unwrap(), KmcRef::parse("FFFFFF476173:2").unwrap()],
        },
    }
}

/// A record of these sections for product multiapp, without applications.
pub fn work(sections: &[(&str, &[u8])]) -> CardWork {
    CardWork {
        record: Record {
            sequence: 1,
            card_ref: CardRef::new("CARD-1").unwrap(),
            sections: sections
                .iter()
                .map(|(mic, data)| Section {
                    mic: Mic::new(*mic).unwrap(),
                    data: Zeroizing::new(data.to_vec()),
                })
                .collect(),
        },
        applications: vec![],
        handle: Some(RecordHandle([9; 16])),
        product: Arc::new(ProductProfile::load("multiapp").unwrap()),
        agreed: None,
    }
}

/// A machine's answer to a complete command, as bytes.
type Behaviour = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// A machine: takes bytes until `complete` says how many make a command, and answers it.
struct Machine {
    input: Vec<u8>,
    output: Vec<u8>,
    complete: fn(&[u8]) -> Option<usize>,
    behaviour: Behaviour,
}

impl ByteLink for Machine {
    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        self.input.extend_from_slice(bytes);
        while let Some(length) = (self.complete)(&self.input) {
            let command: Vec<u8> = self.input.drain(..length).collect();
            self.output.extend((self.behaviour)(&command));
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        if self.output.is_empty() {
            return Err(LinkError::Timeout(timeout));
        }
        let n = buffer.len().min(self.output.len());
        buffer[..n].copy_from_slice(&self.output[..n]);
        self.output.drain(..n);
        Ok(n)
    }
}

/// Every command of a framed machine as (cmd, data), in the order in which they came.
pub type Log = Arc<Mutex<Vec<(u8, Vec<u8>)>>>;

/// A framed machine (wire section 2) that gives `status` to the command `bad` and '0' to every other.
pub fn framed(bad: u8, status: u8) -> (Box<dyn ByteLink>, Log) {
    let log = Log::default();
    let seen = Arc::clone(&log);
    let machine = Machine {
        input: vec![],
        output: vec![],
        complete: |bytes| match bytes {
            [0x02, ..] => {
                bytes.iter().position(|b| *b == 0x03).map(|etx| etx + 2).filter(|n| bytes.len() >= *n)
            }
            // Our acknowledgement of an answer.
            [_, ..] => Some(1),
            [] => None,
        },
        behaviour: Box::new(move |frame| {
            let [0x02, cmd, stuffed @ .., 0x03, _] = frame else { return vec![] };
            let mut data = vec![];
            let mut escaped = false;
            for byte in stuffed {
                match byte {
                    0x10 if !escaped => escaped = true,
                    _ => {
                        data.push(if escaped { byte ^ 0x40 } else { *byte });
                        escaped = false;
                    }
                }
            }
            seen.lock().unwrap().push((*cmd, data));
            let status = if *cmd == bad { status } else { b'0' };
            vec![0x06, 0x02, *cmd, status, 0x03, cmd ^ status ^ 0x03]
        }),
    };
    (Box::new(machine), log)
}

/// A link that takes everything and says nothing, and what it took.
pub fn sink() -> (Box<dyn ByteLink>, Arc<Mutex<Vec<u8>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&taken);
    let machine = Machine {
        input: vec![],
        output: vec![],
        complete: |bytes| Some(bytes.len()).filter(|n| *n > 0),
        behaviour: Box::new(move |bytes| {
            into.lock().unwrap().extend_from_slice(bytes);
            vec![]
        }),
    };
    (Box::new(machine), taken)
}

/// The stripe of a card in an MSR605, and what the machine does.
#[derive(Default)]
pub struct Stripe {
    /// Texts without sentinels.
    pub tracks: [Vec<u8>; 3],
    /// High coercivity chosen.
    pub hico: bool,
    /// Leading zeros and densities set, as the bytes of their commands.
    pub set: Vec<Vec<u8>>,
    /// Reads so far.
    pub reads: u32,
    /// Writes so far.
    pub writes: u32,
    /// Loses the last character of track 2.
    pub lossy: bool,
    /// Status of every write.
    pub status: u8,
}

/// An MSR605 with a card.
pub fn msr605(stripe: Stripe) -> (Box<dyn ByteLink>, Arc<Mutex<Stripe>>) {
    let card = Arc::new(Mutex::new(stripe));
    let inside = Arc::clone(&card);
    let machine = Machine {
        input: vec![],
        output: vec![],
        complete: |bytes| match bytes {
            [0x1B, b'w', ..] => bytes.iter().position(|b| *b == 0x1C).map(|fs| fs + 1),
            [0x1B, b'z', _, _, ..] => Some(4),
            [0x1B, b'b', _, ..] => Some(3),
            [0x1B, b'z' | b'b', ..] => None,
            [0x1B, _, ..] => Some(2),
            _ => None,
        },
        behaviour: Box::new(move |command| {
            let mut card = inside.lock().unwrap();
            match command {
                [_, b'x'] => {
                    card.hico = true;
                    vec![0x1B, 0x30]
                }
                [_, b'y'] => {
                    card.hico = false;
                    vec![0x1B, 0x30]
                }
                [_, b'd'] => vec![0x1B, if card.hico { b'H' } else { b'L' }],
                [_, b'l'] => [&[0x1B], &card.set[0][1..]].concat(),
                [_, b'z' | b'b', ..] => {
                    card.set.push(command[1..].to_vec());
                    vec![0x1B, 0x30]
                }
                [_, b'w', 0x1B, b's', 0x1B, 1, rest @ .., b'?', 0x1C] => {
                    card.writes += 1;
                    let mut tracks = rest.split(|b| *b == 0x1B);
                    card.tracks[0] = tracks.next().unwrap().to_vec();
                    card.tracks[1] = tracks.next().unwrap()[1..].to_vec();
                    card.tracks[2] = tracks.next().unwrap()[1..].to_vec();
                    if card.lossy {
                        card.tracks[1].pop();
                    }
                    vec![0x1B, card.status]
                }
                [_, b'r'] => {
                    card.reads += 1;
                    let mut block = vec![0x1B, b's'];
                    for (i, (text, start)) in card.tracks.iter().zip([b'%', b';', b';']).enumerate() {
                        block.extend([0x1B, u8::try_from(i).unwrap() + 1]);
                        if !text.is_empty() {
                            block.push(start);
                            block.extend_from_slice(text);
                            block.push(b'?');
                        }
                    }
                    block.extend([b'?', 0x1C, 0x1B, 0x30]);
                    block
                }
                _ => vec![],
            }
        }),
    };
    (Box::new(machine), card)
}
