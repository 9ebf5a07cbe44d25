//! What becomes of the points of a request once the good ones are kept: they are counted, and the refused ones set aside.

use super::endpoint::WriteEndpoint;
use crate::deadletter::Dead;
use crate::point::{Category, PointRefusal, Warnings};
use crate::telemetry::counters::{ByInput, ByReason};
use crate::worker::roster::Member;

/// On whose account the points go.
pub(super) struct Account<'a> {
    pub member: Option<&'a Member>,
    pub category: Category,
    pub input: &'a str,
    /// As in the header of the record.
    pub source: &'a str,
}

impl Account<'_> {
    pub fn count(&self, ingest: &WriteEndpoint, accepted: usize, refused: usize, warnings: &Warnings) {
        let label = ByInput { category: self.category.as_str(), input: ingest.counters.input(self.input) };
        ingest.counters.points_accepted.get_or_create(&label).inc_by(accepted as u64);
        for (kind, (times, _)) in &warnings.kinds {
            ingest.counters.repairs.get_or_create(&ByReason { reason: (*kind).to_owned() }).inc_by(*times);
        }
        if let Some(member) = self.member {
            member.accepted(accepted as u64);
        }
        if refused > 0 {
            ingest.counters.points_refused.get_or_create(&label).inc_by(refused as u64);
        }
    }

    /// Tells what was changed or left out; a worker does so itself, for it knows the line.
    pub fn tell_repairs(&self, ingest: &WriteEndpoint, warnings: &Warnings) {
        if self.member.is_some() || warnings.repairs().is_empty() {
            return;
        }
        for repair in ingest.repairs.note(self.input, warnings.repairs()) {
            let text = format!("{}: {}", self.source, repair.what);
            tracing::warn!(target: "ingest", "{}: {text}", repair.code());
            if let Some(logs) = &ingest.logs {
                logs.framework(self.input, &text);
            }
        }
    }

    /// Writes the refused points to the dead-letter file and tells the script's author.
    pub async fn set_aside(&self, ingest: &WriteEndpoint, refused: &[PointRefusal]) {
        let Self { member, category, input, source } = self;
        for refusal in refused {
            if let Some(member) = member {
                member.refused_because(category.as_str(), &refusal.field, &refusal.reason);
            }
            if let Some(logs) = &ingest.logs {
                logs.framework(
                    input,
                    &format!("refused: {source}: {} point {}: {}", category.as_str(), refusal.index, refusal.reason),
                );
            }
        }
        let Some(dead) = ingest.dead.clone() else { return };
        let entries: Vec<Dead> = refused
            .iter()
            .map(|refusal| Dead {
                category: Some(*category),
                source: (*source).to_owned(),
                reason: refusal.reason.clone(),
                point: refusal.raw.clone(),
            })
            .collect();
        let lost = entries.len();
        let written = tokio::task::spawn_blocking(move || dead.put("ingest", &entries)).await;
        let why = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the writer failed".to_owned(),
        };
        tracing::error!(target: "ingest", "{lost} refused points of {source} could not be written to the dead-letter file: {why}; their sender has the reasons in the answer");
    }
}
