//! The conversations as text, cut at every byte.

mod both;
mod client;
mod fuzz;
mod server;
