//! Face: what this gateway looks like to a peer: the address it comes from, that address's names, its EHLO name.

use super::{Case, Experiment, words};
use mail::dns::{Answer, Kind, Outcome, Question};
use mail::{HostTry, Reply};
use std::net::IpAddr;

/// What DNS says, or the questions that are still to be put.
pub(crate) enum Known<T> {
    Yes(T),
    /// Not yet: these would tell.
    Ask(Vec<Experiment>),
    /// It cannot be known: a lookup failed, or will not be made.
    Never,
}

/// The answer to a question: recorded, or looked up for this case.
pub(crate) fn answer<'a>(case: &Case<'a>, question: Question) -> Known<&'a Answer> {
    match case.dns(&question.name, question.kind) {
        Some(answer) if matches!(answer.outcome, Outcome::Failed(_)) => Known::Never,
        Some(answer) => Known::Yes(answer),
        None => {
            let experiment = Experiment::ask(question);
            if case.look(&experiment).is_some() { Known::Never } else { Known::Ask(vec![experiment]) }
        }
    }
}

/// The address that the peer saw us come from. The socket's own, unless that is private: then NAT stands between, and it is
/// the address that the peer quotes or, if only one is declared, the public one.
pub(crate) fn seen_as(case: &Case<'_>, tried: &HostTry, reply: Option<&Reply>) -> Option<IpAddr> {
    let source = tried.source?.to_canonical();
    let quoted = |address: IpAddr| reply.is_some_and(|reply| words::quotes(reply, &address.to_string()));
    let mut own = case.settings.public_addresses.iter().chain(&case.identity.addresses).map(IpAddr::to_canonical);
    if quoted(source) {
        return Some(source);
    }
    if let Some(address) = own.find(|address| address.is_ipv4() == source.is_ipv4() && quoted(*address)) {
        return Some(address);
    }
    if !is_behind_nat(source) {
        return Some(source);
    }
    let mut public = case.settings.public_addresses.iter().filter(|address| address.is_ipv4() == source.is_ipv4());
    match (public.next(), public.next()) {
        (Some(address), None) => Some(address.to_canonical()),
        _ => None,
    }
}

fn is_behind_nat(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Addresses of a name in the family of another address; empty: there are none.
pub(crate) fn forward<'a>(case: &Case<'a>, name: &str, family: IpAddr) -> Known<(Vec<IpAddr>, &'a Answer)> {
    match answer(case, Question::forward(name, family)) {
        Known::Yes(answer) => Known::Yes((answer.addresses().iter().map(IpAddr::to_canonical).collect(), answer)),
        Known::Ask(experiments) => Known::Ask(experiments),
        Known::Never => Known::Never,
    }
}

/// More PTR names than these are not followed.
const NAMES_MAX: usize = 4;

/// How reverse DNS stands.
pub(crate) enum Reverse<'a> {
    /// No PTR record.
    None,
    /// A name leads back to the address (forward-confirmed).
    Confirmed,
    /// No name does: each with the addresses that it has in that family.
    Mismatch(Vec<(&'a str, Vec<IpAddr>)>),
}

/// Reverse DNS of an address, with the evidence.
pub(crate) fn reverse<'a>(case: &Case<'a>, address: IpAddr) -> Known<(Reverse<'a>, Vec<String>)> {
    let ptr = match answer(case, Question::reverse(address)) {
        Known::Yes(ptr) => ptr,
        Known::Ask(experiments) => return Known::Ask(experiments),
        Known::Never => return Known::Never,
    };
    let mut facts = vec![format!("PTR of {address}: {}", ptr.summary())];
    let (mut names, mut wanted, mut failed) = (Vec::new(), Vec::new(), false);
    for name in ptr.names().into_iter().take(NAMES_MAX) {
        match forward(case, name, address) {
            Known::Yes((addresses, answer)) => {
                facts.push(answer.summary());
                if addresses.contains(&address.to_canonical()) {
                    return Known::Yes((Reverse::Confirmed, facts));
                }
                names.push((name, addresses));
            }
            Known::Ask(experiments) => wanted.extend(experiments),
            Known::Never => failed = true,
        }
    }
    match () {
        () if !wanted.is_empty() => Known::Ask(wanted),
        () if failed => Known::Never,
        () if names.is_empty() => Known::Yes((Reverse::None, facts)),
        () => Known::Yes((Reverse::Mismatch(names), facts)),
    }
}

/// `has no PTR record (NXDOMAIN)`; NODATA where the name exists.
pub(crate) fn ptr_absence(case: &Case<'_>, address: IpAddr) -> &'static str {
    match case.dns(&Question::reverse(address).name, Kind::Ptr).map(|answer| &answer.outcome) {
        Some(Outcome::NoData) => "NODATA",
        _ => "NXDOMAIN",
    }
}

/// Addresses that the EHLO name stands for in the source's family, if one of them is ours and none is the source: mail leaves
/// from another address than the one that the name, and mostly SPF and PTR, are made for.
pub(crate) fn stands_for_another(case: &Case<'_>, tried: &HostTry, source: IpAddr) -> Known<Option<Vec<IpAddr>>> {
    if tried.ehlo.is_empty() || tried.ehlo.starts_with('[') {
        return Known::Yes(None);
    }
    match forward(case, &tried.ehlo, source) {
        Known::Yes((addresses, _)) => {
            let is_another = !addresses.contains(&source) && addresses.iter().any(|address| is_own(case, *address));
            Known::Yes(is_another.then_some(addresses))
        }
        Known::Ask(experiments) => Known::Ask(experiments),
        Known::Never => Known::Never,
    }
}

pub(crate) fn is_own(case: &Case<'_>, address: IpAddr) -> bool {
    case.identity.is_address(address) || case.settings.public_addresses.iter().any(|own| own.to_canonical() == address)
}
