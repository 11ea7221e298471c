//! Order: what an administrator wants done with the queue, and to which part of it.

use crate::change::{Apply, concerns};
use crate::event::Event;
use crate::page::{self, By};
use crate::queue::{QueueEntry, State};
use crate::refused::closed;
use crate::spool::Inner;
use crate::writer::Request;
use mail::{AuditId, Recipient, Time};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Which deliveries: those for which everything given holds. [`Selection::default`] is the whole queue.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Empty: any message.
    pub ids: Vec<AuditId>,
    /// These deliveries alone. Empty: any.
    pub keys: Vec<(AuditId, u32)>,
    pub lane: Option<String>,
    /// One of these. Empty: any.
    pub lanes: Vec<String>,
    /// A part of the sender's address; `<>` finds bounces. Case does not matter, here and below.
    pub sender: Option<String>,
    /// A part of a recipient's address.
    pub recipient: Option<String>,
    /// The whole domain of a recipient.
    pub domain: Option<String>,
    /// A part of sender, recipients, lane or status.
    pub text: Option<String>,
    pub state: Option<State>,
    /// A finding's cause id, [`NO_CAUSE`] for what has none, and what it is about (see [`crate::Cause`]).
    pub cause: Option<String>,
    pub object: Option<String>,
    /// Messages whose Audit ID was given before this.
    pub before: Option<Time>,
}

/// In place of a cause: deliveries without a finding. No cause is called so: they all have a family before a dot.
pub const NO_CAUSE: &str = "none";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try now. Changes neither the timetable nor the attempts that are left.
    Retry,
    /// Do not try until released.
    Hold { why: String },
    /// Back into the queue, due at once: what is held, or set aside as damaged.
    Release,
    /// Out of the queue; the event keeps sender and recipients findable.
    Delete,
    /// Another way, tried now.
    Reroute { lane: String },
}

/// An action on a selection.
#[derive(Clone, Debug)]
pub struct Order {
    pub action: Action,
    pub selection: Selection,
    /// Who ordered it.
    pub by: String,
    pub at: Time,
    /// Only count.
    pub dry_run: bool,
}

/// Deliveries changed in one transaction: an order on a million must not keep new mail waiting.
const CHUNK: usize = 500;
/// Keys looked for at once: where they must be sorted first, that is not done anew for each chunk.
const GATHERED: usize = 20_000;

impl Action {
    /// The event's word.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Retry => "retry",
            Action::Hold { .. } => "hold",
            Action::Release => "release",
            Action::Delete => "delete",
            Action::Reroute { .. } => "reroute",
        }
    }

    /// What the queue and the trail say afterwards; empty if the action says nothing about the mail's fate.
    pub(crate) fn status(&self, by: &str) -> String {
        match self {
            Action::Hold { why } if why.is_empty() => format!("451 4.3.0 [internal] message held by {by}"),
            Action::Hold { why } => format!("451 4.3.0 [internal] message held by {by}: {why}"),
            Action::Delete => format!("554 5.7.0 [internal] message deleted by administrator {by}"),
            Action::Retry | Action::Release | Action::Reroute { .. } => String::new(),
        }
    }

    pub(crate) fn event(&self, id: AuditId, n: u32, by: &str, at: Time) -> Event {
        let mut fields = json!({"by": by, "delivery": n});
        if let Action::Reroute { lane } = self {
            fields["lane"] = json!(lane);
        }
        let status = self.status(by);
        if !status.is_empty() {
            fields["status"] = json!(status);
        }
        Event { id, at, kind: self.name().to_owned(), fields }
    }
}

impl Selection {
    /// The SQL behind `WHERE`, with its values: everything but the words in recipients, which only [`Selection::fits`]
    /// can tell from the JSON around them (here they are looked for roughly, so that few rows are parsed).
    pub(crate) fn sql(&self, after: Option<(AuditId, u32)>, states: &[State]) -> (String, Vec<Sql>) {
        let (mut terms, mut values) = self.range(after, states);
        let (more, their) = self.filter(states);
        terms.extend(more);
        values.extend(their);
        (terms.join(" AND "), values)
    }

    /// The terms by which an index, or the table's own order, leads to the rows.
    pub(crate) fn range(&self, after: Option<(AuditId, u32)>, states: &[State]) -> (Vec<&'static str>, Vec<Sql>) {
        let (mut terms, mut values) = (Vec::new(), Vec::new());
        let mut term = |sql: &'static str, its: &[Sql]| {
            terms.push(sql);
            values.extend_from_slice(its);
        };
        if !states.contains(&State::Queued) {
            // In words of the index of what is held.
            term("state <> 0", &[]);
        }
        if let Some((id, n)) = after {
            term("(message, n) > (?, ?)", &[id.to_i64().into(), i64::from(n).into()]);
        }
        if !self.ids.is_empty() {
            let ids: Vec<i64> = self.ids.iter().map(|id| id.to_i64()).collect();
            term("message IN (SELECT value FROM json_each(?))", &[json!(ids).to_string().into()]);
        }
        if !self.keys.is_empty() {
            let keys: Vec<(i64, u32)> = self.keys.iter().map(|(id, n)| (id.to_i64(), *n)).collect();
            term(
                "(message, n) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))",
                &[json!(keys).to_string().into()],
            );
        }
        if let Some(before) = self.before {
            term("message < ?", &[AuditId::new(before.ms(), 0, 0).to_i64().into()]);
        }
        if let Some(cause) = self.cause.as_ref().filter(|cause| *cause != NO_CAUSE) {
            term("cause = ?", &[cause.clone().into()]);
            if let Some(object) = &self.object {
                term("object = ?", &[object.clone().into()]);
            }
        }
        (terms, values)
    }

    /// The other terms: a row must be looked at to know.
    pub(crate) fn filter(&self, states: &[State]) -> (Vec<&'static str>, Vec<Sql>) {
        let states: Vec<i64> = states.iter().map(|state| state.to_sql()).collect();
        let mut terms = vec!["state IN (SELECT value FROM json_each(?))"];
        let mut values: Vec<Sql> = vec![json!(states).to_string().into()];
        let mut term = |sql: &'static str, value: Sql| {
            terms.push(sql);
            values.push(value);
        };
        if let Some(lane) = &self.lane {
            term("lane = ?", lane.clone().into());
        }
        if !self.lanes.is_empty() {
            term("lane IN (SELECT value FROM json_each(?))", json!(self.lanes).to_string().into());
        }
        let lower = |word: &Option<String>| word.as_ref().map(|word| Sql::from(word.to_lowercase()));
        if let Some(word) = lower(&self.sender) {
            term("instr(lower(sender), ?) > 0", word);
        }
        for word in
            [&self.recipient, &self.domain].into_iter().filter(|word| word.as_ref().is_some_and(|word| word.is_ascii()))
        {
            term("instr(lower(recipients), ?) > 0", lower(word).unwrap_or(Sql::Null));
        }
        // JSON writes these two in another way.
        let is_plain = |word: &&String| word.is_ascii() && !word.contains(['"', '\\']);
        if let Some(word) = self.text.as_ref().filter(is_plain) {
            term(
                "instr(lower(sender || '\n' || lane || '\n' || status || '\n' || recipients), ?) > 0",
                word.to_lowercase().into(),
            );
        }
        match (self.cause.as_deref(), &self.object) {
            (Some(NO_CAUSE), _) => terms.push("cause IS NULL"),
            (None, Some(object)) => term("object = ?", object.clone().into()),
            _ => {}
        }
        (terms, values)
    }

    /// Whether the words are in the right places.
    fn fits(&self, row: &DeliveryRow) -> bool {
        let addresses = || row.recipients.iter().map(|recipient| recipient.address.to_string().to_lowercase());
        let holds = |word: &Option<String>, found: &dyn Fn(&str) -> bool| {
            word.as_ref().is_none_or(|word| found(&word.to_lowercase()))
        };
        holds(&self.recipient, &|word| addresses().any(|address| address.contains(word)))
            && holds(&self.domain, &|word| {
                row.recipients.iter().any(|recipient| {
                    recipient.address.domain().ascii() == word || recipient.address.domain().as_str() == word
                })
            })
            && holds(&self.text, &|word| {
                [&row.sender, &row.lane, &row.status].into_iter().any(|text| text.to_lowercase().contains(word))
                    || addresses().any(|address| address.contains(word))
            })
    }

    pub(crate) fn states(&self, action: Option<&Action>) -> Vec<State> {
        [State::Queued, State::Held, State::SetAside]
            .into_iter()
            .filter(|state| self.state.is_none_or(|wanted| wanted == *state))
            .filter(|state| action.is_none_or(|action| concerns(action, *state)))
            .collect()
    }
}

/// A row of table delivery as far as a selection needs it.
struct DeliveryRow {
    id: AuditId,
    n: u32,
    lane: String,
    sender: String,
    recipients: Vec<Recipient>,
    status: String,
}

pub(crate) const COLUMNS: &str = "message, n, lane, sender, recipients, status, state, attempts, next_ms, extra, cause";

fn delivery_row(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: id(row.get(0)?),
        n: row.get(1)?,
        lane: row.get(2)?,
        sender: row.get(3)?,
        recipients: serde_json::from_str(row.get_ref(4)?.as_str()?).unwrap_or_default(),
        status: row.get(5)?,
    })
}

/// Rows of the selection in order of their Audit ID, from behind `after`, at most `limit`.
pub(crate) fn list(
    db: &Connection,
    selection: &Selection,
    limit: usize,
    after: Option<(AuditId, u32)>,
) -> rusqlite::Result<Vec<QueueEntry>> {
    let (terms, values) = selection.sql(after, &selection.states(None));
    let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM delivery WHERE {terms} ORDER BY message, n"))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut entries = Vec::new();
    while entries.len() < limit
        && let Some(row) = rows.next()?
    {
        entries.extend(entry(db, row, selection)?);
    }
    Ok(entries)
}

/// A row of [`COLUMNS`], if it belongs to the selection.
pub(crate) fn entry(db: &Connection, row: &Row<'_>, selection: &Selection) -> rusqlite::Result<Option<QueueEntry>> {
    let found = delivery_row(row)?;
    if !selection.fits(&found) {
        return Ok(None);
    }
    // A damaged message is still listed.
    let (received, size) = db
        .prepare_cached("SELECT received_ms, size FROM message WHERE id = ?")?
        .query_row([found.id.to_i64()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .unwrap_or((found.id.ms(), 0));
    let extra = serde_json::from_str(row.get_ref(9)?.as_str()?).unwrap_or(Value::Null);
    Ok(Some(QueueEntry {
        id: found.id,
        n: found.n,
        lane: found.lane,
        sender: found.sender,
        recipients: found.recipients,
        state: State::from_sql(row.get(6)?),
        attempts: row.get(7)?,
        next: Time(row.get(8)?),
        status: found.status,
        cause: row.get(10)?,
        extra,
        received: Time(received),
        size: size as u64,
    }))
}

/// A damaged ID is shown as the first of all.
pub(crate) fn id(raw: i64) -> AuditId {
    AuditId::from_i64(raw).unwrap_or(AuditId::new(0, 0, 0))
}

type Key = (AuditId, u32);

/// The next keys that an order concerns, and where to go on; `None` there: that was all.
fn keys(
    db: &Connection,
    order: &Order,
    by: By,
    limit: usize,
    after: Option<Key>,
) -> rusqlite::Result<(Vec<Key>, Option<Key>)> {
    let selection = &order.selection;
    let (terms, values) = selection.sql(after, &selection.states(Some(&order.action)));
    let terms = if by == By::Table { page::in_table_order(&terms) } else { terms };
    // Without `extra`, which is long.
    let sql =
        format!("SELECT message, n, lane, sender, recipients, status FROM delivery WHERE {terms} ORDER BY message, n");
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let found = delivery_row(row)?;
        if selection.fits(&found) {
            keys.push((found.id, found.n));
        }
        if keys.len() == limit {
            return Ok((keys, Some((found.id, found.n))));
        }
    }
    Ok((keys, None))
}

/// Carries an order out, a chunk at a time, on a thread of its own. `progress` hears the deliveries done so far.
pub(crate) fn carry_out(inner: &Arc<Inner>, order: Order, mut progress: impl FnMut(u64)) -> io::Result<u64> {
    let (action, by) = (Arc::new(order.action.clone()), Arc::<str>::from(order.by.as_str()));
    let mut order = order;
    let found_by = {
        let lanes = inner.shared.lanes();
        if let Some(narrowed) = order.selection.with_lanes(&lanes) {
            order.selection = narrowed;
        }
        page::by(&order.selection, &lanes)
    };
    let (mut done, mut after) = (0, None);
    loop {
        let (keys, next) = inner.readers.read(|db| keys(db, &order, found_by, GATHERED, after))?;
        for chunk in keys.chunks(CHUNK) {
            done += if order.dry_run {
                chunk.len() as u64
            } else {
                let (reply, answer) = oneshot::channel();
                let apply = Apply { keys: chunk.to_vec(), action: action.clone(), by: by.clone(), at: order.at };
                inner.send(Request::Apply(apply, reply))?;
                answer.blocking_recv().unwrap_or_else(|_| Err(closed()))?
            };
            progress(done);
        }
        if next.is_none() {
            return Ok(done);
        }
        after = next;
    }
}
