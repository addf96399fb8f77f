//! Visits every reachable state, breadth first, so that a counterexample is among the shortest.

use std::collections::HashSet;

use crate::books::Rules;
use crate::world::{Law, Step, World};

/// All laws.
pub const LAWS: [Law; 7] = [
    Law::OneCard,
    Law::BoundFirst,
    Law::Balances,
    Law::TrueRows,
    Law::Closing,
    Law::NothingForgotten,
    Law::FewUnknown,
];

/// The result of a search.
pub struct Search {
    /// All states in the order in which they were reached; fewer if a law broke.
    pub states: Vec<World>,
    /// The first broken law, and the steps that lead to the state that breaks it.
    pub broken: Option<(Law, Vec<Step>)>,
}

/// Searches until one of these laws breaks, or every state was visited.
pub fn search(rules: Rules, laws: &[Law]) -> Search {
    let mut states = vec![World::new()];
    let mut came: Vec<(u32, Option<Step>)> = vec![(0, None)];
    let mut seen = HashSet::from([World::new()]);
    let mut next = 0;
    while let Some(&world) = states.get(next) {
        for step in world.steps(rules) {
            let Some(after) = world.after(step, rules) else { continue };
            let new = seen.insert(after);
            let breaks = |law: &&Law| world.step_breaks(step, &after, **law) || new && after.breaks(**law);
            if let Some(&law) = laws.iter().find(breaks) {
                let mut trace = vec![step];
                let mut at = next;
                while let (before, Some(step)) = came[at] {
                    trace.push(step);
                    at = before as usize;
                }
                trace.reverse();
                return Search { states, broken: Some((law, trace)) };
            }
            if new {
                states.push(after);
                came.push((next as u32, Some(step)));
            }
        }
        next += 1;
    }
    Search { states, broken: None }
}
