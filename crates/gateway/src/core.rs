//! Core: what every task of the running gateway shares.

use crate::accounts::Accounts;
use crate::around::Around;
use crate::clock::{Ids, now};
use crate::greylist::Greylist;
use crate::identity::Desk;
use crate::lists::Lists;
use crate::log::Log;
use crate::loops::Guard;
use crate::metrics::Metrics;
use crate::probe::Probes;
use crate::queue::Queue;
use crate::resolve::{Resolver, Servers};
use crate::scanners::Book;
use crate::tls::{Certificates, Trust};
use crate::verify::Verifier;
use decide::settings::Settings;
use mail::{Address, AuditId, Domain, Identity, Listener, Scanner, Time};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use store::{Event, Store};
use tokio::sync::watch;

/// One version of the settings in force, with what follows from it.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) version: i64,
    pub(crate) settings: Arc<Settings>,
    /// MTA host name.
    pub(crate) hostname: Domain,
    pub(crate) postmaster: Address,
    pub(crate) identity: Identity,
    pub(crate) dns: Servers,
}

pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) accounts: Accounts,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) ids: Ids,
    pub(crate) resolver: Resolver,
    pub(crate) probes: Probes,
    pub(crate) certificates: Certificates,
    pub(crate) trust: Trust,
    pub(crate) client_tls: Arc<rustls::ClientConfig>,
    pub(crate) queue: Queue,
    pub(crate) loops: Guard,
    pub(crate) around: Around,
    pub(crate) lists: Lists,
    /// Since when the content scanner fails.
    pub(crate) scanner_fails: Mutex<Option<Time>>,
    pub(crate) verifier: Verifier,
    pub(crate) greylist: Greylist,
    /// The other gateways of this Control Center.
    pub(crate) scanners: Book,
    pub(crate) listening: Vec<SocketAddr>,
    doors: OnceLock<Vec<(Listener, SocketAddr)>>,
    /// What the gateway looks like from outside.
    pub(crate) desk: Desk,
    in_force: RwLock<Arc<InForce>>,
    /// Held by whoever is making the next `in_force`: an older look at the addresses must not replace a newer one.
    renewing: Mutex<()>,
    /// Held by whoever makes the next version: two at a time would each think that they follow the same one.
    pub(crate) applying: Mutex<()>,
    /// The file that owns the settings, if one does.
    pub(crate) settings_file: OnceLock<PathBuf>,
    /// Turns true once: stop.
    pub(crate) stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "all that a gateway is made of")]
    pub(crate) fn new(
        store: Store,
        log: Log,
        loops: Guard,
        scanner: u8,
        listening: Vec<SocketAddr>,
        version: i64,
        settings: Settings,
        client_tls: Arc<rustls::ClientConfig>,
    ) -> Arc<Core> {
        store.keep_free(settings.queue.disk_reserve);
        let ids = Ids::new(scanner, store.last_audit_id());
        let resolver = Resolver::default();
        // Without its memory it asks strangers to wait once more.
        let greylist = Greylist::open(&store, now()).unwrap_or_default();
        let accounts = Accounts::open(&store, now());
        let (scanners, certificates) = (Book::open(&store), Certificates::default());
        certificates.keep_in(store.folder());
        let in_force =
            RwLock::new(Arc::new(in_force(version, Arc::new(settings), &listening, loops.learned(), &resolver)));
        Arc::new(Core {
            store,
            accounts,
            log,
            metrics: Metrics::default(),
            ids,
            resolver,
            probes: Probes::default(),
            certificates,
            trust: Trust::default(),
            client_tls,
            queue: Queue::default(),
            loops,
            around: Around::default(),
            lists: Lists::default(),
            scanner_fails: Mutex::default(),
            verifier: Verifier::default(),
            greylist,
            scanners,
            listening,
            doors: OnceLock::new(),
            desk: Desk::default(),
            in_force,
            renewing: Mutex::default(),
            applying: Mutex::default(),
            settings_file: OnceLock::new(),
            stopping: watch::Sender::new(false),
        })
    }

    /// The settings of this moment; a task keeps them for one message at most.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What these settings would make of the gateway.
    pub(crate) fn would_be(&self, settings: Arc<Settings>) -> InForce {
        in_force(0, settings, &self.listening, self.loops.learned(), &self.resolver)
    }

    /// Puts another version in force, for all that begins from now on.
    pub(crate) fn put_in_force(&self, version: i64, settings: Settings) {
        self.store.keep_free(settings.queue.disk_reserve);
        let _one_at_a_time = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let next =
            Arc::new(in_force(version, Arc::new(settings), &self.listening, self.loops.learned(), &self.resolver));
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.resolver.forget();
        self.verifier.forget();
        self.desk.is_due();
    }

    /// Where SMTP is spoken; said once, when all listeners are there.
    pub(crate) fn open_doors(&self, doors: Vec<(Listener, SocketAddr)>) {
        let _ = self.doors.set(doors);
    }

    /// Where SMTP is spoken; empty in a command without a running gateway.
    pub(crate) fn doors(&self) -> &[(Listener, SocketAddr)] {
        self.doors.get().map_or(&[], Vec::as_slice)
    }

    /// Looks again at what this gateway is: its addresses change while it runs, and it meets itself behind others. Whether
    /// anything is new.
    pub(crate) fn renew_identity(&self) -> bool {
        let _one_at_a_time = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.in_force();
        let settings = before.settings.clone();
        let next = in_force(before.version, settings, &self.listening, self.loops.learned(), &self.resolver);
        let is_new = next.identity != before.identity || next.hostname != before.hostname;
        if is_new {
            *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        }
        is_new
    }

    /// An event, written to the log; the caller hands it to the store with the change that it belongs to.
    pub(crate) fn event(&self, id: AuditId, kind: &str, fields: Value) -> Event {
        let event = Event { id, at: now(), kind: kind.to_owned(), fields };
        self.log.write(&event);
        event
    }

    /// An event that belongs to no change of the spool.
    pub(crate) fn record(&self, id: AuditId, kind: &str, fields: Value) {
        let event = self.event(id, kind, fields);
        self.store.record(vec![event]);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

fn in_force(
    version: i64,
    settings: Arc<Settings>,
    listening: &[SocketAddr],
    learned: Vec<SocketAddr>,
    resolver: &Resolver,
) -> InForce {
    let hostname = settings.hostname.clone().unwrap_or_else(machine_name);
    let postmaster = settings.postmaster(&hostname).unwrap_or_else(|| postmaster_at(&hostname));
    let identity = identity(&settings, &hostname, listening, learned, resolver);
    InForce { version, hostname, postmaster, identity, dns: Servers::of(&settings.dns), settings }
}

fn identity(
    settings: &Settings,
    hostname: &Domain,
    listening: &[SocketAddr],
    learned: Vec<SocketAddr>,
    resolver: &Resolver,
) -> Identity {
    let mut names = vec![hostname.clone()];
    names.extend(settings.delivery.sources.iter().filter_map(|source| source.ehlo.clone()));
    let interfaces = interface_addresses();
    let mut addresses = interfaces.clone();
    addresses.extend(&settings.public_addresses);
    addresses.extend(settings.delivery.sources.iter().map(|source| source.address));
    addresses.extend(listening.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified()));
    let mut scanners = Vec::new();
    for other in settings.scanners.iter() {
        // All Scanners may have one list, with themselves in it.
        if other.name.ascii() == hostname.ascii() || other.addresses.iter().any(|theirs| interfaces.contains(theirs)) {
            addresses.extend(&other.addresses);
        } else {
            scanners.push(Scanner { name: other.name.clone(), addresses: other.addresses.clone() });
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    let named = settings.dns.hosts_file.as_ref().map(|file| {
        resolver.names_of(file, |address| address.is_loopback() || addresses.contains(&address.to_canonical()))
    });
    // Every machine has those of its loopback interface.
    let is_own = |name: &String| !(name.contains("localhost") || name.ends_with("loopback"));
    let hosts_file = named.into_iter().flatten().filter(is_own).filter_map(|name| name.parse().ok()).collect();
    Identity { names, addresses, scanners, listening: listening.to_vec(), hosts_file, learned }
}

/// The machine's own name, for a gateway whose MTA host name is not set.
pub(crate) fn machine_name() -> Domain {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().parse().or_else(|_| "localhost".parse()).unwrap_or_else(|_| unreachable_name())
}

fn unreachable_name() -> Domain {
    "gatepost.invalid".parse().expect("a constant name is a domain")
}

fn postmaster_at(hostname: &Domain) -> Address {
    Address::new("postmaster", hostname.clone()).expect("postmaster is a local part")
}

/// Addresses of all interfaces, from the kernel's tables: IPv4 local routes and IPv6 interface addresses. Loopback's own
/// 127.0.0.1 and ::1 are left out: another program may well listen there.
fn interface_addresses() -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    for line in v6.lines() {
        let hex = line.split(' ').next().unwrap_or_default();
        if let Ok(bits) = u128::from_str_radix(hex, 16) {
            addresses.push(IpAddr::V6(bits.into()));
        }
    }
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut before = "";
    for line in v4.lines() {
        if line.contains("/32 host LOCAL") {
            let address = before.rsplit(' ').next().unwrap_or_default();
            addresses.extend(address.parse::<IpAddr>().ok());
        }
        before = line;
    }
    addresses.retain(|address| !address.is_loopback());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
