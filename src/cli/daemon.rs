//! `cardwrightd`: a line, its queue of jobs, and the people who may say what happens. Part of the composition root.
//!
//! ```text
//! main thread      signals: the first drains, the second ends at once
//! "line"           one released job after the other
//! "retention"      deletes the cardholder data that are due
//! "accept"         a thread for each connection: question, policy, answer
//! ```

mod connections;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, select};

use super::common::{Early, LedgerArg, Selection, json as json_of};
use super::log::PAGE;
use super::shop::{Shop, stop_text};
use super::signals::Signals;
use super::simulator::SimulateArgs;
use super::{ask, audit, card, delete, job, papers, stock};
use crate::daemon::people::{People, Person};
use crate::daemon::policy::{self, Ask, BY_OPERATOR, BY_SIGNAL, Decision, SUBMITTED};
use crate::daemon::queue::Queue;
use crate::daemon::wire::{self, Question};
use crate::exit::{Exit, Failure};
use crate::hsm::Auditor;
use crate::ledger::{AttemptState, Change, Context, JobId, JobState, LedgerError};
use crate::pipeline::{Stop, Tell};
use crate::profile::Line;
use crate::reason::ReasonWord;

/// Said when a signal ends the program before it listens.
const STOPPED: &str = "stopped by the operator before the daemon listened";
/// What people may say to a line before it has heard it.
const TOLD_MAX: usize = 256;
/// How long a line may take to say whether a card will go: it never waits for a device.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long until it is looked again for data that are due.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// The daemon of one line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "cardwrightd",
    version,
    about = "Controller of a smart card personalization line: the daemon"
)]
pub struct DaemonArgs {
    /// Line profile: a shipped name or a .toml file
    #[arg(long)]
    line: String,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
    keys: PathBuf,
    /// Who may do what (TOML)
    #[arg(long, value_name = "FILE")]
    people: PathBuf,
    /// Socket to make
    #[arg(long, value_name = "PATH", env = "CARDWRIGHT_SOCKET")]
    socket: PathBuf,
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    simulate: SimulateArgs,
}

/// What all threads share.
struct Core {
    shop: Shop,
    people: People,
    queue: Mutex<Queue>,
    /// The queue has changed.
    changed: Condvar,
    /// Held while papers are written or data deleted.
    deleting: Mutex<()>,
}

/// Runs it until a signal.
pub fn run(args: &DaemonArgs) -> Result<Exit, Failure> {
    let signals = Signals::handle(STOPPED)?;
    let shop = Shop::open(&args.line, &args.keys, &args.ledger.ledger, &args.simulate, &signals)?;
    let people = people(&args.people, &shop.line)?;
    let core = Arc::new(Core {
        shop,
        people,
        queue: Mutex::default(),
        changed: Condvar::new(),
        deleting: Mutex::default(),
    });
    core.hold_all()?;
    let listener = listen(&args.socket)?;
    let ours = inode(&args.socket);
    let heard = signals.heard();
    let (ended, line_ended) = bounded::<()>(0);
    let spawned = |e: std::io::Error| Failure::new(Exit::Io, format!("us: no thread: {e}"));
    let line = Arc::clone(&core);
    std::thread::Builder::new()
        .name("line".into())
        .spawn(move || {
            let _ended = ended;
            line.make_jobs();
        })
        .map_err(spawned)?;
    let retain = Arc::clone(&core);
    std::thread::Builder::new().name("retention".into()).spawn(move || retain.retain()).map_err(spawned)?;
    let accept = Arc::clone(&core);
    std::thread::Builder::new()
        .name("accept".into())
        .spawn(move || accept.accept(&listener))
        .map_err(spawned)?;
    // Nobody may be listening; whoever asks gets answers.
    let _ = writeln!(std::io::stdout(), "ready").and_then(|()| std::io::stdout().flush());

    let mut drained = true;
    select! {
        recv(heard) -> _ => {
            tracing::warn!("draining: cards under way are finished; a second signal ends at once");
            core.queue().drain();
            core.changed.notify_all();
            select! {
                recv(line_ended) -> _ => {}
                recv(heard) -> _ => drained = false,
            }
        }
        recv(line_ended) -> _ => {}
    }
    if inode(&args.socket) == ours {
        let _ = std::fs::remove_file(&args.socket);
    }
    if !drained {
        // What is under way is UNKNOWN at the next start.
        return Ok(Exit::Stopped);
    }
    let simulator = core.shop.end_simulator();
    core.shop.ledger.clone().close()?;
    if core.shop.keys_are_gone() {
        let what = "key: the HSM host has ended, and the daemon with it; look why (its log stands above), and start again";
        return Err(Failure::new(Exit::Hsm, what));
    }
    simulator.map(|()| Exit::Ok)
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The people file. Whoever can write it says who is a supervisor.
fn people(path: &Path, line: &Line) -> Result<People, Failure> {
    let wrong = |what: String| Failure::new(Exit::Profile, format!("people file {}: {what}", path.display()));
    let meta = path.metadata().map_err(|e| wrong(e.to_string()))?;
    let owner = meta.uid();
    if !meta.is_file() {
        return Err(wrong("it is no regular file".into()));
    }
    if meta.mode() & 0o022 != 0 || owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(wrong("it must be yours or root's, and nobody else may write it (chmod go-w)".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let people = People::from_toml(&text).map_err(wrong)?;
    for ask in &line.two_people {
        let needs = policy::role(*ask, None);
        if people.with(needs) < 2 {
            let what = format!("the line has two people for {ask:?}, and fewer stand here as {needs:?}");
            return Err(wrong(what));
        }
    }
    Ok(people)
}

/// Makes the socket. Whoever connects is asked of the kernel, so anybody may.
fn listen(socket: &Path) -> Result<UnixListener, Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("socket {}: {what}", socket.display()));
    if UnixStream::connect(socket).is_ok() {
        return Err(fail("another daemon listens there".into()));
    }
    // The ledger is ours alone, so a socket that lies there is from a daemon that was killed.
    match std::fs::symlink_metadata(socket) {
        Ok(there) if there.file_type().is_socket() => {
            std::fs::remove_file(socket).map_err(|e| fail(e.to_string()))?;
        }
        Ok(_) => return Err(fail("something else lies there; name another path by --socket".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error.to_string())),
    }
    let listener = UnixListener::bind(socket).map_err(|e| fail(e.to_string()))?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o666)).map_err(|e| fail(e.to_string()))?;
    Ok(listener)
}

fn not_allowed(why: &str) -> Failure {
    Failure::new(Exit::NotAllowed, format!("operator: refused: {why}"))
}

fn held(reason: &str, actor: &str) -> Context {
    Context { reason: Some(reason.into()), ..Context::by(actor) }
}

impl Core {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything comes up HELD.
    fn hold_all(&self) -> Result<(), Failure> {
        for job in self.shop.ledger.reader()?.jobs()? {
            if job.state == JobState::Open {
                self.shop.ledger.record(job.job, Change::Held, held("restart", "line")).wait()?;
            }
        }
        Ok(())
    }

    /// One released job after the other, until the daemon drains.
    fn make_jobs(&self) {
        loop {
            let mut queue = self.queue();
            let (stop, stopped) = bounded(1);
            let (tell, told) = bounded(TOLD_MAX);
            let (job, actor) = loop {
                if queue.is_draining() || self.shop.ledger.failed().is_some() {
                    return;
                }
                match queue.next(stop.clone(), tell.clone()) {
                    Some(next) => break next,
                    None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            if let Err(failure) = self.make(job, &actor, (stopped, told)) {
                tracing::error!(%job, %failure, "the job cannot be made");
                let context = Context { detail: Some(failure.message), ..held("line", "line") };
                if let Err(error) = self.shop.ledger.record(job, Change::Held, context).wait() {
                    tracing::error!(%job, %error, "and that cannot be written");
                }
            }
            let mut queue = self.queue();
            queue.left();
            if self.shop.keys_are_gone() {
                // Without keys no card can be made, and nothing is signed: a new daemon has a new HSM host.
                queue.drain();
            }
            drop(queue);
            self.changed.notify_all();
        }
    }

    fn make(&self, job: JobId, actor: &str, people: (Receiver<()>, Receiver<Tell>)) -> Result<(), Failure> {
        let (_, batch) = self.shop.batch(self.shop.ready(job)?, None)?;
        let stopped_by = || match self.queue().stopped_by() {
            Some(by) => held(BY_OPERATOR, &by),
            None => held(BY_SIGNAL, BY_SIGNAL),
        };
        let outcome = self.shop.make(batch, false, actor, || people, stopped_by)?;
        match &outcome.stopped {
            Some(stop @ Stop::Ledger(_)) => Err(Failure::new(Exit::Ledger, stop_text(stop))),
            _ => Ok(()),
        }
    }

    fn answer(&self, person: &Person, question: &Question, out: &mut dyn Write) -> Result<Exit, Early> {
        let reader = self.shop.ledger.reader()?;
        let json = question.json;
        match &question.ask {
            wire::Ask::List => job::list(&reader.jobs()?, json, out)?,
            wire::Ask::Show { job } => job::show(&reader.job(parsed(job)?)?, json, out)?,
            wire::Ask::Report { job } => {
                job::report(&reader, parsed(job)?, self.shop.ledger.path(), json, out)?;
            }
            wire::Ask::ShowCards { job, seq } => {
                return card::show(&reader, parsed(job)?, &parsed(seq)?, json, out);
            }
            wire::Ask::Log { job, after } => {
                let job = job.as_deref().map(parsed).transpose()?;
                job.map(|job| reader.job(job)).transpose()?;
                json_of(out, &reader.events(job, *after, PAGE)?)?;
            }
            wire::Ask::Audit { key } => {
                self.allowed(Ask::Audit, person)?;
                let known = self.shop.connect()?.audit(reader.id()?).map_err(Failure::from)?;
                return audit::verify(
                    &reader,
                    Some(&known),
                    key.as_deref().map(parsed).transpose()?,
                    json,
                    out,
                );
            }
            wire::Ask::Submit { file } => return self.submit(person, Path::new(file), out),
            wire::Ask::Papers { job, out: to } => {
                let job = parsed(job)?;
                if self.granted(&mut self.queue(), person, Ask::Papers, job, "", out)?.is_some() {
                    let _one = self.deleting.lock().unwrap_or_else(PoisonError::into_inner);
                    papers::write(&reader, job, &|| self.shop.connect(), Path::new(to), out)?;
                }
            }
            wire::Ask::Delete { job, out: to } => {
                let job = parsed(job)?;
                let granted = self.granted(&mut self.queue(), person, Ask::Delete, job, "", out)?;
                if let Some(actor) = granted {
                    self.delete(job, Context::by(actor), to.as_deref().map(Path::new), out)?;
                }
            }
            wire::Ask::Job { job, what } => {
                if !matches!(what, Ask::Release | Ask::Hold | Ask::Resume | Ask::Cancel | Ask::Close) {
                    return Err(Failure::new(Exit::Usage, "operator: that is nothing about a job").into());
                }
                return self.about_job(person, *what, parsed(job)?, json, out);
            }
            wire::Ask::Cards { job, seq, what } => {
                let (id, which): (JobId, Selection) = (parsed(job)?, parsed(seq)?);
                use Ask::{CancelCard, Destroyed, FoundGood, Kill, Remake, Sample};
                if !matches!(what, Destroyed | FoundGood | Remake | CancelCard | Kill | Sample) {
                    return Err(Failure::new(Exit::Usage, "operator: that is nothing about cards").into());
                }
                let mut queue = self.queue();
                let Some(actor) = self.granted(&mut queue, person, *what, id, seq, out)? else {
                    return Ok(Exit::Ok);
                };
                if *what == Kill {
                    return self.kill(queue, id, &which, &actor, out);
                }
                drop(queue);
                return card::decide(&self.shop.ledger, id, &which, *what, &actor, json, out);
            }
            wire::Ask::AskCards { job, seq, station } => {
                return self.ask_cards(person, (parsed(job)?, seq), station.as_deref(), json, out);
            }
            wire::Ask::Stock { job, count, what } => {
                return self.stock(person, *what, parsed(job)?, *count, json, out);
            }
            wire::Ask::Shift { name } => {
                self.allowed(Ask::Shift, person)?;
                stock::shift(&self.shop.ledger, name, &person.name, json, out)?;
            }
            wire::Ask::ShowStock { job, shift } => {
                let job = job.as_deref().map(parsed).transpose()?;
                stock::show(&reader, job, shift.as_deref(), json, out)?;
            }
        }
        Ok(Exit::Ok)
    }

    /// Has the line throw cards out. The queue is held, so that the job stays on the line or off it.
    fn kill(
        &self,
        queue: MutexGuard<'_, Queue>,
        job: JobId,
        which: &Selection,
        by: &str,
        out: &mut dyn Write,
    ) -> Result<Exit, Early> {
        let reader = self.shop.ledger.reader()?;
        let sequences = match which.sequences(reader.job(job)?.records) {
            Some(sequences) => sequences,
            None => card::applicable(&reader, job, Ask::Kill)?,
        };
        let decide = |seq| {
            let card = reader.card(job, seq)?;
            let last = card.events.iter().rfind(|event| event.is_moved_to(AttemptState::Rejected));
            let killed = last.is_some_and(|event| event.context.reason == Some(ReasonWord::Killed));
            Ok::<_, LedgerError>(policy::decide_kill(card.state, killed))
        };
        let mut denied = None;
        for seq in sequences {
            let mut decision = decide(seq)?;
            if decision == Decision::Accepted {
                let (answer, answered) = bounded(1);
                let told = queue.tell(job, Tell::Kill { seq, by: by.to_owned(), answer });
                if told && answered.recv_timeout(ANSWER_PATIENCE).unwrap_or(false) {
                    writeln!(out, "{job} record {seq}: its card is thrown out at its next step")?;
                    continue;
                }
                // It may have gone out meanwhile, for the same reason.
                decision = decide(seq)?;
            }
            let why = match decision {
                Decision::Ignored(why) => {
                    writeln!(out, "{job} record {seq}: nothing to do: {why}")?;
                    continue;
                }
                Decision::Denied(why) | Decision::NotAllowed(why) => why,
                Decision::Accepted | Decision::Waits => {
                    "its card is on its way into the stacker already, or out"
                }
            };
            denied.get_or_insert_with(|| {
                Failure::new(Exit::Denied, format!("{job} record {seq}: refused: {why}"))
            });
        }
        denied.map_or(Ok(Exit::Ok), |failure| Err(failure.into()))
    }

    /// Something about the stock of a job. The queue is held, so that the job does not go on the line meanwhile.
    fn stock(
        &self,
        person: &Person,
        ask: Ask,
        job: JobId,
        count: u32,
        json: bool,
        out: &mut dyn Write,
    ) -> Result<Exit, Early> {
        if stock::change(ask, count).is_none() && ask != Ask::StockTest {
            return Err(Failure::new(Exit::Usage, "operator: that is nothing about stock").into());
        }
        let mut queue = self.queue();
        let granted = self.granted(&mut queue, person, ask, job, &count.to_string(), out)?;
        let Some(actor) = granted else { return Ok(Exit::Ok) };
        stock::change_stock(&self.shop.ledger, ask, job, count, &actor, json, out)?;
        if ask == Ask::StockIssue {
            queue.tell(job, Tell::Issued(count));
        }
        Ok(Exit::Ok)
    }

    /// Has cards that lie in the line say how far they came. No job comes on the line meanwhile.
    fn ask_cards(
        &self,
        person: &Person,
        (job, seq): (JobId, &str),
        station: Option<&str>,
        json: bool,
        out: &mut dyn Write,
    ) -> Result<Exit, Early> {
        let which = ask::one_or_all(&parsed(seq)?)?;
        let mut queue = self.queue();
        let Some(actor) = self.granted(&mut queue, person, Ask::AskCard, job, seq, out)? else {
            return Ok(Exit::Ok);
        };
        queue.ask(true);
        drop(queue);
        let _asking = Asking(self);
        ask::tell(&self.shop.ask(job, which, station, &actor)?, json, out)
    }

    fn delete(
        &self,
        job: JobId,
        by: Context,
        directory: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        // One at a time, by whomever: each step looks at what is there.
        let _one = self.deleting.lock().unwrap_or_else(PoisonError::into_inner);
        delete::delete(&self.shop.ledger, job, by, &|| self.shop.connect(), directory, out)
    }

    /// Deletes what is due: now, when a job was closed, and from time to time, until the daemon drains.
    fn retain(&self) {
        loop {
            if let Err(failure) = self.delete_due() {
                tracing::error!(%failure, "nobody knows which cardholder data are due; it is looked for again");
            }
            let queue = self.queue();
            if queue.is_draining() {
                return;
            }
            drop(self.changed.wait_timeout(queue, LOOK_AGAIN));
        }
    }

    fn delete_due(&self) -> Result<(), Failure> {
        for (job, since) in delete::due(&self.shop.ledger, &self.shop.line)? {
            if self.queue().is_draining() {
                break;
            }
            let by = Context { reason: Some(ReasonWord::Retention), ..Context::by("line") };
            match self.delete(job, by, None, &mut std::io::sink()) {
                Ok(()) => tracing::info!(%job, %since, "cardholder data were due and are deleted"),
                Err(failure) => tracing::error!(
                    %job, %since, %failure, "cardholder data that are due could not be deleted; it is tried again"
                ),
            }
        }
        Ok(())
    }

    /// Asks the policy. `None`: nothing is to be done, and the answer says why; else in whose name it is done.
    fn granted(
        &self,
        queue: &mut Queue,
        person: &Person,
        ask: Ask,
        job: JobId,
        records: &str,
        out: &mut dyn Write,
    ) -> Result<Option<String>, Early> {
        let reader = self.shop.ledger.reader()?;
        let view = reader.job(job)?;
        let (stands, held_for, now) = ((view.state, &view.balance), reader.held_for(job)?, Instant::now());
        let situation = queue.situation(ask, job, records, stands, held_for, now);
        let two = &self.shop.line.two_people;
        match policy::decide(ask, person, Some(&situation), two, queue.is_draining()) {
            Decision::Accepted => {
                let first = queue.settled(ask, job, records);
                let name = &person.name;
                Ok(Some(first.map_or_else(|| name.clone(), |first| format!("{first}, {name}"))))
            }
            Decision::Ignored(why) => {
                writeln!(out, "nothing to do: {why}")?;
                Ok(None)
            }
            Decision::Waits => {
                queue.asked(ask, job, records, (view.state, view.balance), &person.name, now);
                let what = "nothing is done yet: it takes two people, and another one has to ask for the same within 15 \
                            minutes, while the job stands as it does";
                Err(Failure::new(Exit::SecondPerson, format!("{job}: {what}")).into())
            }
            Decision::Denied(why) => Err(Failure::new(Exit::Denied, format!("{job}: refused: {why}")).into()),
            Decision::NotAllowed(why) => Err(not_allowed(&format!("{job}: {why}")).into()),
        }
    }

    /// Asks the policy about something that is of no job.
    fn allowed(&self, ask: Ask, person: &Person) -> Result<(), Failure> {
        match policy::decide(ask, person, None, &self.shop.line.two_people, self.queue().is_draining()) {
            Decision::Denied(why) => Err(Failure::new(Exit::Denied, format!("refused: {why}"))),
            Decision::NotAllowed(why) => Err(not_allowed(why)),
            Decision::Accepted | Decision::Ignored(_) | Decision::Waits => Ok(()),
        }
    }

    fn submit(&self, person: &Person, file: &Path, out: &mut dyn Write) -> Result<Exit, Early> {
        self.allowed(Ask::Submit, person)?;
        tracing::info!(file = %file.display(), by = %person.name, "submitted");
        let (job, seen_before) = self.shop.accept(file)?;
        if seen_before.is_empty() {
            self.shop.ledger.record(job.id, Change::Held, held(SUBMITTED, &person.name)).wait()?;
        }
        let (id, count) = (job.id, seen_before.len());
        match seen_before.first() {
            None => writeln!(out, "{id} accepted; next: cardwright job release {id}")?,
            Some(first) => writeln!(
                out,
                "{id} accepted and held: {count} of its card_refs were in an earlier file of the issuer (first: record \
                 {first}); a supervisor looks at them, then: cardwright job release {id}"
            )?,
        }
        Ok(Exit::Ok)
    }

    fn about_job(
        &self,
        person: &Person,
        ask: Ask,
        job: JobId,
        json: bool,
        out: &mut dyn Write,
    ) -> Result<Exit, Early> {
        let mut queue = self.queue();
        let Some(actor) = self.granted(&mut queue, person, ask, job, "", out)? else { return Ok(Exit::Ok) };
        let ledger = &self.shop.ledger;
        let reader = ledger.reader()?;
        match ask {
            Ask::Release | Ask::Resume => {
                if reader.job(job)?.state == JobState::Held {
                    ledger.record(job, Change::Released, Context::by(&actor)).wait()?;
                }
                queue.push(job, &actor);
                self.changed.notify_all();
                writeln!(out, "{job} released; `cardwright job show {job}` tells whether it runs")?;
            }
            Ask::Hold => {
                queue.remove(job);
                if queue.stop(job, &actor) {
                    writeln!(out, "{job} stops; cards under way are finished, then it is HELD")?;
                } else {
                    ledger.record(job, Change::Held, held(BY_OPERATOR, &actor)).wait()?;
                    writeln!(out, "{job} is HELD")?;
                }
            }
            Ask::Cancel => {
                queue.remove(job);
                if queue.stop(job, &actor) {
                    // Cards under way are finished. What is answered is done, whatever becomes of us then.
                    while queue.is_on_line(job) {
                        queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    }
                } else if reader.job(job)?.state == JobState::Open {
                    ledger.record(job, Change::Held, held(BY_OPERATOR, &actor)).wait()?;
                }
                drop(queue);
                return card::decide(ledger, job, &Selection::All, Ask::CancelCard, &actor, json, out);
            }
            _ => {
                ledger.record(job, Change::Closed, Context::by(&actor)).wait()?;
                self.changed.notify_all();
                job::report(&reader, job, ledger.path(), json, out)?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// While it lives, cards are being asked.
struct Asking<'a>(&'a Core);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.queue().ask(false);
        self.0.changed.notify_all();
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|what| Failure::new(Exit::Usage, format!("operator: {what}")))
}
