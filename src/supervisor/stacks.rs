//! The Python stacks that a worker writes: kept where they are evidence of a fault, handed on where somebody asked for them.

use std::time::Instant;

use tokio::sync::oneshot;

use super::live::{self, LiveStack, StackLook};
use super::stack::user_frame;
use super::worker::Worker;
use crate::worker::process::{self, Signal};

/// Bytes of a stack dump that are kept.
const STACK_BYTES: usize = 16 * 1024;

impl Worker {
    /// A dump may come in several pieces; that of an earlier incarnation stands until there is a new one.
    pub fn stack(&mut self, text: &str, now: Instant) {
        if let Some(look) = &mut self.look {
            look.take(text, now);
            if !self.life.is_dumping() {
                // Asked for by a person; it is no evidence of a fault.
                return;
            }
        }
        self.keep_stack(text);
    }

    pub(super) fn keep_stack(&mut self, text: &str) {
        if self.stack_of != self.incarnation {
            self.stack = None;
            self.stack_of = self.incarnation;
        }
        let stack = self.stack.get_or_insert_default();
        if stack.len() + text.len() <= STACK_BYTES {
            stack.push_str(text);
        }
    }

    /// Has the worker write its stacks for somebody who asked.
    pub fn take_stack(&mut self, answer: oneshot::Sender<LiveStack>, now: Instant) {
        let is_under_way = self.look.is_some();
        let look = self.look.get_or_insert_with(|| StackLook::new(now));
        look.join(answer);
        match &self.process {
            // Before `hello` the signal would end it: nobody is there yet to take it.
            _ if self.life.is_spawning() => self.end_look("its worker is just being started"),
            None => {
                let why = self.life.failure().map_or(String::new(), |failure| format!(": {}", failure.why));
                self.end_look(&format!("it has no process{why}"));
            }
            Some(process) if !is_under_way => process.leash.signal(Signal::USR2),
            Some(_) => {}
        }
    }

    pub(super) fn finish_look(&mut self, now: Instant) {
        if self.look.as_ref().is_some_and(|look| look.is_done(now)) {
            let state = self.pid().and_then(process::state);
            self.end_look(&live::silence(state, live::NOTHING_WRITTEN));
        }
    }

    fn end_look(&mut self, why: &str) {
        if let Some(look) = self.look.take() {
            look.answer(self.pid(), Some(why.to_owned()));
        }
    }

    /// The stack of this incarnation.
    pub(super) fn own_stack(&self) -> Option<&str> {
        self.stack.as_deref().filter(|_| self.stack_of == self.incarnation)
    }

    /// The place that the stack of this incarnation shows.
    pub(super) fn place_of_stack(&self) -> Option<String> {
        let stack = self.own_stack()?;
        let suspected = self.life.longest_run().and_then(|(job, _)| self.units.iter().find(|unit| unit.jobs.has(job)));
        user_frame(stack, &self.spec, suspected.map(|unit| unit.path.as_path()))
    }
}
