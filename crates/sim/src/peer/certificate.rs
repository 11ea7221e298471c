//! Certificates for peers, signed by themselves.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::script::CertificateKind;

/// A TLS configuration with a fresh certificate for `hostname`, and that certificate.
pub(super) fn make(
    hostname: &str,
    kind: &CertificateKind,
) -> Result<(Arc<ServerConfig>, CertificateDer<'static>), String> {
    let name = match kind {
        CertificateKind::Named(other) => other,
        CertificateKind::Good | CertificateKind::Expired => hostname,
    };
    let text = |error: &dyn std::error::Error| format!("no certificate for {name}: {error}");
    let mut wanted = CertificateParams::new(vec![name.to_owned()]).map_err(|e| text(&e))?;
    wanted.distinguished_name.push(DnType::CommonName, name);
    if *kind == CertificateKind::Expired {
        wanted.not_before = date_time_ymd(2020, 1, 1);
        wanted.not_after = date_time_ymd(2020, 2, 1);
    }
    let key = KeyPair::generate().map_err(|e| text(&e))?;
    let certificate = wanted.self_signed(&key).map_err(|e| text(&e))?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key))
        .map_err(|e| text(&e))?;
    Ok((Arc::new(config), certificate))
}
