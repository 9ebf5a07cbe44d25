//! `pythond stack NAME`: what a live worker is doing, as the Python stacks of all its threads.

use std::path::Path;

use super::status::{escaped, exchange, no_agent, pick, refusal, socket_of, understood};
use super::{Exit, say, small_runtime, warn};
use crate::control::views::{Stack, Status};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The script: its name as in `pythond status`, or the end of it
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let socket = socket_of(root);
    let runtime = small_runtime();
    let ask = |path: &str| runtime.block_on(exchange(&socket, "GET", path, Vec::new()));
    let status = match ask("/api/v1/status") {
        Ok((_, body)) => body,
        Err(error) => return no_agent(&socket, root, &error),
    };
    let status: Status = match understood(&status) {
        Ok(status) => status,
        Err(exit) => return exit,
    };
    let id = match pick(&status, &args.name) {
        Ok(script) => script.id.clone(),
        Err(text) => {
            warn(&text);
            return Exit::Usage;
        }
    };
    match ask(&format!("/api/v1/scripts/{}/stack", escaped(&id))) {
        Ok((code, body)) if code.is_success() => {
            understood::<Stack>(&body).map_or_else(|exit| exit, |stack| show(&stack, args.json))
        }
        Ok((_, body)) => {
            warn(&format!("error: the agent refused: {}\n", refusal(&body)));
            Exit::Failed
        }
        Err(error) => no_agent(&socket, root, &error),
    }
}

fn show(stack: &Stack, json: bool) -> Exit {
    if json {
        say(&format!("{}\n", serde_json::to_string_pretty(stack).expect("the views always serialise")));
    } else if !stack.stack.is_empty() {
        say(&format!("{}\n", stack.stack.trim_end()));
    }
    match &stack.why {
        None => Exit::Ok,
        Some(why) => {
            let pid = stack.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            warn(&format!("error: no stack of {}{pid}: {why}\n", stack.id));
            Exit::Failed
        }
    }
}
