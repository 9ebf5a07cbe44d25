//! What the settings mean for the parts, at the start and at each reload.

use crate::config::{Config, InputTable, Integers};
use crate::diagnostic::Diagnostic;
use crate::ingest;

pub(super) fn ingest_settings(config: &Config) -> ingest::EndpointSettings {
    ingest::EndpointSettings {
        max_body: config.http_api.max_body,
        timeout: config.http_api.timeout,
        integers_as_floats: config.ingest.integers == Integers::Float,
        events: config.events.clone(),
        global_tags: config.global_tags.clone(),
        max_series: config.series.max,
    }
}

pub(super) fn enabled(config: &Config) -> Vec<InputTable> {
    config.inputs.iter().filter(|input| input.enabled).cloned().collect()
}

pub(super) fn problem(diagnostic: &Diagnostic) -> String {
    match &diagnostic.place {
        Some(place) => format!("{}: {}", place.file.display(), diagnostic.message),
        None => diagnostic.message.clone(),
    }
}
