//! TLS on both sides: listeners' certificates, reloaded when their file changes, and opportunistic TLS to peers.

use decide::settings::Door;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Server configurations by certificate file, each with the file's time of change when it was read.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    known: Mutex<HashMap<Option<PathBuf>, Loaded>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    changed: Option<SystemTime>,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// The configuration for a listener. A certificate file that changed is read again; if the new one is no good the
    /// old one stays in use.
    pub(crate) fn server(&self, listener: &Door, hostname: &str) -> Result<Arc<ServerConfig>, String> {
        let changed = listener.certificate.as_ref().and_then(|file| std::fs::metadata(file).ok()?.modified().ok());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&listener.certificate).cloned();
        if let Some(loaded) = before.as_ref().filter(|loaded| loaded.changed == changed) {
            return Ok(loaded.config.clone());
        }
        let config = match (&listener.certificate, &listener.key) {
            (Some(certificate), Some(key)) => from_files(certificate, key),
            _ => self_signed(hostname),
        };
        match (config, before) {
            (Ok(config), _) => {
                known.insert(listener.certificate.clone(), Loaded { changed, config: config.clone() });
                Ok(config)
            }
            (Err(_), Some(before)) => Ok(before.config),
            (Err(error), None) => Err(error),
        }
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

fn from_files(certificate: &PathBuf, key: &PathBuf) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| format!("certificate {}: {error}", certificate.display()))?
        .collect();
    let chain = chain.map_err(|error| format!("certificate {}: {error}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("key {}: {error}", key.display()))?;
    config(chain, key)
}

/// Good enough for opportunistic TLS, which verifies nothing; made anew at each start.
fn self_signed(hostname: &str) -> Result<Arc<ServerConfig>, String> {
    let made = rcgen::generate_simple_self_signed([hostname.to_owned()])
        .map_err(|error| format!("cannot make a certificate for {hostname}: {error}"))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    config(vec![made.cert.der().clone()], key.into())
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, String> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key do not fit: {error}"))?;
    Ok(Arc::new(config))
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
}
