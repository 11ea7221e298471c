//! What is done about a loop, as the settings say; and which of them leads the mail round.

use crate::settings::{Host, LoopAnswer, NextHop, NextHops, Settings};
use mail::{Domain, Via};
use std::net::{IpAddr, SocketAddr};

/// What becomes of recipients for whom a message goes round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Back to the sender, for good.
    Refuse,
    /// Kept until somebody releases it.
    Hold,
    /// Into this lane.
    Reroute(String),
}

impl Deed {
    /// As the log and the pages say it.
    pub fn name(&self) -> &'static str {
        match self {
            Deed::Refuse => "refuse",
            Deed::Hold => "hold",
            Deed::Reroute(_) => "reroute",
        }
    }
}

/// What is done about a loop in this lane. A message that has left its usual way already and goes round all the same is
/// refused: another round would end like this one.
pub fn deed(settings: &Settings, lane: &str, left_its_way: bool) -> Deed {
    match &settings.loop_guard.answer {
        LoopAnswer::Refuse => Deed::Refuse,
        LoopAnswer::Hold => Deed::Hold,
        LoopAnswer::Reroute(_) if left_its_way || lane.contains('>') => Deed::Refuse,
        LoopAnswer::Reroute(hop) => Deed::Reroute(detour(settings, lane, &[hop])),
    }
}

/// The lane of a domain's mail that takes these hops, in this order, instead of those of its rule: `corp.test>192.0.2.5:25`.
pub fn detour(settings: &Settings, domain: &str, hops: &[&NextHop]) -> String {
    let places: Vec<String> = hops.iter().map(|hop| place(hop, settings.delivery.port)).collect();
    format!("{domain}>{}", places.join(","))
}

fn place(hop: &NextHop, port: u16) -> String {
    let port = hop.port.unwrap_or(port);
    match &hop.host {
        Host::Addr(address) => SocketAddr::new(*address, port).to_string(),
        Host::Name(name) => format!("{}:{port}", name.ascii()),
    }
}

/// By which rule a lane takes these hops, in words.
pub fn detour_rule(settings: &Settings, domain: &Domain, hops: &str) -> String {
    if let LoopAnswer::Reroute(hop) = &settings.loop_guard.answer
        && hops == place(hop, settings.delivery.port)
    {
        return format!("loop.answer: mail that goes round takes another way, {hops}");
    }
    let own: Vec<String> = local_hops(settings, domain).iter().map(|hop| place(hop, settings.delivery.port)).collect();
    if !settings.loop_guard.filters.is_empty() && hops.split(',').all(|hop| own.iter().any(|own| own == hop)) {
        return format!("the next hops of {domain} behind the content filter (loop.filters): {hops}");
    }
    format!("rerouted by an administrator to {hops}")
}

fn local_hops<'s>(settings: &'s Settings, domain: &Domain) -> &'s [NextHop] {
    let local = settings.local_domain(domain);
    match local.map(|local| local.next_hops.as_ref().unwrap_or(&settings.local_next_hops)) {
        Some(NextHops::Hops(hops)) => hops,
        Some(NextHops::Mx) | None => &[],
    }
}

/// Whether a client is a content filter: what it was given comes back from it once.
pub fn is_filter(settings: &Settings, client: IpAddr) -> bool {
    settings.loop_guard.filters.iter().any(|network| network.contains(&client.to_canonical()))
}

/// The lane of mail that comes back from a content filter: the domain's next hops that are not the filter, known by its
/// address and the names that the mail was handed to it under. `None`: the usual way, for the filter is not on it or there
/// is no other.
pub fn behind_filter(settings: &Settings, domain: &Domain, filter: IpAddr, names: &[String]) -> Option<String> {
    let is_filter_hop = |hop: &&NextHop| match &hop.host {
        Host::Addr(address) => address.to_canonical() == filter.to_canonical() || is_filter(settings, *address),
        Host::Name(name) => names.iter().any(|known| known.eq_ignore_ascii_case(&name.ascii())),
    };
    let hops = local_hops(settings, domain);
    let mut onward: Vec<&NextHop> = hops.iter().filter(|hop| !is_filter_hop(hop)).collect();
    onward.sort_by_key(|hop| hop.preference);
    (!onward.is_empty() && onward.len() < hops.len()).then(|| detour(settings, &domain.ascii(), &onward))
}

/// The setting that leads a domain's mail round, as it is found in the document, for an alert.
pub fn setting(settings: &Settings, domain: &str, via: Via) -> String {
    let local = domain.parse().ok().and_then(|domain| settings.local_domain(&domain));
    let of_local = local.map(|local| match &local.next_hops {
        Some(_) => format!("domain[{}].next_hops", local.name),
        None => format!("route.local.next_hops (domain[{}] has none of its own)", local.name),
    });
    match (via, of_local) {
        (Via::Detour, _) => "the way that an administrator or loop.answer gave it".to_owned(),
        (Via::Mx, Some(setting)) => format!("{setting} = \"mx\", and the MX of {domain}"),
        (Via::Mx, None) => format!("{domain} is no [[domain]], and its MX or address leads here"),
        (_, Some(setting)) => setting,
        (_, None) => "route.other.next_hops".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::read(text).unwrap()
    }

    #[test]
    fn another_way_is_taken_once() {
        let with = |answer: &str| settings(&format!("[loop]\nanswer = {answer}"));
        assert_eq!(deed(&settings(""), "a.test", false), Deed::Refuse);
        assert_eq!(deed(&with("\"hold\""), "a.test>192.0.2.9:25", true), Deed::Hold);
        let other = with("\"192.0.2.9\"");
        assert_eq!(deed(&other, "a.test", false), Deed::Reroute("a.test>192.0.2.9:25".to_owned()));
        assert_eq!(deed(&other, "a.test", true), Deed::Refuse);
        assert_eq!(deed(&other, "a.test>192.0.2.9:25", false), Deed::Refuse);
        let six = with("\"[2001:db8::1]:26\"");
        assert_eq!(deed(&six, "a.test", false), Deed::Reroute("a.test>[2001:db8::1]:26".to_owned()));
        let domain = "a.test".parse().unwrap();
        assert!(detour_rule(&other, &domain, "192.0.2.9:25").starts_with("loop.answer"));
        assert_eq!(detour_rule(&other, &domain, "192.0.2.8:25"), "rerouted by an administrator to 192.0.2.8:25");
    }

    #[test]
    fn behind_the_filter_lie_the_other_next_hops() {
        let onward = |hops: &str, names: &[&str]| {
            let settings = settings(&format!(
                "[loop]\nfilters = [\"192.0.2.0/28\"]\n[[domain]]\nname = \"a.test\"\nnext_hops = {hops}"
            ));
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            behind_filter(&settings, &"sub.a.test".parse().unwrap(), "192.0.2.5".parse().unwrap(), &names)
        };
        let two = "[{host = \"192.0.2.5\", port = 10024}, {host = \"mbox.a.test\", preference = 10}, {host = \"198.51.100.1\", preference = 5}]";
        assert_eq!(onward(two, &[]).as_deref(), Some("sub.a.test>198.51.100.1:25,mbox.a.test:25"));
        let named = "[{host = \"filter.a.test\"}, {host = \"mbox.a.test\", preference = 10}]";
        assert_eq!(onward(named, &["Filter.A.test"]).as_deref(), Some("sub.a.test>mbox.a.test:25"));
        // Nothing tells which one it is, or there is no other.
        assert_eq!(onward(named, &[]), None);
        assert_eq!(onward("\"192.0.2.5\"", &[]), None);
        assert_eq!(onward("\"mx\"", &[]), None);
    }

    #[test]
    fn the_setting_is_named_as_it_is_found() {
        let settings = settings(
            "[route.local]\nnext_hops = \"192.0.2.1\"\n[[domain]]\nname = \"a.test\"\nnext_hops = \"mx\"\n[[domain]]\nname = \"b.test\"",
        );
        let named = |domain: &str, via| setting(&settings, domain, via);
        assert_eq!(named("x.a.test", Via::Mx), "domain[a.test].next_hops = \"mx\", and the MX of x.a.test");
        assert_eq!(named("b.test", Via::NextHops), "route.local.next_hops (domain[b.test] has none of its own)");
        assert_eq!(named("far.test", Via::Nowhere), "route.other.next_hops");
        assert_eq!(named("far.test", Via::Mx), "far.test is no [[domain]], and its MX or address leads here");
    }
}
