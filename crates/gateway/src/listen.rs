//! Listeners: accept connections, count them, and give each a task.

use crate::core::Core;
use crate::receive;
use decide::accept::{ClientKey, Counts, client_key};
use mail::Listener;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// Connections that the kernel holds until we take them.
const BACKLOG: i32 = 1024;

/// How many connections there are, in all and by client.
#[derive(Debug, Default)]
pub(crate) struct Census {
    all: AtomicU32,
    by_client: Mutex<HashMap<ClientKey, u32>>,
}

/// Counted while it lives.
#[derive(Debug)]
pub(crate) struct Seat {
    census: Arc<Census>,
    key: ClientKey,
}

impl Census {
    /// Takes a seat; the counts are those without it.
    pub(crate) fn enter(self: &Arc<Census>, client: IpAddr) -> (Seat, Counts) {
        let key = client_key(client);
        let all = self.all.fetch_add(1, Ordering::Relaxed);
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_client.entry(key).or_default();
        let counts = Counts { all, from_address: *here };
        *here += 1;
        (Seat { census: self.clone(), key }, counts)
    }

    /// Open connections.
    pub(crate) fn count(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.all.fetch_sub(1, Ordering::Relaxed);
        let mut by_client = self.census.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_client.get_mut(&self.key) {
            *here -= 1;
            if *here == 0 {
                by_client.remove(&self.key);
            }
        }
    }
}

/// Binds an address; IPv6 sockets take IPv6 only, so that `0.0.0.0` and `::` can stand side by side.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves one listening socket until the gateway stops.
pub(crate) async fn serve(core: Arc<Core>, role: Listener, listener: TcpListener, census: Arc<Census>) {
    let mut stopping = core.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                tokio::spawn(receive::connection(core.clone(), role, socket, peer, census.clone()));
            }
            // Out of descriptors, mostly: an error that only time mends.
            Err(error) => {
                core.record(
                    core.ids.next(),
                    "alert",
                    serde_json::json!({ "what": format!("a connection could not be accepted: {error}") }),
                );
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}
