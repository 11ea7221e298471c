//! Event: one line of the audit trail, committed together with the change it tells of.

use mail::{AuditId, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened to a message or a connection. Fields called `sender`, `recipient`, `recipients`, `subject`,
/// `message_id`, `client` and `status` (text, or a list of texts) make its mail findable; others are only kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub id: AuditId,
    pub at: Time,
    /// A word: `accept`, `reject`, `delivery`, …
    pub kind: String,
    /// An object.
    pub fields: Value,
}

/// Events as they lie in the outbox: JSON objects with commas between, so that batches can be joined as text.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) text: Vec<u8>,
    /// Highest Audit ID among them.
    pub(crate) high: i64,
}

impl Encoded {
    pub(crate) fn new(events: &[Event]) -> Encoded {
        let mut encoded = Encoded::default();
        for event in events {
            encoded.push(event);
        }
        encoded
    }

    pub(crate) fn push(&mut self, event: &Event) {
        self.comma();
        let length = self.text.len();
        // A value made of text, numbers and lists can always be written; if not, the trail loses a line, not the mail.
        if serde_json::to_writer(&mut self.text, event).is_err() {
            self.text.truncate(length.saturating_sub(1));
        }
        self.high = self.high.max(event.id.to_i64());
    }

    pub(crate) fn join(&mut self, other: &Encoded) {
        if !other.text.is_empty() {
            self.comma();
            self.text.extend_from_slice(&other.text);
        }
        self.high = self.high.max(other.high);
    }

    fn comma(&mut self) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
    }
}

/// The events of one outbox row.
pub(crate) fn decode(text: &[u8]) -> serde_json::Result<Vec<Event>> {
    serde_json::from_slice(&[b"[", text, b"]"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_batches_come_back_in_order() {
        let event = |n| Event {
            id: AuditId::new(1, 0, n),
            at: Time(n.into()),
            kind: "accept".into(),
            fields: serde_json::json!({"n": n}),
        };
        let mut all = Encoded::new(&[event(1), event(2)]);
        all.join(&Encoded::default());
        all.join(&Encoded::new(&[event(3)]));
        assert_eq!(decode(&all.text).unwrap(), [event(1), event(2), event(3)]);
        assert_eq!(all.high, AuditId::new(1, 0, 3).to_i64());
    }
}
