//! Run: starts everything in order, serves until told to stop, and stops without cutting a message.

use crate::accounts;
use crate::alarms;
use crate::clock::now;
use crate::core::Core;
use crate::door;
use crate::host::Host;
use crate::listen::{self, Census};
use crate::log::Log;
use crate::loops::{self, Guard};
use crate::queue::{Queue, Reason};
use crate::systemd::{self, Passed};
use crate::{identity, sandbox, scanners, sweep, tls, watch, web};
use decide::settings::{Settings, Tls};
use mail::Listener;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::{Limits, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long messages under way may take when the gateway stops.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How often a settings file is looked at.
const FOLLOW: Duration = Duration::from_secs(2);

/// Opens the store and the settings; what a command without a running gateway needs as well.
pub(crate) fn open(host: &Host, listening: Vec<SocketAddr>) -> Result<Arc<Core>, String> {
    std::fs::create_dir_all(&host.data)
        .map_err(|error| format!("cannot create the data folder {}: {error}", host.data.display()))?;
    let defaults = Settings::default();
    let from_file = host.settings_file.as_deref().map(read_file).transpose()?;
    let store = Store::open(&host.data, Limits::default()).map_err(|error| error.to_string())?;
    let log = Log::open(&host.data, &host.log)?;
    let current = store.settings_current().map_err(|error| format!("the settings cannot be read: {error}"))?;
    let (version, settings) = match (from_file, current) {
        (Some((text, settings)), current) => (version_of_file(&store, &text, current)?, settings),
        (None, Some(version)) => {
            let settings = Settings::read(&version.text).map_err(|complaints| {
                format!("settings version {} no longer fits:\n{}", version.number, door::complain(&complaints))
            })?;
            (i64::try_from(version.number).unwrap_or(i64::MAX), settings)
        }
        (None, None) => (0, defaults),
    };
    let loops = Guard::new(loops::key(&host.data)?);
    Ok(Core::new(store, log, loops, host.scanner, listening, version, settings, tls::client()?))
}

fn read_file(path: &Path) -> Result<(String, Settings), String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read settings_file {}: {error}", path.display()))?;
    let settings =
        Settings::read(&text).map_err(|complaints| format!("{}:\n{}", path.display(), door::complain(&complaints)))?;
    Ok((text, settings))
}

/// A file's text becomes a version when it differs from the last one.
fn version_of_file(store: &Store, text: &str, current: Option<store::Version>) -> Result<i64, String> {
    let number = match current.filter(|version| version.text == text) {
        Some(version) => version.number,
        None => store
            .settings_put(text, "settings_file", "", now())
            .map_err(|error| format!("the settings version could not be stored: {error}"))?,
    };
    Ok(i64::try_from(number).unwrap_or(i64::MAX))
}

/// `gatepost run`: returns when the gateway has stopped.
pub(crate) async fn run(host: Host, passed: Passed) -> Result<(), String> {
    let mut sockets = Vec::new();
    for (role, socket) in passed.mail {
        let socket = TcpListener::from_std(socket).map_err(|error| format!("{}: {error}", role.name()))?;
        sockets.push((role, socket));
    }
    for (role, addresses) in [
        (Listener::Inbound, &host.listen.inbound),
        (Listener::Outbound, &host.listen.outbound),
        (Listener::Submission, &host.listen.submission),
    ] {
        if !addresses.is_empty() && sockets.iter().any(|(given, _)| *given == role) {
            return Err(twice(role.name()));
        }
        for address in addresses {
            let socket = listen::bind(*address).map_err(|error| {
                format!("cannot listen on {address} ({}): {error}{}", role.name(), hint(*address, &error))
            })?;
            sockets.push((role, socket));
        }
    }
    if sockets.is_empty() {
        return Err(
            "gatepost.toml names no address to listen on, and systemd passed no socket: set [listen] inbound, outbound or submission"
                .to_owned()
        );
    }
    let listening: Vec<SocketAddr> = sockets.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect();
    let core = open(&host, listening)?;
    core.open_doors(sockets.iter().filter_map(|(role, socket)| Some((*role, socket.local_addr().ok()?))).collect());
    if let Some(file) = &host.settings_file {
        // It is set here only, once.
        let _ = core.settings_file.set(file.clone());
    }
    let cycles = core.in_force().settings.loops(&core.in_force().identity);
    if !cycles.is_empty() {
        return Err(format!("the settings lead mail back to this gateway:\n{}", door::complain(&cycles)));
    }
    for role in sockets.iter().map(|(role, _)| *role).collect::<HashSet<_>>() {
        certificate(&core, role)?;
    }
    door::serve(core.clone(), &host.socket())
        .await
        .map_err(|error| format!("cannot open {}: {error}", host.socket().display()))?;
    let control = match (passed.control, host.control.listen) {
        (Some(_), Some(_)) => return Err(twice("control")),
        (Some(socket), None) => TcpListener::from_std(socket),
        (None, _) => listen::bind(host.control.address()),
    };
    let control = control.map_err(|error| format!("cannot listen on {} (control): {error}", host.control.address()))?;
    web::serve(core.clone(), control, host.control.clone())?;
    for alert in core.store.alerts() {
        core.record(core.ids.next(), "alert", serde_json::json!({ "what": alert.what }));
    }
    core.queue.reload(&core, Reason::TryAgain).map_err(|error| format!("the queue cannot be read: {error}"))?;
    let mut censuses: HashMap<Listener, Arc<Census>> = HashMap::new();
    say_where(&core, &host, &sockets).await;
    confined(&core);
    tokio::spawn(Queue::run(core.clone()));
    tokio::spawn(sweep::run(core.clone()));
    tokio::spawn(watch::run(core.clone()));
    tokio::spawn(identity::run(core.clone()));
    tokio::spawn(alarms::run(core.clone()));
    tokio::spawn(scanners::run(core.clone()));
    if let Some(file) = host.settings_file.clone() {
        tokio::spawn(follow(core.clone(), file));
    }
    for (role, socket) in sockets {
        let census = censuses.entry(role).or_default().clone();
        tokio::spawn(listen::serve(core.clone(), role, socket, census));
    }
    tokio::spawn(systemd::watchdog());
    systemd::notify(&format!("READY=1\nSTATUS=Listening on {} addresses", core.listening.len()));
    until_told(&core).await?;
    systemd::notify("STOPPING=1\nSTATUS=Messages under way come to their end");
    stop(&core, &censuses).await;
    let _ = std::fs::remove_file(host.socket());
    Ok(())
}

/// A listener that demands STARTTLS must be able to keep its word. One that only offers it takes mail without: worse than an
/// encrypted line is none at all.
fn certificate(core: &Core, role: Listener) -> Result<(), String> {
    let in_force = core.in_force();
    let Some(door) = in_force.settings.door(role).filter(|door| door.tls != Tls::Off) else { return Ok(()) };
    let Err(error) = core.certificates.server(door, in_force.hostname.as_str()) else { return Ok(()) };
    let name = format!("listener.{}", role.name());
    if door.tls != Tls::Offer {
        return Err(format!("{name}: {error}"));
    }
    let finding = decide::diagnose::own_tls_not_ready(&name, &error);
    let id = core.ids.next();
    core.record(id, "alert", serde_json::json!({ "what": finding.sentence, "finding": finding }));
    core.around.trouble(id, &[name], Vec::new(), &finding);
    eprintln!("gatepost: {finding}");
    Ok(())
}

fn hint(address: SocketAddr, error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            ". Ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a high port to try it out"
        }
        std::io::ErrorKind::AddrInUse => ". Another program listens there; stop it or choose another address",
        _ => "",
    }
}

/// A listener has one place where its addresses stand.
fn twice(name: &str) -> String {
    format!(
        "{name} is given twice: in gatepost.toml and by systemd (a socket unit with FileDescriptorName={name}); take it out of one of them"
    )
}

/// Into the log: how far this process is confined, and whether it is root.
fn confined(core: &Core) {
    let mut said: Vec<String> = sandbox::state().map(|state| format!("sandbox {state}")).into_iter().collect();
    if rustix::process::geteuid().is_root() {
        let what = "runs as root; give it a user of its own, and to listen on ports below 1024 CAP_NET_BIND_SERVICE or sockets of systemd";
        said.push(what.to_owned());
    }
    for what in said {
        core.record(core.ids.next(), "sandbox", serde_json::json!({ "what": what }));
    }
}

async fn say_where(core: &Arc<Core>, host: &Host, sockets: &[(Listener, TcpListener)]) {
    let in_force = core.in_force();
    println!(
        "gatepost {} runs as {} (settings version {})",
        env!("CARGO_PKG_VERSION"),
        in_force.hostname,
        in_force.version
    );
    for (role, socket) in sockets {
        if let Ok(address) = socket.local_addr() {
            println!("  {:<10} smtp://{address}", role.name());
        }
    }
    if let Some(base) = core.accounts.address.get() {
        println!("  pages      {base}/\n  health     {base}/healthz\n  metrics    {base}/metrics");
    }
    println!("  data       {}", host.data.display());
    if host.log.file != "-" {
        println!("  log        {}", host.data.join(&host.log.file).display());
    }
    if let (Some(base), Some(path)) = (core.accounts.address.get(), accounts::first_path(core).await) {
        println!("No administrator yet. Make the first one, in a browser:\n  {base}{path}");
    }
    let to = in_force
        .settings
        .domains
        .iter()
        .next()
        .map_or_else(|| "user@example.test".to_owned(), |domain| format!("user@{}", domain.name));
    if let Some(first) = sockets.first().and_then(|(_, socket)| socket.local_addr().ok()) {
        println!(
            "Try it: swaks --server {first} --from you@example.test --to {to}\nLook:   gatepost queue list · gatepost audit search {to}"
        );
    }
}

/// SIGTERM and SIGINT stop; SIGHUP only wakes, since files are watched anyway.
async fn until_told(core: &Core) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| error.to_string());
    let (mut term, mut int, mut hup) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = hup.recv() => core.resolver.forget(),
        }
    }
}

/// Lets messages under way come to their end, in both directions, within a bound.
async fn stop(core: &Arc<Core>, censuses: &HashMap<Listener, Arc<Census>>) {
    core.stopping.send_replace(true);
    let waited = tokio::time::timeout(DRAIN_MAX, async {
        while censuses.values().any(|census| census.count() > 0) || core.queue.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    if waited.await.is_err() {
        eprintln!(
            "gatepost: connections were still open after {} s and were cut; no acknowledged message is lost by that",
            DRAIN_MAX.as_secs()
        );
    }
}

/// Follows a settings file; a version that is no good is told once and the running one stays.
async fn follow(core: Arc<Core>, file: PathBuf) {
    let changed = |file: &Path| -> Option<SystemTime> { std::fs::metadata(file).ok()?.modified().ok() };
    let mut seen = changed(&file);
    loop {
        tokio::time::sleep(FOLLOW).await;
        let now_changed = changed(&file);
        if now_changed == seen {
            continue;
        }
        seen = now_changed;
        let applied = match std::fs::read_to_string(&file) {
            Ok(text) => door::apply(&core, &text, "settings_file", "", None).await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = applied {
            let what = format!("{} is not applied, the running version stays: {error}", file.display());
            core.record(core.ids.next(), "alert", serde_json::json!({ "what": what }));
            eprintln!("gatepost: {what}");
        }
    }
}
