//! Rules about content: the message itself is what a peer, or this gateway, refuses.

use super::super::words::{self, Topic};
use crate::diagnose::{Case, Rule};
use mail::{Actor, Confidence, Fault, Finding, HostTry, Reply, Stage, Visit};

mod bare_cr;
mod bare_lf;
mod header_rules;
mod line_too_long;
mod nul;
mod reencoded_breaks_dkim;

/// Special before general.
pub(super) const RULES: &[Rule] =
    &[nul::RULE, bare_lf::RULE, bare_cr::RULE, line_too_long::RULE, header_rules::RULE, reencoded_breaks_dkim::RULE];

/// A peer's refusal of content.
#[derive(Clone, Copy, Debug)]
struct Refused<'a> {
    tried: &'a HostTry,
    reply: &'a Reply,
    /// Its words are about the topic asked for; else they name no cause at all.
    named: bool,
}

impl Refused<'_> {
    /// `mx.a.test refused it: 550 5.6.0 …`
    fn text(&self) -> String {
        format!("{} refused it: {}", self.tried.host, self.reply)
    }

    fn evidence(&self) -> String {
        format!("{} [{}] answered the content: {}", self.tried.host, self.tried.address, self.reply)
    }
}

/// The first permanent refusal of the content that is about the topic, or that names no cause.
fn refused<'a>(case: &Case<'a>, topic: Topic) -> Option<Refused<'a>> {
    let of_content = |stage| matches!(stage, Stage::Data | Stage::Body | Stage::FinalReply);
    let refusals = case.refusals().into_iter().filter(|(_, stage, reply)| of_content(*stage) && reply.is_permanent());
    refusals
        .map(|(tried, _, reply)| (tried, reply, words::topics(reply)))
        .find(|(_, _, topics)| topics.is_empty() || topics.contains(&topic))
        .map(|(tried, reply, topics)| Refused { tried, reply, named: topics.contains(&topic) })
}

/// This gateway stopped the content on its way out, because it holds what no line may hold.
fn stopped<'a>(case: &Case<'a>) -> Option<&'a HostTry> {
    let (tried, failure) = case.failed()?;
    let malformed = mail::status::MALFORMED.with("").enhanced;
    (failure.stage == Stage::Body && failure.status.host.is_none() && failure.status.enhanced == malformed)
        .then_some(tried)
}

/// The first refusal of a client's content with a fault that fits.
fn fault<'a, T>(case: &Case<'a>, fits: impl Fn(Fault) -> Option<T>) -> Option<(&'a Visit, &'a Reply, T)> {
    let visit = case.visit()?;
    visit.refusals.iter().find_map(|refusal| Some((visit, &refusal.reply, fits(refusal.fault?)?)))
}

/// A client's content was refused: `what` it sent and why that is not allowed, as a clause; `fact` is where it stands.
fn from_client(cause: &'static str, visit: &Visit, what: &str, fact: String, reply: &Reply) -> Finding {
    let (client, code, status) = (visit.client, reply.code, reply.status());
    let sentence = format!("Client {client} sent {what}, so it was refused with {code} {status}.");
    Finding::new(cause, Actor::TheSender, sentence)
        .confidence(Confidence::Proven)
        .evidence(fact)
        .evidence(format!("answered: {reply}"))
}

/// `1 bare LF`, `3 bare LF`, or `a bare LF`-like words for one.
fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { one.to_owned() } else { format!("{count} {many}") }
}
