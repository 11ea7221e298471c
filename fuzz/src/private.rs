//! Parsers of crates that show them to nobody, the program's first: their files, compiled here a second time.
#![allow(dead_code, unreachable_pub, clippy::all, reason = "they are looked at where they live")]

/// As in the gateway's `resolve.rs`.
const CNAME_CHAIN_MAX: usize = 16;

#[path = "../../crates/gateway/src/resolve/hosts.rs"]
pub(crate) mod hosts;
#[path = "../../crates/control/src/part/markdown.rs"]
pub(crate) mod markdown;
#[path = "../../crates/gateway/src/resolve/message.rs"]
mod message;
#[path = "../../crates/gateway/src/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../crates/control/src/part/time.rs"]
pub(crate) mod time;
#[path = "../../crates/store/src/records/words.rs"]
pub(crate) mod words;

/// What a DNS server's message says to a question.
pub(crate) fn answer(question: &mail::dns::Question, message: &hickory_proto::op::Message) -> mail::dns::Answer {
    message::read(([192, 0, 2, 53], 53).into(), question, message)
}

/// What a hosts file says.
pub(crate) fn hosts(text: &str) -> hosts::Names {
    hosts::parse(text)
}
