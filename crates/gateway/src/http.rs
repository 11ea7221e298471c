//! HTTP as a client: one question on one connection, to a webhook or to another Scanner. It says how far it came.

use crate::certificate;
use crate::clock::now;
use crate::core::Core;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Uri};
use control::{Contact, Stage, Trouble, Went};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;
/// For each of them.
const CONNECT_MAX: Duration = Duration::from_millis(1500);

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the Host field says it.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Place {
    pub(crate) fn read(url: &str) -> Result<Place, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("the address has no host")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the address begins with neither https:// nor http://".to_owned()),
        };
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        if authority.contains('@') {
            return Err("the address holds a name or password before the @: leave it out".to_owned());
        }
        Ok(Place {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// What a connection may lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// Authorities that this machine knows vouch for the certificate.
    Authorities,
    /// The certificate has this SHA-256, in hex.
    Pin(&'a str),
    /// Whatever it shows: only to look at it.
    Look,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn trouble(stage: Stage, what: impl Into<String>, fix: &str) -> Trouble {
    Trouble { stage, what: what.into(), fix: fix.to_owned() }
}

/// Connects, and has a certificate that is believed before anything is said. `way` is told each stage that went well.
/// Without TLS, only on this machine if `plain_here`.
pub(crate) async fn open(
    core: &Core,
    place: &Place,
    trust: Trust<'_>,
    plain_here: bool,
    way: &mut Contact,
) -> Result<Box<dyn Stream>, Trouble> {
    let host = &place.host;
    let found = lookup_host((host.as_str(), place.port)).await.map_err(|error| {
        trouble(Stage::Name, format!("{host} has no address: {error}"), "Correct the name, or enter it in DNS.")
    })?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(trouble(Stage::Name, format!("{host} has no address"), "Correct the name, or enter it in DNS."));
    }
    let all = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    if !place.tls && plain_here && addresses.iter().any(|address| !address.ip().to_canonical().is_loopback()) {
        let what = format!("{host} ({all}) is not on this machine, and http:// would show the token to the network");
        return Err(trouble(Stage::Address, what, "Write https://."));
    }
    way.went.push(Went { stage: Stage::Name, said: all });
    let (socket, address) = connect(&addresses).await?;
    way.went.push(Went { stage: Stage::Connect, said: address.to_string() });
    if !place.tls {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(host.clone()).map_err(|error| {
        trouble(Stage::Certificate, format!("{host} is no name for TLS: {error}"), "Correct the name.")
    })?;
    // Whom it belongs to is looked at below, before a word is said.
    let stream = TlsConnector::from(core.client_tls.clone()).connect(name.clone(), socket).await.map_err(|error| {
        trouble(
            Stage::Certificate,
            format!("{address} does not speak TLS as it should: {error}"),
            "Is that the port of its Control Center, and does that speak TLS (control.certificate, or any address but loopback)?",
        )
    })?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    believe(core, &chain, &name, trust, way)?;
    Ok(Box::new(stream))
}

async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Trouble> {
    let mut failures = Vec::new();
    for address in addresses {
        let error = match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok((socket, *address)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:.1} s", CONNECT_MAX.as_secs_f32()),
        };
        failures.push(format!("{address}: {error}"));
    }
    let fix = "Is the gateway running there, does its control.listen name that address and port, does a firewall stand between?";
    Err(trouble(Stage::Connect, failures.join("; "), fix))
}

fn believe(
    core: &Core,
    chain: &[CertificateDer<'static>],
    name: &ServerName<'_>,
    trust: Trust<'_>,
    way: &mut Contact,
) -> Result<(), Trouble> {
    let facts = core.trust.judge(None, chain, name, now());
    let shown = chain.first().map(|first| certificate::fingerprint(first)).unwrap_or_default();
    way.vouched = facts.problems.is_empty();
    way.fingerprint = Some(shown.clone());
    match trust {
        Trust::Pin(pin) if pin != shown => {
            let what = format!(
                "it shows another certificate than the one that was confirmed: SHA-256 {shown} instead of {pin}"
            );
            let fix = "If its certificate was changed, compare the new fingerprint on that Scanner and confirm it here. If not, somebody stands between.";
            return Err(trouble(Stage::Certificate, what, fix));
        }
        Trust::Authorities if !way.vouched => {
            let why = certificate::words(&facts, &name.to_str(), now()).unwrap_or_default();
            let fix = "Give it a certificate of an authority that this machine knows, or confirm this certificate by its fingerprint.";
            return Err(trouble(Stage::Certificate, format!("the certificate is not believed: {why}"), fix));
        }
        _ => {}
    }
    let how = match trust {
        Trust::Pin(_) => "the one that was confirmed",
        _ if way.vouched => "vouched for by an authority that this machine knows",
        _ => "nobody vouches for it",
    };
    way.went.push(Went { stage: Stage::Certificate, said: how.to_owned() });
    Ok(())
}

/// Says the request; gives code and body, of at most so many octets; with 0 the body is not waited for. Redirects lead nowhere.
pub(crate) async fn say(stream: Box<dyn Stream>, request: Request<Body>, max: usize) -> Result<(u16, Vec<u8>), String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driving = Driving(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let code = answer.status().as_u16();
    if max == 0 {
        return Ok((code, Vec::new()));
    }
    let body = to_bytes(Body::new(answer.into_body()), max).await;
    drop(driving);
    Ok((
        code,
        body.map_err(|error| format!("its answer cannot be read ({error}), or has more than {max} octets"))?.to_vec(),
    ))
}

/// A connection ends with its question, however that ends.
struct Driving<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Driving<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let place = Place::read("https://[2001:db8::1]:8443/a?b=c").unwrap();
        assert_eq!(
            (place.tls, place.host.as_str(), place.port, place.path.as_str()),
            (true, "2001:db8::1", 8443, "/a?b=c")
        );
        assert_eq!(Place::read("http://gw.test").unwrap().port, 80);
        for wrong in ["", "gw.test", "ftp://gw.test", "https://", "https://ann:secret@gw.test"] {
            assert!(Place::read(wrong).is_err(), "{wrong}");
        }
    }
}
