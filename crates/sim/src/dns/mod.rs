//! A scripted DNS server: recursive resolver and authority at once, over UDP and TCP on one address.

mod answer;
mod asked;
mod record;
mod server;
mod zone;

pub use asked::{Asked, Transport};
pub use server::Server;
pub use zone::Zone;
