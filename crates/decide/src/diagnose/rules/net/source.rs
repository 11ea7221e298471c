//! What is common to the rules about the address that mail leaves from.

use crate::diagnose::Case;
use crate::diagnose::face::{self, Known};
use crate::diagnose::spf::{self, Policy};
use crate::diagnose::words::{self, Topic};
use mail::{HostTry, Reply, Stage};
use std::net::IpAddr;

/// A refusal that the source address may be the cause of.
pub(super) struct Left<'a> {
    pub(super) tried: &'a HostTry,
    pub(super) stage: Stage,
    pub(super) reply: &'a Reply,
    pub(super) source: IpAddr,
    /// The peer's words are about the EHLO name, reverse DNS or SPF.
    pub(super) plain: bool,
}

/// The first refusal whose words are about what we call ourselves or where we come from; or one that gives no reason but the
/// class "security or policy" (RFC 3463 X.7), or quotes our address.
pub(super) fn refused<'a>(case: &Case<'a>) -> Option<Left<'a>> {
    const TOPICS: [Topic; 3] = [Topic::Helo, Topic::ReverseDns, Topic::Spf];
    let about = |reply: &Reply| words::topics(reply).iter().any(|topic| TOPICS.contains(topic));
    let open = |tried: &HostTry, reply: &Reply| {
        let names_source = tried.source.is_some_and(|source| words::quotes(reply, &source.to_string()));
        let topics = words::topics(reply);
        let is_policy = reply.enhanced.is_some_and(|status| status.subject == 7);
        // "Client host rejected: NAME does not match [ADDRESS]": no block list is named, and ours are held against each other.
        let compares = names_source && words::quotes(reply, &tried.ehlo) && words::dnsbl_zone(reply).is_none();
        (topics.is_empty() && (is_policy || names_source)) || (topics.as_slice() == [Topic::BlockList] && compares)
    };
    let refusals = case.refusals();
    let plain = refusals.iter().find(|(_, _, reply)| about(reply));
    let (tried, stage, reply) = *plain.or_else(|| refusals.iter().find(|(tried, _, reply)| open(tried, reply)))?;
    Some(Left { tried, stage, reply, source: face::seen_as(case, tried, Some(reply))?, plain: about(reply) })
}

/// The SPF record of the sender's domain; of a null sender that of the EHLO name (RFC 7208 2.4).
pub(super) fn policy(case: &Case<'_>, source: IpAddr) -> Known<Option<Policy>> {
    let Some(attempt) = case.attempt() else { return Known::Never };
    let of_ehlo = case.last().map(|tried| tried.ehlo.as_str());
    let domain = attempt.sender.rsplit_once('@').map(|(_, domain)| domain).or(of_ehlo);
    domain.map_or(Known::Never, |domain| spf::lists(case, domain, source))
}
