//! `[http_api]`: where reports come in and status goes out.

use std::net::SocketAddr;
use std::time::Duration;

use super::values::set_texts;
use crate::code::Code;
use crate::config::raw::Node;
use crate::config::section::{
    ReadContext, Section, TakenValue, because_with_help, duration, filled_text, must_be, number, path, secret, size,
};
use crate::config::tables::HttpApi;

const BODY: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 30;
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=65_536;

pub fn read(table: Option<Section>, reading: &mut ReadContext<'_>) -> HttpApi {
    let mut api = HttpApi::default_in(reading.root);
    let Some(mut table) = table else {
        return api;
    };
    let listen = table.read(reading, "listen", address);
    table.set(reading, "socket", path, &mut api.socket);
    let tokens = table.list(reading, "tokens", secret);
    let no_tokens = tokens.as_ref().is_none_or(|tokens| tokens.value.is_empty());
    table.set(reading, "max_body", size(BODY), &mut api.max_body);
    table.set(reading, "timeout", duration(TIMEOUT), &mut api.timeout);
    table.set(reading, "max_connections", number(CONNECTIONS), &mut api.max_connections);
    if let Some(origins) = table.list(reading, "allowed_origins", origin) {
        api.allowed_origins = origins.value.into_iter().map(|at| at.value).collect();
    }
    set_texts(&mut table, reading, "allowed_hosts", &mut api.allowed_hosts);
    refuse_tls(&mut table, reading);
    table.finish(reading);
    if let Some(listen) = listen {
        api.listen = listen.value;
        if no_tokens && !listen.value.ip().is_loopback() {
            let message =
                format!("`listen` is `{}`, which other machines can reach; that needs `tokens`", listen.value);
            let help = "add `tokens = [\"${file:/etc/pythond/token}\"]`, or listen on 127.0.0.1";
            reading.fault_with_help(Code::WrongAddress, listen.span, message, help);
        }
    }
    api.tokens = tokens.map_or_else(Vec::new, |tokens| tokens.value.into_iter().map(|at| at.value).collect());
    api
}

/// An address as DataKit takes it: `localhost:9529`, `127.0.0.1:9529`, `[::]:9529`, `:9529` (every address of the machine).
fn address(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<SocketAddr> {
    let text = filled_text(node, reading)?;
    let text = text.trim();
    if text.starts_with('/') {
        return because_with_help(
            Code::WrongValue,
            "`listen` is a path; it must be an address and port",
            format!("write `socket = \"{text}\"`"),
        );
    }
    let full = match text.rsplit_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    match full.parse() {
        Ok(address) => Ok(address),
        Err(_) => must_be(
            "an IP address and a port such as \"127.0.0.1:9529\", \"localhost:9529\", \"[::1]:9529\" or \":9529\"",
        ),
    }
}

/// An origin as browsers send it, or `*`.
fn origin(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = filled_text(node, reading)?;
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    if text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
        Ok(text)
    } else {
        must_be("an origin such as \"https://wall.example\", without a path, or \"*\"")
    }
}

/// The endpoint has no TLS yet; a setting that does nothing would be worse than none.
fn refuse_tls(table: &mut Section, reading: &mut ReadContext<'_>) {
    if let Some(entry) = table.take_refused("tls") {
        let help = "listen on 127.0.0.1 behind a proxy that speaks TLS";
        reading.fault_with_help(
            Code::WrongValue,
            entry.key_span,
            "this version has no TLS for its endpoint yet; `[http_api.tls]` must go",
            help,
        );
    }
}
