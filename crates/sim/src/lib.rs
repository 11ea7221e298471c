//! A small Internet on loopback, for tests and the demo.
//!
//! - [`dns`]: a scripted DNS server, recursive resolver and authority at once;
//! - [`peer`]: scripted SMTP servers, well-behaved unless the script says otherwise;
//! - [`proxy`]: TCP forwarders that play a NAT, a load balancer, a slow or a broken path;
//! - [`client`]: a scripted SMTP client with a source address of its own;
//! - [`scenario`]: a TOML file that sets all of these around the real gateway, and says what must happen.
//!
//! It depends on none of the gateway's crates: what tests a thing must not share its mistakes.
//! The formats are described in `docs/book/scenarios.md`.

pub mod client;
pub mod complaint;
mod date;
pub mod dns;
mod glob;
pub mod peer;
pub mod proxy;
pub mod scenario;
pub mod span;
pub mod when;
mod wire;

pub use complaint::Complaint;
pub use span::Span;
pub use when::When;
