//! The Control Center: what administrators and their tools see over HTTP.
//!
//! How it is made, and where a new page goes:
//! - **`page/NAME.rs`** is one page: its routes, its HTML, the same view as JSON under `/api/v1`, a test at its foot, and a
//!   line in `page::all`. A page takes [`May`]`<Right>` as an argument: without it, it would be open to everybody, and a test
//!   fails that asks every route without a session.
//! - **`reader/NAME.rs`** is what pages may know: a trait, and the values that it gives. The gateway implements it over its
//!   own data (`gateway/src/view/`). The Control Center sees no store, no socket and no file.
//! - **`order.rs`**: pages change the world by an [`Order`] only; who gave it is written down.
//! - **`scanners.rs`**: the other gateways that this Control Center knows, and the way to their APIs.
//! - **`account.rs`** says who asks: administrators, sessions, tokens. `guard.rs` turns away what other sites make browsers send.
//! - **`part/`** are pieces that pages share: the shell around them, tables, forms, badges, charts, the card of a finding.
//! - **`asset/`** are style sheet and script, served with a name that changes with their content. All works without script.

mod account;
mod asset;
mod guard;
mod order;
mod page;
mod part;
mod reader;
mod right;
mod scanners;
#[cfg(test)]
mod testing;

pub use account::{
    Account, Accounts, Act, Administrator, Change, Entry, Given, ON_BEHALF, Peer, Session, Token, Visitor,
};
pub use order::{Done, Order, Orders, Selected, Work};
pub use page::status::openapi;
pub use part::time::read as read_time;
pub use reader::*;
pub use right::{May, Open, Right, Role, rights};
pub use scanners::{
    Answer, Call, Contact, Enrolment, PATIENCE, Report, Scanner, Scanners, Stage, Trouble, Went, code, fingerprint,
    invitation,
};

use axum::Router;
use std::sync::Arc;

/// What the pages stand on.
#[derive(Clone)]
pub struct Center {
    pub reader: Arc<dyn Reader>,
    pub orders: Arc<dyn Orders>,
    pub accounts: Arc<dyn Accounts>,
    pub scanners: Arc<dyn Scanners>,
}

impl std::fmt::Debug for Center {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Center").finish_non_exhaustive()
    }
}

/// All routes: pages, API, health, metrics, assets.
pub fn router(center: Center) -> Router {
    page::all(center)
}
