//! Names and addresses: the MTA host name, its addresses, each source's reverse name, and how EHLO stands to it.

use super::{
    Addresses, Check, Dns, Facts, Line, Source, State, absence, address_record, is_outside, list, relay_hosts, sure,
};
use mail::dns::{Answer, Question};
use mail::{Actor, Confidence};
use std::net::IpAddr;

/// PTR names that are followed; some addresses have hundreds.
const NAMES_MAX: usize = 5;
/// Top-level names that never resolve in public DNS (RFC 6761, RFC 6762, RFC 8375), or by custom.
const NOT_PUBLIC: [&str; 7] = ["local", "localhost", "localdomain", "internal", "lan", "invalid", "home.arpa"];

/// Whether it is a name that others can look up at all.
pub(super) fn host_name(facts: &Facts<'_>, name: &str) -> Line {
    let line = |state, what: String| Line::new(Check::HostName, name, state, what);
    let is_main = name == facts.hostname.ascii();
    let setting = if is_main { "hostname" } else { "delivery.source.ehlo" };
    let example = "a name of yours that resolves in public DNS, such as \"mail.example.org\"";
    if facts.hostname.literal().is_some() && is_main {
        return line(State::Problem, format!("{name} is an address literal, not a name"))
            .fix(format!("Set `{setting}` to {example}."));
    }
    if !name.contains('.') {
        return line(State::Problem, format!("\"{name}\" is not fully qualified: many servers refuse it in EHLO"))
            .fix(format!("Set `{setting}` to {example}."))
            .because("smtp.helo_unresolvable", Actor::OurSettings, Confidence::Proven);
    }
    if let Some(special) = NOT_PUBLIC.iter().find(|special| name.ends_with(&format!(".{special}"))) {
        return line(State::Warning, format!("{name} ends in .{special}, which public DNS does not know"))
            .fix(format!("Set `{setting}` to {example}."));
    }
    if name.contains('_') {
        return line(State::Warning, format!("{name} has an underscore, which no host name may have (RFC 1123 2.1)"))
            .fix(format!("Set `{setting}` to a name of letters, digits and hyphens."));
    }
    if is_main && !facts.proposed && facts.settings.hostname.is_none() {
        return line(State::Note, format!("{name} is the machine's own name: `hostname` is not set"));
    }
    line(State::Ok, format!("{name} is fully qualified"))
}

/// Whether it resolves, to addresses that others can reach and that are ours.
pub(super) fn address(facts: &Facts<'_>, dns: &Dns<'_>, name: &str, sources: &[Source]) -> Line {
    if !name.contains('.') || name.starts_with('[') {
        let what = format!("{name} is not asked for: it is not fully qualified");
        return Line::new(Check::Address, name, State::NotChecked, what);
    }
    let found = dns.addresses(name);
    let line = |state, what: String| Line::new(Check::Address, name, state, what).answers(&found.answers());
    let fitting: Vec<IpAddr> =
        sources.iter().filter(|source| source.ehlo == name).map(|source| source.address).collect();
    let records = |mut line: Line| {
        for address in &fitting {
            line = line.fix(format!("Publish {}.", address_record(name, *address)));
        }
        if fitting.is_empty() {
            line.fix(format!("Publish `{name}. A …` with the address that mail leaves from."))
        } else {
            line
        }
    };
    if found.all.is_empty() {
        if let Some(why) = found.failed() {
            return line(
                State::NotChecked,
                format!("the addresses of {name} are not known: the lookup failed ({why})"),
            );
        }
        let what = format!("{name} has no A or AAAA record ({}): many servers refuse it in EHLO", found.absence());
        return records(line(State::Problem, what)).because("smtp.helo_unresolvable", Actor::OurDns, sure(facts));
    }
    let (outside, inside): (Vec<IpAddr>, Vec<IpAddr>) =
        found.all.iter().partition(|address| is_outside(facts, **address));
    if !inside.is_empty() {
        return private(facts, &found, name, &outside, &inside, records);
    }
    if found.is_alias() {
        let what = format!(
            "{name} is an alias (CNAME) of a name with {}; EHLO wants a name that has addresses itself (RFC 5321 2.3.5)",
            list(&outside)
        );
        return line(State::Warning, what).fix(format!(
            "Publish the address itself: {} in place of the CNAME.",
            outside.first().map_or_else(String::new, |address| address_record(name, *address))
        ));
    }
    if !outside.iter().any(|address| facts.identity.is_address(*address)) {
        let what = format!("{name} resolves to {}, which is no address of this gateway", list(&outside));
        let public = outside.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
        let behind = format!(
            "If NAT or a load balancer with this address stands before the gateway: `identity.public_addresses = [{public}]`."
        );
        return records(line(State::Warning, what).fix(behind));
    }
    line(State::Ok, format!("{name} resolves to {}", list(&outside)))
}

/// The name leads to private or loopback addresses. That may be the view from inside alone, unless the outside was asked.
fn private(
    facts: &Facts<'_>,
    found: &Addresses<'_>,
    name: &str,
    outside: &[IpAddr],
    inside: &[IpAddr],
    records: impl Fn(Line) -> Line,
) -> Line {
    let line = |state, what: String| Line::new(Check::Address, name, state, what).answers(&found.answers());
    let (which, verb) = (list(inside), if inside.len() == 1 { "is" } else { "are" });
    let asked_outside = !facts.settings.dns.public_servers.is_empty();
    let what = format!("{name} resolves to {which}, which {verb} not reachable from the Internet");
    match (asked_outside, outside.is_empty()) {
        (true, true) => records(line(State::Problem, what)),
        (true, false) => line(State::Warning, format!("{what}, besides {}", list(outside)))
            .fix(format!("Take the private address out of the public zone of {name}.")),
        (false, _) => {
            let is_declared = !facts.settings.public_addresses.is_empty();
            let state = if is_declared { State::Note } else { State::Warning };
            let what = format!(
                "{what}; this is what the gateway's own DNS servers say, and the outside may see another address"
            );
            records(line(state, what)).fix(
                "To look from outside, name resolvers that see the public Internet: `dns.public_servers = [\"…\"]`.",
            )
        }
    }
}

/// The source's reverse name; with it the names that lead back to the source.
pub(super) fn reverse_name(facts: &Facts<'_>, dns: &Dns<'_>, source: &Source) -> (Line, Vec<String>) {
    let address = source.address;
    let question = Question::reverse(address);
    let ptr = dns.ask(question.clone());
    let line = |state, what: String| Line::new(Check::ReverseName, address.to_string(), state, what);
    if !ptr.is_known() {
        let what = format!("the reverse name of {address} is not known: the lookup failed");
        return (line(State::NotChecked, what).answers(&[&ptr]), Vec::new());
    }
    let wish = format!("`{address} → PTR {}.`", source.ehlo);
    let provider = format!(
        "Have the holder of {address} (the provider) set {wish}, in zone terms `{}. PTR {}.`",
        question.name, source.ehlo
    );
    let names = ptr.names();
    if names.is_empty() {
        let what = format!("{address} has no PTR record ({}): many servers refuse mail from it", absence(&ptr));
        let line = line(weight(facts), relayed(facts, what)).answers(&[&ptr]).fix(provider);
        let line = off(line, address);
        let cause = if address.is_ipv4() { "dns.own_no_ptr" } else { "dns.own_v6_no_ptr" };
        return (line.because(cause, Actor::OurDns, sure(facts)), Vec::new());
    }
    let looked: Vec<_> =
        names.iter().take(NAMES_MAX).map(|name| (*name, dns.ask(Question::forward(name, address)))).collect();
    let leads_back =
        |answer: &Answer| answer.addresses().iter().any(|found| found.to_canonical() == address.to_canonical());
    let confirmed: Vec<String> =
        looked.iter().filter(|(_, answer)| leads_back(answer)).map(|(name, _)| (*name).to_ascii_lowercase()).collect();
    let mut seen: Vec<&Answer> = vec![&ptr];
    seen.extend(looked.iter().map(|(_, answer)| answer.as_ref()));
    let called = looked.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if !confirmed.is_empty() {
        let name = confirmed.join(", ");
        let line = if confirmed.iter().all(|name| is_generic(name, address)) {
            let what = format!(
                "{address} is called {name}, which leads back; a name made of the address looks like a dial-up line to some servers"
            );
            line(State::Note, what).fix(provider)
        } else {
            line(State::Ok, format!("{address} is called {name}, which leads back to it"))
        };
        return (line.answers(&seen), confirmed);
    }
    if looked.iter().any(|(_, answer)| !answer.is_known()) {
        let what = format!("{address} is called {called}; whether that leads back is not known: the lookup failed");
        return (line(State::NotChecked, what).answers(&seen), Vec::new());
    }
    let ways: Vec<String> = looked.iter().map(|(name, answer)| leads_to(name, answer)).collect();
    let what = format!("{address} is called {called}, but {}: many servers refuse mail from it", ways.join("; "));
    let mut line = line(weight(facts), relayed(facts, what)).answers(&seen).fix(provider);
    if let Some(name) = names.iter().find(|name| **name == source.ehlo).or(names.first()) {
        line = line.fix(format!("Or publish {}, if {name} is your name.", address_record(name, address)));
    }
    (off(line, address).because("dns.fcrdns_mismatch", Actor::OurDns, sure(facts)), Vec::new())
}

fn leads_to(name: &str, answer: &Answer) -> String {
    match answer.addresses().as_slice() {
        [] => format!("{name} has no {} record ({})", answer.question.kind.name(), absence(answer)),
        found => format!("{name} leads to {}", list(found)),
    }
}

/// With relay hosts between, only those see the source.
fn weight(facts: &Facts<'_>) -> State {
    if relay_hosts(facts).is_some() { State::Warning } else { State::Problem }
}

fn relayed(facts: &Facts<'_>, what: String) -> String {
    match relay_hosts(facts) {
        Some(hosts) => format!("{what} (mail leaves by {hosts}: only they see it)"),
        None => what,
    }
}

fn off(line: Line, address: IpAddr) -> Line {
    if address.is_ipv4() {
        return line;
    }
    line.fix("Or let deliveries use IPv4: `delivery.address_family = \"ipv4-first\"`, or \"ipv4\" alone.")
}

/// Names that providers give to all their addresses hold all parts of the address.
fn is_generic(name: &str, address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address.to_canonical() else { return false };
    let pieces: Vec<&str> = name.split(|c: char| !c.is_ascii_digit()).filter(|piece| !piece.is_empty()).collect();
    let octets: Vec<String> = v4.octets().iter().map(ToString::to_string).collect();
    octets.iter().all(|octet| pieces.iter().any(|piece| piece.trim_start_matches('0') == octet.trim_start_matches('0')))
}

/// EHLO name and reverse name need not be equal: what counts is that the reverse name leads back and that the EHLO name resolves
/// (RFC 5321 4.1.4). None: one of the two is not in order, and its own line says so.
pub(super) fn ehlo_name(dns: &Dns<'_>, source: &Source, confirmed: &[String]) -> Option<Line> {
    let (address, ehlo) = (source.address, &source.ehlo);
    let first = confirmed.first()?;
    let line = |state, what: String| Line::new(Check::EhloName, address.to_string(), state, what);
    if confirmed.iter().any(|name| name.eq_ignore_ascii_case(ehlo)) {
        return Some(line(
            State::Ok,
            format!("from {address} the gateway says EHLO {ehlo}, which is its reverse name"),
        ));
    }
    let found = dns.addresses(ehlo);
    if found.all.is_empty() {
        return None;
    }
    let resolves = if found.all.contains(&address.to_canonical()) {
        "resolves to the same address".to_owned()
    } else {
        format!("resolves to {}", list(&found.all))
    };
    let what =
        format!("PTR {first} of {address} is forward-confirmed and {ehlo} {resolves}; the different names are allowed");
    let line = line(State::Note, what)
        .seen(format!("PTR of {address}: {}", confirmed.join(", ")))
        .answers(&found.answers())
        .fix(format!("None needed. For receivers that score strictly: `{address} → PTR {ehlo}.`"));
    Some(line.because("diag.helo_ptr_not_required", Actor::Nobody, Confidence::Proven))
}
