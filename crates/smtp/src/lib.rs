//! The two SMTP conversations, server and client, as machines without I/O: bytes go in, events and bytes come out.
//!
//! No socket, no clock, no task, no policy. The driver reads, writes, waits and decides; time is an argument.

pub mod client;
mod command;
mod content;
mod lines;
mod outgoing;
mod replies;
pub mod server;
mod xtext;
