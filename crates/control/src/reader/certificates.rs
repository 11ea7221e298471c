//! Which certificate each listener shows.

use async_trait::async_trait;
use mail::Certificate;
use serde::Serialize;

#[async_trait]
pub trait CertificateReader: Send + Sync + 'static {
    /// Of every listener that speaks TLS, the Control Center's own last.
    async fn certificates(&self) -> Vec<Shown>;
}

/// What a listener shows to its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Shown {
    /// Such as `listener.submission`, as in the settings.
    pub listener: String,
    /// `off`, `offer`, `require`.
    pub tls: String,
    /// The PEM file. None: the gateway made the certificate itself, anew at each start.
    pub file: Option<String>,
    /// None: it could not be read.
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<Certificate>,
    /// Certificates in the file, its own included.
    pub chain: usize,
    pub notes: Vec<Note>,
}

/// What is wrong or worth knowing about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Note {
    /// `bad`: clients that verify turn away; `warn`: they will soon, or some do; `info`.
    pub kind: String,
    /// What is, and what to do.
    pub text: String,
}
