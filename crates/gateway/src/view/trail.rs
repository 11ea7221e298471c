//! The audit trail, as pages ask for it.

use super::{View, field, structure};
use crate::clock::now;
use crate::core::Core;
use crate::explain;
use async_trait::async_trait;
use control::{AuditFilter, AuditPage, AuditRow, Happening, Inside, Message, Problem, TrailReader, Waiting};
use mail::{AuditId, Time};
use std::io;
use std::sync::Arc;
use store::{AuditEntry, Selection, State};

/// Octets of a message that are read for its header and structure.
const INSIDE_MAX: usize = 1 << 20;
/// Deliveries of one message that are shown.
const WAITING_MAX: usize = 200;

#[async_trait]
impl TrailReader for View {
    async fn audit(&self, filter: &AuditFilter, limit: usize, after: Option<&str>) -> Result<AuditPage, Problem> {
        let wanted = wanted(filter)?;
        let after = after.map(|after| field("after", after)).transpose()?;
        let page = self.read(move |core| core.store.audit_page(&wanted, limit, after)).await?;
        Ok(AuditPage {
            rows: page.entries.into_iter().map(row).collect(),
            next: page.next.map(|next| next.to_string()),
            stopped_at: page.stopped_at,
        })
    }

    async fn message(&self, id: &str) -> Result<Message, Problem> {
        let unknown = |_| Problem::Unknown {
            what: format!(
                "{id:?} is not an Audit ID (13 letters and digits, such as 01K8Z6T3WQM2V). The message audit log finds mail by other things."
            ),
        };
        let id = id.trim().parse::<AuditId>().map_err(unknown)?;
        self.read(move |core| message(core, id)).await?.ok_or_else(|| {
            let what = format!("Nothing is known of {id}: it is mistyped, of another gateway, or older than the audit trail (audit.keep).");
            Problem::Unknown { what }
        })
    }

    fn audit_days(&self) -> u64 {
        self.core().in_force().settings.audit_keep.as_secs() / 86_400
    }
}

impl View {
    fn core(&self) -> &Arc<Core> {
        &self.0
    }

    /// Reads from the disk, on a thread that may wait for it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let core = self.core().clone();
        let done = tokio::task::spawn_blocking(move || read(&core)).await;
        let failed = |error: &dyn std::fmt::Display| Problem::Failed {
            what: format!("The audit trail could not be read: {error}"),
        };
        done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

fn wanted(filter: &AuditFilter) -> Result<store::AuditFilter, Problem> {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.trim().is_empty());
    let class = some(&filter.outcome).map(|outcome| field("outcome", &outcome)).transpose()?;
    Ok(store::AuditFilter {
        term: some(&filter.term),
        addresses_only: filter.addresses_only,
        from: filter.from,
        until: filter.until,
        class,
        listener: some(&filter.listener),
        sender: some(&filter.sender),
        recipient: some(&filter.recipient),
        client: some(&filter.client),
        cause: some(&filter.cause),
    })
}

fn row(entry: AuditEntry) -> AuditRow {
    AuditRow {
        id: entry.id.to_string(),
        at: entry.at,
        last: entry.last,
        sender: entry.sender,
        recipients: entry.recipients,
        subject: entry.subject,
        message_id: entry.message_id,
        client: entry.client,
        helo: entry.helo,
        listener: entry.door,
        size: entry.size,
        related: entry.related.map(|id| id.to_string()),
        status: entry.status,
        trouble: entry.trouble,
        outcomes: entry.classes.iter().map(ToString::to_string).collect(),
        cause: entry.cause,
        finding: entry.finding,
    }
}

/// All that is known of it. Its connection's own record belongs to it, if it was written down under another Audit ID.
fn message(core: &Core, id: AuditId) -> io::Result<Option<Message>> {
    let mut events = core.store.audit_show_soon(id)?;
    if events.is_empty() {
        return Ok(None);
    }
    let entry = core.store.audit_entry(id)?;
    let recorded = events.iter().filter(|event| event.kind == "visit");
    let recorded = recorded.filter_map(|event| event.fields["recorded_under"].as_str()?.parse().ok()).next();
    let is_mail = entry.as_ref().is_some_and(|entry| !entry.classes.contains(&store::Class::Refused));
    let connection = entry.as_ref().and_then(|entry| entry.related).filter(|_| is_mail);
    for other in [recorded, connection].into_iter().flatten() {
        // Of a report's original nothing is taken: that is another message.
        events.extend(core.store.audit_show_soon(other)?.into_iter().filter(|event| event.kind == "visit"));
    }
    let events = explain::events(core, &events);
    let happening = |event: &serde_json::Value| Happening {
        id: id.to_string(),
        at: Time(event["at"].as_i64().unwrap_or_default()),
        kind: event["event"].as_str().unwrap_or_default().to_owned(),
        fields: event["fields"].clone(),
    };
    let in_force = core.in_force();
    Ok(Some(Message {
        row: entry.map(row).unwrap_or_else(|| AuditRow { id: id.to_string(), ..AuditRow::default() }),
        events: events.as_array().into_iter().flatten().map(happening).collect(),
        waiting: waiting(core, id)?,
        inside: inside(core, id),
        gateway: format!("{} (Gatepost {})", in_force.hostname, env!("CARGO_PKG_VERSION")),
    }))
}

fn waiting(core: &Core, id: AuditId) -> io::Result<Vec<Waiting>> {
    let retry = core.in_force().settings.retry.clone();
    let entries = core.store.list(&Selection { ids: vec![id], ..Selection::default() }, WAITING_MAX, None)?;
    let one = |entry: store::QueueEntry| {
        let sender = entry.sender.parse().map_or(mail::ReversePath::Null, mail::ReversePath::Address);
        Waiting {
            recipients: entry.recipients.iter().map(|recipient| recipient.address.to_string()).collect(),
            domain: entry.lane.split('>').next().unwrap_or_default().to_owned(),
            state: match entry.state {
                State::Queued => "queued",
                State::Held => "held",
                State::SetAside => "set-aside",
            }
            .to_owned(),
            status: entry.status,
            attempts: entry.attempts,
            next: Some(entry.next.max(now())).filter(|_| entry.next < Time::NEVER),
            expires: decide::retry::expiry(&retry, &sender, entry.received),
        }
    };
    Ok(entries.into_iter().map(one).collect())
}

/// Header and structure while the message is queued. One that cannot be read is set aside by the store, which tells of it.
fn inside(core: &Core, id: AuditId) -> Option<Inside> {
    let stored = core.store.message(id).ok()??;
    let content = core.store.content(&stored).ok()?;
    let mut bytes = vec![0; usize::try_from(content.len()).unwrap_or(usize::MAX).min(INSIDE_MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match content.read_at(filled as u64, &mut bytes[filled..]).ok()? {
            0 => break,
            length => filled += length,
        }
    }
    bytes.truncate(filled);
    Some(structure::of(&bytes, content.len()))
}
