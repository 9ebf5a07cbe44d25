//! `pythond sink`: lists the sinks of the running agent, or gives up what waits for one.

use std::path::Path;

use super::ask::{AgentClient, accepted, escaped, understood};
use super::exit::ExitReason;
use super::output::say;
use super::table::{bytes, layout, span};
use crate::api::views::{SinkView, Skipped, Status};
use crate::words::count;

#[derive(clap::Args)]
pub(super) struct SinkArgs {
    #[command(subcommand)]
    command: SinkCommand,
}

#[derive(clap::Subcommand)]
enum SinkCommand {
    /// Show each sink, how far behind it is, and what it missed
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give up the points that wait for a sink: it does not get them, and they are counted as skipped
    Skip {
        /// The sink, as in the list
        name: String,
    },
}

pub(super) fn main(root: &Path, args: &SinkArgs) -> ExitReason {
    let (method, path) = match &args.command {
        SinkCommand::List { .. } => ("GET", "/api/v1/status".to_owned()),
        SinkCommand::Skip { name } => ("POST", format!("/api/v1/sinks/{}/skip", escaped(name))),
    };
    let (status, body) = match AgentClient::of(root).exchange(method, &path) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if let Err(exit) = accepted(status, &body) {
        return if status == hyper::StatusCode::NOT_FOUND { ExitReason::Usage } else { exit };
    }
    let shown = match &args.command {
        SinkCommand::List { json } => understood(&body).map(|status| list(&status, *json)),
        SinkCommand::Skip { .. } => understood(&body).map(|skipped| said(&skipped)),
    };
    shown.map_or_else(
        |exit| exit,
        |text| {
            say(&text);
            ExitReason::Ok
        },
    )
}

fn said(skipped: &Skipped) -> String {
    match skipped {
        Skipped { sink, forgotten: true, .. } => {
            format!("{sink} is no longer in the settings; its place in the buffer is forgotten\n")
        }
        Skipped { sink, points, .. } => {
            format!("{sink} does not get what waited for it: {}\n", count(*points, "point"))
        }
    }
}

fn list(status: &Status, json: bool) -> String {
    if json {
        let text = serde_json::to_string_pretty(&status.sinks).expect("the views always serialise");
        return format!("{text}\n");
    }
    let mut rows = vec![
        ["NAME", "KIND", "STATE", "DELIVERED", "WAITING", "SIZE", "OLDEST", "REFUSED", "SKIPPED", "TARGET"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(status.sinks.iter().map(row));
    let mut text = layout(&rows, "");
    for removed in &status.removed_sinks {
        let holds = match removed.holds_s {
            Some(seconds) => format!("its points are kept for {} more", span(seconds)),
            None => "nothing is kept for it".to_owned(),
        };
        text.push_str(&format!("{}: no longer in the settings; {holds}\n", removed.name));
    }
    text
}

fn row(sink: &SinkView) -> Vec<String> {
    vec![
        sink.name.clone(),
        sink.kind.clone(),
        sink.state.to_string(),
        sink.delivered.to_string(),
        sink.behind_points.to_string(),
        bytes(sink.behind_bytes),
        sink.oldest_s.map_or("-".to_owned(), span),
        sink.dead.to_string(),
        sink.skipped.to_string(),
        sink.target.clone(),
    ]
}
