//! `[sinks.<kind>.<name>]`: where points go.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::values::{certificates, directory, tags_of};
use crate::code::Code;
use crate::config::raw::{Node, Span, TableEntry, TomlValue};
use crate::config::secret::Secret;
use crate::config::section::{
    Located, ReadContext, Section, TakenValue, because, because_with_help, duration, filled_text, listed, must_be,
    number, secret, size, text_with_secrets, word, yes_or_no,
};
use crate::config::sinks::{
    DatawaySink, FileSink, GREPTIMEDB_DATABASE, GZIP, GreptimedbSink, HttpSettings, InfluxdbApi, InfluxdbSink, Login,
    MAX_DATAGRAM, NATS_SUBJECT, NatsSink, QuestdbSink, SinkKind, SinkSettings, SocketAddress, SocketSink, TelegrafSink,
    VictoriametricsSink,
};
use crate::diagnostic::Diagnostic;
use crate::glob::Glob;
use crate::nearest::nearest;
use crate::point::Category;

const KINDS: [&str; 9] =
    ["file", "influxdb", "dataway", "victoriametrics", "questdb", "telegraf", "greptimedb", "socket", "nats"];
const LINGER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const BATCH: RangeInclusive<u64> = 4 << 10..=64 << 20;
const FILE: RangeInclusive<u64> = 1 << 10..=1 << 50;
const DATAGRAM: RangeInclusive<u64> = 64..=64 << 20;
const KEPT_FILES: RangeInclusive<usize> = 1..=100_000;
/// The name of a sink is the name of a directory of dead letters; ingest has its own there.
const INGEST: &str = "ingest";

/// Reads every sink; without one, the default file sink, which the second value says.
pub fn read(table: Option<Section>, reading: &mut ReadContext<'_>) -> (Vec<SinkSettings>, bool) {
    let mut sinks: Vec<(SinkSettings, Span)> = Vec::new();
    let mut names: Vec<Located<String>> = Vec::new();
    let mut any = false;
    for kind in table.map_or_else(Vec::new, |mut table| table.take_rest()) {
        any = true;
        let Some(known) = KINDS.iter().find(|known| **known == kind.key) else {
            unknown_kind(&kind, reading);
            continue;
        };
        for (name, section) in named_sinks(known, kind, reading) {
            check_name(&name, &mut names, reading);
            let span = section.span();
            sinks.extend(sink(known, &name.value, section, reading).map(|sink| (sink, span)));
        }
    }
    check_directories(&sinks, reading);
    if !any {
        return (vec![SinkSettings::default_in(reading.root)], true);
    }
    (sinks.into_iter().map(|(sink, _)| sink).collect(), false)
}

fn unknown_kind(entry: &TableEntry, reading: &mut ReadContext<'_>) {
    if reading.files.is_in_broken_line(entry.key_span) {
        return;
    }
    let fault = Diagnostic::error(Code::UnknownKey, format!("unknown kind of sink `{}`", entry.key));
    let mut place = reading.files.place(entry.key_span);
    if let Some(known) = nearest(&entry.key, &KINDS) {
        place = place.with_label(format!("did you mean `{known}`?"));
    }
    reading.faults.push(fault.at(place).with_note(format!("the kinds are {}", listed(&KINDS))));
}

/// The tables below `[sinks.<kind>]`.
fn named_sinks(kind: &str, entry: TableEntry, reading: &mut ReadContext<'_>) -> Vec<(Located<String>, Section)> {
    let TomlValue::Table(table) = entry.node.value else {
        reading.fault(
            Code::WrongValue,
            entry.node.span,
            format!("`sinks.{kind}` must be a table with a name: `[sinks.{kind}.main]`"),
        );
        return Vec::new();
    };
    let mut found = Vec::new();
    for TableEntry { key, key_span, node } in table.entries {
        if !matches!(node.value, TomlValue::Table(_)) {
            let message = format!("`{key}` stands in `[sinks.{kind}]`; a sink needs a name: `[sinks.{kind}.main]`");
            reading.fault(Code::WrongValue, key_span, message);
            break;
        }
        let name = Located { value: key, span: key_span };
        let title = format!("[sinks.{kind}.{}]", name.value);
        found.extend(Section::open(&title, node, reading).map(|section| (name, section)));
    }
    found
}

fn check_name(name: &Located<String>, names: &mut Vec<Located<String>>, reading: &mut ReadContext<'_>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.value.is_empty() || name.value.len() > 100 || name.value.starts_with('.') || !name.value.chars().all(plain)
    {
        let message = format!("the sink is called `{}`; a name has letters, digits, `_`, `-` and `.`", name.value);
        reading.fault(Code::WrongValue, name.span, message);
    } else if name.value == INGEST {
        reading.fault(
            Code::WrongValue,
            name.span,
            "a sink cannot be called `ingest`; the agent keeps what it refused under that name",
        );
    }
    match names.iter().find(|known| known.value == name.value) {
        Some(first) => reading.twice(&format!("sink {}", name.value), first.span, name.span),
        None => names.push(name.clone()),
    }
}

/// Two sinks that write the same files would tear each other's lines.
fn check_directories(sinks: &[(SinkSettings, Span)], reading: &mut ReadContext<'_>) {
    let mut seen: Vec<(&PathBuf, Span)> = Vec::new();
    for (sink, span) in sinks {
        let SinkKind::File(file) = &sink.kind else { continue };
        match seen.iter().find(|(dir, _)| *dir == &file.dir) {
            Some((dir, first)) => reading.twice(&format!("dir = \"{}\"", dir.display()), *first, *span),
            None => seen.push((&file.dir, *span)),
        }
    }
}

fn sink(kind: &str, name: &str, mut section: Section, reading: &mut ReadContext<'_>) -> Option<SinkSettings> {
    let origin = section.origin(reading);
    let kind = match kind {
        "file" => Some(SinkKind::File(file(&mut section, reading))),
        "influxdb" => influxdb(&mut section, reading).map(SinkKind::Influxdb),
        "dataway" => dataway(&mut section, reading).map(SinkKind::Dataway),
        "victoriametrics" => victoriametrics(&mut section, reading).map(SinkKind::Victoriametrics),
        "questdb" => questdb(&mut section, reading).map(SinkKind::Questdb),
        "telegraf" => telegraf(&mut section, reading).map(SinkKind::Telegraf),
        "greptimedb" => greptimedb(&mut section, reading).map(SinkKind::Greptimedb),
        "socket" => socket(&mut section, reading).map(SinkKind::Socket),
        _ => nats(&mut section, reading).map(SinkKind::Nats),
    };
    let stand_in = || SinkKind::File(FileSink::default_in(reading.root));
    let mut sink = SinkSettings::default_of(name, kind.clone().unwrap_or_else(stand_in));
    sink.origin = origin;
    let faults_before = reading.faults.len();
    if let Some(categories) = section.list(reading, "categories", category) {
        if categories.value.is_empty() && reading.faults.len() == faults_before {
            reading.fault(
                Code::WrongValue,
                categories.span,
                "`categories` holds no category; leave it out to take all",
            );
        }
        sink.categories = Some(categories.value.into_iter().map(|at| at.value).collect());
    }
    let faults_before = reading.faults.len();
    if let Some(globs) = section.list(reading, "measurements", filled_text) {
        if globs.value.is_empty() && reading.faults.len() == faults_before {
            reading.fault(Code::WrongValue, globs.span, "`measurements` holds no pattern; leave it out to take all");
        }
        sink.measurements = Some(globs.value.into_iter().map(|at| Glob::new(at.value)).collect());
    }
    section.set(reading, "required", yes_or_no, &mut sink.required);
    section.set(reading, "linger", duration(LINGER), &mut sink.linger);
    section.set(reading, "timeout", duration(TIMEOUT), &mut sink.timeout);
    section.set(reading, "max_batch", size(BATCH), &mut sink.max_batch);
    section.finish(reading);
    kind.map(|_| sink)
}

fn category(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Category> {
    let name = filled_text(node, reading)?;
    let names = Category::ALL.map(Category::as_str);
    match (Category::from_name(&name), nearest(&name, &names)) {
        (Some(category), _) => Ok(category),
        (None, Some(near)) => {
            because_with_help(Code::WrongValue, format!("unknown category `{name}`"), format!("did you mean `{near}`?"))
        }
        (None, None) => {
            because(Code::WrongValue, format!("unknown category `{name}`; the categories are {}", listed(&names)))
        }
    }
}

fn file(section: &mut Section, reading: &mut ReadContext<'_>) -> FileSink {
    let mut file = FileSink::default_in(reading.root);
    section.set(reading, "dir", directory, &mut file.dir);
    section.set(reading, "max_file", size(FILE), &mut file.max_file);
    section.set(reading, "keep", number(KEPT_FILES), &mut file.keep);
    file
}

fn dataway(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<DatawaySink> {
    const EXAMPLE: &str = "\"https://openway.example?token=${file:/etc/pythond/dataway.token}\"";
    let url = section.require(reading, "url", EXAMPLE, dataway_url);
    let (gzip, ca_file) = transport(section, reading, url.as_ref().map(|url| url.value.expose()));
    Some(DatawaySink { url: url?.value, gzip, ca_file })
}

fn dataway_url(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<Secret> {
    let text = text_with_secrets(node, reading)?;
    let url = http_url(&text)?;
    if !url.query_pairs().any(|(key, value)| key == "token" && !value.is_empty()) {
        return because_with_help(
            Code::WrongAddress,
            "`url` has no token",
            "end it with `?token=…`, or `?token=${file:/etc/pythond/dataway.token}`",
        );
    }
    reading.warn_of_open_secret(node);
    Ok(Secret::new(text.trim()))
}

fn influxdb(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<InfluxdbSink> {
    let url = section.require(reading, "url", "\"http://127.0.0.1:8086\"", influxdb_url);
    let (gzip, ca_file) = transport(section, reading, url.as_ref().map(|url| url.value.as_str()));
    let api = influxdb_api(section, reading);
    Some(InfluxdbSink { url: url?.value, api: api?, gzip, ca_file })
}

fn influxdb_url(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = text_with_secrets(node, reading)?;
    let url = http_url(&text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return because(Code::WrongAddress, "`url` holds a login; it belongs into `username` and `password`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return because_with_help(
            Code::WrongAddress,
            "`url` has a `?` or `#`; it must end before",
            "the database, bucket and token have keys of their own",
        );
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

/// Checks a URL without showing it: it may carry a token.
fn http_url(text: &str) -> TakenValue<Url> {
    let url = match Url::parse(text.trim()) {
        Ok(url) => url,
        Err(error) => {
            return because_with_help(
                Code::WrongAddress,
                format!("`url` is no URL: {error}"),
                "write it as `http://host:port` or `https://host`",
            );
        }
    };
    if !["http", "https"].contains(&url.scheme()) {
        return because(
            Code::WrongAddress,
            format!("`url` starts with `{}:`; it must start with http:// or https://", url.scheme()),
        );
    }
    Ok(url)
}

/// What all kinds share that speak HTTP.
fn transport(section: &mut Section, reading: &mut ReadContext<'_>, url: Option<&str>) -> (bool, Option<PathBuf>) {
    let mut gzip = GZIP;
    section.set(reading, "gzip", yes_or_no, &mut gzip);
    let ca_file = section.read(reading, "ca_file", certificates);
    if let (Some(ca_file), Some(url)) = (&ca_file, url)
        && url.trim_start().to_ascii_lowercase().starts_with("http:")
    {
        reading.fault(
            Code::WrongValue,
            ca_file.span,
            "`ca_file` has no meaning for `http://`; it must go, or `url` must start with https://",
        );
    }
    (gzip, ca_file.map(|at| at.value))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SinkVersion {
    V1,
    V2,
    V3,
}

impl SinkVersion {
    fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    /// Which versions know a key.
    fn knows(self, key: &str) -> bool {
        match key {
            "retention_policy" | "username" | "password" => self == Self::V1,
            "org" | "bucket" => self == Self::V2,
            "database" => self != Self::V2,
            _ => self != Self::V1,
        }
    }
}

/// The keys of all versions as given.
struct SinkKeys {
    database: Option<Located<String>>,
    retention_policy: Option<Located<String>>,
    username: Option<Located<String>>,
    password: Option<Located<Secret>>,
    org: Option<Located<String>>,
    bucket: Option<Located<String>>,
    token: Option<Located<Secret>>,
}

fn influxdb_api(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<InfluxdbApi> {
    let faults_before = reading.faults.len();
    let versions = word(&[("v1", SinkVersion::V1), ("v2", SinkVersion::V2), ("v3", SinkVersion::V3)]);
    let version_given = section.has("version");
    let bucket_given = section.has("bucket");
    let version = section.read(reading, "version", versions).map(|at| at.value);
    if version.is_none() && version_given {
        for key in ["database", "retention_policy", "username", "password", "org", "bucket", "token"] {
            section.take(key);
        }
        return None;
    }
    let version = version.unwrap_or(if bucket_given { SinkVersion::V2 } else { SinkVersion::V1 });
    refuse_foreign_keys(section, reading, version, version_given);
    let required: &[(&'static str, &str)] = match version {
        SinkVersion::V1 | SinkVersion::V3 => &[("database", "\"metrics\"")],
        SinkVersion::V2 => &[("org", "\"my-org\""), ("bucket", "\"metrics\"")],
    };
    let mut one =
        |key: &'static str, reading: &mut ReadContext<'_>| match required.iter().find(|(name, _)| *name == key) {
            Some((_, example)) => section.require(reading, key, example, filled_secret_text),
            None => section.read(reading, key, filled_secret_text),
        };
    let (database, retention_policy, username) =
        (one("database", reading), one("retention_policy", reading), one("username", reading));
    let (org, bucket) = (one("org", reading), one("bucket", reading));
    let (password, token) = (section.read(reading, "password", secret), section.read(reading, "token", secret));
    let given = SinkKeys { database, retention_policy, username, password, org, bucket, token };
    if reading.faults.len() > faults_before {
        return None;
    }
    given.into_api(version, reading)
}

/// Names, which may come from `${env:…}` as well in the settings of a sink.
fn filled_secret_text(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = text_with_secrets(node, reading)?;
    if text.trim().is_empty() { must_be("text that is not empty") } else { Ok(text) }
}

/// A key that belongs to another version is a fault; it is taken, so that it is not called unknown as well.
fn refuse_foreign_keys(
    section: &mut Section,
    reading: &mut ReadContext<'_>,
    version: SinkVersion,
    version_given: bool,
) {
    for key in ["database", "retention_policy", "username", "password", "org", "bucket", "token"] {
        if version.knows(key) {
            continue;
        }
        if let Some(entry) = section.take(key) {
            let homes: Vec<&str> = [SinkVersion::V1, SinkVersion::V2, SinkVersion::V3]
                .into_iter()
                .filter(|v| v.knows(key))
                .map(SinkVersion::as_str)
                .collect();
            let message = format!(
                "`{key}` belongs to InfluxDB {}, but this sink speaks {}",
                homes.join(" and "),
                version.as_str()
            );
            let help = if version_given {
                "remove it, or change `version`".to_owned()
            } else {
                format!("add `version = \"{}\"`, or remove it", homes[0])
            };
            reading.fault_with_help(Code::WrongValue, entry.key_span, message, help);
        }
    }
}

impl SinkKeys {
    fn into_api(self, version: SinkVersion, reading: &mut ReadContext<'_>) -> Option<InfluxdbApi> {
        let value = |at: Located<String>| at.value;
        let token = self.token.map(|at| at.value);
        match version {
            SinkVersion::V1 => {
                let login = password_login(self.username, self.password, reading);
                Some(InfluxdbApi::V1 {
                    database: value(self.database?),
                    retention_policy: self.retention_policy.map(value),
                    login,
                })
            }
            SinkVersion::V2 => Some(InfluxdbApi::V2 { org: value(self.org?), bucket: value(self.bucket?), token }),
            SinkVersion::V3 => Some(InfluxdbApi::V3 { database: value(self.database?), token }),
        }
    }
}

/// Both halves of a login, or neither.
fn password_login(
    username: Option<Located<String>>,
    password: Option<Located<Secret>>,
    reading: &mut ReadContext<'_>,
) -> Option<(String, Secret)> {
    match (username, password) {
        (Some(username), Some(password)) => Some((username.value, password.value)),
        (Some(username), None) => {
            reading.fault(Code::MissingKey, username.span, "`username` is given without `password`");
            None
        }
        (None, Some(password)) => {
            reading.fault(Code::MissingKey, password.span, "`password` is given without `username`");
            None
        }
        (None, None) => None,
    }
}

fn password_of(section: &mut Section, reading: &mut ReadContext<'_>) -> Login {
    let username = section.read(reading, "username", filled_secret_text);
    let password = section.read(reading, "password", secret);
    password_login(username, password, reading)
        .map_or(Login::Nobody, |(username, password)| Login::Password(username, password))
}

fn password_or_token(section: &mut Section, reading: &mut ReadContext<'_>) -> Login {
    let login = password_of(section, reading);
    match (login, section.read(reading, "token", secret)) {
        (Login::Nobody, Some(token)) => Login::Token(token.value),
        (login, None) => login,
        (login, Some(token)) => {
            reading.fault(
                Code::WrongValue,
                token.span,
                "`token` is given besides `username` and `password`; remove one of them",
            );
            login
        }
    }
}

/// A base URL, gzip and certificates; the login is the kind's.
fn http(
    section: &mut Section,
    reading: &mut ReadContext<'_>,
    example: &str,
    login: fn(&mut Section, &mut ReadContext<'_>) -> Login,
) -> Option<HttpSettings> {
    let url = section.require(reading, "url", example, influxdb_url);
    let (gzip, ca_file) = transport(section, reading, url.as_ref().map(|url| url.value.as_str()));
    let login = login(section, reading);
    Some(HttpSettings { url: url?.value, gzip, ca_file, login })
}

fn victoriametrics(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<VictoriametricsSink> {
    let http = http(section, reading, "\"http://127.0.0.1:8428\"", password_or_token);
    let mut extra_labels = Vec::new();
    if let Some(TableEntry { node, .. }) = section.take("extra_labels")
        && let Some(mut labels) = Section::open("extra_labels", node, reading)
    {
        extra_labels.extend(tags_of(labels.take_rest(), reading));
    }
    Some(VictoriametricsSink { http: http?, extra_labels })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SinkTransport {
    Http,
    Tcp,
}

fn questdb(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<QuestdbSink> {
    let mut transport = SinkTransport::Http;
    let words = word(&[("http", SinkTransport::Http), ("tcp", SinkTransport::Tcp)]);
    section.set(reading, "transport", words, &mut transport);
    if transport == SinkTransport::Http {
        return http(section, reading, "\"http://127.0.0.1:9000\"", password_or_token).map(QuestdbSink::Http);
    }
    for key in ["gzip", "ca_file", "username", "password", "token"] {
        if let Some(entry) = section.take(key) {
            let message = format!("`{key}` has no meaning for `transport = \"tcp\"`");
            reading.fault_with_help(
                Code::WrongValue,
                entry.key_span,
                message,
                "remove it, or use `transport = \"http\"`",
            );
        }
    }
    let read = |node: &Node, reading: &mut ReadContext<'_>| host_and_port(node, reading, "tcp", 9009);
    let address = section.require(reading, "url", "\"tcp://127.0.0.1:9009\"", read)?.value;
    Some(QuestdbSink::Tcp { address })
}

fn telegraf(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<TelegrafSink> {
    let http = http(section, reading, "\"http://127.0.0.1:8186\"", password_or_token);
    let database = section.read(reading, "database", filled_text).map(|at| at.value);
    let retention_policy = section.read(reading, "retention_policy", filled_text).map(|at| at.value);
    Some(TelegrafSink { http: http?, database, retention_policy })
}

fn greptimedb(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<GreptimedbSink> {
    let http = http(section, reading, "\"http://127.0.0.1:4000\"", password_of);
    let mut database = GREPTIMEDB_DATABASE.to_owned();
    section.set(reading, "database", filled_text, &mut database);
    Some(GreptimedbSink { http: http?, database })
}

fn socket(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<SocketSink> {
    let address = section.require(reading, "url", "\"tcp://127.0.0.1:8094\"", socket_address);
    let mut max_datagram = MAX_DATAGRAM;
    section.set(reading, "max_datagram", size(DATAGRAM), &mut max_datagram);
    Some(SocketSink { address: address?.value, max_datagram })
}

fn socket_address(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<SocketAddress> {
    let text = filled_text(node, reading)?;
    match text.trim().split_once("://") {
        Some(("tcp", rest)) => Ok(SocketAddress::Tcp(with_port(rest, None)?)),
        Some(("udp", rest)) => Ok(SocketAddress::Udp(with_port(rest, None)?)),
        Some(("unix", path)) if !path.is_empty() => Ok(SocketAddress::Unix(reading.path_below(reading.root, path))),
        Some(("unixgram", path)) if !path.is_empty() => {
            Ok(SocketAddress::UnixDatagram(reading.path_below(reading.root, path)))
        }
        _ => must_be("like tcp://host:port, udp://host:port, unix:///path or unixgram:///path"),
    }
}

/// `<scheme>://host:port`, without the scheme.
fn host_and_port(node: &Node, reading: &mut ReadContext<'_>, scheme: &str, port: u16) -> TakenValue<String> {
    let text = filled_text(node, reading)?;
    match text.trim().strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) {
        Some(rest) => with_port(rest.trim_end_matches('/'), Some(port)),
        None => must_be(format!("like {scheme}://host:{port}")),
    }
}

fn with_port(text: &str, default: Option<u16>) -> TakenValue<String> {
    if text.contains(['@', '/', '?', '#']) {
        return because(Code::WrongAddress, "`url` must be a scheme, a host and a port; a login has keys of its own");
    }
    let (host, port) = match text.rsplit_once(':') {
        // A colon within brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (text, default),
    };
    match port {
        Some(port) if !host.is_empty() && port > 0 => Ok(format!("{host}:{port}")),
        _ => because(Code::WrongAddress, "`url` must end with a host and a port, such as `10.0.0.5:8094`"),
    }
}

fn nats(section: &mut Section, reading: &mut ReadContext<'_>) -> Option<NatsSink> {
    let read = |node: &Node, reading: &mut ReadContext<'_>| host_and_port(node, reading, "nats", 4222);
    let address = section.require(reading, "url", "\"nats://127.0.0.1:4222\"", read);
    let (mut subject, mut id) = (NATS_SUBJECT.to_owned(), reading.around.hostname.clone());
    section.set(reading, "subject", subject_text, &mut subject);
    section.set(reading, "id", one_word, &mut id);
    let login = password_or_token(section, reading);
    Some(NatsSink { address: address?.value, subject, id, login })
}

fn one_word(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = filled_text(node, reading)?;
    let is_one = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if is_one { Ok(text) } else { must_be("text without blanks") }
}

fn subject_text(node: &Node, reading: &mut ReadContext<'_>) -> TakenValue<String> {
    let text = one_word(node, reading)?;
    let is_good = text.split('.').all(|token| !token.is_empty() && token != "*" && token != ">");
    if is_good { Ok(text) } else { must_be("a subject without wildcards, such as \"pythond.{category}\"") }
}
