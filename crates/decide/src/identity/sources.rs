//! Which addresses the outside sees mail come from, and whether IPv6 is right or off.

use super::{Check, Dns, Facts, Line, Source, State, is_outside, list};
use crate::settings::AddressFamily;
use mail::Listener;
use mail::dns::{Kind, Question};
use std::net::IpAddr;

/// The sources, and lines about those that are not known.
pub(super) fn find(facts: &Facts<'_>) -> (Vec<Source>, Vec<Line>) {
    let (mut sources, mut lines): (Vec<Source>, Vec<Line>) = Default::default();
    let families = match facts.settings.delivery.address_family {
        AddressFamily::Ipv4 => vec![true],
        AddressFamily::Ipv6 => vec![false],
        AddressFamily::Any | AddressFamily::Ipv4First | AddressFamily::Ipv6First => vec![true, false],
    };
    for is_v4 in families {
        for (inside, ehlo) in of_family(facts, is_v4) {
            if is_outside(facts, inside) {
                push(&mut sources, Source { address: inside, inside: None, ehlo });
                continue;
            }
            let public: Vec<IpAddr> =
                facts.settings.public_addresses.iter().copied().filter(|address| address.is_ipv4() == is_v4).collect();
            if public.is_empty() {
                lines.push(hidden(inside));
            }
            for address in public {
                push(&mut sources, Source { address, inside: Some(inside), ehlo: ehlo.clone() });
            }
        }
    }
    if sources.is_empty() && lines.is_empty() {
        lines.push(
            Line::new(
                Check::Source,
                "",
                State::NotChecked,
                "no address is known that mail leaves from: this machine has no way to the Internet, and none is set",
            )
            .fix("Name the address: `[[delivery.source]]` with `address = \"…\"`; behind NAT `identity.public_addresses = [\"…\"]`."),
        );
    }
    if !facts.proposed {
        lines.extend(sources.iter().map(|source| shown(facts, source)));
    }
    (sources, lines)
}

/// Those of the settings, else the one that the system would choose; each with its EHLO name.
fn of_family(facts: &Facts<'_>, is_v4: bool) -> Vec<(IpAddr, String)> {
    let hostname = facts.hostname.ascii();
    let set = facts.settings.delivery.sources.iter().filter(|source| source.address.is_ipv4() == is_v4);
    let set: Vec<(IpAddr, String)> = set
        .map(|source| (source.address, source.ehlo.as_ref().map_or(hostname.clone(), mail::Domain::ascii)))
        .collect();
    if !set.is_empty() {
        return set;
    }
    let chosen = facts.chosen.iter().filter(|address| address.is_ipv4() == is_v4);
    chosen.map(|address| (*address, hostname.clone())).collect()
}

fn push(sources: &mut Vec<Source>, source: Source) {
    if !sources.iter().any(|known| known.address == source.address && known.ehlo == source.ehlo) {
        sources.push(source);
    }
}

fn hidden(inside: IpAddr) -> Line {
    let what = format!(
        "mail leaves from {inside}, which is private: the outside sees another address, which is not known here"
    );
    let line = Line::new(Check::Source, inside.to_string(), State::Warning, what)
        .fix("Name the address that the outside sees: `identity.public_addresses = [\"…\"]`.");
    match inside {
        IpAddr::V4(_) => line,
        IpAddr::V6(_) => line.fix("Or switch IPv6 off for deliveries: `delivery.address_family = \"ipv4\"`."),
    }
}

fn shown(facts: &Facts<'_>, source: &Source) -> Line {
    let address = source.address;
    let whence = match source.inside {
        Some(inside) => format!("{inside} by NAT (identity.public_addresses)"),
        None if facts.settings.delivery.sources.iter().any(|set| set.address == address) => {
            "delivery.source".to_owned()
        }
        None => "chosen by the system".to_owned(),
    };
    let what = format!("mail leaves from {address} ({whence}), with EHLO {}", source.ehlo);
    Line::new(Check::Source, address.to_string(), State::Ok, what)
}

/// IPv6 is either right or off: an address without a name, or a name that leads to where nobody listens, costs mail.
pub(super) fn ipv6(facts: &Facts<'_>, dns: &Dns<'_>, sources: &[Source]) -> Line {
    let line = |state, what: String| Line::new(Check::Ipv6, "", state, what);
    let name = facts.hostname.ascii();
    let aaaa = dns.ask(Question::new(&name, Kind::Aaaa));
    let mut inbound = facts.listening.iter().filter(|(role, _)| *role == Listener::Inbound).peekable();
    let listens = |address: &IpAddr| {
        let address = address.to_canonical();
        facts.listening.iter().any(|(role, socket)| {
            *role == Listener::Inbound && socket.is_ipv6() && (socket.ip().is_unspecified() || socket.ip() == address)
        })
    };
    // An address that is not ours may be a load balancer's or another machine's.
    let ours: Vec<IpAddr> =
        aaaa.addresses().into_iter().filter(|address| facts.identity.addresses.contains(address)).collect();
    if let Some(deaf) = ours.iter().find(|address| !listens(address)).filter(|_| inbound.peek().is_some()) {
        let what = format!(
            "{name} has the address {deaf}, but no inbound listener is there: who tries IPv6 first loses time or gives up"
        );
        return line(State::Warning, what)
            .answers(&[aaaa.as_ref()])
            .fix(format!("Listen there: add \"[{deaf}]:25\" to `listen.inbound` in gatepost.toml."))
            .fix(format!("Or take the record away: `{name}. AAAA {deaf}`."));
    }
    let v6: Vec<IpAddr> = sources.iter().map(|source| source.address).filter(IpAddr::is_ipv6).collect();
    let what = if facts.settings.delivery.address_family == AddressFamily::Ipv4 {
        "deliveries do not use IPv6 (delivery.address_family = \"ipv4\")".to_owned()
    } else if v6.is_empty() {
        "deliveries do not use IPv6: this machine has no IPv6 address on the Internet".to_owned()
    } else {
        format!("deliveries use IPv6, from {}", list(&v6))
    };
    line(State::Ok, what)
}
