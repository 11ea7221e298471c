//! Told: an event as the trail takes it. Its fields stay the text that they are; only what lists, words and numbers are made of is
//! read, and a value of a strange type is as if it were missing. The conversation, the longest part of an event, is passed over.

use crate::event::Event;
use mail::{AuditId, Time};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An event.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) id: AuditId,
    pub(crate) at: Time,
    pub(crate) kind: Cow<'a, str>,
    /// JSON.
    pub(crate) fields: Cow<'a, str>,
}

/// What the trail learns from an event's fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Facts<'a> {
    #[serde(borrow)]
    pub(crate) sender: Loose<'a>,
    #[serde(borrow)]
    pub(crate) subject: Loose<'a>,
    #[serde(borrow)]
    pub(crate) message_id: Loose<'a>,
    #[serde(borrow)]
    pub(crate) client: Loose<'a>,
    #[serde(borrow)]
    pub(crate) helo: Loose<'a>,
    #[serde(borrow)]
    pub(crate) listener: Loose<'a>,
    #[serde(borrow)]
    pub(crate) recipient: Loose<'a>,
    #[serde(borrow)]
    pub(crate) recipients: Loose<'a>,
    #[serde(borrow)]
    pub(crate) size: Loose<'a>,
    #[serde(borrow)]
    pub(crate) about: Loose<'a>,
    #[serde(borrow)]
    pub(crate) connection: Loose<'a>,
    #[serde(borrow)]
    pub(crate) status: Loose<'a>,
    #[serde(borrow)]
    pub(crate) what: Loose<'a>,
    #[serde(borrow)]
    pub(crate) finding: Loose<'a>,
    pub(crate) attempt: Option<IgnoredAny>,
    pub(crate) recorded_under: Option<IgnoredAny>,
}

/// A value of whatever type.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Loose<'a> {
    #[default]
    Other,
    Text(Cow<'a, str>),
    Number(u64),
    /// The texts among a list's values.
    List(Vec<Cow<'a, str>>),
    /// An object that may be a finding.
    Finding {
        cause: Cow<'a, str>,
        sentence: Cow<'a, str>,
    },
}

impl<'a> Told<'a> {
    /// What was just made, not read.
    pub(crate) fn of(event: &'a Event) -> Told<'a> {
        let fields = Cow::Owned(event.fields.to_string());
        Told { id: event.id, at: event.at, kind: Cow::Borrowed(&event.kind), fields }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        serde_json::from_str(&self.fields).unwrap_or_default()
    }
}

/// The events of one outbox row.
pub(crate) fn decode(text: &[u8]) -> serde_json::Result<Vec<Told<'_>>> {
    #[derive(Deserialize)]
    struct Written<'a> {
        id: AuditId,
        at: Time,
        #[serde(borrow)]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        fields: &'a RawValue,
    }
    let mut told = Vec::new();
    let mut rest = text;
    // JSON objects with commas between.
    while !rest.is_empty() {
        let mut events = serde_json::Deserializer::from_slice(rest).into_iter::<Written<'_>>();
        let Some(event) = events.next() else { break };
        let Written { id, at, kind, fields } = event?;
        told.push(Told { id, at, kind, fields: Cow::Borrowed(fields.get()) });
        let end = events.byte_offset();
        rest = rest.get(end..).unwrap_or_default();
        rest = rest.strip_prefix(b",").unwrap_or(rest);
    }
    Ok(told)
}

impl Loose<'_> {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Loose::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Loose::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A text, or those of a list.
    pub(crate) fn texts(&self) -> &[Cow<'_, str>] {
        match self {
            Loose::Text(text) => std::slice::from_ref(text),
            Loose::List(texts) => texts,
            _ => &[],
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Loose<'a>, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose<'de>, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose<'de>, E> {
        Ok(Loose::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose<'de>, A::Error> {
        let mut texts = Vec::new();
        while let Some(value) = list.next_element::<Loose<'_>>()? {
            if let Loose::Text(text) = value {
                texts.push(text);
            }
        }
        Ok(Loose::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Loose<'de>, A::Error> {
        let (mut cause, mut sentence) = (Loose::Other, Loose::Other);
        while let Some(name) = object.next_key::<Cow<'_, str>>()? {
            match &*name {
                "cause" => cause = object.next_value()?,
                "sentence" => sentence = object.next_value()?,
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        let text = |value| if let Loose::Text(text) = value { text } else { Cow::default() };
        Ok(Loose::Finding { cause: text(cause), sentence: text(sentence) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Encoded;
    use serde_json::json;

    #[test]
    fn what_is_no_text_does_not_hide_what_is() {
        let fields = json!({"sender": 7, "subject": null, "recipients": ["a@x.test", 1, "b@x.test"], "size": "big", "status": ["250"],
            "client": {"x": [1, {"y": null}]}, "message_id": "<1@x.test>", "attempt": {"tries": []}, "recorded_under": null,
            "finding": {"cause": "net.refused", "sentence": "It \"refuses\".", "evidence": [1]}});
        let event = Event { id: AuditId::new(1, 0, 0), at: Time(1), kind: "deferred".to_owned(), fields };
        let told = Told::of(&event);
        let facts = told.facts();
        assert_eq!(facts.sender.text(), None);
        assert_eq!(facts.subject, Loose::Other);
        assert_eq!(facts.recipients.texts(), ["a@x.test", "b@x.test"]);
        assert_eq!((facts.size.number(), facts.status.text(), facts.client.text()), (None, None, None));
        assert_eq!(facts.message_id.text(), Some("<1@x.test>"));
        assert!(facts.attempt.is_some() && facts.recorded_under.is_none());
        let finding = Loose::Finding { cause: "net.refused".into(), sentence: "It \"refuses\".".into() };
        assert_eq!(facts.finding, finding);
    }

    #[test]
    fn fields_that_are_no_object_are_kept_and_tell_nothing() {
        for fields in ["7", "null", "[]", "\"text\"", "{"] {
            let told = Told { id: AuditId::new(1, 0, 0), at: Time(1), kind: "x".into(), fields: fields.into() };
            assert_eq!(told.facts().sender, Loose::Other, "{fields}");
        }
    }

    #[test]
    fn joined_batches_come_back_in_order() {
        let read = |told: &Told<'_>| Event {
            id: told.id,
            at: told.at,
            kind: told.kind.to_string(),
            fields: serde_json::from_str(&told.fields).unwrap(),
        };
        let event = |n| Event {
            id: AuditId::new(1, 0, n),
            at: Time(n.into()),
            kind: "accept".into(),
            fields: serde_json::json!({"n": n}),
        };
        let mut all = Encoded::new(&[event(1), event(2)]);
        all.join(&Encoded::default());
        all.join(&Encoded::new(&[event(3)]));
        let told = decode(&all.text).unwrap();
        assert_eq!(told.iter().map(read).collect::<Vec<_>>(), [event(1), event(2), event(3)]);
        assert!(decode(&all.text[..all.text.len() - 1]).is_err() && decode(b"").unwrap().is_empty());
        assert_eq!(all.high, AuditId::new(1, 0, 3).to_i64());
    }
}
