//! Web: where browsers connect to the Control Center: TLS, and bounds for who is slow or comes too often.

use crate::core::Core;
use crate::host;
use crate::listen::{Census, Seat};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use control::Peer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Connections at once, and of one address: a browser opens six, and each live page holds one.
const CONNECTIONS_MAX: u32 = 512;
const CONNECTIONS_MAX_ADDRESS: u32 = 64;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// For the head of a request; also how long an idle connection is kept.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Octets of a head.
const HEAD_LENGTH_MAX: usize = 64 << 10;
/// For the body of a request and the beginning of its answer; a diagnosis makes test connections meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(180);

/// Serves until the gateway stops.
pub(crate) fn serve(core: Arc<Core>, listener: TcpListener, control: host::Control) -> Result<(), String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let tls = control.wants_tls(address);
    if tls {
        certificate(&core, &control).map_err(|error| format!("control: {error}"))?;
    } else if !address.ip().to_canonical().is_loopback() {
        eprintln!(
            "gatepost: {address} (control) speaks plain HTTP, as plain_http in gatepost.toml says: whoever sees the network sees passwords"
        );
    }
    // Set once: a gateway opens its control address once.
    let _ = core.accounts.address.set(base(&core, address, tls));
    let _ = core.accounts.control.set((control.clone(), tls));
    tokio::spawn(accept(core, listener, tls.then_some(control)));
    Ok(())
}

/// What to type into a browser.
fn base(core: &Core, address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    match address.ip().is_unspecified() {
        true => format!("{scheme}://{}:{}", core.in_force().hostname, address.port()),
        false => format!("{scheme}://{address}"),
    }
}

/// The configuration of this moment: a certificate file that changed is read again.
fn certificate(core: &Core, control: &host::Control) -> Result<TlsAcceptor, String> {
    let hostname = core.in_force().hostname.to_string();
    core.certificates.of(&control.certificate, &control.key, &hostname).map(TlsAcceptor::from)
}

async fn accept(core: Arc<Core>, listener: TcpListener, tls: Option<host::Control>) {
    let (router, census) = (control::router(crate::view::center(&core)), Arc::new(Census::default()));
    let mut stopping = core.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let Ok((socket, peer)) = accepted else {
            // Out of descriptors, mostly: an error that only time mends.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let (seat, counts) = census.enter(peer.ip());
        if counts.all >= CONNECTIONS_MAX || counts.from_address >= CONNECTIONS_MAX_ADDRESS {
            continue;
        }
        let acceptor = tls.as_ref().map(|control| certificate(&core, control)).transpose();
        // One that worked at the start stays in use, so this does not fail.
        let Ok(acceptor) = acceptor else { continue };
        tokio::spawn(connection(router.clone(), socket, peer, acceptor, seat));
    }
}

async fn connection(router: Router, socket: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, _seat: Seat) {
    let peer = Peer { address: peer.ip().to_canonical(), tls: tls.is_some() };
    match tls {
        None => talk(router, socket, peer).await,
        Some(acceptor) => {
            if let Ok(Ok(socket)) = timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
                talk(router, socket, peer).await;
            }
        }
    }
}

async fn talk(router: Router, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answering = timeout(ANSWER_MAX, router.clone().oneshot(request));
        async move {
            Ok::<_, Infallible>(match answering.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => late(),
            })
        }
    });
    // An error is a browser that went away.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_LENGTH_MAX)
        .serve_connection(TokioIo::new(socket), answer)
        .await;
}

fn late() -> Response<Body> {
    let mut response = Response::new(Body::from("This took too long and was given up.\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
