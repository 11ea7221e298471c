//! Accounts: who may sign in to the Control Center, by what, and until when. The store keeps it; the rules are here.

use crate::clock::now;
use crate::core::Core;
use crate::door::COMMAND;
use crate::{password, totp};
use aws_lc_rs::{constant_time, digest};
use control::{Account, Change, Entry, Given, Problem, Role, Visitor};
use mail::Time;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use store::{Act, Administrator, Failures, Session, Token};
use tokio::sync::Semaphore;

/// A session ends so long after it was used last (OWASP: 15 to 30 minutes for much to lose, longer for little) …
const IDLE_MS: i64 = 2 * 3_600_000;
/// … and so long after it began, used or not: a working day.
const SESSION_MS: i64 = 12 * 3_600_000;
/// NIST SP 800-63B 5.1.1.2 asks for 8; these accounts rule over everybody's mail.
const PASSWORD_MIN: usize = 12;
/// Octets; argon2 reads all of it.
const PASSWORD_MAX: usize = 1024;
const NAME_MAX: usize = 64;
const CODES: usize = 10;
/// Passwords hashed at once: each takes 19 MiB and some 20 ms of a core.
const HASHING_MAX: usize = 2;
/// How long one waits for its turn.
const HASHING_WAIT: Duration = Duration::from_secs(5);
/// The second step must follow the first within this.
const TICKET_MS: i64 = 5 * 60_000;
const TICKETS_MAX: usize = 1000;
/// Failures for one name, or from one address, before waiting begins; an address may be a whole office's.
const NAME_FREE: u32 = 5;
const ADDRESS_FREE: u32 = 20;
/// The first wait; each further failure doubles it, up to the last.
const WAIT_MS: i64 = 60_000;
const WAIT_MAX_MS: i64 = 15 * 60_000;
/// So long after the last failure all is forgotten.
const FORGET_MS: i64 = 3_600_000;
/// Names and addresses watched; the ones longest ago go first.
const WATCHED_MAX: usize = 10_000;

/// What is known of sign-ins under way; forgotten when the gateway stops, but for the failures that make people wait.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Of the first start's link.
    first: String,
    /// Where the Control Center answers, such as `http://127.0.0.1:8025`.
    pub(crate) address: OnceLock<String>,
    /// What the host's file says of it, and whether it speaks TLS.
    pub(crate) control: OnceLock<(crate::host::Control, bool)>,
    tickets: Mutex<HashMap<String, (String, Time)>>,
    names: Mutex<Tallies<String>>,
    addresses: Mutex<Tallies<IpAddr>>,
    hashing: Semaphore,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts {
            first: secret(),
            address: OnceLock::new(),
            control: OnceLock::new(),
            tickets: Mutex::default(),
            names: Mutex::default(),
            addresses: Mutex::default(),
            hashing: Semaphore::new(HASHING_MAX),
        }
    }
}

impl Accounts {
    /// With the failures of before the restart: it is no way around waiting.
    pub(crate) fn open(store: &store::Store, now: Time) -> Accounts {
        let accounts = Accounts::default();
        // What cannot be read makes nobody wait who would have to; who can break the database needs no password.
        let kept = store.accounts().failures(Time(now.ms() - FORGET_MS)).unwrap_or_default();
        for Failures { whose, count, last, until } in kept {
            // A clock that was wrong must not lock anybody out for longer than a wait takes.
            let until = Time(until.ms().min(now.ms() + WAIT_MAX_MS));
            let tally = Tally { failures: count, last: Time(last.ms().min(now.ms())), until };
            match whose.split_once(' ') {
                Some(("name", name)) => drop(lock(&accounts.names).0.insert(name.to_owned(), tally)),
                Some(("address", address)) => {
                    let known = address.parse().ok();
                    known.map(|address| lock(&accounts.addresses).0.insert(address, tally));
                }
                _ => {}
            }
        }
        accounts
    }
}

/// A name's failures as the database calls them; those of an address.
fn of_name(name: &str) -> String {
    format!("name {name}")
}

fn of_address(address: &IpAddr) -> String {
    format!("address {address}")
}

/// Failures, and until when nothing is tried.
#[derive(Debug)]
struct Tallies<K>(HashMap<K, Tally>);

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    failures: u32,
    last: Time,
    until: Time,
}

impl<K> Default for Tallies<K> {
    fn default() -> Tallies<K> {
        Tallies(HashMap::new())
    }
}

impl Tally {
    fn row(self, whose: String) -> Failures {
        Failures { whose, count: self.failures, last: self.last, until: self.until }
    }
}

impl<K: Hash + Eq + Clone> Tallies<K> {
    /// Until when nothing is tried, if that is still to come.
    fn locked(&self, key: &K, now: Time) -> Option<Time> {
        self.0.get(key).map(|tally| tally.until).filter(|until| *until > now)
    }

    /// Counts a failure; gives how it stands, and whose are forgotten for it.
    fn fail(&mut self, key: K, free: u32, now: Time) -> (Tally, Vec<K>) {
        let old = |tally: &mut Tally| now.ms() - tally.last.ms() >= FORGET_MS;
        let mut gone: Vec<K> = self.0.extract_if(|_, tally| old(tally)).map(|(key, _)| key).collect();
        if self.0.len() >= WATCHED_MAX
            && !self.0.contains_key(&key)
            && let Some(oldest) = self.0.iter().min_by_key(|(_, tally)| tally.last).map(|(key, _)| key.clone())
        {
            self.0.remove(&oldest);
            gone.push(oldest);
        }
        gone.retain(|other| *other != key);
        let tally = self.0.entry(key).or_default();
        tally.failures += 1;
        tally.last = now;
        let over = tally.failures.saturating_sub(free);
        if over > 0 || tally.failures == free {
            tally.until = Time(now.ms() + (WAIT_MS << over.min(8)).min(WAIT_MAX_MS));
        }
        (*tally, gone)
    }
}

/// 256 bits of chance, as text that fits cookies, headers and addresses.
fn secret() -> String {
    let octets: [u8; 32] = rand::random();
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What is kept of a secret. It has 256 bits of chance: nothing slower is needed.
fn hash(secret: &str) -> String {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

pub(crate) fn wrong(field: &str, what: impl Into<String>) -> Problem {
    Problem::Field { field: field.to_owned(), what: what.into() }
}

/// Of the disk; that there are as many as there may be is no failure of it.
fn disk_failed(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => Problem::Conflict { what: error.to_string() },
        _ => failed(error),
    }
}

fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::Failed { what: format!("the accounts' database failed: {error}") }
}

/// A refusal to the store's caller.
struct Refusal(Problem);

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal(disk_failed(error))
    }
}

/// Asks or changes the database on a thread that may wait for the disk.
pub(crate) async fn on_disk<T: Send + 'static>(
    core: &Arc<Core>,
    work: impl FnOnce(&store::Accounts) -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let core = core.clone();
    tokio::task::spawn_blocking(move || work(core.store.accounts())).await.map_err(failed)?.map_err(disk_failed)
}

/// Changes the administrators on such a thread.
async fn with_all<T: Send + 'static>(
    core: &Arc<Core>,
    change: impl FnOnce(&mut Vec<Administrator>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let core = core.clone();
    let changing = move || core.store.accounts().change(|all| change(all).map_err(Refusal));
    tokio::task::spawn_blocking(changing).await.map_err(failed)?.map_err(|Refusal(problem)| problem)
}

/// Writes down what somebody did. That it cannot be written does not undo it; it is told in the log.
pub(crate) async fn act(core: &Arc<Core>, who: &str, place: &str, what: &str, fields: Value) {
    let act = Act { at: now(), who: who.to_owned(), place: place.to_owned(), what: what.to_owned(), fields };
    if let Err(problem) = on_disk(core, move |accounts| accounts.act(&act)).await {
        core.record(
            core.ids.next(),
            "alert",
            json!({ "what": format!("an act of {who} ({what}) is not written down: {}", problem.what()) }),
        );
    }
}

/// Who a person is in records: with the token's name, if it was a program, and for whom it says that it acts.
pub(crate) fn who(by: &Account) -> String {
    match (&by.token, &by.on_behalf) {
        (None, _) => by.name.clone(),
        (Some(token), None) => format!("token {token}"),
        (Some(token), Some(whom)) => format!("token {token} for {whom}"),
    }
}

/// Who asks. `used`: whoever it is does something now, so the session lives on; a page that only stands open does nothing.
pub(crate) async fn find(core: &Arc<Core>, visitor: &Visitor, used: bool) -> Option<Account> {
    let from = visitor.peer.address.to_string();
    let now = now();
    if let Some(secret) = &visitor.bearer {
        let hash = hash(secret);
        let found = on_disk(core, move |accounts| {
            let found = accounts.token(&hash, now)?.filter(|(token, maker)| stopped(token, maker.as_ref()).is_none());
            if let Some((token, _)) = found.as_ref().filter(|_| used) {
                accounts.token_used(token, now)?;
            }
            Ok(found)
        });
        let (token, _) = found.await.ok()??;
        let on_behalf = visitor.on_behalf.clone();
        return Some(Account {
            name: token.by,
            role: token.role.parse().ok()?,
            token: Some(token.name),
            on_behalf,
            from,
        });
    }
    let hash = hash(visitor.session.as_ref()?);
    let (begun, seen) = (Time(now.ms() - SESSION_MS), Time(now.ms() - IDLE_MS));
    let found = on_disk(core, move |accounts| {
        let found = accounts.session(&hash, begun, seen)?;
        if let Some((session, _)) = found.as_ref().filter(|_| used) {
            accounts.session_seen(session, now)?;
        }
        Ok(found)
    });
    let (_, owner) = found.await.ok()??;
    Some(Account { name: owner.name, role: owner.role.parse().ok()?, token: None, on_behalf: None, from })
}

/// Why a token opens nothing, if so. It stands on the rights of who made it: it stops when they are disabled or removed or may
/// less than it may, and works again when they may again. Somebody new with an old name did not make it.
fn stopped(token: &Token, maker: Option<&Administrator>) -> Option<String> {
    let by = &token.by;
    if token.apart {
        return None;
    }
    let Some(maker) = maker.filter(|maker| maker.created <= token.created) else {
        return Some(format!("{by}, who made it, is no administrator any more"));
    };
    if maker.disabled {
        return Some(format!("{by}, who made it, is disabled"));
    }
    let role = |word: &str| word.parse::<Role>().ok();
    match (role(&maker.role), role(&token.role)) {
        (Some(theirs), Some(its)) if theirs.covers(its) => None,
        (Some(theirs), _) => Some(format!("{by}, who made it, is {} now and may less than it", theirs.name())),
        (None, _) => Some(format!("the role of {by}, who made it, is not known")),
    }
}

pub(crate) async fn is_new(core: &Arc<Core>) -> bool {
    on_disk(core, |accounts| accounts.administrators()).await.is_ok_and(|all| all.is_empty())
}

pub(crate) async fn is_first_key(core: &Arc<Core>, key: &str) -> bool {
    same(key, &core.accounts.first) && is_new(core).await
}

/// The path of the first start's link; `None`: there is an administrator.
pub(crate) async fn first_path(core: &Arc<Core>) -> Option<String> {
    is_new(core).await.then(|| format!("/first-start?key={}", core.accounts.first))
}

pub(crate) async fn first(
    core: &Arc<Core>,
    key: &str,
    name: &str,
    password: &str,
    visitor: &Visitor,
) -> Result<String, Problem> {
    if !is_first_key(core, key).await {
        return Err(Problem::Failed { what: "The first administrator has been made already.".to_owned() });
    }
    let made = Administrator { signed_in: Some(now()), ..made(core, name, Role::Full, password).await? };
    with_all(core, move |all| {
        if !all.is_empty() {
            return Err(Problem::Failed { what: "The first administrator has been made already.".to_owned() });
        }
        all.push(made);
        Ok(())
    })
    .await?;
    act(core, name, &visitor.peer.address.to_string(), "first administrator made", json!({})).await;
    begin(core, name, visitor).await
}

/// A new administrator's row, if name and password are good.
async fn made(core: &Arc<Core>, name: &str, role: Role, password: &str) -> Result<Administrator, Problem> {
    good_name(name).map_err(|what| wrong("name", what))?;
    let password = hashed(core, name, password, "password").await?;
    Ok(Administrator {
        name: name.to_owned(),
        role: role.word().to_owned(),
        password,
        created: now(),
        ..Administrator::default()
    })
}

pub(crate) fn good_name(name: &str) -> Result<(), String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | '@');
    match name {
        "" => Err("Type a name.".to_owned()),
        _ if name.len() > NAME_MAX => Err(format!("At most {NAME_MAX} characters.")),
        _ if !name.chars().all(fits) => Err("Only letters without accents, digits, and . _ - @".to_owned()),
        _ => Ok(()),
    }
}

fn good_password(name: &str, password: &str) -> Result<(), String> {
    let without = |rest: String, word: &&str| rest.replace(word, "");
    let rest = ["password", "gatepost", "123456", "qwerty"].iter().fold(password.to_lowercase(), without);
    let different = password.chars().collect::<std::collections::HashSet<_>>().len();
    match password {
        _ if password.chars().count() < PASSWORD_MIN => {
            Err(format!("Too short: it needs {PASSWORD_MIN} characters or more. Several words are easy to remember."))
        }
        _ if password.len() > PASSWORD_MAX => Err(format!("Too long: at most {PASSWORD_MAX} octets.")),
        _ if different < 5 => Err("Too simple: the same few characters over and over.".to_owned()),
        _ if rest.len() < 6 => Err("Too easy to guess: it is little more than a word that is tried first.".to_owned()),
        _ if name.len() > 3 && rest.replace(&name.to_lowercase(), "").len() < 6 => {
            Err("Too easy to guess: it is little more than the name.".to_owned())
        }
        _ => Ok(()),
    }
}

/// Checks a new password and hashes it; the reason belongs to `field`.
async fn hashed(core: &Arc<Core>, name: &str, password: &str, field: &str) -> Result<String, Problem> {
    good_password(name, password).map_err(|what| wrong(field, what))?;
    let password = password.to_owned();
    let busy = || Problem::Failed {
        what: "Too many passwords are checked at this moment. Try again in a few seconds.".to_owned(),
    };
    heavy(core, move || password::hash(&password)).await.ok_or_else(busy)?.map_err(failed)
}

/// Runs what costs a core and much memory, a few at a time. `None`: its turn did not come.
async fn heavy<T: Send + 'static>(core: &Arc<Core>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = tokio::time::timeout(HASHING_WAIT, core.accounts.hashing.acquire()).await.ok()?.ok()?;
    let done = tokio::task::spawn_blocking(work).await.ok();
    drop(turn);
    done
}

/// Whether the password fits; without a hash to fit it takes as long and does not. `None`: its turn did not come.
async fn fits(core: &Arc<Core>, hash: Option<String>, password: &str) -> Option<bool> {
    let password: String = password.chars().take(PASSWORD_MAX).collect();
    heavy(core, move || password::fits(hash.as_deref(), &password)).await
}

/// An address as it is watched: who has one of a network of IPv6 has all of it.
fn watched(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
        v4 => v4,
    }
}

pub(crate) async fn sign_in(core: &Arc<Core>, name: &str, password: &str, visitor: &Visitor) -> Entry {
    let asked = name.to_owned();
    let Ok(known) = on_disk(core, move |accounts| accounts.administrator(&asked)).await else { return Entry::Busy };
    let known = known.filter(|known| !known.disabled);
    let locked = is_locked(core, name, visitor);
    let hash = known.as_ref().map(|known| known.password.clone());
    let Some(right) = fits(core, hash, password).await else { return Entry::Busy };
    // While locked not even the right password tells that it is right.
    if locked {
        return Entry::Refused;
    }
    let Some(known) = known.filter(|_| right) else {
        count_failure(core, name, visitor).await;
        return Entry::Refused;
    };
    if known.totp.is_some() {
        return Entry::Code(ticket(core, name));
    }
    entered(core, name, visitor).await
}

fn is_locked(core: &Core, name: &str, visitor: &Visitor) -> bool {
    let (now, address) = (now(), watched(visitor.peer.address));
    let by_name = lock(&core.accounts.names).locked(&name.to_owned(), now).is_some();
    lock(&core.accounts.addresses).locked(&address, now).is_some() || by_name
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts it for name and address. Only the beginning of a wait is an act: strangers cannot fill the list.
async fn count_failure(core: &Arc<Core>, name: &str, visitor: &Visitor) {
    let (now, address) = (now(), visitor.peer.address);
    let name: String = name.chars().take(NAME_MAX).filter(|letter| !letter.is_control()).collect();
    let (by_name, names_gone) = lock(&core.accounts.names).fail(name.clone(), NAME_FREE, now);
    let (by_address, addresses_gone) = lock(&core.accounts.addresses).fail(watched(address), ADDRESS_FREE, now);
    let rows = [by_name.row(of_name(&name)), by_address.row(of_address(&watched(address)))];
    let gone: Vec<String> =
        names_gone.iter().map(|name| of_name(name)).chain(addresses_gone.iter().map(of_address)).collect();
    // What cannot be written counts until the next restart all the same.
    let _ = on_disk(core, move |accounts| accounts.failures_put(&rows, &gone)).await;
    let fields = json!({ "name": name, "client": address.to_string(), "status": "sign-in failed" });
    core.record(core.ids.next(), "sign-in", fields);
    let core = core.clone();
    // Apart, so that the answer takes the same time whether there is such a name or not.
    tokio::spawn(async move {
        let known = name.clone();
        let found = on_disk(&core, move |accounts| accounts.administrator(&known)).await;
        let is_known = found.is_ok_and(|one| one.is_some());
        if (by_name.until > now && is_known) || by_address.until > now {
            act(&core, &name, &address.to_string(), "sign-in locked after failures", json!({})).await;
        }
    });
}

/// Forgets a name's failures, here and on disk.
async fn forgive(core: &Arc<Core>, name: &str) -> Result<(), Problem> {
    lock(&core.accounts.names).0.remove(name);
    let gone = of_name(name);
    on_disk(core, move |accounts| accounts.failures_put(&[], &[gone])).await
}

fn ticket(core: &Core, name: &str) -> String {
    let ticket = secret();
    let now = now();
    let mut tickets = lock(&core.accounts.tickets);
    tickets.retain(|_, (_, until)| *until > now);
    if tickets.len() < TICKETS_MAX {
        tickets.insert(hash(&ticket), (name.to_owned(), Time(now.ms() + TICKET_MS)));
    }
    ticket
}

pub(crate) async fn second(core: &Arc<Core>, ticket: &str, code: &str, visitor: &Visitor) -> Entry {
    // A ticket is for one try: whoever knows the password starts again.
    let found = lock(&core.accounts.tickets).remove(&hash(ticket));
    let Some((name, _)) = found.filter(|(_, until)| *until > now()) else { return Entry::Refused };
    if is_locked(core, &name, visitor) {
        return Entry::Refused;
    }
    let (whose, code, now) = (name.clone(), code.to_owned(), now());
    let fits = with_all(core, move |all| {
        let known = all.iter_mut().find(|known| known.name == whose && !known.disabled);
        Ok(known.is_some_and(|known| takes(known, &code, now)))
    });
    match fits.await {
        Ok(true) => entered(core, &name, visitor).await,
        Ok(false) => {
            count_failure(core, &name, visitor).await;
            Entry::Refused
        }
        Err(_) => Entry::Busy,
    }
}

/// Whether the code is the authenticator's of this moment, or a recovery code; either is used up by it.
fn takes(known: &mut Administrator, code: &str, now: Time) -> bool {
    let Some(secret) = &known.totp else { return false };
    if let Some(step) = totp::check(secret, code, now, known.totp_step) {
        known.totp_step = step;
        return true;
    }
    let typed = hash(&plain_code(code));
    let before = known.recovery.len();
    known.recovery.retain(|kept| !same(kept, &typed));
    known.recovery.len() < before
}

/// A recovery code as it is hashed: hyphens, blanks and case aside.
fn plain_code(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase()
}

async fn entered(core: &Arc<Core>, name: &str, visitor: &Visitor) -> Entry {
    if forgive(core, name).await.is_err() {
        return Entry::Busy;
    }
    let whose = name.to_owned();
    let noted = with_all(core, move |all| {
        if let Some(known) = all.iter_mut().find(|known| known.name == whose) {
            known.signed_in = Some(now());
        }
        Ok(())
    });
    if noted.await.is_err() {
        return Entry::Busy;
    }
    act(core, name, &visitor.peer.address.to_string(), "signed in", json!({ "browser": visitor.agent })).await;
    begin(core, name, visitor).await.map_or(Entry::Busy, Entry::In)
}

/// Begins a session; whatever the browser held before is worth nothing for it (session fixation).
async fn begin(core: &Arc<Core>, name: &str, visitor: &Visitor) -> Result<String, Problem> {
    let (secret, now) = (secret(), now());
    let session = Session {
        hash: hash(&secret),
        name: name.to_owned(),
        created: now,
        seen: now,
        address: visitor.peer.address.to_string(),
        agent: visitor.agent.clone(),
    };
    let (begun, seen) = (Time(now.ms() - SESSION_MS), Time(now.ms() - IDLE_MS));
    on_disk(core, move |accounts| {
        accounts.sessions_forget(begun, seen)?;
        accounts.session_put(&session)
    })
    .await?;
    Ok(secret)
}

pub(crate) async fn sign_out(core: &Arc<Core>, visitor: &Visitor) {
    let (Some(secret), Some(account)) = (&visitor.session, find(core, visitor, true).await) else { return };
    let (hash, name) = (hash(secret), account.name.clone());
    // What cannot be removed now ends by itself.
    let _ = on_disk(core, move |accounts| accounts.session_end(&name, &hash)).await;
    act(core, &account.name, &account.from, "signed out", json!({})).await;
}

/// Changes accounts and writes it down. Nobody but the caller knows whether `by` may.
pub(crate) async fn change(
    core: &Arc<Core>,
    by: &Account,
    visitor: Option<&Visitor>,
    change: Change,
) -> Result<Given, Problem> {
    let (what, fields) = words(&change);
    let own = matches!(
        change,
        Change::OwnPassword { .. } | Change::OwnSession { .. } | Change::OwnFactor { .. } | Change::OwnNoFactor { .. }
    );
    if own && by.token.is_some() {
        return Err(Problem::Failed { what: "An API token has no password and no sessions.".to_owned() });
    }
    no_more_than_own(by, &change)?;
    let mut given = carry_out(core, by, visitor, change).await?;
    act(core, &who(by), &by.from, what, fields).await;
    if let (Some(visitor), "changed the own password") = (visitor, what) {
        given.session = Some(begin(core, &by.name, visitor).await?);
    }
    Ok(given)
}

/// Nobody gives a role that is more than their own.
fn no_more_than_own(by: &Account, change: &Change) -> Result<(), Problem> {
    let given = match change {
        Change::Add { role, .. } | Change::Role { role, .. } | Change::AddToken { role, .. } => *role,
        _ => return Ok(()),
    };
    if by.role.covers(given) {
        return Ok(());
    }
    Err(wrong("role", format!("You are {}: that is less than {}.", by.role.name(), given.name())))
}

/// For the list of acts; never a password.
fn words(change: &Change) -> (&'static str, Value) {
    match change {
        Change::Add { name, role, .. } => ("added an administrator", json!({ "name": name, "role": role.word() })),
        Change::Role { name, role } => ("changed a role", json!({ "name": name, "role": role.word() })),
        Change::Disable { name } => ("disabled an administrator", json!({ "name": name })),
        Change::Enable { name } => ("enabled an administrator", json!({ "name": name })),
        Change::Unlock { name } => ("unlocked an administrator", json!({ "name": name })),
        Change::Reset { name, factor, .. } => ("reset a password", json!({ "name": name, "second step too": factor })),
        Change::NoFactor { name } => ("took a second step away", json!({ "name": name })),
        Change::EndSessions { name } => ("ended all sessions", json!({ "name": name })),
        Change::Remove { name } => ("removed an administrator", json!({ "name": name })),
        Change::AddToken { name, role, days } => {
            ("made an API token", json!({ "name": name, "role": role.word(), "days": days }))
        }
        Change::RemoveToken { name } => ("removed an API token", json!({ "name": name })),
        Change::OwnPassword { .. } => ("changed the own password", json!({})),
        Change::OwnSession { id } => {
            ("ended own sessions", json!({ "session": id.as_deref().unwrap_or("all others") }))
        }
        Change::OwnFactor { .. } => ("turned the own second step on", json!({})),
        Change::OwnNoFactor { .. } => ("turned the own second step off", json!({})),
    }
}

async fn carry_out(
    core: &Arc<Core>,
    by: &Account,
    visitor: Option<&Visitor>,
    change: Change,
) -> Result<Given, Problem> {
    let nothing = |()| Given::default();
    match change {
        Change::Add { name, role, password } => {
            let made = made(core, &name, role, &password).await?;
            let add = move |all: &mut Vec<Administrator>| {
                if all.iter().any(|known| known.name.eq_ignore_ascii_case(&made.name)) {
                    return Err(wrong("name", format!("There is an administrator {} already.", made.name)));
                }
                all.push(made);
                let what = "make a full administrator first, or nobody could change anything";
                somebody_rules(all).map_err(|_| Problem::Conflict { what: what.to_owned() })
            };
            with_all(core, add).await.map(nothing)
        }
        Change::Role { name, role } => {
            one(core, name, move |known| known.role = role.word().to_owned()).await.map(nothing)
        }
        Change::Disable { name } => one(core, name, |known| known.disabled = true).await.map(nothing),
        Change::Enable { name } => one(core, name, |known| known.disabled = false).await.map(nothing),
        Change::Unlock { name } => forgive(core, &name).await.map(nothing),
        Change::Reset { name, password, factor } => {
            let hash = hashed(core, &name, &password, "password").await?;
            let whose = name.clone();
            let reset = one(core, name, move |known| {
                known.password = hash;
                if factor {
                    (known.totp, known.recovery) = (None, Vec::new());
                }
            });
            reset.await?;
            forgive(core, &whose).await.map(nothing)
        }
        Change::NoFactor { name } => {
            let whose = name.clone();
            let drop = |known: &mut Administrator| (known.totp, known.recovery) = (None, Vec::new());
            one(core, name, drop).await?;
            on_disk(core, move |accounts| accounts.sessions_end(&whose, "")).await.map(|_| Given::default())
        }
        Change::EndSessions { name } => {
            on_disk(core, move |accounts| accounts.sessions_end(&name, "")).await.map(|_| Given::default())
        }
        Change::Remove { name } => {
            let remove = move |all: &mut Vec<Administrator>| {
                let before = all.len();
                all.retain(|known| known.name != name);
                if all.len() == before { Err(unknown(&name)) } else { somebody_rules(all) }
            };
            with_all(core, remove).await.map(nothing)
        }
        Change::AddToken { name, role, days } => add_token(core, by, name, role, days).await,
        Change::RemoveToken { name } => {
            let asked = name.clone();
            let gone = on_disk(core, move |accounts| accounts.token_remove(&asked)).await?;
            if gone {
                Ok(Given::default())
            } else {
                Err(Problem::Unknown { what: format!("there is no token {name}") })
            }
        }
        Change::OwnPassword { old, new } => {
            own_password(core, by, &old, "old").await?;
            let hash = hashed(core, &by.name, &new, "new").await?;
            one(core, by.name.clone(), move |known| known.password = hash).await.map(nothing)
        }
        Change::OwnSession { id: Some(id) } => {
            let name = by.name.clone();
            on_disk(core, move |accounts| accounts.session_end(&name, &id)).await.map(|_| Given::default())
        }
        Change::OwnSession { id: None } => {
            let but = visitor.and_then(|visitor| visitor.session.as_deref()).map(hash).unwrap_or_default();
            let name = by.name.clone();
            on_disk(core, move |accounts| accounts.sessions_end(&name, &but)).await.map(|_| Given::default())
        }
        Change::OwnFactor { secret, code } => own_factor(core, by, &secret, &code).await,
        Change::OwnNoFactor { password } => {
            own_password(core, by, &password, "password").await?;
            let drop = |known: &mut Administrator| (known.totp, known.recovery) = (None, Vec::new());
            one(core, by.name.clone(), drop).await.map(nothing)
        }
    }
}

/// Puts the accounts of a backup in place of those that there are. `keep`: whoever asks stays as they are, with their token.
pub(crate) async fn restore(
    core: &Arc<Core>,
    by: &Account,
    mut all: Vec<Administrator>,
    mut tokens: Vec<Token>,
    keep: bool,
) -> Result<(), Problem> {
    if keep {
        let (name, token) = (by.name.clone(), by.token.clone());
        let (me, mine) = on_disk(core, move |accounts| {
            let mine = accounts.tokens()?.into_iter().find(|one| Some(&one.name) == token.as_ref());
            Ok((accounts.administrator(&name)?, mine))
        })
        .await?;
        if let Some(me) = me {
            all.retain(|one| !one.name.eq_ignore_ascii_case(&me.name));
            all.push(me);
        }
        if let Some(mine) = mine {
            tokens.retain(|one| one.name != mine.name && one.hash != mine.hash);
            tokens.push(mine);
        }
    }
    somebody_rules(&all).map_err(|_| Problem::Conflict {
        what: "no full administrator could sign in after it: keep your own account".to_owned(),
    })?;
    let is_in = all.iter().any(|one| one.name == by.name && one.role == Role::Full.word() && !one.disabled);
    if by.token.is_none() && !is_in {
        let what = format!("{} would be locked out by it: keep your own account as it is", by.name);
        return Err(Problem::Conflict { what });
    }
    let fields = json!({ "administrators": all.len(), "tokens": tokens.len(), "own account kept": keep });
    on_disk(core, move |accounts| accounts.replace(&all, &tokens)).await?;
    act(core, &who(by), &by.from, "restored accounts", fields).await;
    Ok(())
}

fn unknown(name: &str) -> Problem {
    Problem::Unknown { what: format!("there is no administrator {name}") }
}

/// Nobody can lock everybody out.
fn somebody_rules(all: &[Administrator]) -> Result<(), Problem> {
    let rules = all.iter().any(|known| known.role == Role::Full.word() && !known.disabled);
    let what = "this is the last full administrator who can sign in; make another one first";
    if rules { Ok(()) } else { Err(Problem::Conflict { what: what.to_owned() }) }
}

/// Changes one administrator.
async fn one(
    core: &Arc<Core>,
    name: String,
    change: impl FnOnce(&mut Administrator) + Send + 'static,
) -> Result<(), Problem> {
    with_all(core, move |all| {
        change(all.iter_mut().find(|known| known.name == name).ok_or_else(|| unknown(&name))?);
        somebody_rules(all)
    })
    .await
}

/// Asks for one's own password again; failures count, so that a session left open is no place to guess it.
async fn own_password(core: &Arc<Core>, by: &Account, password: &str, field: &str) -> Result<(), Problem> {
    let name = by.name.clone();
    let known = on_disk(core, move |accounts| accounts.administrator(&name)).await?;
    let busy = || Problem::Failed {
        what: "Too many passwords are checked at this moment. Try again in a few seconds.".to_owned(),
    };
    if lock(&core.accounts.names).locked(&by.name, now()).is_some() {
        return Err(wrong(field, "Too many tries. Wait a few minutes."));
    }
    if fits(core, known.map(|known| known.password), password).await.ok_or_else(busy)? {
        return Ok(());
    }
    let (tally, _) = lock(&core.accounts.names).fail(by.name.clone(), NAME_FREE, now());
    let row = tally.row(of_name(&by.name));
    on_disk(core, move |accounts| accounts.failures_put(&[row], &[])).await?;
    Err(wrong(field, "That is not your password."))
}

async fn add_token(
    core: &Arc<Core>,
    by: &Account,
    name: String,
    role: Role,
    days: Option<u32>,
) -> Result<Given, Problem> {
    good_name(&name).map_err(|what| wrong("name", what))?;
    let (secret, now) = (format!("gp_{}", secret()), now());
    let expires = days.map(|days| Time(now.ms() + i64::from(days) * 86_400_000));
    let token = Token {
        hash: hash(&secret),
        name: name.clone(),
        role: role.word().to_owned(),
        by: by.name.clone(),
        apart: by.from == COMMAND,
        created: now,
        used: None,
        expires,
    };
    let with = by.token.clone();
    let added = on_disk(core, move |accounts| {
        // What a token makes stands on what it stands on itself.
        let stands_apart = with
            .is_some_and(|with| accounts.tokens().is_ok_and(|all| all.iter().any(|one| one.name == with && one.apart)));
        match accounts.token_put(&Token { apart: token.apart || stands_apart, ..token }) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            other => other.map(|()| true),
        }
    });
    if !added.await? {
        return Err(wrong("name", format!("There is a token {name} already.")));
    }
    Ok(Given { secrets: vec![secret], session: None })
}

async fn own_factor(core: &Arc<Core>, by: &Account, secret: &str, code: &str) -> Result<Given, Problem> {
    let octets = totp::from_base32(secret).filter(|octets| octets.len() == totp::SECRET_LENGTH);
    let octets = octets.ok_or_else(|| wrong("code", "The secret is not one of ours. Load the page again."))?;
    let step = totp::check(&octets, code, now(), 0);
    let step = step.ok_or_else(|| wrong("code", "That is not the code of this moment. Is the phone's clock right?"))?;
    let codes: Vec<String> = (0..CODES).map(|_| recovery_code()).collect();
    let hashes = codes.iter().map(|code| hash(&plain_code(code))).collect();
    one(core, by.name.clone(), move |known| {
        (known.totp, known.totp_step, known.recovery) = (Some(octets), step, hashes);
    })
    .await?;
    Ok(Given { secrets: codes, session: None })
}

/// 80 bits of chance in four groups of letters and digits.
fn recovery_code() -> String {
    let octets: [u8; 10] = rand::random();
    let text = totp::base32(&octets);
    [&text[..4], &text[4..8], &text[8..12], &text[12..]].join("-")
}

/// A new secret for an authenticator, and the address that it reads from a QR code.
pub(crate) fn new_secret(core: &Core, name: &str) -> (String, String) {
    let octets: [u8; totp::SECRET_LENGTH] = rand::random();
    let secret = totp::base32(&octets);
    let host = core.in_force().hostname.to_string();
    let address =
        format!("otpauth://totp/Gatepost%20{host}:{}?secret={secret}&issuer=Gatepost", name.replace('@', "%40"));
    (secret, address)
}

pub(crate) async fn administrators(core: &Arc<Core>) -> Result<Vec<control::Administrator>, Problem> {
    let all = on_disk(core, |accounts| Ok((accounts.administrators()?, accounts.sessions(None)?))).await?;
    let (all, sessions) = all;
    let alive = alive(now());
    let one = |known: Administrator| control::Administrator {
        role: known.role.parse().unwrap_or(Role::HelpDesk),
        factor: known.totp.is_some(),
        disabled: known.disabled,
        locked_until: lock(&core.accounts.names).locked(&known.name, now()),
        created: known.created,
        signed_in: known.signed_in,
        sessions: sessions.iter().filter(|session| session.name == known.name && alive(session)).count() as u64,
        name: known.name,
    };
    Ok(all.into_iter().map(one).collect())
}

fn alive(now: Time) -> impl Fn(&Session) -> bool {
    move |session| now.ms() - session.seen.ms() < IDLE_MS && now.ms() - session.created.ms() < SESSION_MS
}

pub(crate) async fn sessions(
    core: &Arc<Core>,
    name: &str,
    visitor: &Visitor,
) -> Result<Vec<control::Session>, Problem> {
    let (name, current) = (name.to_owned(), visitor.session.as_deref().map(hash));
    let all = on_disk(core, move |accounts| accounts.sessions(Some(&name))).await?;
    let one = |session: Session| control::Session {
        current: current.as_ref() == Some(&session.hash),
        id: session.hash,
        created: session.created,
        seen: session.seen,
        address: session.address,
        agent: session.agent,
    };
    let alive = alive(now());
    Ok(all.into_iter().filter(|session| alive(session)).map(one).collect())
}

pub(crate) async fn tokens(core: &Arc<Core>) -> Result<Vec<control::Token>, Problem> {
    let (all, makers) = on_disk(core, |accounts| Ok((accounts.tokens()?, accounts.administrators()?))).await?;
    let one = |token: Token| control::Token {
        stopped: stopped(&token, makers.iter().find(|maker| maker.name == token.by)),
        apart: token.apart,
        role: token.role.parse().unwrap_or(Role::HelpDesk),
        name: token.name,
        by: token.by,
        created: token.created,
        used: token.used,
        expires: token.expires,
    };
    Ok(all.into_iter().map(one).collect())
}

pub(crate) async fn acts(core: &Arc<Core>, term: &str, limit: usize) -> Result<Vec<control::Act>, Problem> {
    let term = term.to_owned();
    let all = on_disk(core, move |accounts| accounts.acts(&term, limit)).await?;
    let one =
        |act: Act| control::Act { at: act.at, who: act.who, place: act.place, what: act.what, fields: act.fields };
    Ok(all.into_iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_refused_with_its_reason() {
        for (password, part) in [
            ("short", "12 characters"),
            ("aaaaaaaaaaaaaaaa", "over and over"),
            ("ababababababab", "over and over"),
            ("Password123456", "tried first"),
            ("alexander2026", "the name"),
            (&"x1y2z3".repeat(200), "Too long"),
        ] {
            let said = good_password("alexander", password).unwrap_err();
            assert!(said.contains(part), "{password}: {said}");
        }
        for good in ["correct horse battery", "пароль из слов", "x7#kQ!m2Lp9$"] {
            assert_eq!(good_password("alexander", good), Ok(()), "{good}");
        }
    }

    #[test]
    fn names_are_for_typing() {
        for bad in ["", "a b", "<b>", "ä", "a\n", &"x".repeat(65)] {
            assert!(good_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(good_name("ann.b-c_d@corp.test"), Ok(()));
    }

    #[test]
    fn waiting_begins_after_some_failures_and_grows_to_a_bound() {
        let mut tallies = Tallies::default();
        let fails = |tallies: &mut Tallies<&str>, at| tallies.fail("ann", NAME_FREE, Time(at)).0.until > Time(at);
        for at in 1..5 {
            assert!(!fails(&mut tallies, at), "{at}");
        }
        assert!(fails(&mut tallies, 5));
        assert_eq!(tallies.locked(&"ann", Time(6)), Some(Time(5 + WAIT_MS)));
        assert_eq!(tallies.locked(&"ann", Time(5 + WAIT_MS)), None);
        assert_eq!(tallies.locked(&"bob", Time(6)), None);
        for at in 6..90 {
            fails(&mut tallies, at);
        }
        assert_eq!(tallies.locked(&"ann", Time(90)), Some(Time(89 + WAIT_MAX_MS)));
        assert!(!fails(&mut tallies, 89 + FORGET_MS), "it was long ago");
    }

    #[test]
    fn those_who_fail_are_bounded_and_the_one_longest_ago_goes() {
        let mut tallies = Tallies::default();
        for n in 0..i64::try_from(WATCHED_MAX).unwrap() + 10 {
            let (_, gone) = tallies.fail(n, 1, Time(n));
            let oldest = n - i64::try_from(WATCHED_MAX).unwrap();
            assert_eq!(gone, if oldest >= 0 { vec![oldest] } else { vec![] });
        }
        assert_eq!(tallies.0.len(), WATCHED_MAX);
        assert!(!tallies.0.contains_key(&9) && tallies.0.contains_key(&10));
    }

    #[test]
    fn a_network_of_ipv6_is_watched_as_one() {
        let [one, two, other] =
            ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"].map(|text| watched(text.parse().unwrap()));
        assert!(one == two && one != other);
        assert_eq!(watched("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }

    #[test]
    fn a_recovery_code_works_once_however_it_is_typed() {
        let code = recovery_code();
        let mut known = Administrator {
            totp: Some(vec![1; 20]),
            recovery: vec![hash(&plain_code(&code))],
            ..Administrator::default()
        };
        assert!(!takes(&mut known, "AAAA-BBBB-CCCC-DDDD", Time(0)));
        assert!(takes(&mut known, &code.to_lowercase().replace('-', " "), Time(0)));
        assert!(!takes(&mut known, &code, Time(0)));
    }

    #[test]
    fn a_token_may_no_more_than_who_made_it() {
        let token =
            |role: &str| Token { role: role.to_owned(), by: "ann".to_owned(), created: Time(10), ..Token::default() };
        let maker = |role: &str, disabled, created| {
            Some(Administrator { role: role.to_owned(), disabled, created: Time(created), ..Administrator::default() })
        };
        for (role, maker, part) in [
            ("full", maker("full", false, 5), None),
            ("read-only", maker("operator", false, 5), None),
            ("full", maker("operator", false, 5), Some("is operator now")),
            ("help-desk", maker("full", true, 5), Some("is disabled")),
            ("help-desk", maker("full", false, 11), Some("no administrator any more")),
            ("help-desk", None, Some("no administrator any more")),
        ] {
            let said = stopped(&token(role), maker.as_ref());
            assert_eq!(said.is_some(), part.is_some(), "{role} {maker:?}: {said:?}");
            assert!(part.is_none_or(|part| said.is_some_and(|said| said.contains(part))), "{role} {maker:?}");
        }
        assert_eq!(stopped(&Token { apart: true, ..token("full") }, None), None, "made on the command line");
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let by = |role| Account { name: "ann".to_owned(), role, token: None, from: String::new(), on_behalf: None };
        let (name, password) = ("eve".to_owned(), String::new());
        for change in [
            Change::Add { name: name.clone(), role: Role::Full, password },
            Change::Role { name: "ann".to_owned(), role: Role::Full },
            Change::AddToken { name, role: Role::Full, days: None },
        ] {
            assert!(no_more_than_own(&by(Role::Operator), &change).is_err(), "{change:?}");
            assert!(no_more_than_own(&by(Role::Full), &change).is_ok(), "{change:?}");
        }
    }

    #[test]
    fn the_last_full_administrator_stays() {
        let known =
            |role: &str, disabled| Administrator { role: role.to_owned(), disabled, ..Administrator::default() };
        assert!(somebody_rules(&[known("full", false)]).is_ok());
        assert!(somebody_rules(&[known("full", true), known("operator", false)]).is_err());
    }
}
