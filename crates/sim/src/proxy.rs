//! TCP forwarders between the gateway and a peer: a NAT, a load balancer, a throttled or a broken path.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{JoinHandle, JoinSet},
};

/// A small window, so that what a black hole swallows stays unacknowledged at the sender.
const NARROW: u32 = 4096;
/// One read.
const CHUNK: usize = 65_536;

/// How a proxy treats what passes.
#[derive(Debug, Clone, Default)]
pub struct Path {
    /// The address from which it connects onwards; the system's choice, if none.
    pub source: Option<IpAddr>,
    /// Octets a second, in each direction; 0 is no limit.
    pub rate: usize,
    /// Before each piece of what the client says goes on.
    pub delay: Duration,
    /// After one burst of the client of more octets than this, nothing of it goes on any more: a path-MTU black hole.
    /// 0 is no limit.
    pub swallow_over: usize,
}

/// A running forwarder. It stops when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens at `address` and forwards each connection `to` there.
    pub async fn start(address: SocketAddr, to: SocketAddr, path: Path) -> io::Result<Self> {
        let socket = socket(address)?;
        socket.set_reuseaddr(true)?;
        if path.swallow_over > 0 {
            socket.set_recv_buffer_size(NARROW)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, to, Arc::new(path), Arc::clone(&connections)));
        Ok(Self { address, connections, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, path: Arc<Path>, connections: Arc<AtomicUsize>) {
    let mut running = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        connections.fetch_add(1, Ordering::SeqCst);
        while running.try_join_next().is_some() {}
        running.spawn(forward(stream, to, Arc::clone(&path)));
    }
}

/// Both directions until both have ended. If there is nobody behind, the client's connection is closed.
async fn forward(client: TcpStream, to: SocketAddr, path: Arc<Path>) -> io::Result<()> {
    let socket = socket(to)?;
    if let Some(source) = path.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let server = socket.connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = pass(from_client, to_server, path.rate, path.delay, path.swallow_over);
    let back = pass(from_server, to_client, path.rate, Duration::ZERO, 0);
    let (there, back) = tokio::join!(there, back);
    there.and(back)
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    rate: usize,
    delay: Duration,
    swallow_over: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = from.read(&mut buffer).await?;
        if size == 0 {
            return to.shutdown().await;
        }
        if swallow_over > 0 && size > swallow_over {
            // Not reading on leaves what follows in the sender's queue, as a lost packet does.
            return std::future::pending().await;
        }
        tokio::time::sleep(delay).await;
        if rate == 0 {
            to.write_all(&buffer[..size]).await?;
            continue;
        }
        for piece in buffer[..size].chunks((rate / 10).max(1)) {
            to.write_all(piece).await?;
            let share_ms = piece.len() * 1000 / rate;
            tokio::time::sleep(Duration::from_millis(u64::try_from(share_ms).unwrap_or(u64::MAX))).await;
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}
