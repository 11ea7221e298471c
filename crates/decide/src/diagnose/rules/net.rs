//! The network: connections that do not come about, or do not carry what they should.

mod destination_filtered;
mod hairpin;
mod hairpin_snat;
mod marked_down;
mod no_local_v6;
mod pmtu_blackhole;
mod port25_blocked;
mod port25_throttled;
mod proxy_protocol_mismatch;
mod refused;
mod reset;
mod snat_hides_clients;
mod snat_trusted_range;
mod source;
mod source_address_unexpected;
mod source_address_unexpected_v6;
mod source_not_local;
mod timeout;
mod unreachable;
mod v6_path_broken;

use crate::diagnose::{Case, Rule, organisation};
use mail::dns::{Data, Kind};
use mail::{Connect, HostTry, Time};
use std::net::IpAddr;

pub use marked_down::marked_down;

pub(super) use hairpin::{Reflection, reflection};

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    proxy_protocol_mismatch::RULE,
    source_not_local::RULE,
    source_address_unexpected::RULE,
    source_address_unexpected_v6::RULE,
    hairpin_snat::RULE,
    snat_trusted_range::RULE,
    snat_hides_clients::RULE,
    hairpin::RULE,
    no_local_v6::RULE,
    v6_path_broken::RULE,
    port25_blocked::RULE,
    destination_filtered::RULE,
    port25_throttled::RULE,
    pmtu_blackhole::RULE,
    refused::RULE,
    timeout::RULE,
    unreachable::RULE,
    reset::RULE,
    marked_down::RULE,
];

/// A host that was dialled, in this attempt or lately.
#[derive(Clone, Copy, Debug)]
struct Dialled<'a> {
    domain: &'a str,
    host: &'a str,
    address: IpAddr,
    port: u16,
    connect: &'a Connect,
    began: Time,
    ended: Time,
    delivered: bool,
}

impl Dialled<'_> {
    fn timed_out(&self) -> bool {
        matches!(self.connect, Connect::TimedOut { .. })
    }

    /// The host, or something before it, said yes or no: the path is open.
    fn answered(&self) -> bool {
        matches!(self.connect, Connect::Made { .. } | Connect::Refused)
    }

    /// `mx.dest.test (192.0.2.1)`
    fn place(&self) -> String {
        place(self.host, self.address)
    }
}

/// Hosts on the Internet that were dialled lately, those of this attempt included, once each time. Next hops of the settings
/// are left out: they may be next door.
fn dialled<'a>(case: &Case<'a>) -> Vec<Dialled<'a>> {
    let lately = case.around.seen.iter().filter(|seen| !seen.configured).map(|seen| Dialled {
        domain: &seen.domain,
        host: &seen.host,
        address: seen.address,
        port: seen.port,
        connect: &seen.connect,
        began: match seen.connect {
            Connect::TimedOut { after_ms } => Time(seen.at.ms() - i64::try_from(after_ms).unwrap_or(0)),
            _ => seen.at,
        },
        ended: seen.at,
        delivered: seen.delivered,
    });
    let now = case.attempt().filter(|attempt| attempt.via == mail::Via::Mx).into_iter().flat_map(|attempt| {
        attempt.tries.iter().map(|tried| Dialled {
            domain: &attempt.domain,
            host: &tried.host,
            address: tried.address,
            port: tried.port,
            connect: &tried.connect,
            began: tried.started,
            ended: attempt.ended,
            delivered: crate::diagnose::delivered(tried),
        })
    });
    now.chain(lately).filter(|dialled| *dialled.connect != Connect::NotTried).collect()
}

/// This attempt dialled hosts, and no connection came about.
fn none_connected<'a>(case: &Case<'a>) -> Option<&'a [HostTry]> {
    let tries = case.tries();
    (!tries.is_empty() && !tries.iter().any(crate::diagnose::connected)).then_some(tries)
}

fn place(host: &str, address: IpAddr) -> String {
    if host == address.to_string() { host.to_owned() } else { format!("{host} ({address})") }
}

fn tried_place(tried: &HostTry) -> String {
    place(&tried.host, tried.address)
}

/// Places of tries, once each.
fn places<'a>(tries: impl IntoIterator<Item = &'a HostTry>) -> String {
    let mut all: Vec<String> = Vec::new();
    for tried in tries {
        let place = tried_place(tried);
        if !all.contains(&place) {
            all.push(place);
        }
    }
    all.join(", ")
}

/// How a connection ended, in words.
fn how(connect: &Connect) -> String {
    match connect {
        Connect::NotTried => "not tried".to_owned(),
        Connect::Made { ms } => format!("connected after {ms} ms"),
        Connect::Refused => "refused".to_owned(),
        Connect::TimedOut { after_ms } => format!("no answer within {} s", after_ms.div_ceil(1000)),
        Connect::NetworkUnreachable => "network unreachable".to_owned(),
        Connect::HostUnreachable => "host unreachable".to_owned(),
        Connect::Reset => "reset".to_owned(),
        Connect::NoSource => "no source address".to_owned(),
        Connect::Failed(why) => why.clone(),
    }
}

/// One line for each host tried.
fn evidence(tries: &[HostTry]) -> Vec<String> {
    let line = |tried: &HostTry| {
        let source = tried.source.map_or(String::new(), |source| format!(" from {source}"));
        format!("{} port {}{source}: {}", tried_place(tried), tried.port, how(&tried.connect))
    };
    tries.iter().map(line).collect()
}

/// The preference of a host in the MX records of the attempt.
fn preference(case: &Case<'_>, host: &str) -> Option<u16> {
    let mx = case.dns(&case.attempt()?.domain, Kind::Mx)?;
    mx.data().find_map(|data| match data {
        Data::Mx { preference, host: name } if name.eq_ignore_ascii_case(host) => Some(*preference),
        _ => None,
    })
}

fn is_elsewhere(dialled: &Dialled<'_>, tries: &[HostTry]) -> bool {
    !tries.iter().any(|tried| {
        tried.address == dialled.address || organisation(&tried.host).eq_ignore_ascii_case(organisation(dialled.host))
    })
}

/// `12 s`, `5 min`
fn age(from: Time, to: Time) -> String {
    match to.since(from).as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// Whom to turn to about hosts that cannot be reached.
fn owner(case: &Case<'_>) -> mail::Actor {
    match case.attempt() {
        Some(attempt) if attempt.via == mail::Via::NextHops => mail::Actor::OurServer,
        _ => mail::Actor::TheirHost,
    }
}
