//! Search: mail by anything that is known of it, newest first, a page at a time.
//!
//! Three ways, by what is asked for:
//! - words: the full-text indexes of the days, newest day first
//! - only what happened (and when, by which listener, from which cause): the facts, by their time
//! - nothing: the rows themselves
//!
//! A search that finds little looks far back. It stops after [`BUDGET`], says how far it came, and can go on from there.

use super::facts::{cause_number, door_name, door_number};
use super::{Class, DAY_MS, audit_id, words};
use mail::{AuditId, Time};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, ErrorCode, Row, Transaction, params, params_from_iter};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What to look for in the trail. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// An Audit ID, or words of a Message-ID, address, domain, client, subject, status or cause. Case does not matter; a
    /// word of three letters or more is found by its beginning, and by the beginning of each part (`corp` finds
    /// `ann@mail.corp.test`). Several words: all of them.
    pub term: Option<String>,
    /// Looks for the words of `term` in addresses and clients only.
    pub addresses_only: bool,
    /// From this time on: Audit IDs given then, or, with `class` or `cause`, what happened then.
    pub from: Option<Time>,
    /// Before this time.
    pub until: Option<Time>,
    /// What happened to it, at any time of its way.
    pub class: Option<Class>,
    /// `inbound`, `outbound`, `submission` or `internal` (the gateway's own).
    pub listener: Option<String>,
    /// Words of the sender's address; `<>` finds bounces.
    pub sender: Option<String>,
    /// Words of a recipient's address.
    pub recipient: Option<String>,
    /// Words of the client's address or of the name it gave.
    pub client: Option<String>,
    /// The whole name of the cause that was found.
    pub cause: Option<String>,
}

/// A message or connection of which the trail knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: AuditId,
    /// Its first event.
    pub at: Time,
    /// Its newest event.
    pub last: Time,
    pub sender: String,
    /// At most a thousand.
    pub recipients: Vec<String>,
    pub subject: String,
    pub message_id: String,
    pub client: String,
    /// The name that the client gave.
    pub helo: String,
    /// Name of the listener; empty if it came by none.
    pub door: String,
    /// Octets of content; 0 if not known.
    pub size: u64,
    /// The connection by which it came, or the message that it reports on.
    pub related: Option<AuditId>,
    /// The last one.
    pub status: String,
    /// The last one that was no success; empty if there was none.
    pub trouble: String,
    /// All that happened to it.
    pub classes: Vec<Class>,
    /// Name and sentence of the last finding; empty if there is none.
    pub cause: String,
    pub finding: String,
}

/// A place in a list of entries; as text for addresses of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    /// Only of lists by what happened.
    at_ms: i64,
    id: i64,
}

/// A part of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where it goes on; `None`: that was all.
    pub next: Option<AuditCursor>,
    /// Time was up before the page was full; older mail than this was not looked at yet.
    pub stopped_at: Option<Time>,
}

/// How long one page may take: the next begins where it stopped.
const BUDGET: Duration = Duration::from_millis(700);
/// Words of a question that are looked for.
const WORDS_MAX: usize = 12;
/// A message may be delivered, deferred or returned so long after it came: `retry.expire` goes up to 30 days.
const LIFE_MS: i64 = 31 * DAY_MS;

impl AuditEntry {
    pub(crate) fn new(id: AuditId, at: Time) -> AuditEntry {
        AuditEntry {
            id,
            at,
            last: Time(i64::MIN),
            sender: String::new(),
            recipients: Vec::new(),
            subject: String::new(),
            message_id: String::new(),
            client: String::new(),
            helo: String::new(),
            door: String::new(),
            size: 0,
            related: None,
            status: String::new(),
            trouble: String::new(),
            classes: Vec::new(),
            cause: String::new(),
            finding: String::new(),
        }
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at_ms, self.id)
    }
}

impl FromStr for AuditCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<AuditCursor, String> {
        let parts = text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
        parts.map(|(at_ms, id)| AuditCursor { at_ms, id }).ok_or_else(|| format!("{text:?} is no place in a list"))
    }
}

/// The columns of the full-text index, as they are written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Columns([String; 5]);

impl Columns {
    pub(crate) fn of(mail: &AuditEntry) -> Columns {
        let mut facets: Vec<String> = mail.classes.iter().map(|class| format!("=o{class}")).collect();
        facets.push(format!("=d{}", mail.door));
        if mail.sender.is_empty() || mail.sender == "<>" {
            facets.push("=s".to_owned());
        }
        if !mail.cause.is_empty() {
            facets.push(format!("=c{}", mail.cause.to_lowercase()));
        }
        let related = mail.related.map(|id| id.to_string()).unwrap_or_default();
        let others = [&mail.subject, &mail.message_id, &mail.status, &mail.trouble, &related, &mail.cause];
        Columns([
            facets.join(" "),
            words::index([mail.sender.as_str()]),
            words::index(mail.recipients.iter().map(String::as_str)),
            words::index([mail.client.as_str(), &mail.helo]),
            words::index(others.into_iter().map(String::as_str)),
        ])
    }
}

const COLUMNS: &str = "id, at_ms, last_ms, sender, recipients, subject, message_id, client, helo, door, size, related, status, trouble, classes, cause, finding";

pub(crate) fn find(db: &Connection, id: AuditId) -> rusqlite::Result<AuditEntry> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM mail WHERE id = ?"))?.query_row([id.to_i64()], entry)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let recipients: String = row.get(4)?;
    let (related, classes): (i64, i64) = (row.get(11)?, row.get(14)?);
    Ok(AuditEntry {
        id: audit_id(row, 0)?,
        at: Time(row.get(1)?),
        last: Time(row.get(2)?),
        sender: row.get(3)?,
        recipients: recipients.lines().map(str::to_owned).collect(),
        subject: row.get(5)?,
        message_id: row.get(6)?,
        client: row.get(7)?,
        helo: row.get(8)?,
        door: door_name(row.get(9)?).to_owned(),
        size: row.get::<_, i64>(10)? as u64,
        related: AuditId::from_i64(related).filter(|_| related != 0),
        status: row.get(12)?,
        trouble: row.get(13)?,
        classes: Class::ALL.into_iter().filter(|class| classes & class.bit() != 0).collect(),
        cause: row.get(15)?,
        finding: row.get(16)?,
    })
}

/// Writes a mail's row, and its words if they are others than `before`.
pub(crate) fn keep(db: &Transaction<'_>, mail: &AuditEntry, before: Option<&Columns>) -> rusqlite::Result<()> {
    let place = ",?".repeat(COLUMNS.split(',').count());
    db.prepare_cached(&format!("INSERT OR REPLACE INTO mail ({COLUMNS}) VALUES ({})", &place[1..]))?.execute(
        params![
            mail.id.to_i64(),
            mail.at.ms(),
            mail.last.ms(),
            mail.sender,
            mail.recipients.join("\n"),
            mail.subject,
            mail.message_id,
            mail.client,
            mail.helo,
            door_number(&mail.door),
            mail.size as i64,
            mail.related.map_or(0, AuditId::to_i64),
            mail.status,
            mail.trouble,
            mail.classes.iter().fold(0, |bits, class| bits | class.bit()),
            mail.cause,
            mail.finding,
        ],
    )?;
    let columns = Columns::of(mail);
    if before == Some(&columns) {
        return Ok(());
    }
    let day = day(mail.id.to_i64());
    let insert = format!(
        "INSERT OR REPLACE INTO word_{day} (rowid, facet, sender, recipient, client, other) VALUES (?,?,?,?,?,?)"
    );
    let [facet, sender, recipient, client, other] = &columns.0;
    let values = params![mail.id.to_i64(), facet, sender, recipient, client, other];
    match db.prepare_cached(&insert) {
        Ok(mut insert) => insert.execute(values).map(drop),
        // Only a day's first mail finds no table.
        Err(_) => {
            begin_day(db, day)?;
            db.prepare_cached(&insert)?.execute(values).map(drop)
        }
    }
}

/// Neither text nor positions are kept: the rows have the text, and one word is looked for at a time.
fn begin_day(db: &Transaction<'_>, day: i64) -> rusqlite::Result<()> {
    db.execute_batch(&format!(
        "CREATE VIRTUAL TABLE word_{day} USING fts5 (facet, sender, recipient, client, other,
            content = '', contentless_delete = 1, detail = column, tokenize = \"ascii tokenchars '{}'\");
         INSERT OR IGNORE INTO day VALUES ({day});",
        words::MARKS
    ))
}

fn day(id: i64) -> i64 {
    AuditId::from_i64(id).map_or(0, AuditId::ms) / DAY_MS
}

/// Newest entries that match, within any time: for the command line.
pub(crate) fn search(db: &Connection, filter: &AuditFilter, limit: usize) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = page(db, filter, limit - found.len(), after)?;
        found.extend(page.entries);
        after = page.next;
        if after.is_none() || found.len() >= limit {
            return Ok(found);
        }
    }
}

/// One page of entries that match, behind `after`.
pub(crate) fn page(
    db: &Connection,
    filter: &AuditFilter,
    limit: usize,
    after: Option<AuditCursor>,
) -> rusqlite::Result<AuditPage> {
    let term = filter.term.as_deref().map(str::trim).unwrap_or_default();
    let texts = [Some(term), filter.sender.as_deref(), filter.recipient.as_deref(), filter.client.as_deref()];
    let words: Vec<String> = texts.into_iter().flatten().flat_map(words::question).collect();
    let rarest = words.iter().max_by_key(|word| word.len()).filter(|_| words.len() > 1).cloned();
    let (limit, page) = (limit.max(1), AuditPage::default());
    let mut search = Search { db, filter, limit, began: Instant::now(), rarest, page };
    if let Ok(id) = term.parse::<AuditId>()
        && after.is_none()
    {
        search.page.entries.extend(find(db, id).ok());
    }
    let question = search.question(term);
    let is_by_words =
        !term.is_empty() || filter.sender.is_some() || filter.recipient.is_some() || filter.client.is_some();
    match (is_by_words, filter.class, &filter.cause) {
        (true, ..) if question.is_none() => {}
        (false, None, None) if filter.listener.is_none() => search.by_time(after)?,
        (false, class, cause) if class.is_some() || cause.is_some() => {
            search.by_facts(class, cause.as_deref(), after)?;
        }
        _ => search.by_words(&question.unwrap_or_default(), after)?,
    }
    Ok(search.page)
}

struct Search<'a> {
    db: &'a Connection,
    filter: &'a AuditFilter,
    limit: usize,
    began: Instant,
    /// The longest of several words that are looked for.
    rarest: Option<String>,
    page: AuditPage,
}

impl Search<'_> {
    /// What is asked of the full-text indexes. `None`: something that no mail can have.
    fn question(&self, term: &str) -> Option<String> {
        let filter = self.filter;
        let mut parts = Vec::new();
        if let Some(class) = filter.class {
            parts.push(format!("facet : \"=o{class}\""));
        }
        if let Some(listener) = &filter.listener {
            parts.push(format!("facet : \"=d{}\"", door_name(door_number(listener))));
        }
        if let Some(cause) = &filter.cause {
            let plain = |c: &char| c.is_ascii_alphanumeric() || words::MARKS.contains(*c);
            parts.push(format!("facet : \"=c{}\"", cause.to_lowercase().chars().filter(plain).collect::<String>()));
        }
        for (column, text) in [("sender", &filter.sender), ("recipient", &filter.recipient), ("client", &filter.client)]
        {
            let Some(text) = text else { continue };
            let before = parts.len();
            match text.trim() {
                "<>" if column == "sender" => parts.push("facet : \"=s\"".to_owned()),
                text => parts.extend(words::question(text).take(WORDS_MAX).map(|word| format!("{column} : {word}"))),
            }
            if parts.len() == before {
                return None;
            }
        }
        let before = parts.len();
        let places = if filter.addresses_only { "sender recipient client" } else { "sender recipient client other" };
        let everywhere = |word| format!("{{{places}}} : {word}");
        parts.extend(words::question(term).take(WORDS_MAX).map(everywhere));
        (term.is_empty() || parts.len() > before).then(|| parts.join(" AND "))
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() > BUDGET
    }

    fn is_full(&self) -> bool {
        self.page.entries.len() >= self.limit
    }

    fn push(&mut self, entry: AuditEntry) {
        // The one whose Audit ID was asked for stands at the top already.
        if self.page.entries.first().is_none_or(|first| first.id != entry.id) {
            self.page.entries.push(entry);
        }
    }

    fn by_time(&mut self, after: Option<AuditCursor>) -> rusqlite::Result<()> {
        let (first, last) = self.ids(after);
        let sql = format!("SELECT {COLUMNS} FROM mail WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?");
        let entries = self
            .db
            .prepare_cached(&sql)?
            .query_map(params![first, last, self.limit as i64], entry)?
            .collect::<Result<Vec<_>, _>>()?;
        entries.into_iter().for_each(|entry| self.push(entry));
        let full = self.is_full();
        self.page.next = self.last_id().filter(|_| full);
        Ok(())
    }

    /// Audit IDs of the filter's time that are behind the cursor: from the first to before the last.
    fn ids(&self, after: Option<AuditCursor>) -> (i64, i64) {
        let at = |time: Time| AuditId::new(time.ms().max(0), 0, 0).to_i64();
        let first = self.filter.from.map_or(0, at);
        let last = self.filter.until.map_or(i64::MAX, at);
        (first, after.map_or(last, |after| last.min(after.id)))
    }

    fn last_id(&self) -> Option<AuditCursor> {
        self.page.entries.last().map(|entry| AuditCursor { at_ms: 0, id: entry.id.to_i64() })
    }

    fn by_words(&mut self, question: &str, after: Option<AuditCursor>) -> rusqlite::Result<()> {
        let (mut first, last) = self.ids(after);
        // It happened in that time; it may have come long before.
        let happened = self.happened();
        if let (Some(_), Some(from)) = (&happened, self.filter.from) {
            first = AuditId::new((from.ms() - LIFE_MS).max(0), 0, 0).to_i64();
        }
        let days: Vec<i64> = self
            .db
            .prepare_cached("SELECT day FROM day WHERE day BETWEEN ? AND ? ORDER BY day DESC")?
            .query_map([day(first), day(last)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for day in days {
            match self.day(day, question, happened.as_deref(), first, last) {
                // Its time was over just now.
                Err(error) if is_gone(&error) => continue,
                result => result?,
            }
            if self.page.next.is_some() {
                return Ok(());
            }
            if self.is_late() {
                let first_of_day = AuditId::new(day * DAY_MS, 0, 0);
                self.page.next =
                    Some(AuditCursor { at_ms: 0, id: first_of_day.to_i64() }).filter(|next| next.id > first);
                self.page.stopped_at = self.page.next.map(|_| Time(first_of_day.ms()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// The SQL that says whether class or cause of an entry fell into the time asked for; `None`: nothing to check.
    fn happened(&self) -> Option<String> {
        let filter = self.filter;
        if (filter.class.is_none() && filter.cause.is_none()) || (filter.from.is_none() && filter.until.is_none()) {
            return None;
        }
        let from = filter.from.map_or(i64::MIN, Time::ms);
        let until = filter.until.map_or(i64::MAX, Time::ms);
        Some(format!(
            "SELECT 1 FROM event WHERE id = ?1 AND at_ms >= {from} AND at_ms < {until} AND {} LIMIT 1",
            same("?2", filter.class)
        ))
    }

    fn day(&mut self, day: i64, question: &str, happened: Option<&str>, first: i64, last: i64) -> rusqlite::Result<()> {
        let db = self.db;
        // All words must be there: if the one that is likely the rarest is not, the others need not be looked up. A
        // beginning that much mail has is costly.
        if let Some(word) = &self.rarest
            && !db
                .prepare_cached(&format!("SELECT 1 FROM word_{day} WHERE word_{day} MATCH ? LIMIT 1"))?
                .exists([word])?
        {
            return Ok(());
        }
        let mut found = db.prepare_cached(&format!(
            "SELECT rowid FROM word_{day} WHERE word_{day} MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid DESC"
        ))?;
        let mut rows = found.query(params![question, first, last])?;
        let cause = self.filter.cause.clone().unwrap_or_default();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let in_time = match happened {
                Some(sql) => db.prepare_cached(sql)?.exists(params![id, cause])?,
                None => true,
            };
            // The row may be forgotten while the day's words are not yet.
            if in_time && let Some(entry) = AuditId::from_i64(id).and_then(|id| find(db, id).ok()) {
                self.push(entry);
            }
            if self.is_full() || (!in_time && self.is_late()) {
                self.page.next = Some(AuditCursor { at_ms: 0, id });
                self.page.stopped_at = AuditId::from_i64(id).map(|id| Time(id.ms())).filter(|_| !self.is_full());
                return Ok(());
            }
        }
        Ok(())
    }

    /// By the time at which it happened, each mail once: where it happened last within the time asked for.
    fn by_facts(
        &mut self,
        class: Option<Class>,
        cause: Option<&str>,
        after: Option<AuditCursor>,
    ) -> rusqlite::Result<()> {
        let number = match cause {
            Some(name) => match cause_number(self.db, name)? {
                Some(number) => number,
                None => return Ok(()),
            },
            None => 0,
        };
        let from = self.filter.from.map_or(i64::MIN, Time::ms);
        let until = self.filter.until.map_or(i64::MAX, Time::ms);
        let after = after.unwrap_or(AuditCursor { at_ms: until, id: -1 });
        let mut terms = vec!["at_ms >= ?", "(at_ms, id) < (?, ?)"];
        let mut values: Vec<Sql> = vec![from.into(), after.at_ms.into(), after.id.into()];
        // The cause's index is the smaller one; a plus keeps the other out of the way.
        match (cause, class) {
            (Some(_), Some(class)) => {
                terms.extend(["cause = ? AND cause <> 0", "+class = ?"]);
                values.extend([number.into(), class.number().into()]);
            }
            (Some(_), None) => {
                terms.push("cause = ? AND cause <> 0");
                values.push(number.into());
            }
            (None, class) => {
                terms.push("class = ?");
                values.push(class.map_or(0, Class::number).into());
            }
        }
        if let Some(listener) = &self.filter.listener {
            terms.push("door = ?");
            values.push(door_number(listener).into());
        }
        let db = self.db;
        let sql = format!("SELECT at_ms, id FROM fact WHERE {} ORDER BY at_ms DESC, id DESC", terms.join(" AND "));
        let newer = format!(
            "SELECT 1 FROM event WHERE id = ?1 AND at_ms > ?3 AND at_ms < ?4 AND {} LIMIT 1",
            same("?2", class)
        );
        let mut facts = db.prepare_cached(&sql)?;
        let mut rows = facts.query(params_from_iter(values))?;
        let cause = cause.unwrap_or_default();
        while let Some(row) = rows.next()? {
            let (at_ms, id): (i64, i64) = (row.get(0)?, row.get(1)?);
            let is_newest = !db.prepare_cached(&newer)?.exists(params![id, cause, at_ms, until])?;
            let is_listed = self.page.entries.last().is_some_and(|last| last.id.to_i64() == id);
            if is_newest
                && !is_listed
                && let Some(entry) = AuditId::from_i64(id).and_then(|id| find(db, id).ok())
            {
                self.page.entries.push(entry);
            }
            if self.is_full() || self.is_late() {
                self.page.next = Some(AuditCursor { at_ms, id });
                self.page.stopped_at = Some(Time(at_ms)).filter(|_| !self.is_full());
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The condition by which an event is of the class, or has the cause that parameter `cause` names if no class is asked for.
fn same(cause: &str, class: Option<Class>) -> String {
    match class {
        Some(class) => {
            let kinds: Vec<String> = class.kinds().iter().map(|kind| format!("'{kind}'")).collect();
            format!("{cause} = {cause} AND kind IN ({})", kinds.join(","))
        }
        None => format!("json_extract(fields, '$.finding.cause') = {cause}"),
    }
}

fn is_gone(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown) && error.to_string().contains("no such table")
}
