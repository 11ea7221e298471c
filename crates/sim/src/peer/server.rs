//! A running peer: its listener, its connections and what they brought.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

use super::{
    Received, Script,
    act::Act,
    blackhole::BlackHole,
    certificate, relay,
    script::{Presence, Situation, Tls},
    session::Session,
};

/// A transcript keeps this many lines: enough for any scenario, and a bound for a runaway one.
const TRANSCRIPT_MAX: usize = 20_000;

/// A running peer. It stops when it is dropped.
#[derive(Debug)]
pub struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
    records: Arc<Records>,
    task: Option<JoinHandle<()>>,
    _black_hole: Option<BlackHole>,
}

/// What outlives a change of the script.
#[derive(Debug, Default)]
pub(super) struct Records {
    received: Mutex<Vec<Received>>,
    transcript: Mutex<Vec<String>>,
    connections: AtomicUsize,
    relayed: AtomicUsize,
    arrived: Notify,
}

/// What all connections of one script share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    pub(super) hostname: String,
    pub(super) script: Script,
    pub(super) tls: Option<(Arc<ServerConfig>, CertificateDer<'static>)>,
    pub(super) records: Arc<Records>,
    open: AtomicUsize,
    /// How often each rule's conditions held.
    counts: Mutex<Vec<u32>>,
}

impl Peer {
    /// Starts a peer at an address; port 0 takes a free one.
    pub async fn start(address: SocketAddr, script: Script) -> io::Result<Self> {
        Self::start_with(address, script, Arc::new(Records::default())).await
    }

    /// Takes up another script; connections end, what was received stays, numbers start again at 1.
    pub async fn replace(&mut self, script: Script) -> io::Result<()> {
        if let Some(task) = self.task.take() {
            task.abort();
            // The listener is gone only when the task is.
            let _ = task.await;
        }
        self._black_hole = None;
        *self = Self::start_with(self.address, script, Arc::clone(&self.records)).await?;
        Ok(())
    }

    async fn start_with(address: SocketAddr, script: Script, records: Arc<Records>) -> io::Result<Self> {
        let (listener, black_hole, address) = match script.presence {
            Presence::Listens => {
                let listener = listen(address)?;
                let address = listener.local_addr()?;
                (Some(listener), None, address)
            }
            // Taken and let go, so that a foreign listener at this address is noticed.
            Presence::Refuses => (None, None, listen(address)?.local_addr()?),
            Presence::BlackHole => {
                let (hole, address) = BlackHole::open(address).await?;
                (None, Some(hole), address)
            }
        };
        let shared = Arc::new(Shared::new(address, script, Arc::clone(&records))?);
        let task = listener.map(|listener| tokio::spawn(serve(listener, Arc::clone(&shared))));
        Ok(Self { address, shared, records, task, _black_hole: black_hole })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything accepted so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.records.received).clone()
    }

    /// How many connections there were, refused ones (`connections N`) included.
    pub fn connections(&self) -> usize {
        self.records.connections.load(Ordering::SeqCst)
    }

    /// What was said: lines `1 C: EHLO x` and `1 S: 250 ok`, with the number of the connection; content is left out.
    pub fn transcript(&self) -> Vec<String> {
        lock(&self.records.transcript).clone()
    }

    /// The certificate that STARTTLS shows, if it is offered.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.shared.tls.as_ref().map(|(_, certificate)| certificate.clone())
    }

    /// Waits until at least `count` messages have been accepted; false if they have not within this time.
    pub async fn wait_received(&self, count: usize, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let arrived = self.records.arrived.notified();
            if lock(&self.records.received).len() >= count {
                return true;
            }
            if timeout_at(deadline, arrived).await.is_err() {
                return false;
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Shared {
    fn new(address: SocketAddr, script: Script, records: Arc<Records>) -> io::Result<Self> {
        let hostname = script.hostname.clone().unwrap_or_else(|| name_for(address.ip()));
        let tls = match script.tls {
            Tls::Absent => None,
            _ => Some(certificate::make(&hostname, &script.certificate).map_err(io::Error::other)?),
        };
        let counts = Mutex::new(vec![0; script.rules.len()]);
        Ok(Self { address, hostname, script, tls, records, open: AtomicUsize::new(0), counts })
    }

    /// The first line that fits decides; each counts for itself how often its conditions held.
    pub(super) fn act(&self, situation: &Situation) -> Act {
        let mut counts = lock(&self.counts);
        let mut chosen = None;
        for (rule, count) in self.script.rules.iter().zip(counts.iter_mut()) {
            if rule.concerns(situation) {
                *count += 1;
                if chosen.is_none() && rule.when.fits(*count) {
                    chosen = Some(rule.act.clone());
                }
            }
        }
        chosen.unwrap_or(Act::USUAL)
    }

    /// Keeps an accepted message, and sends it on if the script says so.
    pub(super) fn keep(self: &Arc<Self>, message: Received) {
        lock(&self.records.received).push(message.clone());
        self.records.arrived.notify_waiters();
        let number = self.records.relayed.fetch_add(1, Ordering::SeqCst);
        if self.script.relays.is_empty() || number >= relay::RELAYED_MAX {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            for line in &shared.script.relays {
                let outcome = relay::send_on(line, &message, shared.address, &shared.hostname, number).await;
                let told = match outcome {
                    Ok(None) => continue,
                    Ok(Some(reply)) => reply,
                    Err(error) => error.to_string(),
                };
                shared.records.said(message.connection, &format!("-- sent on to {}: {told}", line.to));
            }
        });
    }
}

impl Records {
    /// A line of the transcript.
    pub(super) fn said(&self, connection: usize, line: &str) {
        let mut transcript = lock(&self.transcript);
        if transcript.len() < TRANSCRIPT_MAX {
            transcript.push(format!("{connection} {line}"));
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    loop {
        let Ok((stream, source)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while sessions.try_join_next().is_some() {}
        sessions.spawn(converse(stream, source, Arc::clone(&shared)));
    }
}

async fn converse(stream: TcpStream, source: SocketAddr, shared: Arc<Shared>) {
    let connection = shared.records.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    let full = shared.script.connections_max.is_some_and(|max| open > max);
    let outcome = Session::new(stream, source, connection, Arc::clone(&shared)).run(full).await;
    shared.open.fetch_sub(1, Ordering::SeqCst);
    let end = outcome.map_or_else(|error| format!("-- {error}"), |()| "-- end".to_owned());
    shared.records.said(connection, &end);
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A scenario may follow another at once: connections of the last one still lie in TIME-WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// What a peer calls itself if nobody names it: `peer-127-0-0-11.test`.
pub(crate) fn name_for(address: IpAddr) -> String {
    format!("peer-{}.test", address.to_string().replace(['.', ':'], "-"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
