//! What a unit runs against, asked of its worker for somebody who wants to see it.

use std::time::Instant;

use tokio::sync::oneshot;

use super::inquiry::{Inquiry, Progress, ResourceTable};
use super::live;
use super::worker::Worker;
use crate::worker::frames::{Down, TablePiece};
use crate::worker::process;

impl Worker {
    /// Has the worker tell what one of its units runs against.
    pub fn take_resources(&mut self, id: &str, answer: oneshot::Sender<ResourceTable>, now: Instant) {
        let Some(unit) = self.units.iter().position(|unit| unit.id == id) else {
            let why = "it is a process of several units: ask for one of them";
            // Whoever asked may have stopped waiting.
            let _ = answer.send(ResourceTable::without(why));
            return;
        };
        if let Some(inquiry) = self.inquiries.iter_mut().find(|inquiry| inquiry.unit() == unit) {
            inquiry.join(answer);
            return;
        }
        self.asked += 1;
        let ask = self.asked;
        let mut inquiry = Inquiry::new(unit, ask, now);
        inquiry.join(answer);
        let why_not = match &self.process {
            _ if self.life.is_spawning() => Some("its worker is just being started".to_owned()),
            None => Some(self.why_not("it has no process", unit, now)),
            // Its process is that of other units, which run.
            Some(_) if self.units[unit].unloaded.is_some() => Some(self.why_not("it does not run", unit, now)),
            Some(process) => process
                .send(&Down::Resources { u: unit, ask })
                .err()
                .map(|error| format!("its worker could not be asked: {error}")),
        };
        match why_not {
            Some(why) => inquiry.fail(&why),
            None => self.inquiries.push(inquiry),
        }
    }

    fn why_not(&self, what: &str, unit: usize, now: Instant) -> String {
        let (_, why) = self.state_and_why(&self.units[unit], now);
        format!("{what}{}", why.map_or(String::new(), |why| format!(": {why}")))
    }

    pub(super) fn resources(&mut self, piece: TablePiece) {
        let Some(at) = self.inquiries.iter().position(|inquiry| inquiry.unit() == piece.u) else { return };
        match self.inquiries[at].take(piece) {
            Progress::Open => {}
            Progress::Whole => self.inquiries.remove(at).answer(),
            Progress::Failed(why) => self.inquiries.remove(at).fail(&why),
        }
    }

    pub(super) fn finish_inquiries(&mut self, now: Instant) {
        if !self.inquiries.iter().any(|inquiry| inquiry.is_over(now)) {
            return;
        }
        let silence = live::silence(self.pid().and_then(process::state), "the process did not answer in time");
        for inquiry in self.inquiries.extract_if(.., |inquiry| inquiry.is_over(now)) {
            inquiry.give_up(&silence);
        }
    }

    /// Whoever waits for the answer of a process that has ended waits no longer.
    pub(super) fn end_inquiries(&mut self) {
        for inquiry in self.inquiries.drain(..) {
            inquiry.fail("its process has just ended");
        }
    }
}
