//! Why a sink cannot be made.

/// A sink that cannot be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("`url` is `{url}`; it must be like http://host:8086")]
    Url { url: String },
    #[error("could not read `ca_file` {path}")]
    CaFile { path: std::path::PathBuf, source: std::io::Error },
    #[error("`ca_file` {path} holds no usable PEM certificate")]
    CaPem { path: std::path::PathBuf },
    #[error("the HTTP client could not be made: {why}")]
    Client { why: String },
    #[error("`token` holds bytes that no HTTP header can carry")]
    Token,
    #[error("`{text}` cannot stand in a header or a subject")]
    Text { text: String },
    #[error("could not make the folder {dir}")]
    Dir { dir: std::path::PathBuf, source: std::io::Error },
}
