//! DNS: records that are wrong, missing or cannot be read, at their end or at ours.

mod any_query_peer;
mod asked;
mod broken_nxdomain;
mod client_helo_unresolvable;
mod client_lookup_failed;
mod client_no_ptr;
mod dnssec_bogus;
mod domain_missing;
mod edns_dropped;
mod fcrdns_mismatch;
mod fragments_dropped;
mod implicit_mx_web_host;
mod local_resolver_dead;
mod mx_cname;
mod mx_ip_literal;
mod mx_private_address;
mod mx_target_missing;
mod negative_cache;
mod next_hop_missing;
mod no_mail_host;
mod null_mx;
mod null_mx_invalid;
mod own_no_ptr;
mod own_reverse;
mod own_v6_no_ptr;
mod sender_domain_unresolvable;
mod servfail;
mod split_view;
mod tcp_blocked;
mod tlsa_servfail;

use crate::diagnose::{Case, Rule};
use mail::dns::{Answer, Data, Kind, Outcome};
use mail::{Attempt, Refusal, Via, Visit};

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    any_query_peer::RULE,
    local_resolver_dead::RULE,
    dnssec_bogus::RULE,
    fragments_dropped::RULE,
    tcp_blocked::RULE,
    edns_dropped::RULE,
    tlsa_servfail::RULE,
    negative_cache::RULE,
    split_view::RULE,
    null_mx::RULE,
    mx_private_address::RULE,
    mx_ip_literal::RULE,
    mx_cname::RULE,
    mx_target_missing::RULE,
    next_hop_missing::RULE,
    broken_nxdomain::RULE,
    implicit_mx_web_host::RULE,
    null_mx_invalid::RULE,
    own_v6_no_ptr::RULE,
    own_no_ptr::RULE,
    fcrdns_mismatch::RULE,
    client_no_ptr::RULE,
    client_helo_unresolvable::RULE,
    sender_domain_unresolvable::RULE,
    client_lookup_failed::RULE,
    no_mail_host::RULE,
    domain_missing::RULE,
    servfail::RULE,
];

/// An attempt whose hosts the recipients' domain names in DNS.
fn by_mx<'a>(case: &Case<'a>) -> Option<&'a Attempt> {
    case.attempt().filter(|attempt| attempt.via == Via::Mx)
}

/// The MX records of the recipients' domain: the answer, and preference and host of each, without the final dot.
fn mx_records<'a>(case: &Case<'a>) -> Option<(&'a Answer, Vec<(u16, &'a str)>)> {
    let answer = case.dns(&by_mx(case)?.domain, Kind::Mx)?;
    let record = |data: &'a Data| {
        if let Data::Mx { preference, host } = data { Some((*preference, host.trim_end_matches('.'))) } else { None }
    };
    Some((answer, answer.data().filter_map(record).collect()))
}

/// A visit, and its first refusal by one of these checks.
fn client_refused<'a>(case: &Case<'a>, checks: &[&str]) -> Option<(&'a Visit, &'a Refusal)> {
    let visit = case.visit()?;
    Some((visit, visit.refusals.iter().find(|refusal| checks.contains(&refusal.why.as_str()))?))
}

/// The name at the end of the CNAMEs of an answer, if there are any.
fn canonical(answer: &Answer) -> Option<&str> {
    answer.records.iter().rev().find_map(|record| match &record.data {
        Data::Name(name) if record.kind == Kind::Cname => Some(name.as_str()),
        _ => None,
    })
}

/// That there is nothing: `does not exist (NXDOMAIN)`, `has no A and no AAAA record`; `None` if that is not known.
fn absence(case: &Case<'_>, name: &str) -> Option<&'static str> {
    let outcome = |kind| case.dns(name, kind).map(|answer| &answer.outcome);
    match (outcome(Kind::A), outcome(Kind::Aaaa)) {
        (Some(Outcome::NoName), None | Some(Outcome::NoName)) | (None, Some(Outcome::NoName)) => {
            Some("does not exist (NXDOMAIN)")
        }
        (Some(Outcome::NoName | Outcome::NoData), Some(Outcome::NoName | Outcome::NoData)) => {
            Some("has neither an A nor an AAAA record (NODATA)")
        }
        (Some(Outcome::NoData), None) => Some("has no A record (NODATA)"),
        (None, Some(Outcome::NoData)) => Some("has no AAAA record (NODATA)"),
        _ => None,
    }
}

/// The answers about the addresses of a name, as evidence.
fn address_facts(case: &Case<'_>, name: &str) -> Vec<String> {
    [Kind::A, Kind::Aaaa].into_iter().filter_map(|kind| case.dns(name, kind)).map(Answer::summary).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    match items.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
