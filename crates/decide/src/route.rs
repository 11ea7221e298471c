//! Where a recipient's mail goes: the rule that decides, the hosts it names, the addresses to dial (RFC 5321 5.1).
//!
//! [`plan`] asks the settings; [`needs`] says what DNS must be asked, again and again until it is empty; [`resolve`]
//! makes the list of addresses out of the answers. None of them waits for anything.

mod answers;
mod order;

use crate::settings::{AddressFamily, Host, NextHop, NextHops, PrivateAddresses, Settings, Tls};
use answers::{Answers, Found};
use mail::dns::{Answer, Question};
use mail::status;
use mail::{Domain, Identity, Status};
pub use mail::{Dropped, Why};
use order::Dice;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What the settings say about a recipient's domain; DNS has not been asked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `domain corp.test (settings line 12)`, `route.local for corp.test`, `route.other`.
    pub rule: String,
    /// The recipient's domain, whose MX counts if the way is `Mx`.
    pub domain: Domain,
    pub way: Way,
    /// TLS on this way.
    pub tls: Tls,
    pub address_family: AddressFamily,
    pub allow_private_addresses: PrivateAddresses,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// Next hops of the settings: of a local domain.
    Hops(Vec<Hop>),
    /// The MX records of the domain.
    Mx {
        port: u16,
    },
    RelayHost(RelayHost),
    /// Nothing is dialled.
    Refuse(Status),
}

/// A next hop as the settings name it, its port settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    pub host: Host,
    pub port: u16,
    pub preference: u16,
}

/// Servers that take all mail for elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayHost {
    pub hops: Vec<Hop>,
    pub auth: Option<RelayAuth>,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAuth {
    pub user: String,
    pub password_file: PathBuf,
}

/// Where to dial, in this order; and what was left out, with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub rule: String,
    /// Empty unless the verdict is Ok.
    pub candidates: Vec<Candidate>,
    pub dropped: Vec<Dropped>,
    /// What is odd but not in the way: an implicit MX, an MX that is a CNAME.
    pub notes: Vec<String>,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Ok,
    /// Permanent or not by the status's class.
    Failed(Status),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name it was found by, or the address.
    pub host: String,
    pub address: SocketAddr,
    pub preference: u16,
}

/// More MX hosts than this are not looked at: a limit on what one delivery can be made to ask of DNS.
const HOSTS_MAX: usize = 20;
/// More addresses of one host than this are not tried: an attempt must come to an end.
const ADDRESSES_MAX: usize = 20;

/// What mail has in common that may share a connection: the same next hops, the same TLS and AUTH.
pub fn destination(plan: &Plan) -> String {
    let hops = |hops: &[Hop]| {
        hops.iter().map(|hop| format!("{} {}:{}", hop.preference, hop.host, hop.port)).collect::<Vec<_>>().join(", ")
    };
    let tls = format!("{:?}", plan.tls).to_lowercase();
    match &plan.way {
        Way::Hops(list) => format!("{} tls {tls}", hops(list)),
        Way::RelayHost(relay) => {
            let user = relay.auth.as_ref().map_or("", |auth| &auth.user);
            format!("relay {} as {user:?} tls {tls}", hops(&relay.hops))
        }
        Way::Mx { .. } => format!("{} tls {tls}", plan.domain.ascii()),
        Way::Refuse(_) => format!("refused {}", plan.domain.ascii()),
    }
}

/// The rule for a domain: local domains first, then all other mail.
pub fn plan(settings: &Settings, own: &Identity, domain: &Domain) -> Plan {
    let (rule, way) = match settings.local_domain(domain) {
        Some(local) => {
            let line = local.line.map_or(String::new(), |line| format!(" (settings line {line})"));
            let (rule, hops) = match &local.next_hops {
                Some(hops) => (format!("domain {}{line}", local.name), hops),
                None => (format!("route.local for domain {}{line}", local.name), &settings.local_next_hops),
            };
            (rule, way(settings, hops, Way::Hops))
        }
        None => ("route.other".to_owned(), way(settings, &settings.other.next_hops, |hops| relay_host(settings, hops))),
    };
    let way = own_hops_left_out(way, own, &rule, domain);
    Plan {
        rule,
        domain: domain.clone(),
        way,
        tls: settings.tls_to(domain),
        address_family: settings.delivery.address_family,
        allow_private_addresses: settings.delivery.allow_private_addresses.clone(),
    }
}

fn way(settings: &Settings, next_hops: &NextHops, of_hops: impl Fn(Vec<Hop>) -> Way) -> Way {
    let port = settings.delivery.port;
    let hop =
        |hop: &NextHop| Hop { host: hop.host.clone(), port: hop.port.unwrap_or(port), preference: hop.preference };
    match next_hops {
        NextHops::Mx => Way::Mx { port },
        NextHops::Hops(hops) if hops.is_empty() => {
            Way::Refuse(status::NO_ROUTE.with("set domain.next_hops or route.local.next_hops"))
        }
        NextHops::Hops(hops) => of_hops(hops.iter().map(hop).collect()),
    }
}

fn relay_host(settings: &Settings, hops: Vec<Hop>) -> Way {
    let other = &settings.other;
    let auth = other
        .user
        .clone()
        .zip(other.password_file.clone())
        .map(|(user, password_file)| RelayAuth { user, password_file });
    Way::RelayHost(RelayHost { hops, auth, tls: other.tls })
}

/// Next hops of the settings at which we listen ourselves are refused before anything is asked or dialled.
fn own_hops_left_out(way: Way, own: &Identity, rule: &str, domain: &Domain) -> Way {
    let (Way::Hops(hops) | Way::RelayHost(RelayHost { hops, .. })) = &way else { return way };
    let all_own = hops.iter().all(|hop| is_own_hop(hop, own));
    if !all_own {
        return way;
    }
    let named: Vec<String> = hops.iter().map(|hop| format!("{}:{}", hop.host, hop.port)).collect();
    Way::Refuse(status::LOOP.with(format!("{domain} → {} ({rule}) → this gateway → {domain}", named.join(", "))))
}

fn is_own_hop(hop: &Hop, own: &Identity) -> bool {
    match &hop.host {
        Host::Addr(address) => own.listens_at(*address, hop.port),
        Host::Name(name) => {
            own.is_mta_name(&name.ascii()) && own.listening.iter().any(|socket| socket.port() == hop.port)
        }
    }
}

/// The queue's lane: the recipient's domain.
pub fn lane(domain: &Domain) -> String {
    domain.ascii()
}

/// What DNS must still be asked; empty when [`resolve`] can decide.
pub fn needs(plan: &Plan, own: &Identity, known: &[Answer]) -> Vec<Question> {
    let answers = Answers::new(known, plan.address_family);
    match hosts(plan, own, &answers) {
        Hosts::Ask(questions) => questions,
        Hosts::Known(list) => list
            .hosts
            .iter()
            .filter(|host| host.dropped.is_none())
            .flat_map(|host| answers.wanted(&host.host))
            .collect(),
        Hosts::Failed(..) => Vec::new(),
    }
}

/// The addresses to dial, from what DNS answered. Equal preferences are shuffled by the seed (RFC 5321 5.1); the same
/// seed gives the same order.
pub fn resolve(plan: &Plan, own: &Identity, known: &[Answer], shuffle_seed: u64) -> Route {
    let answers = Answers::new(known, plan.address_family);
    let list = match hosts(plan, own, &answers) {
        Hosts::Known(list) => list,
        Hosts::Failed(status, notes) => return failed(plan, status, notes),
        Hosts::Ask(questions) => {
            let questions = questions.iter().map(Question::to_string).collect::<Vec<_>>().join(", ");
            return failed(plan, status::DNS_FAILED.with(format!("{questions} was not asked")), Vec::new());
        }
    };
    let mut notes = list.notes;
    let (mut groups, mut dropped) = addresses(plan, own, &answers, list.hosts, &mut notes);
    if matches!(plan.way, Way::Mx { .. }) {
        drop_not_better_than_own(&mut groups, &mut dropped);
    }
    let mut dice = Dice::new(shuffle_seed);
    let candidates = order::candidates(groups, plan.address_family, &mut dice);
    let verdict = if candidates.is_empty() { Verdict::Failed(nothing_left(plan, &dropped)) } else { Verdict::Ok };
    Route { rule: plan.rule.clone(), candidates, dropped, notes, verdict }
}

fn failed(plan: &Plan, status: Status, notes: Vec<String>) -> Route {
    Route {
        rule: plan.rule.clone(),
        candidates: Vec::new(),
        dropped: Vec::new(),
        notes,
        verdict: Verdict::Failed(status),
    }
}

/// One host that may take the mail, before its addresses are known.
struct MailHost {
    host: Host,
    /// As it is shown.
    name: String,
    port: u16,
    preference: u16,
    dropped: Option<Why>,
    /// It has this gateway's own name.
    is_named_own: bool,
}

impl MailHost {
    fn new(host: Host, port: u16, preference: u16) -> MailHost {
        MailHost { name: host.to_string(), host, port, preference, dropped: None, is_named_own: false }
    }
}

struct HostList {
    hosts: Vec<MailHost>,
    notes: Vec<String>,
}

enum Hosts {
    Ask(Vec<Question>),
    Known(HostList),
    Failed(Status, Vec<String>),
}

fn hosts(plan: &Plan, own: &Identity, answers: &Answers<'_>) -> Hosts {
    match &plan.way {
        Way::Refuse(status) => Hosts::Failed(status.clone(), Vec::new()),
        Way::Hops(hops) | Way::RelayHost(RelayHost { hops, .. }) => {
            let host = |hop: &Hop| MailHost {
                dropped: is_own_hop(hop, own).then(|| Why::Own("one of its listeners".to_owned())),
                ..MailHost::new(hop.host.clone(), hop.port, hop.preference)
            };
            Hosts::Known(HostList { hosts: hops.iter().map(host).collect(), notes: Vec::new() })
        }
        Way::Mx { port } => match plan.domain.literal() {
            Some(address) => {
                Hosts::Known(HostList { hosts: vec![MailHost::new(Host::Addr(address), *port, 0)], notes: Vec::new() })
            }
            None => mx_hosts(&plan.domain, *port, own, answers),
        },
    }
}

/// RFC 5321 5.1: the MX hosts; the domain itself only if it has no MX at all.
fn mx_hosts(domain: &Domain, port: u16, own: &Identity, answers: &Answers<'_>) -> Hosts {
    let question = Question::new(&domain.ascii(), mail::dns::Kind::Mx);
    let mut notes = Vec::new();
    let records = match answers.mx(&question) {
        Found::NotAsked => return Hosts::Ask(vec![question]),
        Found::Unknown(why) => return Hosts::Failed(status::DNS_FAILED.with(format!("{question}: {why}")), notes),
        Found::NoName => return no_name(domain, port, &question, answers),
        Found::Nothing => {
            notes.push(format!("{domain} has no MX record: its own addresses count (RFC 5321 5.1)"));
            return Hosts::Known(HostList { hosts: vec![MailHost::new(Host::Name(domain.clone()), port, 0)], notes });
        }
        Found::Records(records) => records,
    };
    if records.iter().all(|(_, host)| host.is_empty()) {
        return Hosts::Failed(status::NULL_MX.with(domain.as_str()), notes);
    }
    let mut hosts: Vec<MailHost> =
        records.into_iter().filter_map(|(preference, name)| mx_host(preference, name, port, own, &mut notes)).collect();
    hosts.sort_by_key(|host| host.preference);
    let best_own =
        hosts.iter().filter(|host| matches!(host.dropped, Some(Why::Own(_)))).map(|host| host.preference).min();
    for (at, host) in hosts.iter_mut().enumerate().filter(|(_, host)| host.dropped.is_none()) {
        if best_own.is_some_and(|best| host.preference >= best) {
            host.dropped = Some(Why::NotBetterThanOwn);
        } else if at >= HOSTS_MAX {
            host.dropped = Some(Why::TooMany);
        }
    }
    Hosts::Known(HostList { hosts, notes })
}

/// NXDOMAIN speaks of the name, not of the type (RFC 8020 2), but some servers give it for NODATA: the addresses are asked
/// for before mail is returned for good.
fn no_name(domain: &Domain, port: u16, question: &Question, answers: &Answers<'_>) -> Hosts {
    let host = MailHost::new(Host::Name(domain.clone()), port, 0);
    let wanted = answers.wanted(&host.host);
    if !wanted.is_empty() {
        return Hosts::Ask(wanted);
    }
    let found = answers.addresses(&host.host);
    if !found.addresses.is_empty() {
        let note = format!(
            "{question}: NXDOMAIN, but {domain} has an address: the negative answer is wrong (RFC 2308, RFC 8020), its own \
             addresses count"
        );
        return Hosts::Known(HostList { hosts: vec![host], notes: vec![note] });
    }
    let status = match found.why {
        Some(Why::Unknown(why)) => status::DNS_FAILED.with(format!("{question}: NXDOMAIN, {why}")),
        _ => status::NO_SUCH_DOMAIN.with(format!("{question}: NXDOMAIN")),
    };
    Hosts::Failed(status, Vec::new())
}

/// One MX record. A null MX among others means nothing (RFC 7505 3).
fn mx_host(preference: u16, name: &str, port: u16, own: &Identity, notes: &mut Vec<String>) -> Option<MailHost> {
    if name.is_empty() {
        notes.push("a null MX stands beside other MX records, which RFC 7505 3 forbids: it is not counted".to_owned());
        return None;
    }
    let is_address = name.parse::<IpAddr>().is_ok();
    let Some(domain) = name.parse::<Domain>().ok().filter(|domain| !is_address && domain.literal().is_none()) else {
        notes.push(format!("MX {preference} {name} is no host name, which RFC 5321 5.1 forbids"));
        let nowhere = MailHost::new(Host::Addr(IpAddr::from([0, 0, 0, 0])), port, preference);
        return Some(MailHost { name: name.to_owned(), dropped: Some(Why::NoHostName), ..nowhere });
    };
    let is_named_own = own.is_name(&domain.ascii());
    Some(MailHost { is_named_own, ..MailHost::new(Host::Name(domain), port, preference) })
}

/// Looks up every host. What is left, host by host, and what is not.
fn addresses(
    plan: &Plan,
    own: &Identity,
    answers: &Answers<'_>,
    hosts: Vec<MailHost>,
    notes: &mut Vec<String>,
) -> (Vec<Vec<Candidate>>, Vec<Dropped>) {
    let (mut groups, mut dropped) = (Vec::new(), Vec::new());
    for host in hosts {
        let drop = |address: Option<IpAddr>, why: Why| Dropped {
            host: host.name.clone(),
            address,
            preference: host.preference,
            why,
        };
        if let Some(why) = host.dropped.clone() {
            dropped.push(drop(None, why));
            continue;
        }
        let found = answers.addresses(&host.host);
        if let (Some(alias), Way::Mx { .. }) = (found.alias, &plan.way) {
            notes.push(format!("{} is a CNAME of {alias}, which RFC 5321 5.1 forbids for an MX host", host.name));
        }
        if let Some(why) = found.why {
            dropped.push(drop(None, why));
        }
        if found.addresses.len() > ADDRESSES_MAX {
            notes.push(format!("{} has {} addresses: {ADDRESSES_MAX} of them count", host.name, found.addresses.len()));
        }
        let mut group = Vec::new();
        for address in found.addresses.into_iter().take(ADDRESSES_MAX) {
            match prohibited(plan, own, address, host.port) {
                Some(why) => dropped.push(drop(Some(address), why)),
                None => group.push(Candidate {
                    host: host.name.clone(),
                    address: SocketAddr::new(address, host.port),
                    preference: host.preference,
                }),
            }
        }
        // A name alone proves nothing: two machines may have been given the same. Where it has an address that is not ours,
        // the greeting will tell; where it has none, it is ours.
        if host.is_named_own {
            if group.is_empty()
                && !dropped.iter().any(|dropped| dropped.host == host.name && matches!(dropped.why, Why::Own(_)))
            {
                dropped.retain(|dropped| dropped.host != host.name);
                dropped.push(drop(None, Why::Own("its name".to_owned())));
            } else if !group.is_empty() {
                notes.push(format!("{} has this gateway's own name, but an address that is not its own", host.name));
            }
        }
        groups.push(group);
    }
    (groups, dropped)
}

/// Why an address may not be dialled. Next hops of the settings may be anywhere but at our own listeners; an MX may
/// neither be any address of ours, whatever the port (NAT may lead it to another), nor one that is not on the Internet.
fn prohibited(plan: &Plan, own: &Identity, address: IpAddr, port: u16) -> Option<Why> {
    let is_mx = matches!(plan.way, Way::Mx { .. });
    if own.listens_at(address, port) {
        return Some(Why::Own("one of its listeners".to_owned()));
    }
    if own.is_learned(address, port) {
        return Some(Why::Own("its greeting, which bears this gateway's own token".to_owned()));
    }
    if is_mx && own.is_address(address) {
        return Some(Why::Own("its address".to_owned()));
    }
    (is_mx && !is_on_the_internet(address) && !plan.allow_private_addresses.allow(address)).then_some(Why::Prohibited)
}

/// Whether mail from elsewhere could be meant for it. Documentation addresses count as on the Internet: harmless.
pub(crate) fn is_on_the_internet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6890 "this network" and 240/4; RFC 6598 shared address space.
            let special = a == 0 || a >= 240 || (a == 100 && b & 0xc0 == 64);
            !(special || v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

/// RFC 5321 5.1: a host that turned out to be ourselves takes all hosts with it that are not better.
fn drop_not_better_than_own(groups: &mut Vec<Vec<Candidate>>, dropped: &mut Vec<Dropped>) {
    let own = |dropped: &&Dropped| matches!(dropped.why, Why::Own(_));
    let Some(best) = dropped.iter().filter(own).map(|dropped| dropped.preference).min() else { return };
    for group in groups.iter_mut() {
        for candidate in group.extract_if(.., |candidate| candidate.preference >= best) {
            dropped.push(Dropped {
                host: candidate.host,
                address: Some(candidate.address.ip()),
                preference: candidate.preference,
                why: Why::NotBetterThanOwn,
            });
        }
    }
    groups.retain(|group| !group.is_empty());
    // Whether those could have been reached does not matter.
    for dropped in dropped.iter_mut().filter(|dropped| dropped.preference >= best) {
        if matches!(dropped.why, Why::NoAddress(_) | Why::Unknown(_)) {
            dropped.why = Why::NotBetterThanOwn;
        }
    }
}

/// What it comes to that no address is left. Unknown is not no: one failed lookup of a host that might have been used
/// makes it temporary.
fn nothing_left(plan: &Plan, dropped: &[Dropped]) -> Status {
    let domain = &plan.domain;
    let is_mx = matches!(plan.way, Way::Mx { .. });
    let with = |fits: fn(&Why) -> bool| -> Vec<String> {
        dropped.iter().filter(|dropped| fits(&dropped.why)).map(Dropped::to_string).collect()
    };
    let own =
        dropped.iter().filter(|dropped| matches!(dropped.why, Why::Own(_))).min_by_key(|dropped| dropped.preference);
    let unknown: Vec<String> = dropped
        .iter()
        .filter(|dropped| {
            matches!(dropped.why, Why::Unknown(_))
                && own.is_none_or(|own| !is_mx || dropped.preference < own.preference)
        })
        .map(Dropped::to_string)
        .collect();
    if !unknown.is_empty() {
        return status::DNS_FAILED.with(unknown.join("; "));
    }
    if let Some(own) = own {
        let via = if is_mx {
            format!("MX {} {}", own.preference, own.place())
        } else {
            format!("{} ({})", own.place(), plan.rule)
        };
        return status::LOOP.with(format!("{domain} → {via} → this gateway → {domain}"));
    }
    let prohibited = with(|why| *why == Why::Prohibited);
    if !prohibited.is_empty() {
        return status::PROHIBITED_ADDRESS.with(format!("{domain}: {}", prohibited.join("; ")));
    }
    let reasons = with(|_| true).join("; ");
    if is_mx {
        return status::NO_MAIL_HOST.with(format!("{domain}: {reasons}"));
    }
    // The settings are wrong, not the mail: it waits for them to be put right, as long as mail may wait.
    status::DNS_FAILED.with(format!("next hop of {}: {reasons}", plan.rule))
}

#[cfg(test)]
mod tests;
