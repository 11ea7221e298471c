//! Whether mail for our domains finds the way here, and what it finds: MX, listeners, certificates.

use super::{Check, Dns, Facts, Line, Shown, State, absence, is_outside, list};
use mail::dns::{Answer, Data, Kind, Outcome, Question};
use mail::{Actor, Certificate, Confidence, Distrust, Listener};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Local domains whose MX records are looked at.
const DOMAINS_MAX: usize = 50;
/// Hosts of one domain.
const HOSTS_MAX: usize = 10;
/// A certificate that ends within this time should have been renewed by now.
const SOON_DAYS: u64 = 14;

/// Each local domain's MX, and the names of the hosts that are this gateway.
pub(super) fn mx(facts: &Facts<'_>, dns: &Dns<'_>) -> (Vec<Line>, BTreeSet<String>) {
    let (mut lines, mut here): (Vec<Line>, BTreeSet<String>) = Default::default();
    for domain in facts.settings.domains.iter().take(DOMAINS_MAX) {
        lines.push(of_domain(facts, dns, &domain.name.ascii(), &mut here));
    }
    if facts.settings.domains.len() > DOMAINS_MAX {
        let what = format!("{} more domains were not looked at", facts.settings.domains.len() - DOMAINS_MAX);
        lines.push(Line::new(Check::Mx, "", State::NotChecked, what));
    }
    if lines.is_empty() {
        lines.push(Line::new(Check::Mx, "", State::NotChecked, "the settings name no local domain"));
    }
    (lines, here)
}

fn of_domain(facts: &Facts<'_>, dns: &Dns<'_>, domain: &str, here: &mut BTreeSet<String>) -> Line {
    let answer = dns.ask(Question::new(domain, Kind::Mx));
    let mut seen = vec![answer.summary()];
    let line = |state, what: String, seen: Vec<String>| {
        let mut line = Line::new(Check::Mx, domain, state, what);
        line.evidence = seen;
        line
    };
    let name = facts.hostname.ascii();
    let record = format!("Publish `{domain}. MX 10 {name}.`");
    let hosts: Vec<String> = match answer.outcome {
        Outcome::Failed(_) => {
            return line(State::NotChecked, format!("the MX of {domain} is not known: the lookup failed"), seen);
        }
        Outcome::NoName => {
            let what = format!("{domain} does not exist in DNS (NXDOMAIN): no mail for it comes from outside");
            return line(State::Warning, what, seen)
                .fix(format!("{record}; if the domain is used inside only, nothing is amiss."));
        }
        // RFC 5321 5.1: without MX, the domain's own addresses count.
        Outcome::NoData => vec![domain.to_owned()],
        Outcome::Found => hosts(&answer),
    };
    if hosts.is_empty() {
        let what = format!("{domain} says by a null MX that it takes no mail (RFC 7505)");
        return line(State::Warning, what, seen).fix(format!("{record} in its place."));
    }
    let (mut elsewhere, mut failed): (Vec<String>, Vec<String>) = Default::default();
    let mut found_here = Vec::new();
    for host in hosts.iter().take(HOSTS_MAX) {
        let addresses = dns.addresses(host);
        seen.extend(addresses.answers().iter().map(|answer| answer.summary()));
        let is_here = addresses.all.iter().any(|address| facts.identity.is_address(*address))
            || (facts.identity.is_mta_name(host) && !addresses.all.is_empty());
        match addresses.failed() {
            _ if is_here => found_here.push(host.clone()),
            Some(why) if addresses.all.is_empty() => failed.push(why),
            _ if addresses.all.is_empty() => elsewhere.push(format!("{host} ({})", addresses.absence())),
            _ => elsewhere.push(format!("{host} ({})", list(&addresses.all))),
        }
    }
    if !found_here.is_empty() {
        let what = format!("mail for {domain} comes here by {}", found_here.join(", "));
        here.extend(found_here);
        return line(State::Ok, what, seen);
    }
    if !failed.is_empty() {
        let what =
            format!("whether the MX of {domain} leads here is not known: a lookup failed ({})", failed.join("; "));
        return line(State::NotChecked, what, seen);
    }
    let what = match answer.outcome {
        Outcome::NoData => format!(
            "{domain} has no MX record ({}), and its own addresses are not this gateway: {}",
            absence(&answer),
            elsewhere.join(", ")
        ),
        _ => format!("the MX of {domain} does not lead here, but to {}", elsewhere.join(", ")),
    };
    line(State::Warning, what, seen)
        .fix(format!(
            "{record} Nothing is amiss if another server takes its mail first and hands it on to this gateway."
        ))
        .fix("If it leads to a NAT or load balancer of yours: name its address in `identity.public_addresses`.")
}

/// Of a null MX (RFC 7505): none.
fn hosts(answer: &Answer) -> Vec<String> {
    let mut records: Vec<(u16, &str)> = answer
        .data()
        .filter_map(|data| {
            if let Data::Mx { preference, host } = data {
                Some((*preference, host.trim_end_matches('.')))
            } else {
                None
            }
        })
        .filter(|(_, host)| !host.is_empty())
        .collect();
    records.sort_unstable();
    records.into_iter().map(|(_, host)| host.to_ascii_lowercase()).collect()
}

/// Where SMTP is spoken, as far as it can be seen from inside.
pub(super) fn listening(facts: &Facts<'_>) -> Vec<Line> {
    let line = |state, what: String| Line::new(Check::Listening, "", state, what);
    if facts.listening.is_empty() {
        return vec![line(State::NotChecked, "no gateway is running here".to_owned())];
    }
    let inbound: Vec<_> = facts.listening.iter().filter(|(role, _)| *role == Listener::Inbound).collect();
    let all: Vec<String> =
        facts.listening.iter().map(|(role, socket)| format!("{} at {socket}", role.name())).collect();
    let seen = |mut line: Line| {
        line.evidence.extend(all.iter().cloned());
        line
    };
    if inbound.is_empty() {
        return vec![seen(line(State::Note, "there is no inbound listener: no mail comes from outside".to_owned()))];
    }
    let reachable = |address: IpAddr| !address.is_loopback() || is_outside(facts, address);
    if !inbound.iter().any(|(_, socket)| reachable(socket.ip())) {
        let what = "the inbound listener is at loopback addresses only: nothing comes from outside but by a proxy on this machine";
        return vec![
            seen(line(State::Warning, what.to_owned()))
                .fix("Listen at a public address: `listen.inbound = [\"0.0.0.0:25\", \"[::]:25\"]` in gatepost.toml."),
        ];
    }
    if !inbound.iter().any(|(_, socket)| socket.port() == 25) {
        let ports: BTreeSet<u16> = inbound.iter().map(|(_, socket)| socket.port()).collect();
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let what = format!("other servers come to port 25, and the inbound listener is at port {}", ports.join(", "));
        return vec![
            seen(line(State::Note, what))
                .fix("Right if a load balancer or the firewall leads port 25 there; else listen at port 25."),
        ];
    }
    vec![seen(line(
        State::Ok,
        "the inbound listener is at port 25; whether a firewall lets others in cannot be seen from here".to_owned(),
    ))]
}

/// What each listener shows: whether it can be used, its name, its time, its issuer. Servers that bring mail verify little, people's
/// mail programs all of it.
pub(super) fn certificates(facts: &Facts<'_>, hosts_here: &BTreeSet<String>) -> Vec<Line> {
    facts.shown.iter().map(|shown| certificate(facts, shown, hosts_here)).collect()
}

fn certificate(facts: &Facts<'_>, shown: &Shown, hosts_here: &BTreeSet<String>) -> Line {
    let listener = shown.listener.name();
    let line = |state, what: String| Line::new(Check::Certificate, listener, state, what);
    let setting = format!("listener.{listener}.certificate");
    let is_people = shown.listener == Listener::Submission;
    let certificate = match &shown.certificate {
        Ok(certificate) => certificate,
        Err(why) => {
            return line(State::Problem, format!("the certificate of the {listener} listener cannot be used: {why}"))
                .fix(format!("Put `{setting}` and `listener.{listener}.key` right."))
                .because("tls.server_not_ready", Actor::OurSettings, Confidence::Proven);
        }
    };
    let seen = |line: Line| {
        line.seen(format!("names: {}", certificate.names.join(", "))).seen(format!(
            "valid until {}, issuer {}",
            day(certificate.not_after),
            certificate.issuer
        ))
    };
    if shown.own_making && is_people {
        let what = format!(
            "the {listener} listener shows a self-signed certificate, which people's mail programs do not accept"
        );
        return seen(line(State::Warning, what)).fix(format!("Get a certificate for {}: `{setting}`.", facts.hostname));
    }
    if shown.own_making {
        let what = format!(
            "the {listener} listener shows a self-signed certificate: servers take it, but none can verify it (MTA-STS)"
        );
        return seen(line(State::Note, what)).fix(format!("Get a certificate for {}: `{setting}`.", facts.hostname));
    }
    let has = |problem: &Distrust| certificate.problems.contains(problem);
    if has(&Distrust::Ended) || has(&Distrust::NotYet) {
        let when = if has(&Distrust::Ended) {
            format!("ended on {}", day(certificate.not_after))
        } else {
            format!("is not valid before {}", day(certificate.not_before))
        };
        let what = format!("the certificate of the {listener} listener {when}");
        return seen(line(State::Problem, what))
            .fix(format!("Renew the certificate at `{setting}`; a changed file is read by itself."))
            .because("tls.cert_expired", Actor::OurSettings, Confidence::Proven);
    }
    // Mail comes by the names of the MX records (RFC 8461 4.1), people by the host name.
    let wanted: Vec<String> = match shown.listener {
        Listener::Inbound if !hosts_here.is_empty() => hosts_here.iter().cloned().collect(),
        _ => vec![facts.hostname.ascii()],
    };
    let lacking: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !covers(certificate, name)).collect();
    if !lacking.is_empty() {
        let what = format!(
            "the certificate of the {listener} listener is for {}, not for {}",
            certificate.names.join(", "),
            lacking.join(", ")
        );
        let state = if is_people { State::Problem } else { State::Warning };
        return seen(line(state, what))
            .fix(format!("Get a certificate for {}: `{setting}`.", lacking.join(" and ")))
            .because("tls.cert_name_mismatch", Actor::OurSettings, Confidence::Proven);
    }
    let left = certificate.not_after.map(|end| end.since(facts.now).as_secs() / 86_400);
    if let Some(days) = left.filter(|days| *days < SOON_DAYS) {
        let what = format!(
            "the certificate of the {listener} listener ends in {days} days, on {}",
            day(certificate.not_after)
        );
        return seen(line(State::Warning, what)).fix(format!("Renew the certificate at `{setting}`."));
    }
    let distrust = certificate.problems.iter().find_map(|problem| match problem {
        Distrust::Untrusted(_) if certificate.self_signed => Some("it is self-signed".to_owned()),
        Distrust::Untrusted(why) | Distrust::Weak(why) => Some(why.clone()),
        _ => None,
    });
    if let Some(why) = distrust {
        let state = if is_people { State::Warning } else { State::Note };
        let what = format!(
            "the certificate of the {listener} listener is for {}, but no authority that is known here vouches for it: {why}",
            wanted.join(", ")
        );
        return seen(line(state, what))
            .fix(format!("Let the file at `{setting}` hold the whole chain of a public authority."));
    }
    seen(line(
        State::Ok,
        format!(
            "the certificate of the {listener} listener is for {} until {}",
            wanted.join(", "),
            day(certificate.not_after)
        ),
    ))
}

fn day(time: Option<mail::Time>) -> String {
    time.unwrap_or_default().rfc3339().chars().take(10).collect()
}

/// RFC 6125 6.4.3: a wildcard stands for one whole label, the leftmost.
fn covers(certificate: &Certificate, name: &str) -> bool {
    certificate.names.iter().any(|known| {
        let known = known.trim_end_matches('.').to_ascii_lowercase();
        match known.strip_prefix("*.") {
            Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => known == name,
        }
    })
}
