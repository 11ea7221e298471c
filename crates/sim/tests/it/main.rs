//! The scripted Internet over real sockets: what it promises to tests must be true.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml knows only functions marked #[test]

mod dns;
mod peer;
mod scenario;
