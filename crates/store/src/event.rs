//! Event: one line of the audit trail, committed together with the change it tells of.

use mail::{Attempt, AuditId, HostTry, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A large value as one string: a tree of it would be built, copied and taken apart again at each station on the way to the trail.
/// `"` and `'` change places, so that the string goes through JSON as it is. [`unpack`] gives the value back; whoever reads
/// the trail gets events unpacked.
pub fn pack(value: &impl Serialize) -> Value {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    swap(&mut text);
    Value::String(String::from_utf8(text).unwrap_or_default())
}

/// The JSON text of a packed value; `None` for any other value.
pub fn packed_text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| text.starts_with("{'") && text.ends_with('}'))?;
    let mut text = text.as_bytes().to_vec();
    swap(&mut text);
    String::from_utf8(text).ok()
}

/// Fields that may be packed. Others are strangers' words, and may look like anything.
pub const PACKED: [&str; 1] = ["attempt"];

/// Unpacks what is packed among the fields of an event.
pub fn unpack(fields: &mut Value) {
    for name in PACKED {
        if let Some(value) = fields.get_mut(name)
            && let Some(whole) = packed_text(value).and_then(|text| serde_json::from_str(&text).ok())
        {
            *value = unfolded(whole);
        }
    }
}

/// An attempt whose conversations were folded, as it was; anything else as it is.
fn unfolded(value: Value) -> Value {
    let is_folded =
        value["tries"].as_array().is_some_and(|tries| tries.iter().any(|tried| tried["folded"].is_string()));
    if !is_folded {
        return value;
    }
    let Ok(mut attempt) = serde_json::from_value::<Attempt>(value.clone()) else { return value };
    attempt.tries.iter_mut().for_each(HostTry::unfold);
    serde_json::to_value(attempt).unwrap_or(value)
}

/// Both are ASCII: what was UTF-8 stays so.
fn swap(text: &mut [u8]) {
    for byte in text {
        *byte = match *byte {
            b'"' => b'\'',
            b'\'' => b'"',
            other => other,
        };
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_nothing_else() {
        let value = serde_json::json!({"a": ["it's", "\"quoted\"", "back\\slash", "ü\n"], "b": {"c": null}});
        let packed = pack(&value);
        assert!(packed.as_str().is_some_and(|text| text.starts_with("{'a':[")), "{packed}");
        let mut fields = serde_json::json!({"attempt": packed, "status": "{'x'", "n": 1, "subject": "{'a':1}"});
        unpack(&mut fields);
        assert_eq!(fields, serde_json::json!({"attempt": value, "status": "{'x'", "n": 1, "subject": "{'a':1}"}));
    }
}
