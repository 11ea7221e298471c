//! Scripted SMTP servers: they accept and record everything, unless a line of their script says otherwise.

mod act;
mod blackhole;
mod certificate;
mod received;
mod relay;
mod script;
mod server;
mod session;
mod tls;

pub(crate) use act::unescape;
pub(crate) use certificate::Authority;
pub use received::Received;
pub use script::Script;
pub use server::Peer;
pub(crate) use server::name_for;
pub(crate) use session::base64;
pub(crate) use tls::rsa_client_hello;
