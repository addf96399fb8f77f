//! Makes cards' key pairs ahead, on all cores, and adds them to a pool. A program that is ended goes on where it was: what
//! was added stays.
//!
//! Not here: the pool's file (`pool`), making one pair (`hsm`, `crypto::rsa`).

use std::path::Path;

use crossbeam_channel::bounded;

use super::offline::CardKeySize;
use super::pool::{KeyPool, PoolCount};
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{Issuer, NewCardKeys, SealedCardKey};
use crate::report::progress::bar;
use crate::threads;

/// Pairs of one call to the HSM: a second at most, so that progress is seen and little is lost.
const CALL: u16 = 8;

/// Fills a pool until it has `wanted` pairs that are not taken; makes the file if there is none.
pub fn fill(
    path: &Path,
    size: CardKeySize,
    wanted: u64,
    connect: impl Fn() -> Result<HsmClient, Failure>,
) -> Result<PoolCount, Failure> {
    let pool = opened(path, size, &connect)?;
    let mut count = pool.count()?;
    let missing = wanted.saturating_sub(count.left());
    let calls = missing.div_ceil(CALL.into());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (orders, ordered) = bounded::<u16>(cores);
    let (made, received) = bounded::<Result<Vec<SealedCardKey>, Failure>>(cores);
    for _ in 0..cores {
        let (ordered, made, mut hsm) = (ordered.clone(), made.clone(), connect()?);
        threads::start("key-pairs", move || {
            for count in ordered {
                let keys =
                    hsm.make_card_keys(&NewCardKeys { bits: size.bits, exponent: size.exponent, count });
                if made.send(keys.map_err(Failure::from)).is_err() {
                    return;
                }
            }
        })?;
    }
    drop((ordered, made));
    let bar = bar(missing, "key pairs");
    let (mut left, mut waiting) = (missing, 0u64);
    let mut answered = 0u64;
    while answered < calls {
        // Each thread has a call, and one waits.
        while left > 0 && waiting < 2 * cores as u64 {
            let call = left.min(CALL.into());
            left -= call;
            waiting += 1;
            orders.send(u16::try_from(call).unwrap_or(CALL)).map_err(|_| died())?;
        }
        let keys = received.recv().map_err(|_| died())??;
        (answered, waiting) = (answered + 1, waiting - 1);
        count = pool.add(&keys)?;
        bar.inc(keys.len() as u64);
    }
    bar.finish_and_clear();
    Ok(count)
}

/// The pool at this path, of this size.
fn opened(
    path: &Path,
    size: CardKeySize,
    connect: &impl Fn() -> Result<HsmClient, Failure>,
) -> Result<KeyPool, Failure> {
    if !path.exists() {
        let request = NewCardKeys { bits: size.bits, exponent: size.exponent, count: 1 };
        let first = connect()?.make_card_keys(&request)?;
        let first = first.first().ok_or_else(died)?;
        return KeyPool::make(path, size, first);
    }
    let pool = KeyPool::open(path)?;
    let CardKeySize { bits, exponent } = pool.size();
    if pool.size() == size {
        pool.check_store(&mut connect()?)?;
        return Ok(pool);
    }
    let what = format!(
        "operator: the pool {} has key pairs of {bits} bits with exponent {exponent}: name another file for others",
        path.display()
    );
    Err(Failure::new(Exit::Usage, what))
}

fn died() -> Failure {
    Failure::new(Exit::Thread, "us: a thread that made key pairs died, which is a bug: report it")
}
