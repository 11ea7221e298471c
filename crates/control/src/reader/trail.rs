//! The audit trail: mail by anything that is known of it, and the whole way of one message.

use crate::Problem;
use async_trait::async_trait;
use mail::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[async_trait]
pub trait TrailReader: Send + Sync + 'static {
    /// A page of what matches, newest first, behind `after` (the page before's `next`), within about a second.
    async fn audit(&self, filter: &AuditFilter, limit: usize, after: Option<&str>) -> Result<AuditPage, Problem>;
    /// What became of one Audit ID. `Problem::Unknown` if the trail does not know it.
    async fn message(&self, id: &str) -> Result<Message, Problem>;
    /// How long the trail is kept, in days.
    fn audit_days(&self) -> u64;
}

/// What can have happened to mail: its word in filters and addresses, and the words for people.
pub const OUTCOMES: &[(&str, &str)] = &[
    ("accepted", "accepted"),
    ("refused", "refused"),
    ("delivered", "delivered"),
    ("deferred", "put off"),
    ("bounced", "returned"),
    ("expired", "expired"),
    ("held", "held"),
    ("set-aside", "set aside"),
    ("released", "released"),
    ("deleted", "deleted"),
    ("loop", "looped"),
    ("connection", "broken or refused connection"),
    ("notice", "alert or order"),
];

/// The listeners by which mail comes, and the gateway's own mail.
pub const LISTENERS: &[(&str, &str)] =
    &[("inbound", "inbound"), ("outbound", "outbound"), ("submission", "submission"), ("internal", "our own reports")];

/// What to look for. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Anything: Audit ID, Message-ID, address, domain, client, subject words, what a remote host said.
    pub term: String,
    /// `term` is looked for in addresses only.
    pub addresses_only: bool,
    /// When it came, or, with `outcome` or `cause`, when that happened.
    pub from: Option<Time>,
    pub until: Option<Time>,
    /// One of [`OUTCOMES`], or empty.
    pub outcome: String,
    /// One of [`LISTENERS`], or empty.
    pub listener: String,
    /// Words of the sender's address; `<>` for reports.
    pub sender: String,
    pub recipient: String,
    /// Words of the client's address or name.
    pub client: String,
    /// A finding's id.
    pub cause: String,
}

/// A part of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// Newest first.
    pub rows: Vec<AuditRow>,
    /// Ask for what follows with this as `after`; absent: that was all.
    pub next: Option<String>,
    /// The page took too long: it looked back as far as this, in milliseconds since 1970. Go on with `next`.
    #[schema(value_type = Option<i64>)]
    pub stopped_at: Option<Time>,
}

/// A message, or a connection that brought none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct AuditRow {
    /// Audit ID.
    pub id: String,
    /// Its first and its newest event, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: Time,
    #[schema(value_type = i64)]
    pub last: Time,
    /// Empty or `<>`: a report, or no mail.
    pub sender: String,
    /// At most a thousand.
    pub recipients: Vec<String>,
    pub subject: String,
    pub message_id: String,
    pub client: String,
    /// The name that the client gave.
    pub helo: String,
    pub listener: String,
    /// Octets of content; 0: not known.
    pub size: u64,
    /// Audit ID of the connection that it came by, or of the message that it reports on.
    pub related: Option<String>,
    /// The last one.
    pub status: String,
    /// The last one that was no success.
    pub trouble: String,
    /// All that happened to it, in the words of `outcome`.
    pub outcomes: Vec<String>,
    /// Id and sentence of the last finding; empty: none.
    pub cause: String,
    pub finding: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Happening {
    /// Audit ID: the message's own or its connection's.
    pub id: String,
    /// Milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: Time,
    /// `accepted`, `deferred`, `visit`, …
    pub kind: String,
    /// All that was written down. `attempt` and `visit` hold DNS answers and transcripts, `finding` the cause.
    pub fields: Value,
}

/// A delivery that still waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Waiting {
    pub recipients: Vec<String>,
    pub domain: String,
    /// `queued`, `held` or `set-aside`.
    pub state: String,
    pub status: String,
    pub attempts: u32,
    /// Absent while held. Milliseconds since 1970, here and below.
    #[schema(value_type = Option<i64>)]
    pub next: Option<Time>,
    #[schema(value_type = i64)]
    pub expires: Time,
}

/// What stands in a message, as far as it is shown: header and structure, never the content itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Inside {
    /// The header's text, cut if it is very long.
    pub header: String,
    pub parts: Vec<Part>,
    /// More parts, or deeper ones, are left out.
    pub is_cut: bool,
}

/// One part of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Part {
    /// How deep it lies; 0 is the message itself.
    pub depth: u8,
    /// `text/plain`.
    pub kind: String,
    pub charset: String,
    pub encoding: String,
    /// The file name it is to be stored by.
    pub name: String,
    /// Octets as they are sent.
    pub size: u64,
}

/// All that is known of one Audit ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Message {
    pub row: AuditRow,
    /// In the order of their time, those of its connection included.
    pub events: Vec<Happening>,
    /// Deliveries in the queue.
    pub waiting: Vec<Waiting>,
    /// Only while it is queued.
    pub inside: Option<Inside>,
    /// This gateway's name and version, for evidence.
    pub gateway: String,
}

impl AuditRow {
    /// Without what only those see who may see everything.
    pub(crate) fn for_help_desk(self) -> AuditRow {
        AuditRow { subject: String::new(), message_id: String::new(), ..self }
    }
}

impl Message {
    /// Where it is, and no more: no subject, no transcripts, no header.
    pub(crate) fn for_help_desk(self) -> Message {
        let plain =
            ["sender", "recipient", "recipients", "status", "client", "helo", "listener", "host", "size", "by", "what"];
        let few = |event: Happening| {
            let fields = event.fields.as_object().into_iter().flatten();
            let fields = fields.filter(|(name, _)| plain.contains(&name.as_str()));
            Happening { fields: fields.map(|(name, value)| (name.clone(), value.clone())).collect(), ..event }
        };
        Message {
            row: self.row.for_help_desk(),
            events: self.events.into_iter().map(few).collect(),
            inside: None,
            ..self
        }
    }
}
