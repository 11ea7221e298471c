//! Findings in what the gateway prints: any JSON object with a `cause` and a `sentence`.

use serde::Serialize;
use serde_json::Value;

/// What the gateway says is the cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub cause: String,
    pub sentence: String,
    pub severity: String,
    pub confidence: String,
}

impl Finding {
    /// All findings in a document, in its order. What lies inside a finding is no finding of its own.
    pub(super) fn all(document: &Value) -> Vec<Self> {
        let mut found = Vec::new();
        Self::gather(document, &mut found);
        found
    }

    fn gather(value: &Value, found: &mut Vec<Self>) {
        match value {
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                // An incident repeats its finding's cause and sentence beside it: the finding itself says more.
                if let Some(inner) = fields.get("finding").filter(|inner| inner.get("cause").is_some()) {
                    return Self::gather(inner, found);
                }
                if !text("cause").is_empty() && !text("sentence").is_empty() {
                    found.push(Self {
                        cause: text("cause"),
                        sentence: text("sentence"),
                        severity: text("severity"),
                        confidence: text("confidence"),
                    });
                    return;
                }
                fields.values().for_each(|value| Self::gather(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| Self::gather(value, found)),
            _ => {}
        }
    }

    /// Does it say that something is wrong? A severity that is not known counts, so that none is overlooked.
    pub(super) fn is_alarm(&self) -> bool {
        self.severity != "info"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_found_wherever_they_lie() {
        let document: Value = serde_json::from_str(
            r#"[{"event":"TRANSFAIL","fields":{"finding":{"cause":"a.b","sentence":"first","severity":"info"}}},
                {"cause":"c.d","sentence":"again","finding":{"cause":"c.d","sentence":"second","confidence":"proven"}},
                {"cause":"e.f"}]"#,
        )
        .unwrap();
        let found = Finding::all(&document);
        assert_eq!(found.iter().map(|f| f.sentence.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        assert!(!found[0].is_alarm() && found[1].is_alarm() && found[1].confidence == "proven");
    }
}
