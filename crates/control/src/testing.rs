//! A world for tests of pages: each reader's trait is implemented for [`World`] beside the trait, with values that show
//! everything the page must cope with.

use crate::{
    Account, Accounts, Act, Administrator, Center, Change, Done, Entry, Given, Health, Order, Orders, Problem, Role,
    Session, StatusReader, Token, Visitor, Work,
};
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::Response;
use mail::Time;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

mod destination;
mod diagnose;
mod explain;
mod log;
mod overview;
mod queue;
mod scanners;
mod trail;

/// Answers everything; remembers the orders it was given.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) orders: Mutex<Vec<Order>>,
    /// What accounts were changed by.
    pub(crate) changes: Mutex<Vec<Change>>,
    pub(crate) works: Mutex<Vec<Work>>,
    /// Scanners enrolled, changed, removed; codes made.
    pub(crate) enrolled: Mutex<Vec<crate::Enrolment>>,
    /// Orders to other Scanners, and what was written down about them.
    pub(crate) calls: Mutex<Vec<crate::Call>>,
    pub(crate) acts: Mutex<Vec<String>>,
    /// Who brought accounts back.
    pub(crate) restored: Mutex<Vec<String>>,
    /// What was done with its certificates.
    pub(crate) certificates_kept: Mutex<Vec<String>>,
    /// The file that owns its settings.
    pub(crate) settings_file: Option<String>,
    /// Whoever reads along is signed out by now.
    pub(crate) ended: std::sync::atomic::AtomicBool,
}

/// The time in this world: 25 November 2026, noon.
pub(crate) const NOW: Time = Time(1_795_608_000_000);

impl StatusReader for World {
    fn now(&self) -> Time {
        NOW
    }

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

    fn begin(&self, by: &Account, order: Order, dry_run: bool) -> u64 {
        if !dry_run {
            self.orders.lock().expect("no test panics while it holds the lock").push(order.clone());
        }
        let mut works = self.works.lock().expect("no test panics while it holds the lock");
        let (number, done) = (works.len() as u64 + 1, Some(Done { count: 3, made: None, dry_run }));
        works.push(Work { number, by: by.name.clone(), order, dry_run, so_far: 3, done, problem: None });
        number
    }

    async fn work(&self, number: u64, _: u64) -> Option<Work> {
        let works = self.works.lock().expect("no test panics while it holds the lock");
        works.iter().find(|work| work.number == number).cloned()
    }
}

/// A session's value is the role's name, and so is an administrator's name; their password is "right", their code "123456".
/// Operators have a second factor.
#[async_trait]
impl Accounts for World {
    async fn who(&self, visitor: &Visitor) -> Option<Account> {
        let name = visitor.session.as_ref().or(visitor.bearer.as_ref())?;
        let role = Role::ALL.into_iter().find(|role| format!("{role:?}") == *name)?;
        let from = visitor.peer.address.to_string();
        Some(Account { name: format!("{name}-person"), role, token: None, on_behalf: None, from })
    }

    async fn still(&self, visitor: &Visitor) -> Option<Account> {
        if self.ended.load(std::sync::atomic::Ordering::Relaxed) { None } else { self.who(visitor).await }
    }

    async fn is_new(&self) -> bool {
        false
    }

    async fn is_first_key(&self, key: &str) -> bool {
        key == "first"
    }

    async fn first(&self, _: &str, _: &str, password: &str, _: &Visitor) -> Result<String, Problem> {
        long_enough(password).map(|()| "Full".to_owned())
    }

    async fn sign_in(&self, name: &str, password: &str, _: &Visitor) -> Entry {
        match name {
            "Operator" if password == "right" => Entry::Code(format!("ticket-{name}")),
            "Full" | "ReadOnly" | "HelpDesk" if password == "right" => Entry::In(name.to_owned()),
            _ => Entry::Refused,
        }
    }

    async fn second(&self, ticket: &str, code: &str, _: &Visitor) -> Entry {
        match ticket.strip_prefix("ticket-") {
            Some(name) if code == "123456" => Entry::In(name.to_owned()),
            _ => Entry::Refused,
        }
    }

    async fn sign_out(&self, _: &Visitor) {}

    async fn change(&self, _: &Account, _: &Visitor, change: Change) -> Result<Given, Problem> {
        match &change {
            Change::Add { password, .. } | Change::Reset { password, .. } => long_enough(password)?,
            Change::OwnPassword { old, .. } if old != "right" => return Err(wrong("old", "It is another one.")),
            Change::OwnFactor { code, .. } if code != "123456" => return Err(wrong("code", "It is another one.")),
            _ => {}
        }
        let secrets = match &change {
            Change::AddToken { .. } => vec!["a-secret-shown-once".to_owned()],
            Change::OwnFactor { .. } => vec!["one-time-code".to_owned()],
            _ => Vec::new(),
        };
        self.changes.lock().expect("no test panics while it holds the lock").push(change);
        Ok(Given { secrets, session: None })
    }

    async fn administrators(&self) -> Result<Vec<Administrator>, Problem> {
        let one = |role: Role| Administrator {
            name: format!("{role:?}-person"),
            role,
            factor: role == Role::Operator,
            disabled: role == Role::HelpDesk,
            locked_until: (role == Role::ReadOnly).then_some(Time(NOW.ms() + 60_000)),
            created: Time(0),
            signed_in: None,
            sessions: 2,
        };
        Ok(Role::ALL.map(one).to_vec())
    }

    async fn sessions(&self, _: &str, _: &Visitor) -> Result<Vec<Session>, Problem> {
        let one = |id: &str, current| Session {
            id: id.to_owned(),
            created: Time(0),
            seen: NOW,
            address: "192.0.2.7".to_owned(),
            agent: "<b>agent".to_owned(),
            current,
        };
        Ok(vec![one("s1", true), one("s2", false)])
    }

    async fn tokens(&self) -> Result<Vec<Token>, Problem> {
        let one = |name: &str, expires: Option<Time>| Token {
            apart: false,
            stopped: expires.map(|_| "Full-person, who made it, is disabled".to_owned()),
            name: name.to_owned(),
            role: Role::ReadOnly,
            by: "Full-person".to_owned(),
            created: Time(0),
            used: None,
            expires,
        };
        Ok(vec![one("monitoring", None), one("old", Some(Time(1)))])
    }

    async fn acts(&self, _: &str, _: usize) -> Result<Vec<Act>, Problem> {
        let fields = serde_json::json!({ "count": 3, "which": { "domain": "corp.test" } });
        let [who, place, what] = ["Operator-person", "192.0.2.7", "delete"].map(str::to_owned);
        Ok(vec![Act { at: NOW, who, place, what, fields }])
    }

    fn secret(&self, name: &str) -> (String, String) {
        ("SECRET32".to_owned(), format!("otpauth://totp/Gatepost:{name}?secret=SECRET32&issuer=Gatepost"))
    }
}

fn long_enough(password: &str) -> Result<(), Problem> {
    if password.len() < 12 { Err(wrong("password", "12 characters or more.")) } else { Ok(()) }
}

fn wrong(field: &str, what: &str) -> Problem {
    Problem::Field { field: field.to_owned(), what: what.to_owned() }
}

/// Asks the router as nobody in particular; as a browser does from one of our pages.
pub(crate) async fn answer(world: &Arc<World>, request: Request<String>) -> Response {
    let center =
        Center { reader: world.clone(), orders: world.clone(), accounts: world.clone(), scanners: world.clone() };
    let (mut parts, body) = request.into_parts();
    if !parts.headers.contains_key("origin") {
        parts.headers.entry("sec-fetch-site").or_insert(HeaderValue::from_static("same-origin"));
    }
    let response = crate::router(center).oneshot(Request::from_parts(parts, Body::from(body))).await;
    response.expect("a router always answers")
}

/// Asks the router; `who` is a role's name as in `Role::Full`, or empty.
pub(crate) async fn ask(world: &Arc<World>, who: &str, mut request: Request<String>) -> (StatusCode, String) {
    if !who.is_empty() {
        let cookie = format!("gatepost={who}").parse().expect("a role's name is a header");
        request.headers_mut().insert("cookie", cookie);
    }
    let (parts, body) = answer(world, request).await.into_parts();
    let body = to_bytes(body, 10 << 20).await.expect("a body of the router's own");
    (parts.status, String::from_utf8_lossy(&body).into_owned())
}

/// Any method with a JSON body, as somebody.
pub(crate) async fn send(world: &Arc<World>, who: &str, method: &str, path: &str, json: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let (code, text) = ask(world, who, request.body(json.to_owned()).expect("a path of the test's own")).await;
    (code.as_u16(), text)
}

/// GET, as somebody.
pub(crate) async fn get(who: &str, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(String::new()).expect("a path of the test's own");
    ask(&Arc::default(), who, request).await
}

/// POST of form fields, as somebody.
pub(crate) async fn post(world: &Arc<World>, who: &str, path: &str, form: &str) -> (StatusCode, String) {
    let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    ask(world, who, request.body(form.to_owned()).expect("a form of the test's own")).await
}
