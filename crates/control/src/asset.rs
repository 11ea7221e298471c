//! Assets: style sheet, script, icon; each under a name that changes with its content, kept by browsers for a year.

use crate::Center;
use crate::right::Open;
use axum::Router;
use axum::http::header;
use axum::routing::get;

/// A file of the program.
#[derive(Debug)]
pub(crate) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

pub(crate) const STYLE: Asset =
    Asset { name: "style.css", kind: "text/css; charset=utf-8", text: include_str!("asset/style.css") };
pub(crate) const SCRIPT: Asset =
    Asset { name: "gatepost.js", kind: "text/javascript; charset=utf-8", text: include_str!("asset/gatepost.js") };
pub(crate) const ICON: Asset = Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("asset/icon.svg") };

impl Asset {
    pub(crate) fn path(&self) -> String {
        format!("/asset/{:016x}/{}", fnv(self.text.as_bytes()), self.name)
    }
}

/// FNV-1a: tells versions of a file apart, no more.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

pub(crate) fn routes() -> Router<Center> {
    let mut router = Router::new();
    for asset in [&STYLE, &SCRIPT, &ICON] {
        let headers =
            [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
        router = router.route(&asset.path(), get(move |_: Open| async move { (headers, asset.text) }));
    }
    router
}
