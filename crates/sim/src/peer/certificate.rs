//! Certificates for peers: signed by themselves, or issued by the lab's CA.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::script::{CertificateKind, Validity};

/// The lab's CA: one for all labs of this process.
#[derive(Debug)]
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: String,
}

/// A certificate with its key, both as PEM.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn get() -> Result<&'static Self, String> {
        static AUTHORITY: OnceLock<Result<Authority, String>> = OnceLock::new();
        AUTHORITY.get_or_init(Self::make).as_ref().map_err(Clone::clone)
    }

    fn make() -> Result<Self, String> {
        let told = |error: rcgen::Error| format!("no lab CA: {error}");
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(told)?;
        params.distinguished_name.push(DnType::CommonName, "sim lab CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(told)?;
        let certificate = params.self_signed(&key).map_err(told)?.pem();
        Ok(Self { params, key, certificate })
    }

    /// As PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A certificate for a name; with an RSA key, or one on the curve P-256.
    pub(crate) fn issue(&self, name: &str, rsa: bool) -> Result<Pair, String> {
        let told = |error: rcgen::Error| format!("no certificate for {name}: {error}");
        let key = if rsa { KeyPair::generate_for(&PKCS_RSA_SHA256) } else { KeyPair::generate() }.map_err(told)?;
        let certificate = wanted(name, Validity::Now).map_err(told)?.signed_by(&key, &self.issuer()).map_err(told)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn wanted(name: &str, validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut wanted = CertificateParams::new(vec![name.to_owned()])?;
    wanted.distinguished_name.push(DnType::CommonName, name);
    match validity {
        Validity::Now => {}
        Validity::Expired => {
            (wanted.not_before, wanted.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1))
        }
        Validity::Future => {
            (wanted.not_before, wanted.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1))
        }
    }
    Ok(wanted)
}

/// A TLS configuration with a fresh certificate for `hostname`, and that certificate.
pub(super) fn make(
    hostname: &str,
    kind: &CertificateKind,
) -> Result<(Arc<ServerConfig>, CertificateDer<'static>), String> {
    let name = kind.name.as_deref().unwrap_or(hostname);
    let text = |error: &dyn std::error::Error| format!("no certificate for {name}: {error}");
    let wanted = wanted(name, kind.validity).map_err(|e| text(&e))?;
    let key = KeyPair::generate().map_err(|e| text(&e))?;
    let certificate =
        if kind.issued { wanted.signed_by(&key, &Authority::get()?.issuer()) } else { wanted.self_signed(&key) };
    let certificate = certificate.map_err(|e| text(&e))?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key))
        .map_err(|e| text(&e))?;
    Ok((Arc::new(config), certificate))
}

/// A certificate with an RSA key, signed by itself, as DER: for handshakes that are only played.
pub(super) fn rsa(name: &str) -> Result<Vec<u8>, String> {
    let told = |error: rcgen::Error| format!("no certificate for {name}: {error}");
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(told)?;
    Ok(wanted(name, Validity::Now).map_err(told)?.self_signed(&key).map_err(told)?.der().to_vec())
}
