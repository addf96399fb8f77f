//! The whole system: plastic, the controller's memory, and the disk. A crash wipes the memory, and plastic
//! stays where it is.

use cardwright::laws::{AttemptState, JobState};

use crate::books::{Attempt, BLANKS, Book, Fault, RECORDS, Record, Row, Rules, Say};

/// Number of stations; each makes a whole card.
pub const STATIONS: u8 = 2;

/// The place of a piece of plastic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Hopper,
    Station(u8),
    Stacked,
    Bin,
    /// Shredded by the machine, or by a person.
    Destroyed,
    /// Unused, in the stock again.
    Returned,
}

/// The data on a piece of plastic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Data {
    None,
    Part(u8),
    Full(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plastic {
    pub place: Place,
    pub data: Data,
}

impl Plastic {
    fn record(&self) -> Option<u8> {
        match self.data {
            Data::None => None,
            Data::Part(record) | Data::Full(record) => Some(record),
        }
    }
}

/// A card that the controller has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Work {
    plastic: u8,
    /// 0 until the ledger has recorded the feed.
    blank: u8,
    inspected: bool,
    record: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub plastics: [Plastic; BLANKS as usize],
    stations: [Option<Work>; STATIONS as usize],
    /// The writer's book: recorded, perhaps not durable.
    pub memory: Book,
    pub disk: Book,
    crashes: u8,
}

/// One possible step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    // Steps of the line, by station.
    Feed(u8),
    Inspect(u8),
    Write(u8),
    Stack(u8),
    ThrowOut(u8),
    GiveBack(u8),
    /// A station reports to the ledger what it has done or is about to do.
    Tell(u8, Say),
    // Steps of the controller.
    Commit,
    Crash,
    // A person moves plastic.
    Clear(u8),
    Destroy(u8),
    StackByHand(u8),
    /// A person sets up the machines with a blank, and reports it.
    Test,
    // A person sends a request to the ledger.
    Ask(Say),
}

/// A condition for every state, or for every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// No record has two cards that carry its data.
    OneCard,
    /// Every card that carries data of a record has its binding on disk.
    BoundFirst,
    /// Both balances add up.
    Balances,
    /// The ledger has only those cards as stacked, thrown out or destroyed that are.
    TrueRows,
    /// A closed job has one good card of each GOOD record, and no other plastic with data.
    Closing,
    /// A step forgets nothing that was on disk.
    NothingForgotten,
    /// A crash makes only those records UNKNOWN whose card was under way.
    FewUnknown,
}

impl World {
    pub fn new() -> Self {
        Self {
            plastics: [Plastic { place: Place::Hopper, data: Data::None }; _],
            stations: [None; _],
            memory: Book::new(),
            disk: Book::new(),
            crashes: 0,
        }
    }

    fn plastic(&mut self, plastic: u8) -> &mut Plastic {
        &mut self.plastics[usize::from(plastic)]
    }

    fn at(&self, plastic: u8) -> Plastic {
        self.plastics[usize::from(plastic)]
    }

    /// All steps that are possible now.
    pub fn steps(&self, rules: Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        for (station, work) in (0..STATIONS).zip(self.stations) {
            match work {
                None => steps.extend(self.feeds(station, rules)),
                Some(work) => self.works(station, work, rules, &mut steps),
            }
        }
        if self.disk != self.memory {
            steps.push(Step::Commit);
        }
        if self.crashes < rules.crashes {
            steps.push(Step::Crash);
        }
        self.people(rules, &mut steps);
        steps
    }

    fn feeds(&self, station: u8, rules: Rules) -> Option<Step> {
        let free = self.plastics.iter().all(|p| p.place != Place::Station(station));
        let blank = self.plastics.iter().take(usize::from(rules.blanks)).any(|p| p.place == Place::Hopper);
        (self.memory.job == JobState::Open && free && blank).then_some(Step::Feed(station))
    }

    /// The next steps of a station with the card that it has.
    fn works(&self, station: u8, work: Work, rules: Rules, steps: &mut Vec<Step>) {
        let Work { plastic, blank, inspected, record } = work;
        let card = self.at(plastic);
        let tell = |say| Step::Tell(station, say);
        let attempt = attempt(&self.memory, blank);
        match card.place {
            Place::Stacked => {
                steps.extend(record.map(|record| tell(Say::Moved { record, to: AttemptState::Stacked })));
                return;
            }
            Place::Bin | Place::Destroyed => {
                steps.push(tell(match attempt {
                    Some(a) => Say::Moved { record: a.record, to: AttemptState::Rejected },
                    None => Say::RejectedUnbound { blank },
                }));
                return;
            }
            Place::Returned => {
                steps.push(tell(Say::Returned { blank }));
                return;
            }
            Place::Hopper | Place::Station(_) => {}
        }
        if blank == 0 {
            steps.push(tell(Say::Fed { blank: self.memory.next_blank() }));
            return;
        }
        steps.push(Step::ThrowOut(station));
        let Some(attempt) = attempt else {
            if !inspected {
                steps.extend([Step::Inspect(station), Step::GiveBack(station)]);
            } else if rules.fault == Some(Fault::BindsLate) && card.data == Data::None {
                steps.extend(self.next_record(rules, work).map(|_| Step::Write(station)));
            } else if let Some(record) = card.record().or_else(|| self.next_record(rules, work)) {
                steps.push(tell(Say::Bound { record, blank, plastic }));
            }
            return;
        };
        steps.push(tell(Say::Moved { record: attempt.record, to: AttemptState::Unknown }));
        let acknowledged = match rules.fault {
            Some(Fault::AcknowledgesEarly | Fault::BindsLate) => true,
            _ => self.disk.attempts().any(|a| a.plastic == plastic),
        };
        let moved = |to| tell(Say::Moved { record: attempt.record, to });
        if rules.fault == Some(Fault::RejectsEarly) {
            steps.push(moved(AttemptState::Rejected));
        }
        match (attempt.is, card.data) {
            _ if !acknowledged => {}
            (AttemptState::Bound, _) => steps.push(moved(AttemptState::Personalizing)),
            (AttemptState::Personalizing, Data::Full(_)) => steps.push(moved(AttemptState::Written)),
            (AttemptState::Personalizing, _) => steps.push(Step::Write(station)),
            (AttemptState::Written, _) => steps.push(moved(AttemptState::Verified)),
            (AttemptState::Verified, _) if rules.fault == Some(Fault::StacksLate) => {
                steps.push(moved(AttemptState::Stacked));
            }
            (AttemptState::Verified | AttemptState::Stacked, _) => steps.push(Step::Stack(station)),
            _ => {}
        }
    }

    /// The first waiting record that the ledger allows to be bound to this blank.
    fn next_record(&self, rules: Rules, work: Work) -> Option<u8> {
        let Work { plastic, blank, .. } = work;
        (0..RECORDS).find(|&record| {
            let taken = self.stations.iter().flatten().any(|w| w.record == Some(record));
            !taken && { self.memory }.say(Say::Bound { record, blank, plastic }, rules)
        })
    }

    /// The possible acts and reports of people. They are honest, except for one fault.
    fn people(&self, rules: Rules, steps: &mut Vec<Step>) {
        for (number, card) in (0..BLANKS).zip(self.plastics) {
            let worked_on = self.stations.iter().flatten().any(|w| w.plastic == number);
            let unknown =
                self.memory.attempts().any(|a| a.plastic == number && a.is == AttemptState::Unknown);
            let sample = self.memory.attempts().any(|a| a.plastic == number && a.is == AttemptState::Sample);
            match card.place {
                _ if worked_on => {}
                Place::Station(_) => steps.push(Step::Clear(number)),
                Place::Bin => {
                    // A card without data may lie there for ever.
                    steps.extend((card.data != Data::None || unknown).then_some(Step::Destroy(number)));
                    let whole = matches!(card.data, Data::Full(_));
                    steps.extend((unknown && whole).then_some(Step::StackByHand(number)));
                }
                Place::Stacked if unknown || sample => steps.push(Step::Destroy(number)),
                _ => {}
            }
        }
        for record in 0..RECORDS {
            if let Some(attempt) = self.memory.waits_for_the_shredder(record) {
                let card = self.at(attempt.plastic);
                let destroyed = card.place == Place::Destroyed || rules.fault == Some(Fault::SaysDestroyed);
                let good = (card.place, card.data) == (Place::Stacked, Data::Full(record));
                let is = [(destroyed, AttemptState::Destroyed), (good, AttemptState::Good)];
                let is = is.into_iter().filter(|(true_, _)| *true_);
                steps.extend(is.map(|(_, to)| Step::Ask(Say::Moved { record, to })));
            }
            let sampled = Say::Moved { record, to: AttemptState::Sample };
            steps.extend([Say::Cancelled { record }, Say::RemakeReleased { record }, sampled].map(Step::Ask));
        }
        steps.extend([Say::Released, Say::Closed].map(Step::Ask));
        steps.extend(self.test(rules).map(|_| Step::Test));
        // The ledger would refuse these.
        steps.retain(|step| !matches!(step, Step::Ask(say) if !{ self.memory }.say(*say, rules)));
    }

    /// A blank for setting up the machines, and the change that records it.
    fn test(&self, rules: Rules) -> Option<(usize, Say)> {
        let left = self.plastics.iter().take(usize::from(rules.blanks));
        let from = left.into_iter().position(|p| p.place == Place::Hopper)?;
        let say = Say::Tested { blank: self.memory.next_blank() };
        ({ self.memory }).say(say, rules).then_some((from, say))
    }

    /// The world after a step; [`None`] if the ledger refuses the change.
    pub fn after(mut self, step: Step, rules: Rules) -> Option<Self> {
        let out = if rules.shredded { Place::Destroyed } else { Place::Bin };
        match step {
            Step::Feed(station) => {
                let from = self.plastics.iter().position(|p| p.place == Place::Hopper)?;
                self.plastics[from].place = Place::Station(station);
                let work = Work { plastic: from as u8, blank: 0, inspected: false, record: None };
                self.stations[usize::from(station)] = Some(work);
            }
            Step::Inspect(station) => self.work(station)?.inspected = true,
            Step::Write(station) => {
                let work = *self.work(station)?;
                let record = match work.record {
                    Some(record) => record,
                    None => self.next_record(rules, work)?,
                };
                self.work(station)?.record = Some(record);
                let card = self.plastic(work.plastic);
                card.data = if card.data == Data::None { Data::Part(record) } else { Data::Full(record) };
            }
            Step::Stack(station) => {
                let work = *self.work(station)?;
                self.plastic(work.plastic).place = Place::Stacked;
                if rules.fault == Some(Fault::StacksLate) {
                    // The station has no report left if it sent the report before the move.
                    let told =
                        attempt(&self.memory, work.blank).is_some_and(|a| a.is == AttemptState::Stacked);
                    self.stations[usize::from(station)] = (!told).then_some(work);
                }
            }
            Step::ThrowOut(station) => {
                let plastic = self.work(station)?.plastic;
                self.plastic(plastic).place = out;
            }
            Step::GiveBack(station) => {
                let plastic = self.work(station)?.plastic;
                self.plastic(plastic).place = Place::Returned;
            }
            Step::Tell(station, say) => self.report(station, say, rules)?,
            Step::Commit => self.disk = self.memory,
            Step::Crash => {
                self.stations = [None; _];
                self.disk.restart(rules);
                self.memory = self.disk;
                self.crashes += 1;
            }
            Step::Clear(plastic) => self.plastic(plastic).place = out,
            Step::Destroy(plastic) => self.plastic(plastic).place = Place::Destroyed,
            Step::StackByHand(plastic) => self.plastic(plastic).place = Place::Stacked,
            Step::Test => {
                let (from, say) = self.test(rules)?;
                self.plastics[from].place = Place::Bin;
                self.memory.say(say, rules).then_some(())?;
                self.disk = self.memory;
            }
            Step::Ask(say) => {
                self.memory.say(say, rules).then_some(())?;
                // A request is answered after the commit.
                self.disk = self.memory;
            }
        }
        Some(self.canonical())
    }

    /// Stations are alike, so their order does not matter: the one with the earlier blank comes first.
    fn canonical(mut self) -> Self {
        let [first, second] = [0, 1].map(|station| {
            let work = self.stations[usize::from(station)].map(|work| usize::from(work.plastic));
            let in_it = || self.plastics.iter().position(|p| p.place == Place::Station(station));
            work.or_else(in_it).unwrap_or(usize::MAX)
        });
        if second < first {
            self.stations.swap(0, 1);
            for card in &mut self.plastics {
                if let Place::Station(station) = &mut card.place {
                    *station = 1 - *station;
                }
            }
        }
        self
    }

    fn work(&mut self, station: u8) -> Option<&mut Work> {
        self.stations[usize::from(station)].as_mut()
    }

    fn report(&mut self, station: u8, say: Say, rules: Rules) -> Option<()> {
        self.memory.say(say, rules).then_some(())?;
        let work = self.work(station)?;
        match say {
            Say::Fed { blank } => work.blank = blank,
            Say::Bound { record, .. } => work.record = Some(record),
            Say::Moved { to: AttemptState::Stacked, .. } if rules.fault == Some(Fault::StacksLate) => {}
            Say::RejectedUnbound { .. }
            | Say::Returned { .. }
            | Say::Moved {
                to: AttemptState::Stacked | AttemptState::Rejected | AttemptState::Unknown, ..
            } => {
                self.stations[usize::from(station)] = None;
            }
            _ => {}
        }
        Some(())
    }

    /// Whether a state breaks a law.
    pub fn breaks(&self, law: Law) -> bool {
        !match law {
            Law::OneCard => (0..RECORDS).all(|record| self.live(record).count() <= 1),
            Law::BoundFirst => (0..BLANKS).zip(self.plastics).all(|(number, card)| {
                card.record().is_none_or(|record| {
                    self.disk.attempts().any(|a| (a.plastic, a.record) == (number, record))
                })
            }),
            Law::Balances => self.memory.balanced() && self.disk.balanced(),
            Law::TrueRows => self.disk.attempts().all(|a| {
                let card = self.at(a.plastic);
                match a.is {
                    AttemptState::Stacked | AttemptState::Good => {
                        (card.place, card.data) == (Place::Stacked, Data::Full(a.record))
                    }
                    AttemptState::Destroyed => card.place == Place::Destroyed,
                    AttemptState::Rejected => matches!(card.place, Place::Bin | Place::Destroyed),
                    _ => true,
                }
            }),
            Law::Closing => {
                self.disk.job != JobState::Closed
                    || (0..RECORDS).zip(self.disk.records).all(|(record, state)| match state {
                        Record::Good => {
                            self.live(record).all(|p| p.place == Place::Stacked)
                                && self.live(record).count() == 1
                        }
                        Record::Cancelled => self.live(record).count() == 0,
                        _ => false,
                    })
            }
            // These are laws of steps, not of states.
            Law::NothingForgotten | Law::FewUnknown => true,
        }
    }

    /// The cards that carry data of a record and are not destroyed.
    fn live(&self, record: u8) -> impl Iterator<Item = &Plastic> {
        self.plastics.iter().filter(move |p| p.record() == Some(record) && p.place != Place::Destroyed)
    }

    /// Whether the step that led from here to `after` breaks a law of steps.
    pub fn step_breaks(&self, step: Step, after: &Self, law: Law) -> bool {
        match law {
            Law::NothingForgotten => !self.disk.is_kept_by(&after.disk),
            Law::FewUnknown => {
                step == Step::Crash
                    && self.disk.rows.iter().zip(&self.memory.rows).zip(&after.disk.rows).any(
                        |((was, said), is)| match is {
                            Row::Attempt(a) if a.is == AttemptState::Unknown && is != was => {
                                let in_line = matches!(self.at(a.plastic).place, Place::Station(_));
                                let held = self.stations.iter().flatten().any(|w| w.plastic == a.plastic);
                                // Or the card had left, and that was recorded but not yet durable.
                                !(in_line || held || said != was)
                            }
                            _ => false,
                        },
                    )
            }
            _ => false,
        }
    }
}

fn attempt(book: &Book, blank: u8) -> Option<Attempt> {
    match book.rows.get(usize::from(blank).checked_sub(1)?) {
        Some(Row::Attempt(attempt)) => Some(*attempt),
        _ => None,
    }
}
