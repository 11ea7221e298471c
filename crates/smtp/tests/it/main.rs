//! The conversations as text, cut at every byte.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests; clippy knows only functions marked as such")]

mod both;
mod client;
mod edges;
mod fuzz;
mod server;
