//! The card around its applications: power, selection, dispatch, secure channel, counters, faults.

use std::collections::BTreeMap;

use zeroize::Zeroize;

use super::apdu::{CardCommand, CardStatusWord};
use super::application::{CardApplication, SECURITY_DOMAIN};
use super::channel::{CardChannel, CardSessionKeys, OpeningChannel, SupplierKeys};
use super::store::DgiLoader;
use super::t0::{self, T0Delivery};
use super::transaction::CardTransaction;
use super::{BlankSpec, ChipCost, ForcedFault, ber, restore, terminal};

/// EEPROM for the DGIs of a fresh blank, in bytes.
const MEMORY: usize = 32 * 1024;

const INITIALIZE_UPDATE: u8 = 0x50;
const EXTERNAL_AUTHENTICATE: u8 = 0x82;
const SET_STATUS: u8 = 0xF0;

/// A simulated card; the documentation of [`super`] describes it.
pub struct SimulatedCard {
    blank: BlankSpec,
    keys: SupplierKeys,
    /// SCP02 sequence counter; the next channel uses it, and an accepted EXTERNAL AUTHENTICATE increments it.
    pub(super) sequence: u16,
    random: u64,
    /// For tests of published examples: a card challenge in place of random ones.
    #[cfg(test)]
    pub(super) fixed_challenge: Option<[u8; 6]>,
    memory: usize,
    applications: Vec<CardApplication>,
    powered: bool,
    /// Index of the selected application; `None` is the security domain.
    selected: Option<usize>,
    secure: ChannelState,
    /// How answers leave a card of T=0; `None` for one of T=1, which delivers them whole.
    t0: Option<T0Delivery>,
    faults: FaultsInForce,
    stores: u32,
    writes: u64,
    cost: ChipCost,
}

/// State of the secure channel; volatile.
#[derive(Default)]
enum ChannelState {
    #[default]
    None,
    Opening(OpeningChannel),
    Open(LoadingSession),
}

struct LoadingSession {
    channel: CardChannel,
    loader: DgiLoader,
}

#[derive(Default)]
struct FaultsInForce {
    deaf: bool,
    wrong_cryptogram: bool,
    /// The counter of each application, in place of the card's one.
    counters: Option<BTreeMap<Option<usize>, u16>>,
    corrupt: bool,
    statuses: Vec<(u32, CardStatusWord)>,
    /// Commands until the card is gone.
    left: Option<u32>,
}

impl SimulatedCard {
    /// Makes a fresh blank: applications SELECTABLE and empty, sequence counter 0000, not powered.
    pub fn new(mut blank: BlankSpec) -> Self {
        let keys = SupplierKeys::from_kmc(&blank.kmc, &blank.key_data);
        blank.kmc.zeroize();
        Self {
            keys,
            sequence: 0,
            random: blank.seed,
            #[cfg(test)]
            fixed_challenge: None,
            memory: MEMORY,
            applications: CardApplication::all(),
            powered: false,
            selected: None,
            secure: ChannelState::None,
            t0: (!t0::offers_t1(&blank.atr)).then(T0Delivery::default),
            faults: FaultsInForce::default(),
            stores: 0,
            writes: 0,
            cost: ChipCost::default(),
            blank,
        }
    }

    /// Sets the EEPROM for DGIs, in bytes over all applications (each DGI takes 4 more than its value).
    pub fn set_memory(&mut self, bytes: usize) {
        self.memory = bytes;
    }

    /// Plays a fault from now on.
    pub fn force(&mut self, fault: ForcedFault) {
        match fault {
            ForcedFault::Deaf => self.faults.deaf = true,
            ForcedFault::WrongCryptogram => self.faults.wrong_cryptogram = true,
            ForcedFault::CounterPerApplication => self.faults.counters = Some(BTreeMap::new()),
            ForcedFault::Corrupt => self.faults.corrupt = true,
            ForcedFault::Status { store_data, sw } => {
                self.faults.statuses.push((store_data, CardStatusWord(sw)))
            }
            ForcedFault::RemoveAfter(commands) => self.faults.left = Some(commands),
            ForcedFault::Pieces(bytes) => {
                if let Some(t0) = &mut self.t0 {
                    t0.set_piece(bytes);
                }
            }
            ForcedFault::HiddenLengths => {
                if let Some(t0) = &mut self.t0 {
                    t0.hide_lengths();
                }
            }
        }
    }

    /// Resets the card, cold or warm: returns the ATR, or `None` from a deaf or removed card. Selects the
    /// security domain; the channel and everything volatile are lost.
    pub fn power_on(&mut self) -> Option<Vec<u8>> {
        self.power_off();
        let atr = self.atr()?.to_vec();
        self.powered = true;
        Some(atr)
    }

    /// Returns the answer to a reset without resetting; `None` from a deaf or removed card.
    pub fn atr(&self) -> Option<&[u8]> {
        (!self.faults.deaf && self.faults.left != Some(0)).then_some(&self.blank.atr)
    }

    /// Takes the power off the card.
    pub fn power_off(&mut self) {
        self.powered = false;
        if let Some(t0) = &mut self.t0 {
            t0.forget();
        }
        self.select(None);
    }

    /// Whether this command only fetches the answer to an earlier one, as T=0 wants it.
    pub fn fetches(&self, command: &[u8]) -> bool {
        self.t0.as_ref().is_some_and(|t0| t0.fetches(command))
    }

    /// Answers a command of any bytes, an APDU or over T=0 a TPDU: data and status word, or `None` if the
    /// card has no power or is gone.
    pub fn transmit(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        if !self.powered {
            return None;
        }
        let fetches = self.fetches(apdu);
        if let Some(left) = self.faults.left.as_mut().filter(|_| !fetches) {
            *left = left.checked_sub(1)?;
        }
        // Taken out, because the card that carries out the command has to be borrowed whole.
        let answer = match self.t0.take() {
            None => self.respond(apdu),
            Some(mut t0) => {
                let answer = t0.answer(apdu, || self.respond(apdu));
                self.t0 = Some(t0);
                answer
            }
        };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.cost.commands = self.cost.commands.saturating_add(u32::from(!fetches));
        self.cost.bytes_in = self.cost.bytes_in.saturating_add(length(apdu));
        self.cost.bytes_out = self.cost.bytes_out.saturating_add(length(&answer));
        Some(answer)
    }

    /// Returns the work done since the last call.
    pub fn take_cost(&mut self) -> ChipCost {
        std::mem::take(&mut self.cost)
    }

    /// Count of commands that changed the blank: STORE DATA and SET STATUS that were accepted. Counters that
    /// ordinary use increments (sequence counter, ATC, PIN tries) do not count.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// The `chip` object of the witness: `{"applications": [{aid, state, dgis}]}`, hex in upper case, secret
    /// values in clear with their padding; `state` is SELECTABLE or PERSONALIZED.
    pub fn chip_dump(&self) -> serde_json::Value {
        let application = |a: &CardApplication| {
            let dgis =
                a.dgis.iter().map(|(dgi, value)| (format!("{dgi:04X}"), hex::encode_upper(value).into()));
            serde_json::json!({
                "aid": hex::encode_upper(a.rom.aid),
                "state": if a.personalized { "PERSONALIZED" } else { "SELECTABLE" },
                "dgis": dgis.collect::<serde_json::Map<_, _>>(),
            })
        };
        serde_json::json!({ "applications": self.applications.iter().map(application).collect::<Vec<_>>() })
    }

    /// Puts the applications back as a `chip` object of [`Self::chip_dump`] shows them, and takes the power off
    /// the card. Counters are not in that object: ATC and PIN tries are as personalization left them, and the
    /// SCP02 sequence counter stays. An error changes nothing.
    pub fn restore(&mut self, chip: &serde_json::Value) -> anyhow::Result<()> {
        self.applications = restore::applications(chip)?;
        self.power_off();
        Ok(())
    }

    /// Returns the whole answer: data and status word.
    fn respond(&mut self, apdu: &[u8]) -> Vec<u8> {
        let (mut answer, sw) = match self.answer(apdu) {
            Ok(data) => (data, CardStatusWord::OK),
            Err(sw) => (Vec::new(), sw),
        };
        answer.extend(sw.0.to_be_bytes());
        answer
    }

    fn answer(&mut self, apdu: &[u8]) -> Result<Vec<u8>, CardStatusWord> {
        let command = CardCommand::parse(apdu)?;
        if !matches!(command.cla, 0x00 | 0x04 | 0x80 | 0x84) {
            return Err(CardStatusWord::CLA);
        }
        let command = self.unsecure(command)?;
        match (command.cla & 0x80, command.ins) {
            (0x80, EXTERNAL_AUTHENTICATE) => self.external_authenticate(&command),
            (0x80, INITIALIZE_UPDATE) => self.initialize_update(&command),
            (0x80, CardCommand::STORE_DATA) => self.store_data(&command),
            (0x80, SET_STATUS) => self.set_status(&command),
            (0x00, CardCommand::SELECT) => self.select_by_name(&command),
            (_, 0xCA) => match self.application() {
                Ok(application) => application.get_data(&command),
                Err(_) => self.domain_data(&command),
            },
            (0x00, 0xB2) => self.application()?.read_record(&command),
            (0x80, 0xA8) => self.use_card(|application| application.processing_options(&command)),
            (0x00, 0x88) => {
                let number = self.random();
                self.use_card(|application| application.internal_authenticate(&command, number))
            }
            (0x80, 0xAE) => {
                let number = self.random();
                self.use_card(|application| application.generate_ac(&command, number))
            }
            (0x00, 0x20) => self.use_card(|application| application.verify(&command)),
            _ => Err(CardStatusWord::INS),
        }
    }

    /// Removes secure messaging, or ends the channel. SELECT and INITIALIZE UPDATE need none; EXTERNAL
    /// AUTHENTICATE while opening carries the first C-MAC, which `external_authenticate` checks.
    fn unsecure(&mut self, command: CardCommand) -> Result<CardCommand, CardStatusWord> {
        let starts_anew =
            !command.is_secured() && matches!(command.ins, CardCommand::SELECT | INITIALIZE_UPDATE);
        match std::mem::take(&mut self.secure) {
            ChannelState::Open(mut session) => {
                let clear = if starts_anew { command } else { session.channel.unwrap(command)? };
                self.secure = ChannelState::Open(session);
                Ok(clear)
            }
            ChannelState::Opening(opening)
                if command.is_secured() && command.ins == EXTERNAL_AUTHENTICATE =>
            {
                self.secure = ChannelState::Opening(opening);
                Ok(command)
            }
            _ if command.ins == EXTERNAL_AUTHENTICATE => Err(CardStatusWord::CONDITIONS),
            _ if command.is_secured() => Err(CardStatusWord::SECURITY),
            _ => Ok(command),
        }
    }

    fn select_by_name(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        if command.p1p2() != 0x0400 {
            return Err(CardStatusWord::P1P2);
        }
        if command.data.is_empty() || command.data == SECURITY_DOMAIN {
            self.select(None);
            return terminal::security_domain_fci();
        }
        let index = self
            .applications
            .iter()
            .position(|a| a.rom.aid == command.data)
            .ok_or(CardStatusWord::NO_FILE)?;
        self.select(Some(index));
        self.application()?.fci()
    }

    fn select(&mut self, index: Option<usize>) {
        self.selected = index;
        self.secure = ChannelState::None;
        for application in &mut self.applications {
            application.transaction = CardTransaction::default();
        }
    }

    /// Returns the selected application; the security domain knows none of its commands.
    fn application(&mut self) -> Result<&mut CardApplication, CardStatusWord> {
        self.selected.and_then(|index| self.applications.get_mut(index)).ok_or(CardStatusWord::INS)
    }

    /// Runs a terminal's command, which may write a counter.
    fn use_card(
        &mut self,
        run: impl FnOnce(&mut CardApplication) -> Result<Vec<u8>, CardStatusWord>,
    ) -> Result<Vec<u8>, CardStatusWord> {
        self.write_pages(1);
        run(self.application()?)
    }

    fn write_pages(&mut self, pages: u32) {
        self.cost.pages = self.cost.pages.saturating_add(pages);
    }

    /// GET DATA of the security domain: 00CF KEYDATA, 9F7F CPLC.
    fn domain_data(&self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        let object = match command.p1p2() {
            0x00CF => ber::build(&[0xCF], &self.blank.key_data),
            0x9F7F => ber::build(&[0x9F, 0x7F], &self.cplc()),
            _ => return Err(CardStatusWord::NOT_FOUND),
        };
        object.ok_or(CardStatusWord::MEMORY)
    }

    /// CPLC: the CSN as IC serial number (bytes 12 to 15), a batch (16 and 17); every other field unknown
    /// (0).
    fn cplc(&self) -> [u8; 42] {
        let [_, _, _, _, _, _, csn @ ..] = self.blank.key_data;
        let [.., batch_high, batch_low] = self.blank.seed.to_be_bytes();
        let mut cplc = [0; 42];
        for (to, from) in cplc.iter_mut().skip(12).zip(csn.into_iter().chain([batch_high, batch_low])) {
            *to = from;
        }
        cplc
    }

    /// The sequence counter of the next channel.
    fn counter(&self) -> u16 {
        let own = |counters: &BTreeMap<_, _>| counters.get(&self.selected).copied().unwrap_or(0);
        self.faults.counters.as_ref().map_or(self.sequence, own)
    }

    fn count(&mut self) {
        let counter = match &mut self.faults.counters {
            Some(counters) => counters.entry(self.selected).or_default(),
            None => &mut self.sequence,
        };
        *counter = counter.saturating_add(1);
    }

    /// INITIALIZE UPDATE `80 50 KVN 00 08 RTERM`: returns KEYDATA, KVN, 02, sequence, RCARD, card cryptogram
    /// (GPCS Table E-8).
    fn initialize_update(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.secure = ChannelState::None;
        if command.p2 != 0 {
            return Err(CardStatusWord::P1P2);
        }
        let host_challenge = command.data.as_slice().try_into().map_err(|_| CardStatusWord::LENGTH)?;
        if command.p1 != 0 && command.p1 != self.blank.version {
            return Err(CardStatusWord::NOT_FOUND);
        }
        // The last counter value is never used up (GPCS E.1.2.3).
        let sequence = self.counter();
        if sequence == u16::MAX {
            return Err(CardStatusWord::CONDITIONS);
        }
        let session = CardSessionKeys::derive(&self.keys, sequence);
        let random = self.random_challenge();
        let aid = self.application().map_or(SECURITY_DOMAIN, |a| a.rom.aid);
        let challenge = session.card_challenge(self.blank.scp02_i, aid, random);
        let (opening, mut cryptogram) =
            OpeningChannel::new(session, self.blank.scp02_i, sequence, challenge, host_challenge);
        self.secure = ChannelState::Opening(opening);
        if self.faults.wrong_cryptogram {
            cryptogram = cryptogram.map(|b| !b);
        }
        let sequence = sequence.to_be_bytes();
        Ok([&self.blank.key_data[..], &[self.blank.version, 0x02], &sequence, &challenge, &cryptogram]
            .concat())
    }

    fn external_authenticate(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        let ChannelState::Opening(opening) = std::mem::take(&mut self.secure) else {
            return Err(CardStatusWord::CONDITIONS);
        };
        let channel = opening.authenticate(command)?;
        self.count();
        self.secure = ChannelState::Open(LoadingSession { channel, loader: DgiLoader::default() });
        self.cost.channels = self.cost.channels.saturating_add(1);
        self.write_pages(1);
        Ok(Vec::new())
    }

    fn store_data(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        self.stores = self.stores.saturating_add(1);
        let others = self.applications.iter().enumerate().filter(|&(i, _)| Some(i) != self.selected);
        let room = self.memory.saturating_sub(others.map(|(_, a)| CardApplication::size(&a.dgis)).sum());
        let application =
            self.selected.and_then(|i| self.applications.get_mut(i)).ok_or(CardStatusWord::INS)?;
        if application.personalized {
            return Err(CardStatusWord::CONDITIONS);
        }
        let ChannelState::Open(session) = &mut self.secure else { return Err(CardStatusWord::SECURITY) };
        if let Some(&(_, sw)) = self.faults.statuses.iter().find(|&&(n, _)| n == self.stores) {
            session.loader.skip();
            return Err(sw);
        }
        let pages = session.loader.receive(command, &session.channel, application, room)?;
        if application.personalized {
            self.secure = ChannelState::None;
            if self.faults.corrupt {
                application.corrupt();
            }
        }
        self.writes = self.writes.saturating_add(1);
        self.write_pages(pages);
        Ok(Vec::new())
    }

    /// SET STATUS `F0 40 07 Lc AID` of the selected application within its channel: makes it PERSONALIZED.
    fn set_status(&mut self, command: &CardCommand) -> Result<Vec<u8>, CardStatusWord> {
        let application =
            self.selected.and_then(|i| self.applications.get_mut(i)).ok_or(CardStatusWord::INS)?;
        if application.personalized {
            return Err(CardStatusWord::CONDITIONS);
        }
        let ChannelState::Open(session) = &self.secure else { return Err(CardStatusWord::SECURITY) };
        if command.p1p2() != 0x4007 {
            return Err(CardStatusWord::P1P2);
        }
        if command.data != application.rom.aid {
            return Err(CardStatusWord::NOT_FOUND);
        }
        if session.loader.is_inside_dgi() {
            return Err(CardStatusWord::CONDITIONS);
        }
        application.personalize()?;
        if self.faults.corrupt {
            application.corrupt();
        }
        self.secure = ChannelState::None;
        self.writes = self.writes.saturating_add(1);
        self.write_pages(1);
        Ok(Vec::new())
    }

    /// Returns a random card challenge.
    fn random_challenge(&mut self) -> [u8; 6] {
        #[cfg(test)]
        if let Some(challenge) = self.fixed_challenge {
            return challenge;
        }
        let [challenge @ .., _, _] = self.random();
        challenge
    }

    /// Returns eight bytes of SplitMix64: enough for challenges and dynamic numbers that a simulation can
    /// repeat.
    fn random(&mut self) -> [u8; 8] {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_be_bytes()
    }
}
