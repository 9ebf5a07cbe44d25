//! `pythond restart NAME` and `pythond run-now NAME`: tell one script something.

use std::path::Path;

use super::status::{escaped, exchange, no_agent, pick, refusal, socket_of, understood};
use super::{Exit, say, small_runtime, warn};
use crate::control::views::{Script, Status};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The script: its name as in `pythond status`, or the end of it
    name: String,
}

pub(super) fn restart(root: &Path, args: &Args) -> Exit {
    tell(root, &args.name, "restart", |script| match script.shares_process {
        false => "ends its run and is started anew".to_owned(),
        true => format!("and the other scripts of input `{}` end their runs and are started anew", script.input),
    })
}

pub(super) fn run_now(root: &Path, args: &Args) -> Exit {
    tell(root, &args.name, "run-now", |_| "runs now".to_owned())
}

fn tell(root: &Path, name: &str, what: &str, done: impl Fn(&Script) -> String) -> Exit {
    let socket = socket_of(root);
    let runtime = small_runtime();
    let status: Status = match runtime.block_on(exchange(&socket, "GET", "/api/v1/status", Vec::new())) {
        Ok((_, body)) => match understood(&body) {
            Ok(status) => status,
            Err(exit) => return exit,
        },
        Err(error) => return no_agent(&socket, root, &error),
    };
    let script = match pick(&status, name) {
        Ok(script) => script,
        Err(text) => {
            warn(&text);
            return Exit::Usage;
        }
    };
    let id = &script.id;
    let path = format!("/api/v1/scripts/{}/{what}", escaped(id));
    match runtime.block_on(exchange(&socket, "POST", &path, Vec::new())) {
        Ok((status, _)) if status.is_success() => {
            say(&format!("{id} {}\n", done(script)));
            Exit::Ok
        }
        Ok((_, body)) => {
            warn(&format!("error: the agent refused: {}\n", refusal(&body)));
            Exit::Failed
        }
        Err(error) => no_agent(&socket, root, &error),
    }
}
