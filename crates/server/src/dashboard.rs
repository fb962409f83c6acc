//! The dashboard, which is part of the program.

use actix_web::web::Bytes;
use muster_http::{Page, Pages};
use rust_embed::RustEmbed;

/// The files that `npm run build` made in `dashboard/dist`; none where that was not run.
#[derive(Debug, RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../dashboard/dist"]
#[allow_missing = true]
pub(crate) struct Dashboard;

impl Pages for Dashboard {
    fn find(&self, path: &str) -> Option<Page> {
        let file = Self::get(path)?;
        let brotli = Self::get(&format!("{path}.br")).map(|file| bytes(file.data));
        let tag =
            file.metadata.sha256_hash().iter().take(8).fold(String::new(), |mut tag, byte| {
                use std::fmt::Write as _;
                let _ = write!(tag, "{byte:02x}");
                tag
            });
        Some(Page { bytes: bytes(file.data), brotli, content_type: kind(path), tag })
    }
}

fn bytes(data: std::borrow::Cow<'static, [u8]>) -> Bytes {
    match data {
        std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
        std::borrow::Cow::Owned(data) => Bytes::from(data),
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("json" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    }
}
