//! Which certificate each listener shows, and those that came by the Control Center.

use crate::{Account, Problem};
use async_trait::async_trait;
use mail::Certificate;
use serde::{Deserialize, Serialize};

#[async_trait]
pub trait CertificateReader: Send + Sync + 'static {
    /// Of every listener that speaks TLS, the Control Center's own last.
    async fn certificates(&self) -> Vec<Shown>;
    /// What was sent, looked at; nothing is kept of it.
    async fn certificate_examine(&self, sent: Sent) -> Result<Examined, Problem>;
    /// Keeps a certificate with its key, if it can be used.
    async fn certificate_keep(&self, by: &Account, sent: Sent) -> Result<Kept, Problem>;
    /// By name.
    async fn certificates_kept(&self) -> Vec<Kept>;
    /// Removes one that no listener shows.
    async fn certificate_forget(&self, by: &Account, name: &str) -> Result<(), Problem>;
    /// Makes a key, and the request for a certificate of these names.
    async fn certificate_request(&self, by: &Account, names: Vec<String>) -> Result<Kept, Problem>;
}

/// A certificate chain and its key, as PEM.
#[derive(Clone, Default, Deserialize, utoipa::ToSchema)]
pub struct Sent {
    /// The server's certificate and those that lead from it to an authority; its key may stand in it as well.
    pub chain: String,
    /// Left out: in the chain's file, or that of a request that was made here.
    #[serde(default)]
    pub key: String,
}

/// Keys are for nobody's eyes.
impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").finish_non_exhaustive()
    }
}

/// What a look at it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Examined {
    /// Nothing keeps a listener from showing it.
    pub usable: bool,
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<Certificate>,
    /// Certificates that would be shown, its own included.
    pub chain: usize,
    pub notes: Vec<Note>,
}

/// One that is kept in the data folder, or a key that waits for its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Kept {
    pub name: String,
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<Certificate>,
    /// What `listener.NAME.certificate` is set to.
    pub chain_file: String,
    /// What `listener.NAME.key` is set to.
    pub key_file: String,
    /// Listeners whose settings name it.
    pub used_by: Vec<String>,
    /// What an authority is sent, as PEM.
    pub request: Option<String>,
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
