//! What only the whole document shows: rings, open doors, mail without a next hop, next hops that lead back here.

use super::*;
use ipnet::Ipv6Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// All complaints about the document as a whole. `found` are those about single keys, `lines` where list entries stand.
pub(super) fn whole(settings: &Settings, lines: &BTreeMap<String, usize>, found: &[Complaint]) -> Vec<Complaint> {
    let mut complaints = open_relay(settings);
    complaints.extend(certificates(settings));
    complaints.extend(verifying_doors(settings));
    complaints.extend(relay_hosts(settings));
    complaints.extend(retries(settings));
    let nobody = settings.aliases.iter().filter(|alias| alias.to.is_empty());
    complaints.extend(nobody.map(|alias| {
        complaint(
            format!("alias[{}].to", alias.from.key()),
            "[]",
            "leads to nobody: mail would be lost",
            "name a recipient",
        )
    }));
    if !found.iter().any(|complaint| complaint.path.ends_with("next_hops")) {
        complaints.extend(no_next_hop(settings));
    }
    let aliases = settings.aliases.iter().map(|alias| (&alias.from, alias.to.as_slice()));
    complaints.extend(rings("alias", aliases));
    let masquerades =
        settings.masquerades.iter().map(|masquerade| (&masquerade.from, std::slice::from_ref(&masquerade.to)));
    complaints.extend(rings("masquerade", masquerades));
    for complaint in &mut complaints {
        complaint.line = complaint.line.or_else(|| line_of(&complaint.path, lines));
    }
    complaints
}

fn line_of(path: &str, lines: &BTreeMap<String, usize>) -> Option<usize> {
    let entry = path.rfind(']').map_or(path, |end| &path[..=end]);
    lines.get(entry).copied()
}

fn complaint(
    path: impl Into<String>,
    value: impl Into<String>,
    problem: impl Into<String>,
    suggestion: impl Into<String>,
) -> Complaint {
    Complaint {
        path: path.into(),
        line: None,
        value: value.into(),
        problem: problem.into(),
        suggestion: suggestion.into(),
    }
}

/// The widest network that may relay without AUTH: an IPv4 /8 (10.0.0.0/8 is the largest private one) or an IPv6 /19
/// (no provider was given more at once); and the unique local and link-local addresses. Wider means strangers.
pub(crate) fn is_own_network(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() >= 8,
        IpNet::V6(net) => net.prefix_len() >= 19 || is_local_v6(net),
    }
}

/// fc00::/7 and fe80::/10.
fn is_local_v6(net: &Ipv6Net) -> bool {
    const UNIQUE_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
    const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
    UNIQUE_LOCAL.contains(net) || LINK_LOCAL.contains(net)
}

/// The outbound door relays without AUTH, so neither one of its networks nor several together may be the Internet. And
/// whoever may say by the PROXY protocol who the client is could say that it is one of ours.
fn open_relay(settings: &Settings) -> Vec<Complaint> {
    const ADVICE: &str = "name your own networks; strangers use the submission listener with AUTH";
    let mut complaints = strangers(
        "listener.outbound.accept_from",
        &settings.outbound.accept_from,
        "would make this an open relay: these clients relay without AUTH",
        ADVICE,
    );
    for (name, door) in doors(settings) {
        complaints.extend(strangers(
            &format!("listener.{name}.proxy_protocol_from"),
            &door.proxy_protocol_from,
            "would let strangers pass as any client: the PROXY protocol is believed",
            "name your load balancers",
        ));
    }
    complaints
}

fn strangers(path: &str, nets: &[IpNet], problem: &str, advice: &str) -> Vec<Complaint> {
    let wide: Vec<&IpNet> = nets.iter().filter(|net| !is_own_network(net)).collect();
    if wide.is_empty() && is_too_much(nets) {
        return vec![complaint(path, format!("{} networks", nets.len()), problem, advice)];
    }
    wide.into_iter().map(|net| complaint(path, net.to_string(), problem, advice)).collect()
}

/// Whether the public addresses come to more than a /8 of IPv4 or a /16 of IPv6, which nobody has who runs one gateway.
fn is_too_much(nets: &[IpNet]) -> bool {
    let is_public = |net: &IpNet| match net {
        IpNet::V4(net) => !(net.addr().is_private() || net.addr().is_loopback()),
        IpNet::V6(net) => !is_local_v6(net),
    };
    let public: Vec<IpNet> = nets.iter().copied().filter(is_public).collect();
    let (mut v4, mut v6) = (0u64, 0u128);
    for net in IpNet::aggregate(&public) {
        match net {
            IpNet::V4(net) => v4 += 1 << (32 - net.prefix_len()),
            IpNet::V6(net) => v6 += 1u128.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(1 << 127),
        }
    }
    v4 > 1 << 24 || v6 > 1 << 112
}

fn doors(settings: &Settings) -> [(&'static str, &Door); 3] {
    [("inbound", &settings.inbound), ("outbound", &settings.outbound), ("submission", &settings.submission)]
}

fn certificates(settings: &Settings) -> Vec<Complaint> {
    let lone = doors(settings).into_iter().filter_map(|(name, door)| match (&door.certificate, &door.key) {
        (Some(_), None) => {
            Some(complaint(format!("listener.{name}.key"), "", "is missing", "a certificate needs its key"))
        }
        (None, Some(_)) => {
            Some(complaint(format!("listener.{name}.certificate"), "", "is missing", "a key needs its certificate"))
        }
        _ => None,
    });
    lone.collect()
}

fn relay_hosts(settings: &Settings) -> Vec<Complaint> {
    let other = &settings.other;
    let mut complaints = Vec::new();
    if other.next_hops == NextHops::Hops(Vec::new()) {
        complaints.push(complaint(
            "route.other.next_hops",
            "[]",
            "leaves all other mail without a way",
            "\"mx\" is the default",
        ));
    }
    if other.next_hops == NextHops::Mx && other.user.is_some() {
        complaints.push(complaint(
            "route.other.user",
            "",
            "is for relay hosts, and next_hops is \"mx\"",
            "never show a password to whoever the MX names: leave it out",
        ));
    }
    match (&other.user, &other.password_file) {
        (Some(_), None) => {
            complaints.push(complaint("route.other.password_file", "", "is missing", "a user needs a password"))
        }
        (None, Some(_)) => {
            complaints.push(complaint("route.other.user", "", "is missing", "a password needs its user"))
        }
        _ => {}
    }
    complaints
}

fn retries(settings: &Settings) -> Vec<Complaint> {
    let Retry { first, longest, delay_notices, .. } = &settings.retry;
    let mut complaints = Vec::new();
    if longest < first {
        complaints.push(complaint(
            "retry.longest",
            time_words(*longest),
            "is shorter than retry.first",
            format!("\"{}\" or more", time_words(*first)),
        ));
    }
    if !delay_notices.is_sorted() {
        let words: Vec<String> = delay_notices.iter().map(|age| time_words(*age)).collect();
        complaints.push(complaint(
            "retry.delay_notices",
            words.join(", "),
            "must grow",
            "[\"4h\", \"12h\", \"28h\"] is the default",
        ));
    }
    complaints
}

fn no_next_hop(settings: &Settings) -> Vec<Complaint> {
    let nothing = NextHops::Hops(Vec::new());
    let lost = settings
        .domains
        .iter()
        .filter(|domain| *domain.next_hops.as_ref().unwrap_or(&settings.local_next_hops) == nothing);
    lost.map(|domain| {
        let name = &domain.name;
        Complaint {
            line: domain.line,
            ..complaint(
                format!("domain[{name}].next_hops"),
                "",
                format!("mail for {name} has no next hop"),
                "name the server behind, or set route.local.next_hops",
            )
        }
    })
    .collect()
}

/// Rewritings that come back to where they began. One that names itself is none: it keeps its copy there.
fn rings<'s>(list: &'static str, entries: impl Iterator<Item = (&'s Mailboxes, &'s [Mailboxes])>) -> Vec<Complaint> {
    let book: BTreeMap<String, (&Mailboxes, &[Mailboxes])> =
        entries.map(|(from, to)| (from.key(), (from, to))).collect();
    let mut search = Search { list, book: &book, done: BTreeSet::new(), way: Vec::new(), complaints: Vec::new() };
    for (from, _) in book.values() {
        if let Some(address) = any_of(from) {
            search.visit(address);
        }
    }
    search.complaints
}

/// A local part that stands for every one: a ring of whole domains catches it too.
const ANY: &str = "*";

fn any_of(from: &Mailboxes) -> Option<Address> {
    match from {
        Mailboxes::One(address) => Some(address.clone()),
        Mailboxes::Domain(domain) => Address::new(ANY, domain.clone()).ok(),
    }
}

/// Depth first, without recursion on the program's stack: a chain may be as long as the document.
struct Search<'b> {
    list: &'static str,
    book: &'b BTreeMap<String, (&'b Mailboxes, &'b [Mailboxes])>,
    done: BTreeSet<String>,
    way: Vec<Step>,
    complaints: Vec<Complaint>,
}

struct Step {
    address: Address,
    entry: String,
    left: Vec<Address>,
}

impl Search<'_> {
    fn visit(&mut self, address: Address) {
        self.enter(address);
        while let Some(step) = self.way.last_mut() {
            match step.left.pop() {
                Some(next) if next.key() != step.address.key() => self.enter(next),
                Some(_) => {}
                None => {
                    self.done.insert(step.address.key());
                    self.way.pop();
                }
            }
        }
    }

    fn enter(&mut self, address: Address) {
        if let Some(begin) = self.way.iter().position(|step| step.address.key() == address.key()) {
            return self.complain(begin);
        }
        let found = self
            .book
            .get_key_value(&address.key())
            .or_else(|| self.book.get_key_value(&format!("@{}", address.domain().ascii())));
        let Some((entry, (_, to))) = found else { return };
        if self.done.contains(&address.key()) {
            return;
        }
        let left = to.iter().rev().filter_map(|to| to.apply(&address)).collect();
        self.way.push(Step { address, entry: entry.clone(), left });
    }

    fn complain(&mut self, begin: usize) {
        let shown = |address: &Address| {
            if address.local() == ANY { format!("@{}", address.domain()) } else { address.to_string() }
        };
        let ring = &self.way[begin..];
        let mut words: Vec<String> = ring.iter().map(|step| shown(&step.address)).collect();
        words.extend(words.first().cloned());
        let path = format!("{}[{}]", self.list, ring[0].entry);
        self.complaints.push(complaint(
            path,
            "",
            format!("goes round in a ring: {}", words.join(" → ")),
            "take one of the steps away",
        ));
    }
}

impl Mailboxes {
    /// The address that an address becomes: this one, or its own local part in this domain. None if that is none.
    pub(crate) fn apply(&self, address: &Address) -> Option<Address> {
        match self {
            Mailboxes::One(other) => Some(other.clone()),
            Mailboxes::Domain(domain) => Address::new(address.local(), domain.clone()).ok(),
        }
    }
}

/// A client shows no certificate to a listener.
fn verifying_doors(settings: &Settings) -> Vec<Complaint> {
    let verifying = doors(settings).into_iter().filter(|(_, door)| door.tls == Tls::Verify);
    verifying
        .map(|(name, _)| {
            complaint(
                format!("listener.{name}.tls"),
                "\"verify\"",
                "cannot be: clients show no certificate",
                "set it to require",
            )
        })
        .collect()
}

pub(super) fn notes(settings: &Settings) -> Vec<Complaint> {
    let mut notes = Vec::new();
    for (name, door) in doors(settings) {
        if door.tls != Tls::Off && door.certificate.is_none() {
            notes.push(complaint(
                format!("listener.{name}.certificate"),
                "",
                "is not set: a self-signed certificate is used",
                "servers accept it, people's mail programs do not",
            ));
        }
    }
    const PUBLIC: &str = "give a name that resolves in public DNS; other servers refuse one that does not";
    match &settings.hostname {
        None => notes.push(complaint("hostname", "", "is not set: the machine's own name is used", PUBLIC)),
        Some(name) if name.parent().is_none() => {
            notes.push(complaint("hostname", name.as_str(), "is not fully qualified", PUBLIC))
        }
        Some(_) => {}
    }
    notes
}

pub(super) fn loops(settings: &Settings, own: &Identity) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut look = |path: String, line: Option<usize>, mail: String, next_hops: &NextHops| {
        let NextHops::Hops(hops) = next_hops else { return };
        for hop in hops.iter().filter(|hop| is_own(hop, settings, own)) {
            let port = hop.port.unwrap_or(settings.delivery.port);
            let problem = format!("leads back here: {mail} → {}:{port} → this gateway → {mail}", hop.host);
            complaints.push(Complaint {
                line,
                ..complaint(path.clone(), hop.host.to_string(), problem, "name the server behind the gateway")
            });
        }
    };
    for domain in settings.domains.iter() {
        if let Some(hops) = &domain.next_hops {
            look(format!("domain[{}].next_hops", domain.name), domain.line, format!("mail for {}", domain.name), hops);
        }
    }
    look("route.local.next_hops".to_owned(), None, "mail for local domains".to_owned(), &settings.local_next_hops);
    look("route.other.next_hops".to_owned(), None, "all other mail".to_owned(), &settings.other.next_hops);
    if let LoopAnswer::Reroute(hop) = &settings.loop_guard.answer {
        let hops = NextHops::Hops(vec![hop.clone()]);
        look("loop.answer".to_owned(), None, "mail that goes round".to_owned(), &hops);
    }
    complaints
}

/// A static next hop is ourselves if one of our listeners answers there. Another port of the same machine is not us.
fn is_own(hop: &NextHop, settings: &Settings, own: &Identity) -> bool {
    let port = hop.port.unwrap_or(settings.delivery.port);
    match &hop.host {
        Host::Addr(address) => own.listens_at(*address, port) || own.is_learned(*address, port),
        Host::Name(name) => own.is_mta_name(&name.ascii()) && own.listening.iter().any(|socket| socket.port() == port),
    }
}
