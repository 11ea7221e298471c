//! All keys of the settings: name, range and manual entry of each, in one place; the defaults below them.

use super::book::Book;
use super::form::Key;
use super::value::{FileOrNone, Size};
use super::walk::{Record, Table, Walk, Wanted};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use toml::de::DeTable;

/// Reads a document over the defaults and validates the whole.
pub(super) fn read(text: &str) -> Result<Settings, Vec<Complaint>> {
    let mut walk = Walk::new(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => return Err(vec![syntax(&walk, &error)]),
    };
    let mut settings = Settings::default();
    walk.root(Some(document.get_ref()), |table| settings.keys(table));
    let mut complaints = walk.complaints;
    let found = check::whole(&settings, &walk.lines, &complaints);
    complaints.extend(found);
    complaints.sort_by_key(|complaint| complaint.line);
    if complaints.is_empty() { Ok(settings) } else { Err(complaints) }
}

fn syntax(walk: &Walk<'_>, error: &toml::de::Error) -> Complaint {
    Complaint {
        path: String::new(),
        line: error.span().map(|span| walk.line(&span)),
        value: String::new(),
        problem: format!("this is not TOML: {}", error.message()),
        suggestion: "nothing was changed".to_owned(),
    }
}

pub(super) fn records(settings: &Settings) -> Vec<Record> {
    walk(settings, Wanted::All).records
}

fn walk<'d>(settings: &Settings, wanted: Wanted<'d>) -> Walk<'d> {
    let mut walk = Walk::new("");
    walk.wanted = wanted;
    walk.root(None, |table| settings.clone().keys(table));
    walk
}

/// Where each entry of each list stands, whether the document is valid or not.
pub(super) fn places(text: &str) -> BTreeMap<String, usize> {
    let Ok(document) = DeTable::parse(text) else { return BTreeMap::new() };
    let mut walk = Walk::new(text);
    walk.root(Some(document.get_ref()), |table| Settings::default().keys(table));
    walk.places
}

pub(super) fn part(settings: &Settings, part: Part<'_>) -> Vec<Key> {
    let defaults: BTreeMap<String, Option<String>> =
        defaults().into_iter().map(|record| (kind(&record), record.value)).collect();
    let key = |record: Record| {
        let default = defaults.get(&kind(&record)).cloned().flatten();
        let default = if record.required { None } else { default };
        let value = record.value.filter(|_| !record.secret);
        let path = path(&record.table, record.key);
        let Record { table, key: name, range, doc, secret, required, shape, .. } = record;
        Key { path, table, name, value, default, required, secret, range, doc, shape }
    };
    let found: Vec<Record> = match part {
        Part::Tables => walk(settings, Wanted::None).records,
        Part::Entry(entry) => {
            let all = walk(settings, Wanted::One(entry)).records.into_iter();
            all.filter(|record| record.table == entry).collect()
        }
        Part::New(list) => {
            let all = self::defaults().into_iter();
            let of_list = all.filter(|record| record.table.split_once('[').is_some_and(|(name, _)| name == list));
            of_list
                .map(|record| Record {
                    table: format!("{list}[]"),
                    value: record.value.filter(|_| !record.required),
                    ..record
                })
                .collect()
        }
    };
    found.into_iter().map(key).collect()
}

pub(super) fn entries(
    settings: &Settings,
    list: &str,
    text: &str,
    skip: usize,
    limit: usize,
) -> (usize, Vec<Vec<Key>>) {
    let walk = walk(settings, Wanted::Page { list, text, skip, limit });
    let mut entries: Vec<Vec<Key>> = Vec::new();
    for record in walk
        .records
        .into_iter()
        .filter(|record| record.table.strip_prefix(list).is_some_and(|rest| rest.starts_with('[')))
    {
        let value = record.value.filter(|_| !record.secret);
        let path = path(&record.table, record.key);
        let Record { table, key: name, range, doc, secret, required, shape, .. } = record;
        let key = Key { path, table, name, value, default: None, required, secret, range, doc, shape };
        match entries.last_mut() {
            Some(entry) if entry[0].table == key.table => entry.push(key),
            _ => entries.push(vec![key]),
        }
    }
    (walk.found, entries)
}

/// One of each list, so that the reference knows their keys.
const ONE_OF_EACH: &str = r#"
[[domain]]
name = "corp.test"
[[alias]]
from = "a@corp.test"
to = ["b@corp.test"]
[[masquerade]]
from = "@inside.corp.test"
to = "@corp.test"
[[tls_policy]]
domain = "bank.test"
[[delivery.source]]
address = "192.0.2.1"
[[identity.scanner]]
name = "gw2.corp.test"
[[user]]
name = "alice"
password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
"#;

pub(super) fn reference() -> Vec<SettingDoc> {
    let doc = |record: Record| {
        let default =
            if record.required { "required".to_owned() } else { record.value.clone().unwrap_or("absent".to_owned()) };
        SettingDoc { path: kind(&record), default, range: record.range, doc: record.doc, shape: record.shape }
    };
    defaults().into_iter().map(doc).collect()
}

/// Every key with its default, those of the lists once each.
fn defaults() -> Vec<Record> {
    let Ok(document) = DeTable::parse(ONE_OF_EACH) else { return Vec::new() };
    let mut settings = Settings::default();
    let mut walk = Walk::new(ONE_OF_EACH);
    walk.root(Some(document.get_ref()), |table| settings.keys(table));
    walk.records
}

/// The key whatever the entry: `domain[].name`.
fn kind(record: &Record) -> String {
    match record.table.split_once('[') {
        Some((list, _)) => format!("{list}[].{}", record.key),
        None => path(&record.table, record.key),
    }
}

pub(super) fn diff(old: &Settings, new: &Settings) -> Vec<Change> {
    // Of a hundred thousand aliases hardly any differ, and a record is long.
    let (mut old, mut new) = (old.clone(), new.clone());
    old.aliases.part(&mut new.aliases);
    let (old, new) = (records(&old), records(&new));
    let by_path = |records: &[Record]| -> BTreeMap<String, String> {
        records.iter().filter_map(|record| Some((path(&record.table, record.key), record.value.clone()?))).collect()
    };
    let (before, after) = (by_path(&old), by_path(&new));
    let (mut changes, mut seen) = (Vec::new(), BTreeSet::new());
    for record in new.iter().chain(&old) {
        let path = path(&record.table, record.key);
        let (from, to) = (before.get(&path), after.get(&path));
        if from == to || !seen.insert(path.clone()) {
            continue;
        }
        let shown =
            |value: Option<&String>| value.map(|value| if record.secret { "…".to_owned() } else { value.clone() });
        changes.push(Change { old: shown(from), new: shown(to), path });
    }
    changes
}

pub(super) fn export(settings: &Settings) -> String {
    let defaults: BTreeMap<String, Option<String>> =
        defaults().into_iter().map(|record| (kind(&record), record.value)).collect();
    let mut text = String::new();
    let mut table = String::new();
    for record in records(settings) {
        let Some(value) = &record.value else { continue };
        if !record.required && defaults.get(&kind(&record)) == Some(&record.value) {
            continue;
        }
        if record.table != table {
            table = record.table.clone();
            match table.split_once('[') {
                Some((list, _)) => text.push_str(&format!("\n[[{list}]]\n")),
                None => text.push_str(&format!("\n[{table}]\n")),
            }
        }
        text.push_str(&format!("{} = {value}\n", record.key));
    }
    text
}

fn path(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Settings {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.key("hostname", &mut self.hostname, "MTA host name: what the gateway calls itself in banner, EHLO and Received. Must resolve in public DNS, or other servers refuse it. Left out: the machine's own name.");
        at.key(
            "postmaster",
            &mut self.postmaster,
            "Who gets mail for postmaster here and stands in bounces. Left out: postmaster at the MTA host name.",
        );
        at.key("mode", &mut self.mode, "MTA operation: accept and deliver; pause-delivery accepts and queues; drain accepts nothing and delivers what is queued.");
        at.table("identity", |at| {
            at.key("public_addresses", &mut self.public_addresses, "Addresses under which others reach this gateway but no interface has: NAT, load balancers. Used to recognise mail that would come back.");
            at.key("dnsbl", &mut self.own_dnsbl, "DNS block lists that are asked about the gateway's own addresses by the identity check. Empty: those of listener.inbound.dnsbl.");
            at.key("probe_domains", &mut self.probe_domains, "Domains whose MX hosts are connected to by the identity check, to see that port 25 is open; nothing is said there. Empty: those that mail went to within the last hour.");
            at.list("scanner", &mut self.scanners, OtherScanner::keys);
        });
        at.key("internal_hosts", &mut self.internal_hosts, "Networks of your own mail hosts: exempt from the checks of a client's address (reverse name, block lists).");
        at.table("listener", |at| {
            at.table("inbound", |at| self.inbound.keys(at));
            at.table("outbound", |at| self.outbound.keys(at));
            at.table("submission", |at| self.submission.keys(at));
        });
        at.list("domain", &mut self.domains, LocalDomain::keys);
        at.table("route", |at| {
            at.table("local", |at| {
                at.key(
                    "next_hops",
                    &mut self.local_next_hops,
                    "Where mail for local domains goes that have no next_hops of their own.",
                )
            });
            at.table("other", |at| self.other.keys(at));
        });
        at.list("alias", &mut self.aliases, Alias::keys);
        at.list("masquerade", &mut self.masquerades, Masquerade::keys);
        at.list("tls_policy", &mut self.tls_policies, TlsPolicy::keys);
        at.table("delivery", |at| self.delivery.keys(at));
        at.table("retry", |at| self.retry.keys(at));
        at.table("queue", |at| {
            at.within(
                "limit",
                &mut self.queue.limit,
                1..=100_000_000,
                "Messages in the queue; when there are more, new mail is deferred.",
            );
            at.key(
                "paused",
                &mut self.queue.paused,
                "Recipient domains whose mail is accepted and kept: delivery to them is paused.",
            );
            size(
                at,
                "disk_reserve",
                &mut self.queue.disk_reserve,
                0..=1 << 50,
                "Space to leave free on the spool's disk; when there is less, new mail is deferred.",
            );
        });
        at.table("audit", |at| {
            at.within("keep", &mut self.audit_keep, DAY..=3650 * DAY, "How long the audit trail is kept.");
        });
        at.table("dns", |at| {
            at.key(
                "servers",
                &mut self.dns.servers,
                "Resolvers, asked in this order. Empty: those of /etc/resolv.conf.",
            );
            at.within("timeout", &mut self.dns.timeout, SECOND..=MINUTE, "How long to wait for one server's answer.");
            let mut hosts_file = FileOrNone(self.dns.hosts_file.take());
            at.key("hosts_file", &mut hosts_file, "File of names with fixed addresses, which count before DNS as they do for other programs of this machine. Empty: none.");
            self.dns.hosts_file = hosts_file.0;
            at.key("public_servers", &mut self.dns.public_servers, "Resolvers that see the public Internet, if the usual ones see an inside view. Asked only to explain failures, never for delivery.");
        });
        at.table("diagnosis", |at| self.diagnosis.keys(at));
        at.table("scanner", |at| {
            at.key("address", &mut self.scanner.address, "Content scanner (clamd with TCPSocket), such as \"127.0.0.1:3310\": every message is handed to it before it is taken. Left out: none.");
            at.within("timeout", &mut self.scanner.timeout, SECOND..=10 * MINUTE, "How long the scanner may take. Clients wait 10 minutes for the answer (RFC 5321 4.5.3.2.6), some less.");
            at.key("accept_unscanned", &mut self.scanner.accept_unscanned, "Whether mail is taken while the scanner fails. Otherwise it is deferred with 451, and the sender tries again.");
        });
        at.table("loop", |at| {
            at.key("answer", &mut self.loop_guard.answer, "What becomes of mail that would come back here or has come back: \"refuse\" returns it to its sender with 554 5.4.6, \"hold\" keeps it in the queue until it is released, a next hop takes it another way, once. In no case is it tried again and again.");
            at.within("hop_limit", &mut self.loop_guard.hop_limit, 10..=250, "Received fields that a message may have; with more it goes round. RFC 5321 6.3 advises 100 or more; real paths have fewer than 15, and a loop should not cost a hundred rounds. Raise it if internal scanners add many.");
            at.key("filters", &mut self.loop_guard.filters, "Networks of content filters, archives or other appliances that get mail from this gateway and hand it back: the first return of each message from there is no loop, and it goes to the domain's next hops other than the filter.");
            at.key("refuse_own_address", &mut self.loop_guard.refuse_own_address, "Refuse connections to the inbound listener that come from an address of this gateway itself: it is talking to itself. Set it to false if other programs on this machine send mail to that listener. Addresses in identity.public_addresses are let in: others may stand behind the same NAT, and the greeting tells.");
        });
        at.table("alerts", |at| {
            at.key("mail_to", &mut self.alerts.mail_to, "Who is written to when something needs an administrator: once when it begins, once when it is over. Better not at a domain whose mail this gateway carries: that mail may be what is stuck.");
            at.key("webhook", &mut self.alerts.webhook, "Where the same is posted as JSON: a chat, a pager. https is verified against this machine's authorities.");
            at.key("about", &mut self.alerts.about, "What alerts are about: \"incidents\" are causes for which mail waits, \"queue\" is a queue longer than alerts.queue, \"disk\" is less room than queue.disk_reserve, \"certificates\" are own ones that end within three weeks or cannot be used, \"identity\" is what other servers refuse this gateway for, as `gatepost identity` tells, \"scanners\" are enrolled Scanners that do not answer.");
            at.within("queue", &mut self.alerts.queue, 1..=100_000_000, "Deliveries in the queue beyond which there is an alert.");
        });
        at.list("user", &mut self.users, User::keys);
    }
}

fn size(at: &mut Table<'_, '_>, key: &'static str, bytes: &mut u64, range: RangeInclusive<u64>, doc: &'static str) {
    let mut size = Size(*bytes);
    at.within(key, &mut size, Size(*range.start())..=Size(*range.end()), doc);
    *bytes = size.0;
}

impl Door {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.key("accept_from", &mut self.accept_from, "Networks whose clients may connect. At the outbound listener they may relay, so it must never hold the whole Internet.");
        at.within("connections", &mut self.connections, 1..=100_000, "Connections at a time.");
        at.within(
            "connections_per_address",
            &mut self.connections_per_address,
            1..=100_000,
            "Connections at a time from one address; an IPv6 /64 counts as one.",
        );
        at.within(
            "recipients_per_message",
            &mut self.recipients_per_message,
            100..=100_000,
            "Recipients of one message; RFC 5321 4.5.3.1.8 asks for 100 or more.",
        );
        at.within(
            "messages_per_session",
            &mut self.messages_per_session,
            0..=100_000,
            "Messages in one connection; 0: no limit.",
        );
        size(
            at,
            "message_size",
            &mut self.message_size,
            65_536..=1 << 31,
            "Largest message; RFC 5321 4.5.3.1.7 asks for 64 KB or more.",
        );
        at.within(
            "errors_per_session",
            &mut self.errors_per_session,
            1..=1000,
            "Refused commands after which a client is sent away.",
        );
        at.key("tls", &mut self.tls, "STARTTLS: off, offered, or required before MAIL.");
        at.key(
            "certificate",
            &mut self.certificate,
            "PEM file with the certificate chain. Left out: a self-signed certificate.",
        );
        at.key("key", &mut self.key, "PEM file with the certificate's private key.");
        at.key("proxy_protocol_from", &mut self.proxy_protocol_from, "Networks of load balancers that name the true client by the PROXY protocol; from them it is required, from all others refused.");
        at.within("greeting_delay", &mut self.greeting_delay, Duration::ZERO..=MINUTE, "How long the greeting waits. Programs that only send spam often speak before it and are turned away; mail servers wait (RFC 5321 4.3.1).");
        at.key("require_reverse_name", &mut self.require_reverse_name, "Refuse clients whose address has no PTR record, at connect, with 550 5.7.25. A lookup that fails defers. Hosts in internal_hosts are exempt.");
        at.key("require_confirmed_reverse_name", &mut self.require_confirmed_reverse_name, "Refuse clients whose reverse name does not lead back to their address (A, AAAA), at connect, with 550 5.7.25. A lookup that fails defers. Hosts in internal_hosts are exempt.");
        at.key(
            "require_resolvable_helo",
            &mut self.require_resolvable_helo,
            "Refuse HELO and EHLO names that have neither A, AAAA nor MX, with 550 5.7.1. A lookup that fails defers.",
        );
        at.key("require_resolvable_sender", &mut self.require_resolvable_sender, "Refuse MAIL FROM domains that have neither MX, A nor AAAA, or a null MX, with 550 5.1.8: no bounce could be returned. A lookup that fails defers.");
        at.key("dnsbl", &mut self.dnsbl, "DNS block lists, such as \"zen.example.org\": clients that one holds are refused at connect with 554 5.7.1. Error codes (127.255.255.0/24) are no listing; a list that fails is left out for a while. Hosts in internal_hosts are exempt.");
        at.key("spf", &mut self.spf, "Whether the sender's domain permits the client (SPF, RFC 7208). \"mark\" writes the result into the header (Authentication-Results, Received-SPF) and the audit trail; \"enforce\" refuses a fail as well, with 550 5.7.23 at RCPT, and defers with 451 4.7.24 while DNS does not answer. Exempt: hosts in internal_hosts, users, mail to postmaster. A server behind that checks SPF itself sees this gateway's address and must not.");
        at.within("greylisting", &mut self.greylisting.delay, Duration::ZERO..=HOUR, "How long mail from a sender and client that are not known yet must wait: it is deferred with 450 4.7.1 until it comes again after that time; most programs that only send spam never do. 0s: off. A client counts by its network (/24, /64), or by the sender's domain where SPF permits the client, so that large senders may come again from another address. Exempt: hosts in internal_hosts, users, mail to postmaster.");
        at.within("greylisting_keep", &mut self.greylisting.keep, DAY..=365 * DAY, "How long a sender that came again is remembered, counted from its last mail. Longer than a month, or monthly mail waits each time.");
        at.within("greylisting_known_after", &mut self.greylisting.known_after, 0..=1000, "After so many senders and recipients that came again, a client's network or domain passes at once. 0: never.");
    }
}

impl LocalDomain {
    fn keys(at: &mut Table<'_, '_>, current: Option<LocalDomain>) -> Option<LocalDomain> {
        let (name, mut domain) = match current {
            Some(domain) => (Some(domain.name.clone()), Some(domain)),
            None => (None, None),
        };
        let name = at.required("name", name, "A domain whose mail is taken for servers behind the gateway. Its subdomains inherit; the longest name that fits wins.");
        let (mut next_hops, mut recipients, mut invalid, mut verify) = match &mut domain {
            Some(domain) => {
                (domain.next_hops.take(), domain.recipients.take(), domain.invalid_recipients, domain.verify_recipients)
            }
            None => Default::default(),
        };
        at.key("next_hops", &mut next_hops, "Where its mail goes: hosts and addresses, or \"mx\" for the domain's own MX records. Left out: route.local.next_hops.");
        at.key("recipients", &mut recipients, "All valid recipients. Left out: every recipient is valid.");
        at.key(
            "invalid_recipients",
            &mut invalid,
            "What becomes of mail to other recipients: refused at RCPT, accepted and bounced, or dropped.",
        );
        at.key("verify_recipients", &mut verify, "Ask the next hop about each recipient while the client waits (MAIL with the null sender, RCPT, QUIT), and refuse with 550 5.1.1 whom it does not know: no bounces to forged senders. Answers are kept for an hour, refusals for ten minutes; if the next hop cannot be asked, the recipient is accepted.");
        let (invalid_recipients, verify_recipients) = (invalid, verify);
        Some(LocalDomain { name: name?, next_hops, recipients, invalid_recipients, verify_recipients, line: at.line() })
    }
}

impl OtherMail {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.key("next_hops", &mut self.next_hops, "Where mail for all other domains goes: \"mx\", or relay hosts.");
        at.key("user", &mut self.user, "User name at the relay hosts. Left out: no AUTH.");
        at.key("password_file", &mut self.password_file, "File whose first line is that user's password.");
        at.key("tls", &mut self.tls, "TLS to the relay hosts: off, used when offered, required, or required with a certificate that proves the host's name.");
    }
}

impl Alias {
    fn keys(at: &mut Table<'_, '_>, current: Option<Alias>) -> Option<Alias> {
        let (from, to) = current.map_or((None, None), |alias| (Some(alias.from), Some(alias.to)));
        let from = at.required("from", from, "A recipient, or @domain for all recipients of a domain.");
        let to = at.required("to", to, "Who gets the mail instead; @domain keeps the local part. The alias itself may be among them: it then keeps its copy.");
        Some(Alias { from: from?, to: to? })
    }
}

impl Masquerade {
    fn keys(at: &mut Table<'_, '_>, current: Option<Masquerade>) -> Option<Masquerade> {
        let (from, to) = current.map_or((None, None), |masquerade| (Some(masquerade.from), Some(masquerade.to)));
        let from = at.required("from", from, "A sender, or @domain for all senders of a domain, on mail that leaves.");
        let to = at.required("to", to, "What stands in its place outside; @domain keeps the local part.");
        Some(Masquerade { from: from?, to: to? })
    }
}

impl TlsPolicy {
    fn keys(at: &mut Table<'_, '_>, current: Option<TlsPolicy>) -> Option<TlsPolicy> {
        let (domain, mut tls) = current.map_or((None, Tls::Verify), |policy| (Some(policy.domain), policy.tls));
        let domain = at.required("domain", domain, "A recipients' domain whose mail servers get their own value instead of delivery.tls. Its subdomains inherit; the longest name that fits wins. Mail by relay hosts is not meant: route.other.tls rules there.");
        at.key("tls", &mut tls, "TLS to this domain's mail servers: off, used when offered, required, or required with a certificate that proves the host's name.");
        Some(TlsPolicy { domain: domain?, tls })
    }
}

impl Delivery {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.within("port", &mut self.port, 1..=65_535, "Port of MX hosts, and of next hops that name none.");
        at.within("connections", &mut self.connections, 1..=10_000, "Outgoing connections at a time.");
        at.within(
            "connections_per_address",
            &mut self.connections_per_address,
            1..=10_000,
            "Outgoing connections to one address at a time.",
        );
        at.within(
            "messages_per_connection",
            &mut self.messages_per_connection,
            1..=100_000,
            "Messages after which an outgoing connection is closed.",
        );
        at.within(
            "recipients_per_message",
            &mut self.recipients_per_message,
            1..=10_000,
            "Recipients of one delivered message; more are split.",
        );
        self.timeouts.keys(at);
        at.key("tls", &mut self.tls, "TLS to next hops and MX hosts: off, used when offered, required, or required with a certificate that proves the host's name.");
        at.key(
            "ca_file",
            &mut self.ca_file,
            "PEM file of authorities whose certificates are believed besides the system's.",
        );
        at.key("address_family", &mut self.address_family, "Which addresses of a host are tried, and which first.");
        at.key(
            "allow_private_addresses",
            &mut self.allow_private_addresses,
            "Whether MX records may lead to private and loopback addresses: to all of them, or to those in the networks listed. Next hops in the settings always may.",
        );
        at.list("source", &mut self.sources, Source::keys);
    }
}

impl Timeouts {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.within("connect_timeout", &mut self.connect, SECOND..=HOUR, "For the TCP connection to one address.");
        at.within("banner_timeout", &mut self.banner, SECOND..=HOUR, "For the greeting.");
        at.within(
            "ehlo_timeout",
            &mut self.ehlo,
            SECOND..=HOUR,
            "For the answers to EHLO and STARTTLS, and for the TLS handshake.",
        );
        at.within("mail_timeout", &mut self.mail, SECOND..=HOUR, "For the answer to MAIL.");
        at.within("rcpt_timeout", &mut self.rcpt, SECOND..=HOUR, "For the answer to RCPT.");
        at.within("data_timeout", &mut self.data, SECOND..=HOUR, "For the go-ahead after DATA.");
        at.within("block_timeout", &mut self.block, SECOND..=HOUR, "For one block of content to leave.");
        at.within(
            "final_timeout",
            &mut self.final_reply,
            SECOND..=HOUR,
            "For the answer after the final dot; a short time makes duplicates.",
        );
    }
}

impl Source {
    fn keys(at: &mut Table<'_, '_>, current: Option<Source>) -> Option<Source> {
        let (address, mut ehlo) = current.map_or((None, None), |source| (Some(source.address), source.ehlo));
        let address = at.required("address", address, "An address of this machine that deliveries leave from.");
        at.key(
            "ehlo",
            &mut ehlo,
            "The name said in EHLO from there; should resolve to that address. Left out: the MTA host name.",
        );
        Some(Source { address: address?, ehlo })
    }
}

impl OtherScanner {
    fn keys(at: &mut Table<'_, '_>, current: Option<OtherScanner>) -> Option<OtherScanner> {
        let (name, mut addresses) =
            current.map_or((None, Vec::new()), |scanner| (Some(scanner.name), scanner.addresses));
        let name = at.required("name", name, "MTA host name of another Scanner of this gateway: one that has the same settings. Mail that would go to it comes back to this gateway, and is known as a loop.");
        at.key("addresses", &mut addresses, "All addresses of that Scanner, public ones too. Without them it is known by its name, and by its greeting if it has the same loop.key.");
        Some(OtherScanner { name: name?, addresses })
    }
}

impl Retry {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.within(
            "first",
            &mut self.first,
            SECOND..=DAY,
            "Time to the second attempt; each further wait is twice as long.",
        );
        at.within("longest", &mut self.longest, SECOND..=7 * DAY, "Longest wait between two attempts.");
        at.within(
            "expire",
            &mut self.expire,
            SECOND..=30 * DAY,
            "Age at which undelivered mail is returned; RFC 5321 4.5.4.1 asks for 4 to 5 days.",
        );
        at.within(
            "expire_bounces",
            &mut self.expire_bounces,
            SECOND..=30 * DAY,
            "Age at which undelivered bounces are given up.",
        );
        at.key(
            "delay_notices",
            &mut self.delay_notices,
            "Ages at which the sender is told that mail is late. Empty: never.",
        );
        at.within(
            "delay_notice_every",
            &mut self.delay_notice_every,
            HOUR..=30 * DAY,
            "Time between further delay notices, after those listed.",
        );
    }
}

impl Diagnosis {
    fn keys(&mut self, at: &mut Table<'_, '_>) {
        at.key("enabled", &mut self.enabled, "Whether failed attempts and refusals are explained as they happen. Off, they are explained only on demand (`gatepost diagnose`).");
        at.key("experiments", &mut self.experiments, "Whether failures are looked into by more DNS questions and by test connections, which never send a message.");
        at.within(
            "connections_per_hour",
            &mut self.connections_per_hour,
            0..=100,
            "Test connections to one address within an hour; a peer that counts connections must not be troubled.",
        );
        at.within(
            "submission_port",
            &mut self.submission_port,
            1..=65_535,
            "Port that is tried to tell a blocked port 25 from a host that is down (RFC 6409).",
        );
    }
}

impl User {
    fn keys(at: &mut Table<'_, '_>, current: Option<User>) -> Option<User> {
        let (name, password) = current.map_or((None, None), |user| (Some(user.name), Some(user.password)));
        let name = at.required("name", name, "Who may submit mail after AUTH.");
        let password = at.required("password", password, "The password's argon2id hash.");
        Some(User { name: name?, password: password? })
    }
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The whole Internet: for doors that relay for nobody, or only after AUTH.
fn everyone() -> Door {
    Door {
        accept_from: networks(&["0.0.0.0/0", "::/0"]),
        connections: 2000,
        connections_per_address: 20,
        recipients_per_message: 1024,
        messages_per_session: 100,
        message_size: 10_485_760,
        errors_per_session: 20,
        tls: Tls::Offer,
        certificate: None,
        key: None,
        proxy_protocol_from: Vec::new(),
        greeting_delay: Duration::ZERO,
        dnsbl: Vec::new(),
        require_reverse_name: Check::default(),
        require_confirmed_reverse_name: Check::default(),
        require_resolvable_helo: Check::default(),
        require_resolvable_sender: Check::default(),
        spf: Spf::Off,
        greylisting: Greylisting { delay: Duration::ZERO, keep: 36 * DAY, known_after: 5 },
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hostname: None,
            postmaster: None,
            mode: Mode::AcceptAndDeliver,
            public_addresses: Vec::new(),
            own_dnsbl: Vec::new(),
            probe_domains: Vec::new(),
            scanners: Book::default(),
            internal_hosts: networks(&["127.0.0.1/32", "::1/128"]),
            inbound: Door { spf: Spf::Mark, ..everyone() },
            outbound: Door { accept_from: networks(&["127.0.0.0/8", "::1/128"]), ..everyone() },
            submission: everyone(),
            domains: Book::default(),
            local_next_hops: NextHops::Hops(Vec::new()),
            other: OtherMail { next_hops: NextHops::Mx, user: None, password_file: None, tls: Tls::Offer },
            aliases: Book::default(),
            masquerades: Book::default(),
            tls_policies: Book::default(),
            delivery: Delivery::default(),
            retry: Retry::default(),
            queue: Queue { limit: 150_000, paused: Vec::new(), disk_reserve: 500 << 20 },
            audit_keep: 30 * DAY,
            dns: Dns {
                servers: Vec::new(),
                timeout: 5 * SECOND,
                hosts_file: Some("/etc/hosts".into()),
                public_servers: Vec::new(),
            },
            diagnosis: Diagnosis { enabled: true, experiments: true, connections_per_hour: 3, submission_port: 587 },
            scanner: Scanner { address: None, timeout: MINUTE, accept_unscanned: false },
            loop_guard: LoopGuard {
                answer: LoopAnswer::Refuse,
                hop_limit: 30,
                filters: Vec::new(),
                refuse_own_address: true,
            },
            alerts: Alerts {
                mail_to: Vec::new(),
                webhook: None,
                about: vec![
                    AlertKind::Incidents,
                    AlertKind::Queue,
                    AlertKind::Disk,
                    AlertKind::Certificates,
                    AlertKind::Identity,
                    AlertKind::Scanners,
                ],
                queue: 5000,
            },
            users: Book::default(),
        }
    }
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery {
            port: 25,
            connections: 100,
            connections_per_address: 50,
            messages_per_connection: 100,
            recipients_per_message: 100,
            timeouts: Timeouts::default(),
            tls: Tls::Offer,
            ca_file: None,
            address_family: AddressFamily::Any,
            allow_private_addresses: PrivateAddresses::None,
            sources: Book::default(),
        }
    }
}

/// RFC 5321 4.5.3.2 or more, but for the connection: all addresses are tried, so each may fail sooner.
impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: 30 * SECOND,
            banner: 5 * MINUTE,
            ehlo: 5 * MINUTE,
            mail: 5 * MINUTE,
            rcpt: 5 * MINUTE,
            data: 2 * MINUTE,
            block: 3 * MINUTE,
            final_reply: 10 * MINUTE,
        }
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            first: 15 * MINUTE,
            longest: 7 * HOUR,
            expire: 5 * DAY,
            expire_bounces: DAY,
            delay_notices: vec![4 * HOUR, 12 * HOUR, 28 * HOUR],
            delay_notice_every: 16 * HOUR,
        }
    }
}
