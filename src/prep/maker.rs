//! Makes the records of a file from cardholders: batches of cards go to several threads, each with its own connection to
//! the issuer's HSM, and come back in order.
//!
//! ```text
//! CardToMake ── HSM: card_codes ──> OrderedCard ── HSM: protect_cards ──> Record
//! ```
//!
//! Not here: reading the input and writing the file (`run`).

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::input::{Cardholder, InputError};
use super::order::{BuildError, CardBuilder, CardInputs, OrderedCard};
use super::pool::KeyPool;
use super::unfinished::add_earlier;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::store::KeyUsage;
use crate::hsm::{CardCodes, CardToProtect, CodesRequest, Issuer, ProtectRequest, ProtectedCard};
use crate::ids::{KekId, Mic};
use crate::record::chip::{ChipError, chip_section};
use crate::record::{Header, Record, Section, others_digest};
use crate::threads;

/// Cards of a batch: so many that a call to the HSM costs little per card.
const BATCH: usize = 64;

/// Most bytes of cards in a message to the HSM that has several: half of the longest message, because the answer is longer.
const MESSAGE: usize = 512 << 10;

/// A card of the input.
pub(super) struct CardToMake {
    pub holder: Cardholder,
    /// Its record in the unfinished file that this pass goes on with.
    pub earlier: Option<Record>,
}

/// What all threads share.
pub(super) struct FileOrder {
    builder: Arc<CardBuilder>,
    header: Header,
    kek: KekId,
    /// A pool for each size of cards' key pairs.
    pools: Vec<KeyPool>,
}

impl FileOrder {
    /// The order of a file.
    pub fn new(builder: &Arc<CardBuilder>, header: &Header, kek: KekId, pools: Vec<KeyPool>) -> Self {
        Self { builder: Arc::clone(builder), header: header.clone(), kek, pools }
    }
}

/// Cards in the order of the input, with the number of the first record.
struct CardBatch {
    first: u32,
    cards: Vec<CardToMake>,
    reply: Sender<MadeRecords>,
}

type MadeRecords = Result<Vec<Record>, BuildError>;

/// Makes records in several threads.
pub(super) struct RecordMaker {
    batches: Sender<CardBatch>,
    /// The answers that are still out, in order.
    out: VecDeque<Receiver<MadeRecords>>,
    /// Most answers that may be out.
    ahead: usize,
    filling: Vec<CardToMake>,
    next: u32,
}

impl RecordMaker {
    /// Starts one thread for each core. `connect` opens a connection to the HSM.
    pub fn start(
        order: FileOrder,
        connect: impl Fn() -> Result<HsmClient, Failure>,
    ) -> Result<Self, Failure> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (batches, received) = bounded::<CardBatch>(count);
        let order = Arc::new(order);
        for _ in 0..count {
            let mut worker = Worker { order: Arc::clone(&order), hsm: connect()? };
            let received = received.clone();
            threads::start("prepare", move || {
                for CardBatch { first, cards, reply } in received {
                    // The receiver is gone only after another batch has failed.
                    let _ = reply.send(worker.records(first, cards));
                }
            })?;
        }
        Ok(Self { batches, out: VecDeque::new(), ahead: 2 * count, filling: Vec::new(), next: 1 })
    }

    /// Takes the next card, and returns records that are ready.
    pub fn add(&mut self, card: CardToMake) -> Result<Vec<Record>, BuildError> {
        self.filling.push(card);
        if self.filling.len() < BATCH {
            return Ok(Vec::new());
        }
        self.send()?;
        if self.out.len() < self.ahead { Ok(Vec::new()) } else { self.receive() }
    }

    /// Returns the next records after the last card; none at the end.
    pub fn rest(&mut self) -> Result<Vec<Record>, BuildError> {
        if !self.filling.is_empty() {
            self.send()?;
        }
        self.receive()
    }

    fn send(&mut self) -> Result<(), BuildError> {
        let cards = std::mem::take(&mut self.filling);
        let (reply, answer) = bounded(1);
        let first = self.next;
        self.next = first.saturating_add(u32::try_from(cards.len()).unwrap_or(u32::MAX));
        self.batches.send(CardBatch { first, cards, reply }).map_err(|_| died())?;
        self.out.push_back(answer);
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<Record>, BuildError> {
        let Some(answer) = self.out.pop_front() else { return Ok(Vec::new()) };
        answer.recv().map_err(|_| died())?
    }
}

fn died() -> BuildError {
    let what = "us: a thread that made records died, which is a bug: report it; nothing was written";
    BuildError::Other(Failure::new(Exit::Thread, what))
}

/// A thread that makes records.
struct Worker {
    order: Arc<FileOrder>,
    hsm: HsmClient,
}

impl Worker {
    fn records(&mut self, first: u32, cards: Vec<CardToMake>) -> MadeRecords {
        let mut records = Vec::with_capacity(cards.len());
        let mut to_protect = Vec::with_capacity(cards.len());
        for (sequence, ordered) in (first..).zip(self.ordered(cards)?) {
            let OrderedCard { card_ref, sections, pin, applications, .. } = ordered;
            let record = Record { sequence, card_ref, sections };
            if !applications.is_empty() {
                let (card_ref, others) = (record.card_ref.clone(), others_digest(&record));
                to_protect.push(CardToProtect { sequence, card_ref, others, pin, applications });
            }
            records.push(record);
        }
        let mut rest = records.iter_mut();
        for cards in messages(to_protect) {
            self.protect(cards, &mut rest)?;
        }
        Ok(records)
    }

    /// The orders of cards, with their verification values and key pairs.
    fn ordered(&mut self, cards: Vec<CardToMake>) -> Result<Vec<OrderedCard>, BuildError> {
        let FileOrder { builder, pools, .. } = &*self.order;
        let codes = codes(builder, &cards, &mut self.hsm)?;
        let mut card_key = |size| match pools.iter().find(|pool| pool.size() == size) {
            Some(pool) => pool.take(),
            None => Err(Failure::new(Exit::Bug, "us: a card was built without its pool of key pairs")),
        };
        let orders = cards.into_iter().enumerate().map(|(place, card)| {
            ordered(builder, card, CardInputs { codes: codes.get(place), card_key: &mut card_key })
        });
        orders.collect()
    }

    /// Has the HSM protect the applications of cards, and adds them to their records, which follow in this order.
    fn protect<'r>(
        &mut self,
        cards: Vec<CardToProtect>,
        records: &mut impl Iterator<Item = &'r mut Record>,
    ) -> Result<(), Failure> {
        let order = &self.order;
        let request = ProtectRequest {
            kind: order.header.kind,
            kek: order.kek,
            issuer_id: order.header.issuer_id.clone(),
            file_id: order.header.file_id.clone(),
            issuer: order.builder.keys().issuer().to_owned(),
            cards,
        };
        let protected = self.hsm.protect_cards(&request)?;
        let mic = Mic::new("CHP").map_err(|e| Failure::new(Exit::Bug, format!("us: {e}")))?;
        for (card, raw) in request.cards.iter().zip(protected) {
            let data = section(card, &raw)?;
            if let Some(record) = records.find(|record| record.sequence == card.sequence) {
                record.sections.push(Section { mic: mic.clone(), data });
            }
        }
        Ok(())
    }
}

/// Divides cards into messages to the HSM.
fn messages(cards: Vec<CardToProtect>) -> Vec<Vec<CardToProtect>> {
    let (mut messages, mut bytes) = (Vec::<Vec<_>>::new(), 0);
    for card in cards {
        let size = card.bytes();
        match messages.last_mut() {
            Some(last) if bytes + size <= MESSAGE => last.push(card),
            _ => {
                messages.push(vec![card]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    messages
}

/// The order of a card, with what its record in the unfinished file has.
pub(super) fn ordered(
    builder: &CardBuilder,
    card: CardToMake,
    inputs: CardInputs<'_>,
) -> Result<OrderedCard, BuildError> {
    let CardToMake { holder, earlier } = card;
    let mut order = builder.card(&holder, inputs)?;
    if let Some(record) = earlier {
        let added = add_earlier(&mut order, record, builder.applications());
        added.map_err(|what| InputError::Line { place: holder.place, what })?;
    }
    Ok(order)
}

/// The verification values of cards; none if the product needs none.
pub(super) fn codes(
    builder: &CardBuilder,
    cards: &[CardToMake],
    hsm: &mut HsmClient,
) -> Result<Vec<CardCodes>, Failure> {
    if !builder.needs_codes() {
        return Ok(Vec::new());
    }
    let keys = builder.keys();
    let request = CodesRequest {
        issuer: keys.issuer().to_owned(),
        cvk: keys.get(KeyUsage::Cvk)?.name,
        pvk: keys.find(KeyUsage::Pvk).map(|pvk| pvk.name),
        cards: cards.iter().map(|card| CardBuilder::for_codes(&card.holder)).collect(),
    };
    Ok(hsm.card_codes(&request)?)
}

fn section(card: &CardToProtect, raw: &ProtectedCard) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
    let aids = card.applications.iter().map(|application| &application.aid);
    let applications = aids.zip(raw.iter().map(|raw| raw.as_slice()));
    chip_section(Some(&card.card_ref), applications).map_err(layout)
}

/// Returns the failure of a product whose tables ask for more than the layout of the file can hold.
fn layout(error: ChipError) -> Failure {
    Failure::new(Exit::Profile, format!("profile: [prep]: the chip section cannot be written: {error}"))
}
