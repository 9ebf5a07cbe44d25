//! When a changed setting takes effect: at once, or with another start.

use crate::config::Config;

/// Settings that changed and take effect at once.
pub(super) fn live(old: &Config, new: &Config) -> Vec<String> {
    let tables = [
        ("[http_api] timeout", old.http_api.timeout != new.http_api.timeout),
        ("[ingest]", old.ingest != new.ingest),
        ("[series]", old.series != new.series),
        ("[events]", old.events != new.events),
        ("[global_tags]", old.global_tags != new.global_tags),
        ("[reload]", old.reload != new.reload),
        ("[git_repos]", !old.git_repos.is_same_as(&new.git_repos)),
    ];
    changed(&tables)
}

/// Keys that changed since the start and that only another start makes effective.
pub(super) fn needing_restart(at_start: &Config, now: &Config) -> Vec<String> {
    let (api, new_api) = (&at_start.http_api, &now.http_api);
    let (buffer, new_buffer) = (&at_start.buffer, &now.buffer);
    let keys = [
        ("[http_api] listen", api.listen != new_api.listen),
        ("[http_api] socket", api.socket != new_api.socket),
        ("[http_api] tokens", api.tokens != new_api.tokens),
        ("[http_api] max_body", api.max_body != new_api.max_body),
        ("[http_api] max_connections", api.max_connections != new_api.max_connections),
        ("[http_api] allowed_origins", api.allowed_origins != new_api.allowed_origins),
        ("[http_api] allowed_hosts", api.allowed_hosts != new_api.allowed_hosts),
        ("[buffer] max_size", buffer.max_size != new_buffer.max_size),
        ("[buffer] at_cap", buffer.at_cap != new_buffer.at_cap),
        ("[buffer] sync", buffer.sync != new_buffer.sync),
        ("[buffer] group", buffer.group != new_buffer.group),
        ("[logging] level", at_start.logging.level != now.logging.level),
        ("[logging] dir", at_start.logging.dir != now.logging.dir),
        ("[logging] group", at_start.logging.group != now.logging.group),
    ];
    changed(&keys)
}

fn changed(settings: &[(&str, bool)]) -> Vec<String> {
    settings.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_owned()).collect()
}
