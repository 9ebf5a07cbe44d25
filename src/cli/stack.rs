//! `pythond stack NAME`: what a live worker is doing, as the Python stacks of all its threads.

use std::path::Path;

use super::exit::ExitReason;
use super::output::{say, say_json, warn};
use super::pick::of_unit;
use crate::api::views::Stack;

#[derive(clap::Args)]
pub(super) struct StackArgs {
    /// The unit: its name as in `pythond status`, or the end of it
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(root: &Path, args: &StackArgs) -> ExitReason {
    match of_unit::<Stack>(root, &args.name, "stack") {
        Ok(stack) => show(&stack, args.json),
        Err(exit) => exit,
    }
}

fn show(stack: &Stack, json: bool) -> ExitReason {
    if json {
        say_json(stack);
    } else if !stack.stack.is_empty() {
        say(&format!("{}\n", stack.stack.trim_end()));
    }
    match &stack.why {
        None => ExitReason::Ok,
        Some(why) => {
            let pid = stack.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            warn(&format!("error: no stack of {}{pid}: {why}\n", stack.id));
            ExitReason::Failed
        }
    }
}
