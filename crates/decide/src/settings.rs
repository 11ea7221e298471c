//! The settings: one typed document, read and validated as a whole. Every key has a default.
//!
//! A key's name, range and manual entry stand in one place, `settings/keys.rs`; the same walk over them reads a
//! document, lists the reference, exports and compares.

mod between;
mod book;
mod check;
mod edit;
mod form;
mod keys;
mod value;
mod walk;

pub use between::{between, is_own, shared};
pub use book::{Book, Entry};
pub(crate) use check::is_own_network;
pub use edit::{Edit, edit};
pub use form::{Key, Shape};
pub use value::duration;
pub(crate) use value::time_words;

use crate::greylist::Greylisting;
use ipnet::IpNet;
use mail::{Address, Domain, Identity, Listener};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The whole document, valid: nothing else is ever made from a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// MTA host name: banner, EHLO, Received. Absent: the machine's own name.
    pub hostname: Option<Domain>,
    /// Absent: postmaster at the MTA host name.
    pub postmaster: Option<Address>,
    pub mode: Mode,
    /// Addresses under which others reach us (NAT, load balancer).
    pub public_addresses: Vec<IpAddr>,
    /// Zones of DNS block lists that are asked about ourselves. Empty: those of the inbound listener.
    pub own_dnsbl: Vec<Domain>,
    /// Domains whose MX hosts show whether port 25 is open outward. Empty: those that mail went to lately.
    pub probe_domains: Vec<Domain>,
    /// The other Scanners of this gateway, by name.
    pub scanners: Book<OtherScanner>,
    /// Our own mail hosts.
    pub internal_hosts: Vec<IpNet>,
    pub inbound: Door,
    pub outbound: Door,
    pub submission: Door,
    /// By name in A-labels.
    pub domains: Book<LocalDomain>,
    /// Next hops of local domains that name none.
    pub local_next_hops: NextHops,
    pub other: OtherMail,
    /// By `user@corp.test` or `@corp.test`, as the masquerades.
    pub aliases: Book<Alias>,
    pub masquerades: Book<Masquerade>,
    /// By domain.
    pub tls_policies: Book<TlsPolicy>,
    pub delivery: Delivery,
    pub retry: Retry,
    pub queue: Queue,
    /// How long the audit trail is kept.
    pub audit_keep: Duration,
    pub dns: Dns,
    pub scanner: Scanner,
    pub diagnosis: Diagnosis,
    pub loop_guard: LoopGuard,
    pub alerts: Alerts,
    /// By name.
    pub users: Book<User>,
}

/// Whom to tell what needs an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    pub mail_to: Vec<Address>,
    pub webhook: Option<WebAddress>,
    pub about: Vec<AlertKind>,
    /// Deliveries in the queue beyond which it is one.
    pub queue: u32,
}

/// What alerts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertKind {
    Incidents,
    Queue,
    Disk,
    Certificates,
    Identity,
    Scanners,
}

/// `https://…` or `http://…`, with a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress(pub String);

/// A machine that runs this gateway besides this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherScanner {
    /// Its MTA host name.
    pub name: Domain,
    pub addresses: Vec<IpAddr>,
}

/// MTA operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    AcceptAndDeliver,
    /// Accept and queue, deliver nothing.
    PauseDelivery,
    /// Accept nothing, deliver what is queued.
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    Off,
    #[default]
    Offer,
    Require,
    /// Required, and the peer's certificate must prove its name. For outgoing connections only.
    Verify,
}

/// One of the three listeners: whom it serves and how much at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    pub accept_from: Vec<IpNet>,
    pub connections: u32,
    /// An IPv6 client counts as its /64.
    pub connections_per_address: u32,
    pub recipients_per_message: u32,
    /// 0: no limit.
    pub messages_per_session: u32,
    /// Bytes.
    pub message_size: u64,
    pub errors_per_session: u32,
    pub tls: Tls,
    /// Absent: a self-signed certificate of the gateway's own making.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub proxy_protocol_from: Vec<IpNet>,
    /// Whoever speaks before it is over is turned away (RFC 5321 4.3.1).
    pub greeting_delay: Duration,
    /// DNS validation, each with its own reply text.
    /// Zones of DNS block lists.
    pub dnsbl: Vec<Domain>,
    pub require_reverse_name: Check,
    pub require_confirmed_reverse_name: Check,
    pub require_resolvable_helo: Check,
    pub require_resolvable_sender: Check,
    pub spf: Spf,
    pub greylisting: Greylisting,
}

/// What becomes of a client's SPF result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spf {
    /// It is not evaluated.
    #[default]
    Off,
    /// It stands in the message's header and in the audit trail.
    Mark,
    /// A failure is refused besides.
    Enforce,
}

/// A check of clients: off, on, or on with a reply text of the administrator's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    pub on: bool,
    pub text: Option<String>,
}

/// A domain whose mail we take for servers behind us. Subdomains inherit; the longest name wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDomain {
    pub name: Domain,
    /// Absent: `route.local.next_hops`.
    pub next_hops: Option<NextHops>,
    /// Absent: every recipient is valid.
    pub recipients: Option<Book<Address>>,
    pub invalid_recipients: InvalidRecipients,
    /// The next hop is asked about each recipient, during the session.
    pub verify_recipients: bool,
    /// Where it stands in the document.
    pub line: Option<usize>,
}

/// What becomes of mail to a recipient that is not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidRecipients {
    #[default]
    Reject,
    AcceptAndBounce,
    Drop,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHops {
    /// By the MX records of the recipient's domain.
    Mx,
    Hops(Vec<NextHop>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    pub host: Host,
    /// Absent: `delivery.port`.
    pub port: Option<u16>,
    /// Lower is tried first; equal ones share the load.
    pub preference: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// Its A and AAAA records count, never its MX.
    Name(Domain),
    Addr(IpAddr),
}

/// TLS to the hosts of one domain, instead of `delivery.tls`. Subdomains inherit; the longest name wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPolicy {
    pub domain: Domain,
    pub tls: Tls,
}

/// Mail to every domain that is not local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherMail {
    pub next_hops: NextHops,
    /// User name at the relay host; absent: no AUTH.
    pub user: Option<String>,
    /// A file that holds the password, on its first line.
    pub password_file: Option<PathBuf>,
    pub tls: Tls,
}

/// One address, or all addresses of a domain (written `@domain`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mailboxes {
    One(Address),
    Domain(Domain),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub from: Mailboxes,
    pub to: Vec<Mailboxes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    pub from: Mailboxes,
    pub to: Mailboxes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub port: u16,
    pub connections: u32,
    pub connections_per_address: u32,
    pub messages_per_connection: u32,
    pub recipients_per_message: u32,
    pub timeouts: Timeouts,
    pub tls: Tls,
    /// PEM file of authorities that are believed besides the system's.
    pub ca_file: Option<PathBuf>,
    pub address_family: AddressFamily,
    /// Which private and loopback addresses an MX may lead to.
    pub allow_private_addresses: PrivateAddresses,
    /// Empty: the system chooses.
    pub sources: Book<Source>,
}

/// How long each stage of a delivery may take (RFC 5321 4.5.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub banner: Duration,
    pub ehlo: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data: Duration,
    pub block: Duration,
    pub final_reply: Duration,
}

/// Addresses that are not on the Internet and to which an MX may lead all the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PrivateAddresses {
    #[default]
    None,
    All,
    Networks(Vec<IpNet>),
}

impl PrivateAddresses {
    /// Whether this address may be dialled. Never: addresses that are nobody's in particular (unspecified, multicast), or
    /// that need an interface besides (link-local).
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_nowhere = match address {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local(),
        };
        match self {
            PrivateAddresses::None => false,
            PrivateAddresses::All => !is_nowhere,
            PrivateAddresses::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    #[default]
    Any,
    Ipv4,
    Ipv6,
    Ipv4First,
    Ipv6First,
}

/// An address that deliveries leave from, and the name it says EHLO with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub address: IpAddr,
    /// Absent: the MTA host name.
    pub ehlo: Option<Domain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    pub first: Duration,
    pub longest: Duration,
    pub expire: Duration,
    pub expire_bounces: Duration,
    pub delay_notices: Vec<Duration>,
    pub delay_notice_every: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Messages; when there are more, new mail is deferred.
    pub limit: u64,
    /// Recipient domains whose mail is accepted and kept.
    pub paused: Vec<Domain>,
    /// Bytes to leave free on the disk.
    pub disk_reserve: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    pub timeout: Duration,
    /// Names with fixed addresses; absent: none.
    pub hosts_file: Option<PathBuf>,
    /// Another view, for explanations.
    pub public_servers: Vec<SocketAddr>,
}

/// How failures may be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub enabled: bool,
    pub experiments: bool,
    pub connections_per_hour: u32,
    pub submission_port: u16,
}

/// What is done about mail loops, and what is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopGuard {
    pub answer: LoopAnswer,
    /// Received fields that a message may have.
    pub hop_limit: u32,
    /// Content filters: hosts that may hand each message back once.
    pub filters: Vec<IpNet>,
    /// Refuse connections to the inbound listener that come from an address of our own.
    pub refuse_own_address: bool,
}

/// What becomes of mail that would go round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LoopAnswer {
    #[default]
    Refuse,
    /// It waits until an administrator releases it.
    Hold,
    /// It goes this other way, once.
    Reroute(NextHop),
}

/// A program that looks at content before it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanner {
    /// Absent: content is not scanned.
    pub address: Option<NextHop>,
    pub timeout: Duration,
    /// Take mail though the scanner fails.
    pub accept_unscanned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: PasswordHash,
}

/// An argon2id hash in PHC form; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// One thing wrong with a document, for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// `listener.inbound.connections`; `domain[2].name`, counted from 1, or `domain[corp.test]` where the name is
    /// known; empty for the document itself.
    pub path: String,
    pub line: Option<usize>,
    pub value: String,
    pub problem: String,
    pub suggestion: String,
}

/// One key's manual entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDoc {
    pub path: String,
    pub default: String,
    pub range: String,
    pub doc: &'static str,
    pub shape: Shape,
}

/// Which keys are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Part<'p> {
    /// Those that are there once: all but the entries of lists.
    Tables,
    /// Those of one entry: `alias[a@corp.test]`.
    Entry(&'p str),
    /// Those of an entry to be added to a list.
    New(&'p str),
}

/// One key that differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    /// Absent: the key is new (an entry was added).
    pub old: Option<String>,
    pub new: Option<String>,
}

impl Settings {
    /// Reads and validates a document, or says everything that is wrong with it.
    pub fn read(text: &str) -> Result<Settings, Vec<Complaint>> {
        keys::read(text)
    }

    /// What is valid but should be known, such as a self-signed certificate.
    pub fn notes(&self) -> Vec<Complaint> {
        check::notes(self)
    }

    /// Next hops that lead back to this gateway, with the cycle spelt out (RFC 5321 6.3). For whoever saves settings.
    pub fn loops(&self, own: &Identity) -> Vec<Complaint> {
        check::loops(self, own)
    }

    /// Files that the gateway reads because the settings name them.
    pub fn files(&self) -> Vec<PathBuf> {
        let doors = [&self.inbound, &self.outbound, &self.submission].into_iter();
        let named = doors.flat_map(|door| [&door.certificate, &door.key]).chain([
            &self.other.password_file,
            &self.delivery.ca_file,
            &self.dns.hosts_file,
        ]);
        named.flatten().cloned().collect()
    }

    /// The settings of a listener; mail of our own making comes through none.
    pub fn door(&self, listener: Listener) -> Option<&Door> {
        match listener {
            Listener::Inbound => Some(&self.inbound),
            Listener::Outbound => Some(&self.outbound),
            Listener::Submission => Some(&self.submission),
            Listener::Internal => None,
        }
    }

    /// The local domain that a name belongs to: the exact one, else the nearest parent. An address literal is none of them:
    /// the reader takes only names.
    pub fn local_domain(&self, name: &Domain) -> Option<&LocalDomain> {
        of_name_or_parent(&self.domains, name)
    }

    /// TLS to the hosts that take a domain's mail. A relay host has its own (`route.other.tls`): it is no host of theirs.
    pub fn tls_to(&self, domain: &Domain) -> Tls {
        let by_relay_host = self.local_domain(domain).is_none() && self.other.next_hops != NextHops::Mx;
        if by_relay_host {
            return self.other.tls;
        }
        of_name_or_parent(&self.tls_policies, domain).map_or(self.delivery.tls, |policy| policy.tls)
    }

    /// Whether a client is one of our own mail hosts: exempt from checks of where it comes from.
    pub fn is_internal(&self, client: IpAddr) -> bool {
        self.internal_hosts.iter().any(|network| network.contains(&client.to_canonical()))
    }

    /// The postmaster's address, for a gateway of this name (RFC 5321 4.5.1).
    pub fn postmaster(&self, hostname: &Domain) -> Option<Address> {
        self.postmaster.clone().or_else(|| Address::new("postmaster", hostname.clone()).ok())
    }

    /// The document as TOML, with what differs from the defaults.
    pub fn export(&self) -> String {
        keys::export(self)
    }
}

/// Every key, with default, range and meaning.
pub fn reference() -> Vec<SettingDoc> {
    keys::reference()
}

/// Keys with what they are now, in the order of the reference.
pub fn keys(settings: &Settings, part: Part<'_>) -> Vec<Key> {
    keys::part(settings, part)
}

/// Entries of a list in which a text stands, ignoring case: how many there are, and some of them with their keys (without
/// defaults).
pub fn entries(settings: &Settings, list: &str, text: &str, skip: usize, limit: usize) -> (usize, Vec<Vec<Key>>) {
    keys::entries(settings, list, text, skip, limit)
}

/// What changes from `old` to `new`; secrets are shown as `…`.
pub fn diff(old: &Settings, new: &Settings) -> Vec<Change> {
    keys::diff(old, new)
}

impl Mailboxes {
    /// What these mailboxes are found by in a [`Book`].
    pub fn key(&self) -> String {
        match self {
            Mailboxes::One(address) => address.key(),
            Mailboxes::Domain(domain) => format!("@{}", domain.ascii()),
        }
    }
}

impl fmt::Display for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mailboxes::One(address) => write!(f, "{address}"),
            Mailboxes::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => write!(f, "{name}"),
            Host::Addr(address) => write!(f, "{address}"),
        }
    }
}

/// `line 12: listener.inbound.connections = -5 must be 1 to 100000 (2000 is the default)`.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.path)?;
        if !self.value.is_empty() {
            write!(f, " = {}", self.value)?;
        }
        write!(f, "{}{}", if self.path.is_empty() { "" } else { " " }, self.problem)?;
        if self.suggestion.is_empty() { Ok(()) } else { write!(f, " ({})", self.suggestion) }
    }
}

/// The entry of a name, or of the nearest domain above it.
fn of_name_or_parent<'a, T: Entry>(book: &'a Book<T>, name: &Domain) -> Option<&'a T> {
    let name = name.ascii();
    std::iter::successors(Some(name.as_str()), |name| name.split_once('.').map(|(_, parent)| parent))
        .find_map(|name| book.find(name))
}

impl Entry for TlsPolicy {
    fn key(&self) -> String {
        self.domain.ascii()
    }
}

impl Entry for LocalDomain {
    fn key(&self) -> String {
        self.name.ascii()
    }
}

impl Entry for Alias {
    fn key(&self) -> String {
        self.from.key()
    }
}

impl Entry for Masquerade {
    fn key(&self) -> String {
        self.from.key()
    }
}

impl Entry for OtherScanner {
    fn key(&self) -> String {
        self.name.ascii()
    }
}

impl Entry for Source {
    fn key(&self) -> String {
        self.address.to_string()
    }
}

impl Entry for User {
    fn key(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a document; gives the complaints, or the document again as it is exported.
    fn check(text: &str, expected: &str) {
        let found = match Settings::read(text) {
            Ok(settings) => settings.export().trim().replace("\n\n", "\n"),
            Err(complaints) => complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(found, expected, "\n{text}");
    }

    fn read(text: &str) -> Settings {
        Settings::read(text).unwrap()
    }

    /// Files are shown as paths that must be readable: a new key for one must not be forgotten there.
    #[test]
    fn every_key_that_names_a_file_is_in_files() {
        let keys = reference().into_iter().filter(|key| key.range.starts_with("the path of a file"));
        let paths: std::collections::BTreeSet<String> = keys.map(|key| key.path).collect();
        let known = ["delivery.ca_file", "dns.hosts_file", "route.other.password_file"].map(str::to_owned).into_iter();
        let doors = ["inbound", "outbound", "submission"].into_iter();
        let doors = doors.flat_map(|door| ["certificate", "key"].map(|key| format!("listener.{door}.{key}")));
        assert_eq!(paths, known.chain(doors).collect());
        let text = "[listener.outbound]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n[dns]\nhosts_file = \"/h\"\n[delivery]\nca_file = \"/a\"\n[route.other]\nnext_hops = [\"192.0.2.1\"]\nuser = \"u\"\npassword_file = \"/p\"\n";
        assert_eq!(read(text).files(), ["/c.pem", "/k.pem", "/p", "/a", "/h"].map(PathBuf::from));
    }

    #[test]
    fn an_empty_document_is_all_defaults() {
        check("", "");
        assert_eq!(read(""), Settings::default());
    }

    #[test]
    fn a_wrong_value_says_where_what_and_what_instead() {
        check(
            "[listener.inbound]\nconnections = -5\n",
            "line 2: listener.inbound.connections = -5 must be 1 to 100000 (2000 is the default)",
        );
        check("[retry]\nfirst = \"0s\"", "line 2: retry.first = \"0s\" must be 1s to 1d (\"15m\" is the default)");
        check(
            "mode = \"sleep\"",
            "line 1: mode = \"sleep\" must be accept-and-deliver, pause-delivery or drain (\"accept-and-deliver\" is the default)",
        );
        check(
            "[queue]\ndisk_reserve = true",
            "line 2: queue.disk_reserve = true must be a size such as 10485760 or \"10MB\" (\"500MB\" is the default)",
        );
        check("listener = 5", "line 1: listener = 5 must be a table");
        check("domain = 5", "line 1: domain = 5 must be tables, each begun with [[domain]]");
        check(
            "a = ",
            "line 1: this is not TOML: string values must be quoted, expected literal string (nothing was changed)",
        );
    }

    #[test]
    fn unknown_keys_are_complaints_with_the_nearest_known() {
        check(
            "[listener.inbound]\nconections = 5\nfoo = 1\n[delviery]\n",
            "line 2: listener.inbound.conections = 5 is not a setting (did you mean `connections`?)\n\
             line 3: listener.inbound.foo = 1 is not a setting (known here: accept_from, connections, connections_per_address, recipients_per_message, messages_per_session, message_size, errors_per_session, tls, certificate, key, proxy_protocol_from, greeting_delay, require_reverse_name, require_confirmed_reverse_name, require_resolvable_helo, require_resolvable_sender, dnsbl, spf, greylisting, greylisting_keep, greylisting_known_after)\n\
             line 4: delviery = {…} is not a setting (did you mean `delivery`?)",
        );
    }

    #[test]
    fn all_complaints_come_at_once() {
        let complaints = Settings::read("hostname = \"a..b\"\n[[domain]]\nnam = \"x\"\n[[user]]\nname = \"alice\"\n[dns]\nservers = [\"x\", \"y\"]\n[[alias]]\nfrom = \"a@x.test\"\nto = [\"b@x.test\"]\n[[alias]]\nfrom = \"b@x.test\"\nto = [\"a@x.test\"]\n").unwrap_err();
        let found: Vec<String> =
            complaints.iter().map(|complaint| format!("{} {}", complaint.line.unwrap(), complaint.path)).collect();
        assert_eq!(
            found,
            [
                "1 hostname",
                "2 domain[1].name",
                "3 domain[1].nam",
                "4 user[1].password",
                "7 dns.servers",
                "7 dns.servers",
                "8 alias[a@x.test]"
            ]
        );
    }

    #[test]
    fn rings_are_spelt_out() {
        check(
            "[[alias]]\nfrom = \"a@x.test\"\nto = [\"c@x.test\", \"b@x.test\"]\n[[alias]]\nfrom = \"b@x.test\"\nto = [\"A@x.test\"]\n",
            "line 1: alias[a@x.test] goes round in a ring: a@x.test → b@x.test → a@x.test (take one of the steps away)",
        );
        check(
            "[[alias]]\nfrom = \"@old.test\"\nto = [\"@new.test\"]\n[[alias]]\nfrom = \"@new.test\"\nto = [\"@old.test\"]\n",
            "line 4: alias[@new.test] goes round in a ring: @new.test → @old.test → @new.test (take one of the steps away)",
        );
        check(
            "[[alias]]\nfrom = \"@old.test\"\nto = [\"@new.test\"]\n[[alias]]\nfrom = \"bob@new.test\"\nto = [\"bob@old.test\"]\n",
            "line 4: alias[bob@new.test] goes round in a ring: bob@new.test → bob@old.test → bob@new.test (take one of the steps away)",
        );
        check(
            "[[masquerade]]\nfrom = \"@a.test\"\nto = \"@b.test\"\n[[masquerade]]\nfrom = \"@b.test\"\nto = \"@a.test\"\n",
            "line 1: masquerade[@a.test] goes round in a ring: @a.test → @b.test → @a.test (take one of the steps away)",
        );
    }

    #[test]
    fn an_alias_that_keeps_its_own_copy_is_no_ring() {
        let text = "[[alias]]\nfrom = \"@x.test\"\nto = [\"all@x.test\"]\n[[alias]]\nfrom = \"a@x.test\"\nto = [\"a@x.test\", \"b@y.test\"]";
        check(text, text);
    }

    #[test]
    fn two_of_one_name_are_one_too_many() {
        check(
            "[route.local]\nnext_hops = \"mx\"\n[[domain]]\nname = \"bücher.test\"\n[[domain]]\nname = \"xn--bcher-kva.test\"\n",
            "line 5: domain[2] = xn--bcher-kva.test is there already (line 3) (join the two)",
        );
    }

    #[test]
    fn every_local_domain_has_a_next_hop() {
        check(
            "[[domain]]\nname = \"corp.test\"\n",
            "line 1: domain[corp.test].next_hops mail for corp.test has no next hop (name the server behind, or set route.local.next_hops)",
        );
        let text = "[[domain]]\nname = \"corp.test\"\n[route.local]\nnext_hops = [\"192.0.2.1:2525\"]";
        check(text, text);
    }

    #[test]
    fn the_outbound_door_never_holds_the_internet() {
        let from = |nets: &str| Settings::read(&format!("[listener.outbound]\naccept_from = [{nets}]"));
        for wide in [
            "\"0.0.0.0/0\"",
            "\"::/0\"",
            "\"0.0.0.0/1\", \"128.0.0.0/1\"",
            "\"2000::/3\"",
            "\"2001::/16\"",
            "\"2001:0:0::/19\", \"2a00::/19\", \"2b00::/19\", \"2c00::/19\", \"2d00::/19\", \"2e00::/19\", \"2f00::/19\", \"2800::/19\", \"2900::/19\"",
            "\"8.0.0.0/7\"",
            "\"8.0.0.0/8\", \"12.0.0.0/8\", \"14.0.0.0/8\"",
        ] {
            let complaints = from(wide).unwrap_err();
            assert!(complaints.iter().all(|complaint| complaint.problem.contains("open relay")), "{wide}");
        }
        for own in [
            "\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"127.0.0.0/8\", \"fc00::/7\", \"203.0.113.0/24\"",
            "\"2001:db8::/32\"",
        ] {
            assert!(from(own).is_ok(), "{own}");
        }
    }

    #[test]
    fn strangers_may_not_say_who_the_client_is() {
        check(
            "[listener.outbound]\nproxy_protocol_from = [\"0.0.0.0/0\"]",
            "listener.outbound.proxy_protocol_from = 0.0.0.0/0 would let strangers pass as any client: the PROXY protocol is believed (name your load balancers)",
        );
        assert!(Settings::read("[listener.inbound]\nproxy_protocol_from = [\"10.0.0.0/8\", \"fd00::/8\"]").is_ok());
    }

    #[test]
    fn notes_tell_what_is_valid_but_should_be_known() {
        let notes: Vec<String> =
            read("hostname = \"gw\"\n[listener.inbound]\ntls = \"require\"\n[listener.outbound]\ntls = \"off\"")
                .notes()
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(
            notes,
            [
                "listener.inbound.certificate is not set: a self-signed certificate is used (servers accept it, people's mail programs do not)",
                "listener.submission.certificate is not set: a self-signed certificate is used (servers accept it, people's mail programs do not)",
                "hostname = gw is not fully qualified (give a name that resolves in public DNS; other servers refuse one that does not)",
            ]
        );
    }

    #[test]
    fn what_belongs_together_comes_together() {
        check(
            "[listener.inbound]\ncertificate = \"/c.pem\"",
            "listener.inbound.key is missing (a certificate needs its key)",
        );
        check(
            "[route.other]\nuser = \"u\"\npassword_file = \"/p\"",
            "route.other.user is for relay hosts, and next_hops is \"mx\" (never show a password to whoever the MX names: leave it out)",
        );
        check(
            "[route.other]\nnext_hops = []",
            "route.other.next_hops = [] leaves all other mail without a way (\"mx\" is the default)",
        );
        check(
            "[[alias]]\nfrom = \"a@x.test\"\nto = []",
            "line 1: alias[a@x.test].to = [] leads to nobody: mail would be lost (name a recipient)",
        );
        check(
            "[retry]\nfirst = \"2h\"\nlongest = \"1h\"",
            "retry.longest = 1h is shorter than retry.first (\"2h\" or more)",
        );
    }

    #[test]
    fn next_hops_that_lead_back_are_spelt_out() {
        let settings = read(
            "[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.2:2525\", \"127.0.0.20:2525\", \"gw.corp.test:2525\"]\n[route.other]\nnext_hops = [\"127.0.0.2:26\"]",
        );
        let own = Identity {
            names: vec!["gw.corp.test".parse().unwrap()],
            addresses: vec!["127.0.0.2".parse().unwrap()],
            listening: vec!["127.0.0.2:2525".parse().unwrap()],
            ..Identity::default()
        };
        let found: Vec<String> = settings.loops(&own).iter().map(|complaint| complaint.problem.clone()).collect();
        assert_eq!(
            found,
            [
                "leads back here: mail for corp.test → 127.0.0.2:2525 → this gateway → mail for corp.test",
                "leads back here: mail for corp.test → gw.corp.test:2525 → this gateway → mail for corp.test",
            ]
        );
    }

    const EVERYTHING: &str = r#"hostname = "gw.corp.test"
mode = "drain"
[identity]
public_addresses = ["192.0.2.1"]
dnsbl = ["list.test"]
probe_domains = ["dest.test"]
[[identity.scanner]]
name = "gw2.corp.test"
addresses = ["192.0.2.2", "2001:db8::2"]
[listener.inbound]
connections = 5
message_size = "20MB"
tls = "require"
certificate = "/c.pem"
key = "/k.pem"
[[domain]]
name = "corp.test"
next_hops = ["127.0.0.20:2525", { host = "b.corp.test", preference = 10 }]
recipients = ["a@corp.test", "b@corp.test"]
invalid_recipients = "drop"
[[domain]]
name = "mx.test"
next_hops = "mx"
[route.other]
next_hops = ["relay.test:587"]
user = "u"
password_file = "/p"
[[alias]]
from = "sales@corp.test"
to = ["a@corp.test", "b@corp.test"]
[[masquerade]]
from = "@inside.corp.test"
to = "@corp.test"
[delivery]
connect_timeout = "10s"
address_family = "ipv4-first"
allow_private_addresses = true
[[delivery.source]]
address = "127.0.0.2"
ehlo = "gw.corp.test"
[retry]
delay_notices = []
[dns]
servers = ["127.0.0.53:5300"]
hosts_file = ""
public_servers = ["127.0.0.54"]
[[user]]
name = "alice"
password = "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA""#;

    #[test]
    fn what_is_exported_reads_back_the_same() {
        let settings = read(EVERYTHING);
        let again = read(&settings.export());
        assert_eq!(diff(&settings, &again), []);
        check(&again.export(), &again.export().trim().replace("\n\n", "\n"));
        for key in [
            "tls = \"require\"",
            "preference = 10",
            "ehlo = ",
            "password = \"$argon2id",
            "\"127.0.0.53:5300\"",
            "hosts_file = \"\"",
        ] {
            assert!(again.export().contains(key), "{key}");
        }
    }

    #[test]
    fn of_aliases_those_that_differ_are_told() {
        let alias =
            |from: &str, to: &str| format!("[[alias]]\nfrom = \"{from}@corp.test\"\nto = [\"{to}@corp.test\"]\n");
        let old = read(&[alias("a", "x"), alias("b", "x"), alias("c", "x")].concat());
        let new = read(&[alias("a", "x"), alias("b", "y"), alias("d", "x")].concat());
        let paths = |from, to| diff(from, to).into_iter().map(|change| change.path).collect::<Vec<_>>();
        let of = |letter: &str, key: &str| format!("alias[{letter}@corp.test].{key}");
        assert_eq!(paths(&old, &new), [of("b", "to"), of("d", "from"), of("d", "to"), of("c", "from"), of("c", "to")]);
        assert_eq!(paths(&old, &old), [""; 0]);
    }

    #[test]
    fn changes_are_told_by_name_and_secrets_are_not() {
        let old = read(EVERYTHING);
        let new = read(
            &EVERYTHING
                .replace("connections = 5", "connections = 6")
                .replace("aGFzaA", "bmV1")
                .replace("\"mx.test\"", "\"other.test\""),
        );
        let found: Vec<String> = diff(&old, &new)
            .iter()
            .map(|change| {
                format!(
                    "{}: {} → {}",
                    change.path,
                    change.old.as_deref().unwrap_or("-"),
                    change.new.as_deref().unwrap_or("-")
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "listener.inbound.connections: 5 → 6",
                "domain[other.test].name: - → \"other.test\"",
                "domain[other.test].next_hops: - → \"mx\"",
                "domain[other.test].invalid_recipients: - → \"reject\"",
                "domain[other.test].verify_recipients: - → false",
                "user[alice].password: … → …",
                "domain[mx.test].name: \"mx.test\" → -",
                "domain[mx.test].next_hops: \"mx\" → -",
                "domain[mx.test].invalid_recipients: \"reject\" → -",
                "domain[mx.test].verify_recipients: false → -",
            ]
        );
        assert!(!format!("{old:?}").contains("aGFzaA"));
        let complaints = Settings::read("[[user]]\nname = \"alice\"\npassword = \"swordfish\"").unwrap_err();
        assert!(complaints.iter().all(|complaint| !complaint.to_string().contains("swordfish")));
    }

    #[test]
    fn the_reference_knows_every_key() {
        let reference = reference();
        let of = |path: &str| reference.iter().find(|doc| doc.path == path).unwrap();
        assert_eq!(
            (of("listener.inbound.connections").default.as_str(), of("listener.inbound.connections").range.as_str()),
            ("2000", "1 to 100000")
        );
        assert_eq!(of("domain[].name").default, "required");
        assert_eq!(of("delivery.source[].ehlo").default, "absent");
        assert!(reference.iter().all(|doc| !doc.doc.is_empty() && !doc.range.is_empty()));
        let mut paths: Vec<_> = reference.iter().map(|doc| &doc.path).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), reference.len());
    }

    #[test]
    fn subdomains_inherit_and_the_exact_name_wins() {
        let settings = read(
            "[route.local]\nnext_hops = \"mx\"\n[[domain]]\nname = \"corp.test\"\n[[domain]]\nname = \"a.corp.test\"\n[[domain]]\nname = \"bücher.test\"",
        );
        let local = |name: &str| settings.local_domain(&name.parse().unwrap()).map(|domain| domain.name.to_string());
        assert_eq!(local("corp.test").as_deref(), Some("corp.test"));
        assert_eq!(local("x.b.corp.test").as_deref(), Some("corp.test"));
        assert_eq!(local("x.a.corp.test").as_deref(), Some("a.corp.test"));
        assert_eq!(local("xn--bcher-kva.test").as_deref(), Some("bücher.test"));
        for other in ["test", "xcorp.test", "[192.0.2.1]", "corp.test.evil"] {
            assert_eq!(local(other), None, "{other}");
        }
    }
}
