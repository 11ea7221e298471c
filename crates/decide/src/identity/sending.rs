//! What receivers judge mail from here by, besides names: SPF, block lists, and whether port 25 is open outward.

use super::{Check, Dns, Facts, Line, Outward, Reach, Source, State, list, relay_hosts};
use crate::settings::Mailboxes;
use crate::spf::{self, Step};
use crate::validate;
use mail::dns::{Data, Kind, Question};
use mail::{Actor, Confidence, Connect, Domain, ListWord, Listener, SpfCheck, SpfResult};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Domains whose records are looked at; the check says how many are left out.
const DOMAINS_MAX: usize = 50;

/// Whether the records of our own domains let our addresses pass, each domain's in a line.
pub(super) fn spf(facts: &Facts<'_>, dns: &Dns<'_>, sources: &[Source]) -> Vec<Line> {
    let line = |about: &str, state, what: String| Line::new(Check::Spf, about, state, what);
    let domains = sending_domains(facts);
    if domains.is_empty() {
        let what = "the settings name no domain of yours, neither local nor in a masquerade".to_owned();
        return vec![line("", State::NotChecked, what)];
    }
    if let Some(hosts) = relay_hosts(facts) {
        let what = format!(
            "mail leaves by {hosts}: their addresses must be in the SPF records of your domains, and only they know them all"
        );
        return vec![line("", State::NotChecked, what)];
    }
    if sources.is_empty() {
        return vec![line("", State::NotChecked, "no address is known that mail leaves from".to_owned())];
    }
    let mut lines: Vec<Line> =
        domains.iter().take(DOMAINS_MAX).map(|domain| of_domain(facts, dns, domain, sources)).collect();
    let named = sources.iter().filter(|source| !domains.contains(&source.ehlo));
    lines.extend(named.filter_map(|source| of_ehlo_name(facts, dns, source)));
    if domains.len() > DOMAINS_MAX {
        let what = format!("{} more domains were not looked at", domains.len() - DOMAINS_MAX);
        lines.push(line("", State::NotChecked, what));
    }
    lines
}

/// Bounces have no sender's domain: they are judged by the EHLO name (RFC 7208 2.3), if that has a record at all.
fn of_ehlo_name(facts: &Facts<'_>, dns: &Dns<'_>, source: &Source) -> Option<Line> {
    let (name, address) = (&source.ehlo, source.address);
    let query = spf::Query { client: address, domain: name, local: "", helo: name, receiver: name, now: facts.now };
    let check = match spf::check(&query, &|question| dns.known(question)) {
        Step::Done(check) => check,
        Step::Ask(questions) => {
            dns.want(questions);
            return None;
        }
    };
    if matches!(check.result, SpfResult::None | SpfResult::Pass | SpfResult::TempError) {
        return None;
    }
    let what = format!(
        "the SPF record of the EHLO name {name} does not let {address} send, and bounces are judged by it: {check}"
    );
    let line = Line::new(Check::Spf, format!("{name} {address}"), State::Warning, what)
        .seen(check.record.clone().unwrap_or_default());
    Some(match check.result {
        SpfResult::PermError => line.fix(format!("Put the record of {name} right.")),
        _ => {
            line.fix(format!("Publish `{name}. TXT \"{}\"`.", spf::with_addresses(check.record.as_deref(), &[address])))
        }
    })
}

/// Local domains, and what masquerading puts in the place of others.
fn sending_domains(facts: &Facts<'_>) -> Vec<String> {
    let masked = facts.settings.masquerades.iter().map(|masquerade| match &masquerade.to {
        Mailboxes::One(address) => address.domain().ascii(),
        Mailboxes::Domain(domain) => domain.ascii(),
    });
    let mut domains: Vec<String> =
        facts.settings.domains.iter().map(|domain| domain.name.ascii()).chain(masked).collect();
    domains.sort();
    domains.dedup();
    domains
}

fn of_domain(facts: &Facts<'_>, dns: &Dns<'_>, domain: &str, sources: &[Source]) -> Line {
    let line = |state, what: String| Line::new(Check::Spf, domain, state, what);
    let (mut checks, mut is_waiting): (Vec<(IpAddr, SpfCheck)>, bool) = Default::default();
    for source in sources {
        let query = spf::Query {
            client: source.address,
            domain,
            local: "",
            helo: &source.ehlo,
            receiver: &source.ehlo,
            now: facts.now,
        };
        match spf::check(&query, &|question| dns.known(question)) {
            Step::Done(check) => checks.push((source.address, *check)),
            Step::Ask(questions) => {
                dns.want(questions);
                is_waiting = true;
            }
        }
    }
    if is_waiting {
        return line(State::NotChecked, format!("the SPF record of {domain} is not known yet"));
    }
    let is = |wanted: &[SpfResult]| -> Vec<&(IpAddr, SpfCheck)> {
        checks.iter().filter(|(_, check)| wanted.contains(&check.result)).collect()
    };
    let addresses = |of: &[&(IpAddr, SpfCheck)]| of.iter().map(|(address, _)| *address).collect::<Vec<IpAddr>>();
    let seen = |mut line: Line| {
        line.evidence.extend(dns.known(&Question::new(domain, Kind::Txt)).map(|answer| answer.summary()));
        line.evidence.extend(checks.iter().map(|(address, check)| format!("{address}: {check}")));
        line
    };
    let record = |text: String| format!("Publish `{domain}. TXT \"{text}\"`.");
    if let Some((_, broken)) = is(&[SpfResult::PermError]).first() {
        let what = format!("the SPF record of {domain} is broken: {}", broken.why);
        return seen(line(State::Problem, what))
            .fix(format!("Put the record of {domain} right; `gatepost identity` shows when it is."));
    }
    let unknown = is(&[SpfResult::TempError]);
    if let Some((address, _)) = unknown.first() {
        return seen(line(
            State::NotChecked,
            format!("whether {domain} lets {address} send is not known: a lookup failed"),
        ));
    }
    if let [first, ..] = is(&[SpfResult::None]).as_slice() {
        let text = spf::with_addresses(None, &addresses(&checks.iter().collect::<Vec<_>>()));
        let what = format!("{domain} has no SPF record ({}): some large receivers refuse its mail", first.1.why);
        return seen(line(no_more_than(facts, State::Warning), what)).fix(record(text));
    }
    let missing = is(&[SpfResult::Fail, SpfResult::SoftFail, SpfResult::Neutral]);
    if missing.is_empty() {
        let all: Vec<IpAddr> = checks.iter().map(|(address, _)| *address).collect();
        return seen(line(State::Ok, format!("the SPF record of {domain} lets {} send", list(&all))));
    }
    let fails = missing.iter().any(|(_, check)| check.result == SpfResult::Fail);
    let state = no_more_than(facts, if fails { State::Problem } else { State::Warning });
    let missing_addresses = addresses(&missing);
    let results: Vec<String> = missing.iter().map(|(address, check)| format!("{address} {check}")).collect();
    let what = format!("the SPF record of {domain} does not let this gateway send: {}", results.join("; "));
    let own = checks.first().and_then(|(_, check)| check.record.as_deref());
    seen(line(state, what)).fix(record(spf::with_addresses(own, &missing_addresses)))
}

/// A gateway that only takes mail in sends none for its domains.
fn no_more_than(facts: &Facts<'_>, state: State) -> State {
    let sends = facts.listening.is_empty() || facts.listening.iter().any(|(role, _)| *role != Listener::Inbound);
    if sends { state } else { state.min(State::Note) }
}

/// What block lists say of our own addresses.
pub(super) fn block_lists(facts: &Facts<'_>, dns: &Dns<'_>, sources: &[Source]) -> Vec<Line> {
    let line = |state, what: &str| Line::new(Check::BlockList, "", state, what);
    let set = &facts.settings.own_dnsbl;
    let zones: &[Domain] = if set.is_empty() { &facts.settings.inbound.dnsbl } else { set };
    if zones.is_empty() {
        let fix = "Name the lists that receivers of your mail use: `identity.dnsbl = [\"…\"]`.";
        return vec![line(State::NotChecked, "no block list is named in the settings").fix(fix)];
    }
    if sources.is_empty() {
        return vec![line(State::NotChecked, "no address is known that mail leaves from")];
    }
    let mut addresses: Vec<IpAddr> = sources.iter().map(|source| source.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let each = zones.iter().flat_map(|zone| addresses.iter().map(move |address| (zone.ascii(), *address)));
    each.map(|(zone, address)| on_list(dns, &zone, address)).collect()
}

fn on_list(dns: &Dns<'_>, zone: &str, address: IpAddr) -> Line {
    let question = validate::list_question(zone, address);
    let answer = dns.ask(question.clone());
    let about = format!("{address} {zone}");
    let line = |state, what: String| Line::new(Check::BlockList, about.as_str(), state, what).answers(&[&answer]);
    let codes = list(&answer.addresses());
    match validate::list_word(&answer) {
        ListWord::Listed => {
            let reason = dns.ask(Question::new(&question.name, Kind::Txt));
            let texts: Vec<String> = reason
                .data()
                .filter_map(|data| if let Data::Text(text) = data { Some(text.clone()) } else { None })
                .collect();
            let why = if texts.is_empty() { String::new() } else { format!(": {}", texts.join("; ")) };
            line(State::Problem, format!("{address} is on the block list {zone} ({codes}){why}"))
                .fix("Find what was sent from there that should not have been (`gatepost audit search`), and stop it.")
                .fix(format!("Then ask {zone} to take {address} off; the list's pages say how."))
                .because("peer.dnsbl_listed", Actor::OurReputation, Confidence::Proven)
        }
        ListWord::Error => {
            let what = format!(
                "{zone} gave no answer that counts ({codes}): {}; whether {address} is listed is not known",
                error(&answer.addresses())
            );
            line(State::NotChecked, what)
                .fix("Ask the list by a resolver of your own (`dns.servers`), not by a public one or a provider's.")
                .because("own.dnsbl_query_error", Actor::OurSettings, Confidence::Proven)
        }
        ListWord::NoAnswer | ListWord::Skipped => {
            line(State::NotChecked, format!("{zone} did not answer: whether {address} is listed is not known"))
        }
        ListWord::Clean => {
            // RFC 5782 5: 127.0.0.2 is on every list. A list that denies it is dead, or somebody else answers for it.
            let test = dns.ask(validate::list_question(zone, IpAddr::from([127, 0, 0, 2])));
            match validate::list_word(&test) {
                ListWord::Listed => line(State::Ok, format!("{address} is not on {zone}")),
                ListWord::Error => {
                    let what = format!("{zone} gave no answer that counts ({}): {}", list(&test.addresses()), error(&test.addresses()));
                    line(State::NotChecked, what).answers(&[&test])
                }
                _ => line(
                    State::NotChecked,
                    format!("{zone} does not list {address}, but not its own test entry 127.0.0.2 either: it may be dead, or the resolver is kept from it"),
                )
                .answers(&[&test]),
            }
        }
    }
}

/// The usual meanings in 127.255.255.0/24.
fn error(codes: &[IpAddr]) -> &'static str {
    let last = |address: &IpAddr| match address {
        IpAddr::V4(v4) => match v4.octets() {
            [127, 255, 255, last] => Some(last),
            _ => None,
        },
        IpAddr::V6(_) => None,
    };
    match codes.iter().find_map(last) {
        Some(252) => "the list's name is written wrongly",
        Some(254) => "it refuses questions that come by a public resolver",
        Some(255) => "it refuses because too many questions came",
        Some(_) => "an error code of the list",
        None => "no code of a list",
    }
}

/// Whether other mail servers can be reached at all.
pub(super) fn port25(facts: &Facts<'_>) -> Line {
    let line = |state, what: String| Line::new(Check::Port25, "", state, what);
    if let Some(hosts) = relay_hosts(facts).filter(|_| facts.settings.probe_domains.is_empty()) {
        return line(State::NotChecked, format!("mail leaves by {hosts}: port 25 of others is not used"));
    }
    let tried = match facts.port25 {
        Outward::NotTried(why) => {
            return line(State::NotChecked, format!("no mail server was tried: {why}"))
                .fix("Name domains to try, such as those you write to most: `identity.probe_domains = [\"…\"]`.");
        }
        Outward::Tried(tried) => tried,
    };
    let seen = |mut line: Line| {
        line.evidence.extend(tried.iter().map(words));
        line
    };
    if let Some(open) = tried.iter().find(|reach| matches!(reach.connect, Connect::Made { .. })) {
        let what = format!(
            "{} at {} answers, so that port {} is open outward",
            open.host,
            open.address.ip(),
            open.address.port()
        );
        return seen(line(State::Ok, what));
    }
    let count = |is: fn(&Connect) -> bool| tried.iter().filter(|reach| is(&reach.connect)).count();
    let port = tried.first().map_or(25, |reach| reach.address.port());
    let others: Vec<IpAddr> = tried.iter().map(|reach| reach.address.ip()).collect();
    let silent = count(|connect| matches!(connect, Connect::TimedOut { .. }));
    let mut domains: BTreeMap<&str, ()> = BTreeMap::new();
    domains.extend(tried.iter().map(|reach| (reach.domain.as_str(), ())));
    if silent == tried.len() && domains.len() > 1 {
        let what = format!(
            "none of {} mail servers of {} domains ({}) answers at port {port}: it seems to be blocked outward",
            tried.len(),
            domains.len(),
            list(&others)
        );
        return seen(line(State::Problem, what))
            .fix("Ask the provider to open outgoing TCP port 25, and look into your own firewall.")
            .fix("Or send by a relay host: `route.other.next_hops = [\"relay.example:587\"]`.")
            .because("net.port25_blocked", Actor::OurNetwork, Confidence::Likely);
    }
    let what = if count(|connect| matches!(connect, Connect::NoSource)) == tried.len() {
        "no connection could be tried from the source address of the settings: this machine does not have it".to_owned()
    } else {
        format!("no mail server that was tried answers at port {port} ({})", list(&others))
    };
    seen(line(State::Warning, what))
        .fix("Name more domains to try, so that one host's trouble can be told from a closed port: `identity.probe_domains = [\"…\"]`.")
}

fn words(reach: &Reach) -> String {
    let how = match &reach.connect {
        Connect::NotTried => "not tried".to_owned(),
        Connect::Made { ms } => format!("connected within {ms} ms"),
        Connect::Refused => "connection refused".to_owned(),
        Connect::TimedOut { after_ms } => format!("no answer within {}.{} s", after_ms / 1000, after_ms % 1000 / 100),
        Connect::NetworkUnreachable => "network unreachable".to_owned(),
        Connect::HostUnreachable => "host unreachable".to_owned(),
        Connect::Reset => "connection reset".to_owned(),
        Connect::NoSource => "the source address is not on this machine".to_owned(),
        Connect::Failed(why) => why.clone(),
    };
    format!("{} ({}) [{}]: {how}", reach.host, reach.domain, reach.address)
}
