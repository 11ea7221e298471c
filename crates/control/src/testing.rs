//! A world for tests of pages: each reader's trait is implemented for [`World`] beside the trait, with values that show
//! everything the page must cope with.

use crate::{Account, Accounts, Center, Done, Health, Order, Orders, Problem, Role, StatusReader, Visitor};
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

/// Answers everything; remembers the orders it was given.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) orders: Mutex<Vec<Order>>,
}

impl StatusReader for World {
    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }

    fn health(&self) -> Health {
        Health {
            accepting: true,
            version: "1.2.3".to_owned(),
            hostname: "mail.example.test".to_owned(),
            mode: "accept-and-deliver".to_owned(),
            settings_version: 7,
            queued: 1_234,
            held: 2,
            disk_free: 5_000_000_000,
            disk_reserve: 100_000_000,
            alerts: vec!["<img onerror=x>".to_owned()],
        }
    }
}

#[async_trait]
impl Orders for World {
    async fn order(&self, _: &Account, order: Order, dry_run: bool) -> Result<Done, Problem> {
        if !dry_run {
            self.orders.lock().expect("no test panics while it holds the lock").push(order);
        }
        Ok(Done { count: 3, made: None, dry_run })
    }
}

/// A session's value is the role's name.
#[async_trait]
impl Accounts for World {
    async fn who(&self, visitor: &Visitor) -> Option<Account> {
        let name = visitor.session.as_ref().or(visitor.bearer.as_ref())?;
        let role = Role::ALL.into_iter().find(|role| format!("{role:?}") == *name)?;
        Some(Account { name: format!("{name}-person"), role, token: None })
    }
}

/// Asks the router; `who` is a role's name as in `Role::Full`, or empty.
pub(crate) async fn ask(world: &Arc<World>, who: &str, request: Request<String>) -> (StatusCode, String) {
    let center = Center { reader: world.clone(), orders: world.clone(), accounts: world.clone() };
    let (mut parts, body) = request.into_parts();
    if !who.is_empty() {
        parts.headers.insert("cookie", format!("gatepost={who}").parse().expect("a role's name is a header"));
    }
    let response = crate::router(center).oneshot(Request::from_parts(parts, Body::from(body))).await;
    let response = response.expect("a router always answers");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 10 << 20).await.expect("a body of the router's own");
    (parts.status, String::from_utf8_lossy(&body).into_owned())
}

/// GET, as somebody.
pub(crate) async fn get(who: &str, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(String::new()).expect("a path of the test's own");
    ask(&Arc::default(), who, request).await
}

#[allow(dead_code, reason = "for pages that change things")]
/// POST of form fields, as somebody.
pub(crate) async fn post(world: &Arc<World>, who: &str, path: &str, form: &str) -> (StatusCode, String) {
    let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    ask(world, who, request.body(form.to_owned()).expect("a form of the test's own")).await
}
