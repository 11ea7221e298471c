//! The gateway's queue, as `gatepost queue list --json` tells it.

use serde_json::Value;

use super::finding::Finding;

/// One entry of the queue.
#[derive(Debug, Clone)]
pub(super) struct Entry(Value);

/// The entries of a JSON array.
pub(super) fn parse(stdout: &[u8]) -> Result<Vec<Entry>, String> {
    match serde_json::from_slice(stdout) {
        Ok(Value::Array(entries)) => Ok(entries.into_iter().map(Entry).collect()),
        Ok(_) => Err("queue list --json printed no array".to_owned()),
        Err(error) => Err(format!("queue list --json printed no JSON: {error}")),
    }
}

impl Entry {
    pub(super) fn is_to(&self, address: &str) -> bool {
        let recipients = self.0.get("recipients").and_then(Value::as_array);
        let same = |recipient: &Value| {
            text(recipient.get("address").unwrap_or(recipient)).trim_matches(['<', '>']).eq_ignore_ascii_case(address)
        };
        recipients.is_some_and(|recipients| recipients.iter().any(same))
    }

    /// `queued` or `held`.
    pub(super) fn state(&self) -> String {
        self.field("/state")
    }

    pub(super) fn status(&self) -> String {
        self.field("/status")
    }

    pub(super) fn attempts(&self) -> u64 {
        self.0.get("attempts").and_then(Value::as_u64).unwrap_or_default()
    }

    /// None, or the one that stands in the queue.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.0.get("finding").map(Finding::all).unwrap_or_default()
    }

    fn field(&self, pointer: &str) -> String {
        self.0.pointer(pointer).map(text).unwrap_or_default()
    }
}

/// A string without its quotes; anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read() {
        let entries = parse(
            br#"[{"id":"X","n":1,"recipients":["A@x.test"],"state":"queued","attempts":2,"status":"450 4.2.0 grey",
                "finding":{"cause":"peer.greylist","sentence":"wait"}}]"#,
        )
        .unwrap();
        let entry = &entries[0];
        assert!(entry.is_to("a@x.test") && !entry.is_to("b@x.test"));
        assert_eq!((entry.state(), entry.status(), entry.attempts()), ("queued".into(), "450 4.2.0 grey".into(), 2));
        let found = &entry.findings()[0];
        assert_eq!((found.cause.as_str(), found.sentence.as_str()), ("peer.greylist", "wait"));
    }

    #[test]
    fn missing_fields_are_empty() {
        let entries = parse(br#"[{"recipients":[],"finding":null,"status":null}]"#).unwrap();
        assert!(entries[0].findings().is_empty() && entries[0].status().is_empty());
        assert!(parse(b"{}").is_err() && parse(b"no").is_err());
    }
}
