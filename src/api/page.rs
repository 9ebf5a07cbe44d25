//! The built-in page: three files in the binary, no build step, works offline.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const HTML: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");

/// Serves `/`, `/page.css` and `/page.js`.
pub(super) fn router() -> Router {
    Router::new()
        .route("/", get(|| async { file(HTML, "text/html; charset=utf-8") }))
        .route("/page.css", get(|| async { file(CSS, "text/css; charset=utf-8") }))
        .route("/page.js", get(|| async { file(JS, "text/javascript; charset=utf-8") }))
}

fn file(text: &'static str, content_type: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'; img-src data:; frame-ancestors 'none'"),
    ];
    (headers, text).into_response()
}
