//! `cardwrightd`: a line, its queue of jobs, and the people who may say what happens. Part of the composition root.
//!
//! ```text
//! main thread      signals: the first drains, the second ends at once
//! "line"           one released job after the other
//! "retention"      deletes the cardholder data that are due
//! "accept"         a thread for each connection: question, policy, answer
//! ```

use std::fs::Permissions;
use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::common::{Early, LedgerArg, Selection};
use super::shop::{Shop, stop_text};
use super::signals::Signals;
use super::simulator::SimulateArgs;
use super::{ask, card, delete, job, papers, stock};
use crate::daemon::people::{People, Person};
use crate::daemon::policy::{self, Ask, BY_OPERATOR, Decision, SUBMITTED};
use crate::daemon::queue::Queue;
use crate::daemon::wire::{self, Answer, Question};
use crate::exit::{Exit, Failure};
use crate::ledger::{Change, Context, JobId, JobState};
use crate::pipeline::{Stop, Tell};

/// Said when a signal ends the program before it listens.
const STOPPED: &str = "stopped by the operator before the daemon listened";
/// Connections at a time: people, and the programs that they watch with.
const CONNECTIONS_MAX: usize = 64;
/// What people may say to a line before it has heard it.
const TOLD_MAX: usize = 256;
/// How long a line may take to say whether a card will go: it never waits for a device.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long until it is looked again for data that are due.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How long a connection may say nothing, and take nothing.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let people = std::fs::read_to_string(&args.people).map_err(|e| e.to_string());
    let people = people.and_then(|text| People::from_toml(&text));
    let people = people
        .map_err(|e| Failure::new(Exit::Profile, format!("people file {}: {e}", args.people.display())))?;
    let shop = Shop::open(&args.line, &args.keys, &args.ledger.ledger, &args.simulate, &signals)?;
    let core = Arc::new(Core {
        shop,
        people,
        queue: Mutex::default(),
        changed: Condvar::new(),
        deleting: Mutex::default(),
    });
    core.hold_all()?;
    let listener = listen(&args.socket)?;
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
    let _ = std::fs::remove_file(&args.socket);
    if !drained {
        // What is under way is UNKNOWN at the next start.
        return Ok(Exit::Stopped);
    }
    let simulator = core.shop.end_simulator();
    core.shop.ledger.clone().close()?;
    simulator.map(|()| Exit::Ok)
}

/// Makes the socket. Whoever connects is asked of the kernel, so anybody may.
fn listen(socket: &Path) -> Result<UnixListener, Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("socket {}: {what}", socket.display()));
    if UnixStream::connect(socket).is_ok() {
        return Err(fail("another daemon listens there".into()));
    }
    // The ledger is ours alone, so what lies there is from a daemon that was killed.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error.to_string())),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(|e| fail(e.to_string()))?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o666)).map_err(|e| fail(e.to_string()))?;
    Ok(listener)
}

fn held(reason: &str, actor: &str) -> Context {
    Context { reason: Some(reason.to_owned()), ..Context::by(actor) }
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
            let cancelled_by = self.queue().left();
            self.changed.notify_all();
            if let Some(actor) = cancelled_by
                && let Err(failure) = self.give_up(job, &actor)
            {
                tracing::error!(%job, %failure, "what was not made could not be cancelled");
            }
        }
    }

    fn make(&self, job: JobId, actor: &str, people: (Receiver<()>, Receiver<Tell>)) -> Result<(), Failure> {
        let (_, batch) = self.shop.batch(self.shop.ready(job)?, None)?;
        let outcome = self.shop.make(batch, false, actor, || people)?;
        match &outcome.stopped {
            Some(stop @ Stop::Ledger(_)) => Err(Failure::new(Exit::Ledger, stop_text(stop))),
            _ => Ok(()),
        }
    }

    /// What was not made will not be.
    fn give_up(&self, job: JobId, actor: &str) -> Result<(), Failure> {
        let done = card::decide(
            &self.shop.ledger,
            job,
            &Selection::All,
            Ask::CancelCard,
            actor,
            false,
            &mut std::io::sink(),
        );
        match done {
            Ok(_) => Ok(()),
            Err(Early::Failure(failure)) => Err(failure),
            Err(Early::Output(error)) => Err(Failure::new(Exit::Io, error.to_string())),
        }
    }

    fn accept(self: &Arc<Self>, listener: &UnixListener) {
        let open = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: connections must end before the next can begin.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (core, open) = (Arc::clone(self), Arc::clone(&open));
            let spawned = std::thread::Builder::new().name("connection".into()).spawn({
                let open = Arc::clone(&open);
                move || {
                    if let Err(error) = core.converse(stream) {
                        tracing::debug!(%error, "a connection ended");
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                }
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Questions and answers until the other end closes.
    fn converse(&self, stream: UnixStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let uid = getsockopt(&stream, PeerCredentials)?.uid();
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        let person = self.people.of(uid);
        while let Some(question) = wire::receive::<Question>(&mut reader, wire::QUESTION_MAX)? {
            let mut out = Vec::new();
            let result = match person {
                _ if question.v != wire::VERSION => Err(Failure::new(
                    Exit::Daemon,
                    "operator: the daemon is of another version; install both from one build",
                )
                .into()),
                None => Err(Failure::new(
                    Exit::Denied,
                    format!("operator: nobody with uid {uid} stands in the daemon's people file"),
                )
                .into()),
                Some(person) => self.answer(person, &question, &mut out),
            };
            let (exit, error) = match result {
                Ok(exit) => (exit, None),
                Err(Early::Failure(failure)) => (failure.exit, Some(failure.message)),
                Err(Early::Output(error)) => return Err(error),
            };
            let out = String::from_utf8_lossy(&out).into_owned();
            let sent = wire::send(&mut writer, &Answer { exit: exit as u8, out, error });
            if self.shop.ledger.failed().is_some() {
                // The line ends, and the daemon with it: a new one begins with what is on the disk.
                self.queue().drain();
                self.changed.notify_all();
            }
            sent?;
        }
        Ok(())
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
                let draining = self.queue().is_draining();
                match policy::decide(Ask::Shift, person, None, &self.shop.line.two_people, draining) {
                    Decision::Denied(why) => {
                        return Err(Failure::new(Exit::Denied, format!("refused: {why}")).into());
                    }
                    _ => stock::shift(&self.shop.ledger, name, &person.name, json, out)?,
                }
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
        let mut denied = None;
        for seq in sequences {
            let card = reader.card(job, seq)?;
            let last = card.events.iter().rfind(|event| event.to == "REJECTED");
            let killed = last.is_some_and(|event| event.reason.as_deref() == Some("killed"));
            let why = match policy::decide_kill(card.state, killed) {
                Decision::Accepted => {
                    let (answer, answered) = bounded(1);
                    let told = queue.tell(job, Tell::Kill { seq, by: by.to_owned(), answer });
                    if told && answered.recv_timeout(ANSWER_PATIENCE).unwrap_or(false) {
                        writeln!(out, "{job} record {seq}: its card is thrown out at its next step")?;
                        continue;
                    }
                    "its card is on its way into the stacker already, or out"
                }
                Decision::Ignored(why) => {
                    writeln!(out, "{job} record {seq}: nothing to do: {why}")?;
                    continue;
                }
                Decision::Waits => continue,
                Decision::Denied(why) => why,
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
                tracing::error!(%failure, "cardholder data that are due could not be deleted; it is tried again");
            }
            let queue = self.queue();
            if queue.is_draining() {
                return;
            }
            drop(self.changed.wait_timeout(queue, LOOK_AGAIN));
        }
    }

    fn delete_due(&self) -> Result<(), Failure> {
        for (job, since) in delete::due(&self.shop.ledger.reader()?, &self.shop.line)? {
            if self.queue().is_draining() {
                break;
            }
            let by = Context { reason: Some("retention".into()), ..Context::by("line") };
            self.delete(job, by, None, &mut std::io::sink())?;
            tracing::info!(%job, %since, "cardholder data were due and are deleted");
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
        let situation = queue.situation(ask, job, records, reader.job(job)?.state, reader.held_for(job)?);
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
                queue.asked(ask, job, records, &person.name);
                writeln!(out, "it takes two people: another one has to ask for the same")?;
                Ok(None)
            }
            Decision::Denied(why) => Err(Failure::new(Exit::Denied, format!("{job}: refused: {why}")).into()),
        }
    }

    fn submit(&self, person: &Person, file: &Path, out: &mut dyn Write) -> Result<Exit, Early> {
        let draining = self.queue().is_draining();
        match policy::decide(Ask::Submit, person, None, &self.shop.line.two_people, draining) {
            Decision::Denied(why) => return Err(Failure::new(Exit::Denied, format!("refused: {why}")).into()),
            _ => tracing::info!(file = %file.display(), by = %person.name, "submitted"),
        }
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
                writeln!(out, "{job} released; it waits for the line or is on it")?;
            }
            Ask::Hold => {
                queue.remove(job);
                if queue.stop(job, None) {
                    writeln!(out, "{job} stops; cards under way are finished, then it is HELD")?;
                } else {
                    ledger.record(job, Change::Held, held(BY_OPERATOR, &actor)).wait()?;
                    writeln!(out, "{job} is HELD")?;
                }
            }
            Ask::Cancel => {
                queue.remove(job);
                if queue.stop(job, Some(&actor)) {
                    writeln!(
                        out,
                        "{job} stops; cards under way are finished, what was not made is CANCELLED"
                    )?;
                } else {
                    drop(queue);
                    return card::decide(ledger, job, &Selection::All, Ask::CancelCard, &actor, json, out);
                }
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
