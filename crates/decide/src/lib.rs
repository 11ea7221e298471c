//! From facts to verdict: what the settings mean for one connection, one recipient, one delivery.
//! Pure: no clock, socket, randomness or disk; time and chance are arguments, so every verdict can be replayed.

pub mod accept;
pub mod diagnose;
pub mod greylist;
pub mod identity;
pub mod loops;
pub mod outcome;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod settings;
pub mod spf;
pub mod validate;

pub use settings::Settings;
