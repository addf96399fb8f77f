//! The chip program: the commands that a verified application becomes, and the meaning of a card's answers.
//!
//! [`plan`] turns an application into the STORE DATA commands of its session, in the clear and with references to
//! the values that only the HSM opens; [`apdu`] builds and reads commands outside the secure channel; [`status`]
//! judges every status word. All of it is arithmetic: no I/O, no clock, no random numbers (EMV CPS 4, GPCS 11.11).
//!
//! Not here: wrapping (`scp`, inside the HSM), talking to a reader (`modules::chip`), reading the file (`record`).

pub mod apdu;
mod order;
mod pack;
mod plan;
pub mod status;

pub use plan::{ChipPlan, PlanError, PlanStep, check, fewest_commands, plan};

#[cfg(test)]
mod tests;
