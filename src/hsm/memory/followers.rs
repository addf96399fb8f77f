//! Which connection follows which ledger: for the life of a host. Pure.
//!
//! ```text
//! UNKNOWN ─ two people; in TEST by itself ─> KNOWN ─ follow ─> FOLLOWED ─ show ─> FOLLOWED, further
//!                                              ^──── connection ends ───┘  └─ law broken ─> STOPPED
//! ```
//!
//! Not here: what is remembered of a ledger (`state`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{LedgerStanding, MemoryState};
use crate::audit::{ChainPlace, LedgerId};

/// Number of a connection; none comes twice in the life of a host.
pub type ConnectionNumber = u64;

/// The connections that follow ledgers.
#[derive(Debug, Default)]
pub struct LedgerFollowers {
    followed: BTreeMap<LedgerId, Follower>,
}

/// The connection that follows a ledger.
#[derive(Debug)]
struct Follower {
    connection: ConnectionNumber,
    /// Number of the ledger's last event when its program started; `None` once all up to there was shown.
    to_show: Option<u64>,
}

/// Why a ledger cannot be followed, or its events cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FollowRefusal {
    /// Its laws are of another version.
    #[error(
        "the ledger's program has laws {shown}, and this HSM has laws {known}: use programs of one version"
    )]
    OtherLaws {
        /// Version of the HSM's laws.
        known: u16,
        /// Version of the program's.
        shown: u16,
    },
    /// Another store signed it.
    #[error("another key store signed the ledger last: use that key store")]
    OtherStore,
    /// The store signed more than it remembers.
    #[error(
        "the key store has signed number {shown}, but remembers only number {known}: it is an old copy from a backup, and signs nothing more; put the newer store back"
    )]
    StoreBehind {
        /// The generation, or the event, that the store remembers.
        known: u64,
        /// The one that it signed, as a ledger shows.
        shown: u64,
    },
    /// Nobody made it known to this store.
    #[error("this HSM does not know the ledger: two people register it")]
    Unknown,
    /// A living connection follows it.
    #[error("another program follows the ledger: end that program first")]
    Followed,
    /// An event of it broke a law.
    #[error("the ledger stopped at event {n}: {why}")]
    Stopped {
        /// Number of the event.
        n: u64,
        /// Why it was refused.
        why: String,
    },
    /// Another ledger goes on in its place.
    #[error("the ledger {0} goes on in its place")]
    Succeeded(LedgerId),
    /// This connection does not follow it.
    #[error("this connection does not follow the ledger")]
    NotFollowed,
    /// Events come after another one than the last that was shown.
    #[error(
        "the HSM has seen event {known} of the ledger, and what comes now follows event {shown} or another one of that number"
    )]
    OtherPlace {
        /// Number of the last event that was shown.
        known: u64,
        /// Number of the event that the others follow.
        shown: u64,
    },
}

impl FollowRefusal {
    /// Refuses everything once the store is known to be an old one.
    pub fn of_old_store(memory: &MemoryState) -> Result<(), Self> {
        memory.behind().map_or(Ok(()), |(known, shown)| Err(Self::StoreBehind { known, shown }))
    }

    /// Whether asking again cannot help.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Followed | Self::NotFollowed)
    }
}

impl LedgerFollowers {
    /// A connection begins to follow a ledger that is known; `last` is the number of its last event, if its program starts now. Returns
    /// the place up to which it was shown.
    pub fn follow(
        &mut self,
        memory: &MemoryState,
        ledger: LedgerId,
        connection: ConnectionNumber,
        last: Option<u64>,
    ) -> Result<ChainPlace, FollowRefusal> {
        let known = memory.ledger(ledger).ok_or(FollowRefusal::Unknown)?;
        match &known.standing {
            LedgerStanding::Known => {}
            LedgerStanding::Stopped { n, why } => {
                return Err(FollowRefusal::Stopped { n: *n, why: why.clone() });
            }
            LedgerStanding::Succeeded(other) => return Err(FollowRefusal::Succeeded(*other)),
        }
        if self.followed.get(&ledger).is_some_and(|other| other.connection != connection) {
            return Err(FollowRefusal::Followed);
        }
        // A ledger that ends before what was shown is an old copy: nothing is known of the keys that it does not name.
        let to_show = last.filter(|last| *last >= known.book.place().n);
        self.followed.insert(ledger, Follower { connection, to_show });
        Ok(known.book.place())
    }

    /// Checks that a connection may show events that follow this place.
    pub fn may_show(
        &self,
        memory: &MemoryState,
        after: &ChainPlace,
        connection: ConnectionNumber,
    ) -> Result<(), FollowRefusal> {
        FollowRefusal::of_old_store(memory)?;
        if self.followed.get(&after.ledger).map(|follower| follower.connection) != Some(connection) {
            return Err(FollowRefusal::NotFollowed);
        }
        let known = memory.ledger(after.ledger).ok_or(FollowRefusal::Unknown)?;
        if let LedgerStanding::Stopped { n, why } = &known.standing {
            return Err(FollowRefusal::Stopped { n: *n, why: why.clone() });
        }
        let place = known.book.place();
        if place == *after {
            Ok(())
        } else {
            Err(FollowRefusal::OtherPlace { known: place.n, shown: after.n })
        }
    }

    /// Whether now, at this place, everything is shown that a ledger had when its program started. Returns it once.
    pub fn is_all_shown(&mut self, place: &ChainPlace, connection: ConnectionNumber) -> bool {
        let follower = self.followed.get_mut(&place.ledger);
        let follower = follower.filter(|follower| follower.connection == connection);
        follower.is_some_and(|follower| follower.to_show.take_if(|last| *last <= place.n).is_some())
    }

    /// A connection ended: what it followed may be followed again.
    pub fn ended(&mut self, connection: ConnectionNumber) {
        self.followed.retain(|_, follower| follower.connection != connection);
    }
}
