//! Decides when a transaction is full. Callers whose changes were in the last transaction usually send their next
//! changes at about the same time. A commit that began with the first of these would leave the others to another
//! commit. So the writer waits for as many changes as the last transaction had, but never longer than a fraction of a
//! commit's time.
//!
//! Not here: writing (`writer`).

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

/// A wait takes at most this fraction (one third) of a commit's time.
const PART: u32 = 3;
/// The longest wait, even if commits take longer: a disk that hangs for a second is no reason to wait.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// The size of the last transaction, and the time that commits take.
#[derive(Debug, Default)]
pub(super) struct Gather {
    expected: usize,
    /// Moving average of the time that a commit takes.
    takes: Duration,
    began: Option<Instant>,
    /// When the wait for this transaction ends.
    until: Option<Instant>,
}

impl Gather {
    /// The next message for a transaction that has `has` changes; `None` means that it is to be committed now.
    pub(super) fn more<M>(&mut self, has: usize, messages: &Receiver<M>) -> Option<M> {
        if let Ok(message) = messages.try_recv() {
            return Some(message);
        }
        if has >= self.expected {
            return None;
        }
        let wait = (self.takes / PART).min(WAIT_MAX);
        let until = *self.until.get_or_insert_with(|| Instant::now() + wait);
        messages.recv_deadline(until).ok()
    }

    /// A transaction with this number of changes is about to be committed.
    pub(super) fn begins(&mut self, changes: usize) {
        self.expected = changes;
        self.until = None;
        self.began = (changes > 0).then(Instant::now);
    }

    /// The commit has ended: updates the average.
    pub(super) fn ended(&mut self) {
        if let Some(began) = self.began.take() {
            self.takes = (self.takes * 7 + began.elapsed()) / 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{bounded, unbounded};

    use super::*;

    #[test]
    fn one_change_at_a_time_never_waits() {
        let (_sender, messages) = bounded::<u8>(1);
        let mut gather = Gather { takes: Duration::from_secs(3600), ..Gather::default() };
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(gather.more(1, &messages), None);
            assert!(start.elapsed() < WAIT_MAX);
            gather.begins(1);
        }
    }

    #[test]
    fn as_many_as_last_time_are_waited_for_and_no_longer_than_a_part_of_a_commit() {
        let (sender, messages) = unbounded();
        let mut gather = Gather { takes: Duration::from_secs(3600), ..Gather::default() };
        gather.begins(3);
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1));
            sender.send(2).unwrap();
            sender
        });
        // On a busy machine the second may come too late; then the wait must have ended.
        let start = Instant::now();
        let second = gather.more(1, &messages);
        assert!(second == Some(2) || start.elapsed() >= WAIT_MAX);
        let _sender = later.join().unwrap();
        let start = Instant::now();
        while gather.more(2, &messages).is_some() {}
        assert!(start.elapsed() < Duration::from_secs(60));
        // Queued messages are taken at once, no matter how many were expected.
        gather.begins(1);
        _sender.send(4).unwrap();
        assert_eq!((gather.more(5, &messages), gather.more(6, &messages)), (Some(4), None));
    }
}
