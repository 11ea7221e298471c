//! Rules about loops.

mod autoreply;
mod bounce_forward;
mod bounce_own_fqdn;
mod false_many_hops;
mod local_redirect_self;
mod peer_backend_returns;
mod peer_mutual_fallback;
mod peer_mutual_forward;
mod peer_subdomain_not_accepted;
mod peer_unknown_user_ping_pong;
mod self_best_mx;
mod self_domain_not_local;
mod self_hosts_file;
mod self_mx_loopback;
mod self_nat_address;
mod self_next_hop;
mod self_pseudo_domain;
mod self_same_hostname;
mod self_scanner;
mod self_smarthost;

use crate::diagnose::{Answer, Case, Experiment, Rule};
use mail::dns::{Kind, Question};
use mail::{Attempt, Carried, Dropped, Finding, Return, Status, Visit, Why};
use std::net::IpAddr;

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    self_hosts_file::RULE,
    self_scanner::RULE,
    self_nat_address::RULE,
    self_smarthost::RULE,
    self_mx_loopback::RULE,
    self_pseudo_domain::RULE,
    self_best_mx::RULE,
    self_next_hop::RULE,
    self_domain_not_local::RULE,
    local_redirect_self::RULE,
    peer_mutual_forward::RULE,
    peer_subdomain_not_accepted::RULE,
    peer_mutual_fallback::RULE,
    peer_unknown_user_ping_pong::RULE,
    peer_backend_returns::RULE,
    bounce_own_fqdn::RULE,
    bounce_forward::RULE,
    false_many_hops::RULE,
    autoreply::RULE,
    self_same_hostname::RULE,
];

/// Whether one of the rules that stand before this one in the list, of the same kind (`loop.self.`, `loop.peer.`), tells
/// of the case: a general rule has nothing to add to a special one.
fn is_told(case: &Case<'_>, cause: &str) -> bool {
    let kind = |cause: &str| cause.rsplit_once('.').map(|(kind, _)| kind.to_owned());
    let before = RULES.iter().take_while(|rule| rule.cause != cause);
    let is_special = |rule: &&Rule| kind(rule.cause) == kind(cause) || rule.cause.starts_with("loop.local.");
    before.filter(is_special).any(|rule| matches!((rule.find)(case), Answer::Found(_)))
}

/// A loop that was found before anything was dialled.
fn no_way<'a>(case: &Case<'a>) -> Option<(&'a Attempt, &'a Status)> {
    let attempt = case.attempt()?;
    let status = attempt.no_route.as_ref().filter(|status| is_loop(status))?;
    attempt.tries.is_empty().then_some((attempt, status))
}

fn is_loop(status: &Status) -> bool {
    status.host.is_none() && status.code == 554 && status.enhanced.subject == 4 && status.enhanced.detail == 6
}

/// The best of the hosts that were left out because they are this gateway.
fn own_host(attempt: &Attempt) -> Option<&Dropped> {
    attempt.dropped.iter().filter(|dropped| matches!(dropped.why, Why::Own(_))).min_by_key(|dropped| dropped.preference)
}

/// The host that greeted with this gateway's token, now or lately; and its name, if it called itself by one that is not this
/// Scanner's: then it is another one.
fn met<'a>(case: &Case<'a>) -> Option<(&'a Dropped, Option<String>)> {
    let attempt = case.attempt()?;
    let by_greeting = |dropped: &&Dropped| matches!(&dropped.why, Why::Own(by) if by.contains("greeting"));
    let own = attempt.dropped.iter().find(by_greeting)?;
    let tried = attempt.tries.iter().find(|tried| tried.own_token && Some(tried.address) == own.address);
    let name =
        tried.and_then(|tried| tried.banner.as_ref()).filter(|banner| banner.is_positive()).map(mail::Reply::text);
    let name = name.and_then(|text| text.split_whitespace().next().map(str::to_owned));
    let is_ours = |name: &String| case.identity.names.iter().any(|own| own.as_str().eq_ignore_ascii_case(name));
    Some((own, name.filter(|name| !is_ours(name))))
}

/// The own addresses that a host was known by, or that its name has. Err: what must be asked first.
fn addresses(case: &Case<'_>, host: &Dropped) -> Result<Vec<IpAddr>, Vec<Experiment>> {
    if let Some(address) = host.address {
        return Ok(vec![address]);
    }
    let known = case.addresses(&host.host);
    if !known.is_empty() {
        return Ok(known);
    }
    let asks = [Kind::A, Kind::Aaaa].map(|kind| Experiment::ask(Question::new(&host.host, kind)));
    let unasked: Vec<Experiment> =
        asks.into_iter().filter(|ask| case.look(ask).is_none() && !has_answer(case, ask)).collect();
    if unasked.is_empty() { Ok(Vec::new()) } else { Err(unasked) }
}

fn has_answer(case: &Case<'_>, ask: &Experiment) -> bool {
    matches!(ask, Experiment::Ask { question, .. } if case.dns(&question.name, question.kind).is_some())
}

/// `127.0.0.2, 2001:db8::1`
fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the attempt knows about a route: answers, hosts left out, the verdict.
fn with_route(mut finding: Finding, attempt: &Attempt) -> Finding {
    finding.evidence.extend(attempt.dns.iter().map(mail::dns::Answer::summary));
    finding.evidence.extend(attempt.dropped.iter().map(ToString::to_string));
    if let Some(status) = &attempt.no_route {
        finding.evidence.push(format!("{status}; no host was dialled ({})", attempt.rule));
    }
    finding
}

/// A message that came back, and the visit that brought it.
fn back<'a>(case: &Case<'a>) -> Option<(&'a Visit, &'a Return)> {
    let visit = case.visit()?;
    Some((visit, visit.returns.first()?))
}

/// The host that was given the message last, in the pass that came back.
fn sent(back: &Return) -> Option<&Carried> {
    back.sent.last()
}

/// `edge.corp.test (127.0.0.11)`, or the address alone.
fn place(carried: &Carried) -> String {
    if carried.host == carried.address.to_string() {
        carried.host.clone()
    } else {
        format!("{} ({})", carried.host, carried.address)
    }
}

/// `after 1 s`
fn after(back: &Return) -> String {
    let from = sent(back).map_or(back.taken, |sent| sent.at);
    let seconds = back.at.since(from).as_secs();
    if seconds == 0 { "within a second".to_owned() } else { format!("after {seconds} s") }
}

fn domain_of(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

fn with_return(mut finding: Finding, visit: &Visit, back: &Return) -> Finding {
    finding.evidence.push(format!(
        "{} came from {} with this gateway's own trace: Audit ID {}, pass {}, {} listener",
        back.recipient,
        visit.client,
        back.before,
        back.pass,
        back.listener.name()
    ));
    finding.evidence.extend(back.sent.iter().chain(&back.other_passes).map(|sent| {
        format!(
            "{} was handed to {}:{} for {} ({})",
            sent.message,
            place(sent),
            sent.port,
            listed(&sent.recipients),
            sent.rule
        )
    }));
    finding.evidence.extend(back.between.iter().map(|hop| format!("Received: by {hop}")));
    finding.evidence.extend(back.delivered_to.iter().map(|address| format!("Delivered-To: {address}")));
    if !back.stayed.is_empty() {
        finding.evidence.push(format!("same host, not returned: {}", listed(&back.stayed)));
    }
    if !back.stayed_domains.is_empty() {
        finding
            .evidence
            .push(format!("other domains at the same host, not returned: {}", listed(&back.stayed_domains)));
    }
    finding
}

#[cfg(test)]
mod testing;
