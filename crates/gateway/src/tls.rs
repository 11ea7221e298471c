//! TLS on both sides: listeners' certificates, reloaded when their file changes, and opportunistic TLS to peers.

use crate::certificate;
use crate::stream::{Tap, Tapped};
use decide::settings::Door;
use mail::hello::{Overheard, Side};
use mail::{Certificate, Distrust, Time};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Files, and host names for which one was made here; beyond that all are made anew.
const KNOWN_MAX: usize = 100;

/// Server configurations by certificate file, each with the file's time of change when it was read.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    known: Mutex<HashMap<Which, Loaded>>,
    /// Where the certificate of our own making lies from one start to the next.
    folder: OnceLock<PathBuf>,
}

/// A file; or one of our own making, for a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Which {
    File(PathBuf),
    Own(String),
}

impl Which {
    fn of(certificate: &Option<PathBuf>, hostname: &str) -> Which {
        certificate.clone().map_or_else(|| Which::Own(hostname.to_owned()), Which::File)
    }
}

#[derive(Clone, Debug)]
struct Loaded {
    changed: Option<SystemTime>,
    config: Arc<ServerConfig>,
    /// The certificate's key, in words.
    key: String,
    /// As it is shown, its own first.
    chain: Vec<CertificateDer<'static>>,
}

impl Certificates {
    /// The configuration for a listener. A certificate file that changed is read again; if the new one is no good the
    /// old one stays in use.
    pub(crate) fn server(&self, listener: &Door, hostname: &str) -> Result<Arc<ServerConfig>, String> {
        self.of(&listener.certificate, &listener.key, hostname)
    }

    /// The same for the two files themselves; without them, of a certificate made here.
    pub(crate) fn of(
        &self,
        certificate: &Option<PathBuf>,
        key: &Option<PathBuf>,
        hostname: &str,
    ) -> Result<Arc<ServerConfig>, String> {
        let changed = certificate.as_ref().and_then(|file| std::fs::metadata(file).ok()?.modified().ok());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let which = Which::of(certificate, hostname);
        let before = known.get(&which).cloned();
        if let Some(loaded) = before.as_ref().filter(|loaded| loaded.changed == changed) {
            return Ok(loaded.config.clone());
        }
        let config = match (certificate, key) {
            (Some(certificate), Some(key)) => from_files(certificate, key),
            _ => self.own(hostname),
        };
        match (config, before) {
            (Ok((config, key, chain)), _) => {
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(which, Loaded { changed, config: config.clone(), key, chain });
                Ok(config)
            }
            (Err(_), Some(before)) => Ok(before.config),
            (Err(error), None) => Err(error),
        }
    }

    /// Keeps the certificate of our own making in this folder: who has confirmed it once shall not be asked at each start.
    pub(crate) fn keep_in(&self, folder: &Path) {
        let _ = self.folder.set(folder.to_owned());
    }

    fn own(&self, hostname: &str) -> Result<Made, String> {
        let file = self.folder.get().map(|folder| folder.join(OWN_FILE));
        let is_for_us = |made: &Made| {
            made.2.first().and_then(|first| certificate::facts(first)).is_some_and(|facts| facts.names == [hostname])
        };
        let kept = file.as_ref().and_then(|file| from_files(file, file).ok()).filter(is_for_us);
        if let Some(made) = kept {
            return Ok(made);
        }
        let (made, pem) = self_signed(hostname)?;
        // Not kept, it is good until the next start.
        let _ = file.map(|file| keep(&file, &pem));
        Ok(made)
    }

    /// The key of the certificate that a listener shows; empty if it has shown none yet.
    pub(crate) fn key(&self, listener: &Door, hostname: &str) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&Which::of(&listener.certificate, hostname)).map(|loaded| loaded.key.clone()).unwrap_or_default()
    }

    /// What is shown for this file; empty if nothing has been yet.
    pub(crate) fn chain(&self, certificate: &Option<PathBuf>, hostname: &str) -> Vec<CertificateDer<'static>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&Which::of(certificate, hostname)).map(|loaded| loaded.chain.clone()).unwrap_or_default()
    }

    /// Why the files as they are now cannot be used, if they cannot.
    pub(crate) fn trouble(&self, certificate: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<String> {
        from_files(certificate.as_ref()?, key.as_ref()?).err()
    }
}

/// Whether a listener's certificate and key can be used; those of our own making always can.
pub(crate) fn check(door: &Door) -> Result<(), String> {
    match (&door.certificate, &door.key) {
        (Some(certificate), Some(key)) => from_files(certificate, key).map(drop),
        _ => Ok(()),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server's configuration, its key in words, and its certificates.
type Made = (Arc<ServerConfig>, String, Vec<CertificateDer<'static>>);

fn from_files(certificate: &PathBuf, key: &PathBuf) -> Result<Made, String> {
    let failed = |what: &str, file: &PathBuf, error: rustls::pki_types::pem::Error| {
        format!("{what} {}: {error}{}", file.display(), crate::sandbox::hint(file))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| failed("certificate", certificate, error))?
        .collect();
    let chain = chain.map_err(|error| failed("certificate", certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed("key", key, error))?;
    config(chain, key)
}

/// Certificate and key of our own making, in the data folder.
const OWN_FILE: &str = "own-certificate.pem";

/// Good enough for opportunistic TLS, which verifies nothing, and for who compares its fingerprint; and the same in PEM.
fn self_signed(hostname: &str) -> Result<(Made, String), String> {
    let made = rcgen::generate_simple_self_signed([hostname.to_owned()])
        .map_err(|error| format!("cannot make a certificate for {hostname}: {error}"))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    Ok((config(vec![made.cert.der().clone()], key.into())?, pem))
}

/// Nobody else reads it, and a crash leaves the old one or the new one.
fn keep(file: &Path, pem: &str) -> io::Result<()> {
    let work = file.with_extension("tmp");
    let _ = std::fs::remove_file(&work);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&work)?;
    out.write_all(pem.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(work, file)
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Made, String> {
    let words = chain.first().and_then(|first| certificate::facts(first)).unwrap_or_default().key;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .map_err(|error| format!("certificate and key do not fit: {error}"))?;
    Ok((Arc::new(config), words, chain))
}

/// A peer that the handshake failed with has this long for the rest of its first flight, which says why.
const LINGER: Duration = Duration::from_secs(2);
/// And so many octets.
const LINGER_MAX: usize = 16_384;

/// A handshake that failed, and what it said in the clear.
#[derive(Debug)]
pub(crate) struct Unshaken {
    pub(crate) error: io::Error,
    pub(crate) overheard: Overheard,
}

impl Unshaken {
    fn new(error: io::Error, mut overheard: Overheard) -> Unshaken {
        // An encrypted alert is known to the library only. All but two alerts are fatal (RFC 8446 6).
        if let Some(rustls::Error::AlertReceived(alert)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            overheard.hello.alert = overheard.hello.alert.or(Some((2, u8::from(*alert))));
        }
        Unshaken { error, overheard }
    }
}

/// The handshake with a server that we called. The name is sent as it must be: without a final dot (RFC 6066 3).
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    socket: TcpStream,
    limit: Duration,
) -> Result<tokio_rustls::client::TlsStream<Tapped>, Unshaken> {
    let tap = Tap::default();
    let handshake = TlsConnector::from(config).connect(name, Tapped::new(socket, tap.clone())).into_fallible();
    let error = match timeout(limit, handshake).await {
        Ok(Ok(mut tls)) => {
            tls.get_mut().0.untap();
            return Ok(tls);
        }
        Ok(Err((error, socket))) => {
            listen_on(socket, &tap).await;
            error
        }
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    Err(Unshaken::new(error, tap.overheard(Side::Client)))
}

/// The handshake with a client that called us.
pub(crate) async fn accept(
    config: Arc<ServerConfig>,
    socket: TcpStream,
    limit: Duration,
) -> Result<tokio_rustls::server::TlsStream<Tapped>, Unshaken> {
    let tap = Tap::default();
    let handshake = TlsAcceptor::from(config).accept(Tapped::new(socket, tap.clone()));
    let error = match timeout(limit, handshake).await {
        Ok(Ok(mut tls)) => {
            tls.get_mut().0.untap();
            return Ok(tls);
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    Err(Unshaken::new(error, tap.overheard(Side::Server)))
}

/// Reads on after a failure: the message that explains it may come behind the one that caused it.
async fn listen_on(mut socket: Tapped, tap: &Tap) {
    let rest = async {
        let mut octets = [0; 2048];
        let mut left = LINGER_MAX;
        while left > 0 && !tap.overheard(Side::Client).complete {
            match socket.read(&mut octets).await {
                Ok(length @ 1..) => left = left.saturating_sub(length),
                _ => break,
            }
        }
    };
    let _ = timeout(LINGER, rest).await;
}

/// The authorities that are believed: those of this machine, and those of a file of the administrator's. Files are read
/// when they are needed first, and again when they have changed.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    known: Mutex<HashMap<Option<PathBuf>, Believed>>,
}

#[derive(Clone, Debug)]
struct Believed {
    changed: Option<SystemTime>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// What a server's certificate says, and what speaks against it for the name that was called.
    pub(crate) fn judge(
        &self,
        ca_file: Option<&PathBuf>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: Time,
    ) -> Certificate {
        let Some((first, others)) = chain.split_first() else {
            return Certificate {
                problems: vec![Distrust::Untrusted("the peer showed none".to_owned())],
                ..Certificate::default()
            };
        };
        let mut facts = certificate::facts(first).unwrap_or_default();
        let parsed = match ParsedCertificate::try_from(first) {
            Ok(parsed) => parsed,
            Err(error) => {
                facts.problems.push(Distrust::Untrusted(error.to_string()));
                return facts;
            }
        };
        let ended = facts.not_after.is_some_and(|end| end < now);
        let early = facts.not_before.is_some_and(|start| start > now);
        facts.problems.extend(ended.then_some(Distrust::Ended));
        facts.problems.extend(early.then_some(Distrust::NotYet));
        if verify_server_name(&parsed, name).is_err() {
            facts.problems.push(Distrust::OtherName);
        }
        // The chain is judged apart from the dates: by the last moment at which they were right.
        let moment = match (ended, early) {
            (true, _) => facts.not_after.unwrap_or(now),
            (_, true) => facts.not_before.unwrap_or(now),
            _ => now,
        };
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(moment.ms() / 1000).unwrap_or(0)));
        let roots = self.roots(ca_file);
        let algorithms = provider().signature_verification_algorithms.all;
        let chained = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, others, moment, algorithms);
        facts.problems.extend(chained.err().map(|error| {
            let text = error.to_string();
            match error {
                rustls::Error::InvalidCertificate(
                    CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                    | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
                ) => Distrust::Weak(text),
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                    Distrust::Untrusted("unknown issuer".to_owned())
                }
                _ => Distrust::Untrusted(text),
            }
        }));
        facts
    }

    pub(crate) fn roots(&self, ca_file: Option<&PathBuf>) -> Arc<RootCertStore> {
        let changed = ca_file.and_then(|file| std::fs::metadata(file).ok()?.modified().ok());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(believed) = known.get(&ca_file.cloned()).filter(|believed| believed.changed == changed) {
            return believed.roots.clone();
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for own in ca_file.into_iter().filter_map(|file| authorities(file).ok()) {
            roots.add_parsable_certificates(own);
        }
        let roots = Arc::new(roots);
        known.insert(ca_file.cloned(), Believed { changed, roots: roots.clone() });
        roots
    }
}

/// The certificates of a PEM file.
pub(crate) fn authorities(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found = found.map_err(|error| format!("{}: {error}{}", file.display(), crate::sandbox::hint(file)))?;
    if found.is_empty() { Err(format!("{}: holds no certificate", file.display())) } else { Ok(found) }
}

/// Opportunistic TLS (RFC 7435): encrypts towards any certificate, since the alternative would be clear text.
pub(crate) fn client() -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decide::Settings;

    fn write_certificate(folder: &std::path::Path) {
        let made = rcgen::generate_simple_self_signed(["gw.test".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let text = format!("[listener.inbound]\ncertificate = \"{path}/cert.pem\"\nkey = \"{path}/key.pem\"\n");
        let settings = Settings::read(&text).unwrap();
        let certificates = Certificates::default();
        assert!(certificates.server(&settings.inbound, "gw.test").is_err(), "there is no file yet");
        write_certificate(folder.path());
        let first = certificates.server(&settings.inbound, "gw.test").unwrap();
        let again = certificates.server(&settings.inbound, "gw.test").unwrap();
        assert!(Arc::ptr_eq(&first, &again), "an unchanged file is not read again");
        write_certificate(folder.path());
        let past = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        std::fs::File::open(folder.path().join("cert.pem")).unwrap().set_modified(past).unwrap();
        let second = certificates.server(&settings.inbound, "gw.test").unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
        let third = certificates.server(&settings.inbound, "gw.test").unwrap();
        assert!(Arc::ptr_eq(&second, &third));
    }

    #[test]
    fn a_certificate_of_our_own_making_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let shown = |hostname: &str| {
            let certificates = Certificates::default();
            certificates.keep_in(folder.path());
            certificates.of(&None, &None, hostname).unwrap();
            certificates.chain(&None, hostname)[0].to_vec()
        };
        let first = shown("one.test");
        assert_eq!(shown("one.test"), first);
        let other = shown("two.test");
        assert_ne!(other, first, "the name is in it");
        assert_eq!(shown("two.test"), other);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(folder.path().join(OWN_FILE)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.path().join(OWN_FILE), "torn").unwrap();
        assert_ne!(shown("two.test"), other, "what cannot be read is made anew");
    }

    #[test]
    fn a_certificate_of_our_own_making_follows_the_host_name() {
        let settings = Settings::read("").unwrap();
        let certificates = Certificates::default();
        let names = |hostname: &str| {
            certificates.server(&settings.inbound, hostname).unwrap();
            let chain = certificates.chain(&settings.inbound.certificate, hostname);
            certificate::facts(&chain[0]).unwrap().names
        };
        assert_eq!(names("one.test"), ["one.test"]);
        assert_eq!(names("two.test"), ["two.test"]);
    }
}
