//! Acts on the reports of the output.

use super::Dispatcher;
use super::kill::killed;
use crate::laws::{Change, Context};
use crate::modules::{Blame, Fault};
use crate::pipeline::Stop;
use crate::pipeline::floor::Doom;
use crate::pipeline::output::OutputHappening;
use crate::pipeline::station::{Standing, transport_fault};
use crate::reason::ReasonWord;

impl Dispatcher<'_> {
    pub(super) fn output_happened(&mut self, happening: OutputHappening) {
        if self.leaving.left {
            return;
        }
        match happening {
            OutputHappening::Wants(error) => {
                let fault = transport_fault("moving the card", &error);
                self.output_wants(&fault);
            }
            OutputHappening::Supplied => self.output_supplied(),
            OutputHappening::Kept(seq) => self.kept(seq),
            OutputHappening::Lifted(seq) => {
                if let Some(place) = self.floor.lifted(seq) {
                    self.floor.stations.free(place);
                }
            }
            OutputHappening::NotLifted(seq, error) => {
                self.floor.output_free();
                // A person has to see whether the card still lies in the station.
                if let Some(place) = self.floor.lifted(seq) {
                    self.floor.stations.stuck(place);
                    let fault = Fault::new(
                        Blame::Device,
                        ReasonWord::Output,
                        format!("the output could not lift the card: {error}"),
                    );
                    self.outage(place, &fault, Standing::Stuck);
                }
                self.lost(seq, &error);
            }
            OutputHappening::Collected(seq, result) => {
                self.floor.parked(seq);
                if let Err(error) = result {
                    self.lost(seq, &error);
                }
            }
            OutputHappening::Discarded(seq, result) => {
                self.floor.output_free();
                match result {
                    Ok(()) => self.discarded(seq),
                    Err(error) => self.lost(seq, &error),
                }
            }
            OutputHappening::Stacked(seq, result) => {
                self.floor.output_free();
                if let Err(error) = result {
                    return self.lost(seq, &error);
                }
                let position = self.next_position - 1;
                self.record(Change::Stacked { seq, position }, output_context());
                self.off_floor(seq);
                self.outcome.good += 1;
                self.outcome.stats.cards += 1;
            }
        }
    }

    /// A card lies where it lay before the output waited with it, because a person wants it thrown out.
    fn kept(&mut self, seq: u32) {
        self.output_supplied();
        if self.floor.kept(seq) {
            self.next_position -= 1;
        }
        if let Doom::Now(place) = self.floor.doomed(seq) {
            self.clear(place, killed());
        }
    }

    /// Records that a card was thrown out of its buffer place because a person wanted that.
    fn discarded(&mut self, seq: u32) {
        let fault = killed();
        let context = Context {
            reason: Some(fault.reason.clone()),
            detail: Some(fault.detail.clone()),
            ..output_context()
        };
        let context = self.in_whose_name(seq, &fault, context);
        self.record(Change::Rejected { seq }, context);
        self.off_floor(seq);
        self.outcome.stats.cards += 1;
    }

    /// Records a card that the output did not confirm as UNKNOWN, and stops the line: the next card would be
    /// lost too.
    fn lost(&mut self, seq: u32, error: &drivers::DeviceError) {
        let detail =
            format!("the output did not confirm the card ({error}); find it and resolve record {seq}");
        let fault = Fault::new(Blame::Device, ReasonWord::Output, detail);
        let context = Context {
            reason: Some(fault.reason.clone()),
            detail: Some(fault.detail.clone()),
            ..output_context()
        };
        self.record(Change::Lost { seq }, context);
        self.off_floor(seq);
        self.stop_feeding(Stop::Fault { station: "output".into(), fault });
    }
}

pub(super) fn output_context() -> Context {
    Context {
        station: Some("output".into()),
        module: Some("output".into()),
        actor: Some("line".into()),
        ..Context::default()
    }
}
