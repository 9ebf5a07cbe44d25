//! `GET /api/v1/git` and `POST /api/v1/git/sync`: the repositories, and a pull on a person's word.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::state::Api;
use super::views::{HeldUnit, RefusedCommit, RepoCommit, RepoEvent, RepoFault, RepoView};
use crate::diagnostic::Diagnostic;
use crate::git::View;
use crate::ingest::reply::No;

pub(super) async fn git(State(api): State<Arc<Api>>) -> Response {
    let repos: Vec<RepoView> = api.git.views().iter().map(repo).collect();
    ([(header::CACHE_CONTROL, "no-store")], Json(repos)).into_response()
}

#[derive(Deserialize)]
pub(super) struct Which {
    repo: Option<String>,
}

pub(super) async fn sync(State(api): State<Arc<Api>>, Query(which): Query<Which>) -> Response {
    let known = api.git.names();
    let wanted = match which.repo {
        Some(name) if known.contains(&name) => vec![name],
        Some(name) => {
            let message = if known.is_empty() {
                "no git repository is enabled".to_owned()
            } else {
                format!("no repository is called `{name}`; there are: {}", known.join(", "))
            };
            return No::NotFound(message).into_response();
        }
        None => known,
    };
    let pulls = wanted.iter().map(|name| api.git.sync(name));
    let views = futures_util::future::join_all(pulls).await;
    Json(views.iter().flatten().map(repo).collect::<Vec<RepoView>>()).into_response()
}

/// A repository without its history, for the status.
pub(super) fn brief(view: &View) -> RepoView {
    RepoView { history: Vec::new(), ..repo(view) }
}

fn repo(view: &View) -> RepoView {
    let ago = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default().as_secs_f64();
    let in_force = view.in_force.as_ref();
    RepoView {
        name: view.name.clone(),
        url: view.url.clone(),
        follows: view.follows.clone(),
        commit: in_force.map(|in_force| commit(&in_force.commit)),
        held: in_force.map_or_else(Vec::new, |in_force| {
            let held = in_force.held.iter();
            held.map(|held| HeldUnit { unit: held.script.clone(), why: held.why.clone() }).collect()
        }),
        notes: in_force.map_or_else(Vec::new, |in_force| in_force.notes.clone()),
        refused: view.refused.as_ref().map(|refused| RefusedCommit {
            commit: commit(&refused.commit),
            why: refused.why.clone(),
            ago_s: since(refused.at),
        }),
        fault: view.fault.as_ref().map(fault),
        failures: view.failures,
        is_pulling: view.is_pulling,
        last_pull_ago_s: view.last_pull.map(ago),
        last_good_pull_ago_s: view.last_good_pull.map(ago),
        next_pull_in_s: view.next_pull.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64()),
        changes: view.changes.clone(),
        history: view
            .history
            .iter()
            .map(|event| RepoEvent {
                at: event.at,
                what: event.what,
                commit: commit(&event.commit),
                before: event.before.clone(),
            })
            .collect(),
    }
}

fn commit(commit: &crate::git::Commit) -> RepoCommit {
    RepoCommit {
        id: commit.id.clone(),
        title: commit.title.clone(),
        author: commit.author.clone(),
        ago_s: since(commit.time),
    }
}

fn since(seconds: i64) -> f64 {
    let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    SystemTime::now().duration_since(at).unwrap_or_default().as_secs_f64()
}

fn fault(diagnostic: &Diagnostic) -> RepoFault {
    RepoFault {
        code: diagnostic.code,
        message: diagnostic.message.clone(),
        notes: diagnostic.notes.clone(),
        help: diagnostic.help.clone(),
    }
}
