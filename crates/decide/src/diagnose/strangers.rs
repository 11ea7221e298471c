//! Strangers: other people's mail servers that all come from one address, where they cannot live.

use super::face::{self, Known};
use super::{Call, Case, organisation, spf};
use crate::Settings;
use mail::Domain;
use std::net::IpAddr;

/// Sessions of one address that are looked at, one for each organisation.
const LOOKED_AT_MAX: usize = 4;

/// An address that nobody on the Internet can come from: whoever shows it stands within our own network.
pub fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

/// Whose server calls itself so, if it is not one of ours: `None` for bare names, literals, and our own domains.
pub fn stranger<'n>(settings: &Settings, hostname: &str, name: &'n str) -> Option<&'n str> {
    let name = name.trim_end_matches('.');
    let inside = [".local", ".lan", ".internal", ".home", ".localdomain", ".home.arpa", ".intern", ".corp"];
    let lower = name.to_ascii_lowercase();
    if !name.contains('.') || name.starts_with('[') || inside.iter().any(|end| lower.ends_with(end)) {
        return None;
    }
    let domain: Domain = name.parse().ok()?;
    let owner = organisation(name);
    let ours = settings.local_domain(&domain).is_some()
        || owner.eq_ignore_ascii_case(organisation(hostname))
        || settings.domains.iter().any(|ours| owner.eq_ignore_ascii_case(organisation(&ours.name.ascii())));
    (!ours && name.parse::<IpAddr>().is_err()).then_some(owner)
}

/// One of them: what it calls itself, for whom it sent, and what shows that it lives elsewhere.
#[derive(Debug)]
pub(crate) struct Stranger<'a> {
    pub(crate) helo: &'a str,
    pub(crate) sender_domain: &'a str,
    pub(crate) elsewhere: Option<String>,
}

/// Other people's servers that came from this address lately, one for each organisation; those that DNS places there left
/// out. Fewer than two organisations, or all with mail of one: there is nothing odd.
pub(crate) fn at<'a>(case: &Case<'a>, client: IpAddr) -> Known<Vec<Stranger<'a>>> {
    let hostname = case.settings.hostname.as_ref().map(Domain::ascii);
    let hostname = hostname.unwrap_or_else(|| case.identity.names.first().map(Domain::ascii).unwrap_or_default());
    let mut calls: Vec<(&Call, &str, &str)> = Vec::new();
    for call in case.around.calls.iter().filter(|call| call.client == client && !call.authenticated) {
        let Some(owner) = stranger(case.settings, &hostname, &call.helo) else { continue };
        let Some(sender) = stranger(case.settings, &hostname, &call.sender_domain) else { continue };
        if !calls.iter().any(|(_, known, _)| known.eq_ignore_ascii_case(owner)) {
            calls.push((call, owner, sender));
        }
    }
    calls.truncate(LOOKED_AT_MAX);
    let senders = |calls: &[(&Call, &str, &str)]| {
        let first = calls.first().map(|(_, _, sender)| sender.to_ascii_lowercase());
        calls.iter().filter(|(_, _, sender)| Some(sender.to_ascii_lowercase()) != first).count()
    };
    if calls.len() < 2 || senders(&calls) == 0 {
        return Known::Yes(Vec::new());
    }
    let (mut strangers, mut wanted) = (Vec::new(), Vec::new());
    for (call, ..) in &calls {
        match home(case, call, client) {
            Known::Yes(Home::Here) => {}
            Known::Yes(Home::Elsewhere(why)) => {
                strangers.push(Stranger { helo: &call.helo, sender_domain: &call.sender_domain, elsewhere: Some(why) });
            }
            Known::Ask(experiments) => wanted.extend(experiments),
            Known::Never => {
                strangers.push(Stranger { helo: &call.helo, sender_domain: &call.sender_domain, elsewhere: None });
            }
        }
    }
    if wanted.is_empty() { Known::Yes(strangers) } else { Known::Ask(wanted) }
}

enum Home {
    Here,
    Elsewhere(String),
}

/// Where DNS says that a server lives: by its EHLO name; if that has no address, by the sender's SPF record.
fn home(case: &Case<'_>, call: &Call, client: IpAddr) -> Known<Home> {
    match face::forward(case, call.helo.trim_end_matches('.'), client) {
        Known::Yes((addresses, _)) if addresses.contains(&client.to_canonical()) => return Known::Yes(Home::Here),
        Known::Yes((addresses, answer)) if !addresses.is_empty() => {
            return Known::Yes(Home::Elsewhere(answer.summary()));
        }
        Known::Ask(experiments) => return Known::Ask(experiments),
        Known::Yes(_) | Known::Never => {}
    }
    match spf::lists(case, &call.sender_domain, client) {
        Known::Yes(Some(policy)) if policy.lists => Known::Yes(Home::Here),
        Known::Yes(Some(policy)) => {
            Known::Yes(Home::Elsewhere(format!("{} TXT: \"{}\"", call.sender_domain, policy.record)))
        }
        Known::Ask(experiments) => Known::Ask(experiments),
        Known::Yes(None) | Known::Never => Known::Never,
    }
}
