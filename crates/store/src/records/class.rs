//! Class: what an event of the trail means for mail, as it is counted, charted and filtered by.

use super::told::Facts;
use mail::status;
use std::fmt;
use std::str::FromStr;

/// What happened to a message or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Taken from a client, with a 250.
    Accepted,
    /// Something of a client's was refused: its connection, a command, a recipient, content.
    Refused,
    /// Handed to a next hop, for one or more recipients.
    Delivered,
    /// Put off after an attempt.
    Deferred,
    /// Given up and returned to its sender.
    Bounced,
    /// Bounced because its time was over. Such mail is [`Class::Bounced`] as well.
    Expired,
    Held,
    SetAside,
    /// Back in the queue after it was held or set aside.
    Released,
    Deleted,
    /// Came back to this gateway.
    Loop,
    /// A connection that was explained when it was over.
    Connection,
    /// Nothing of mail: an alert, an order, new settings.
    Notice,
}

impl Class {
    pub const ALL: [Class; 13] = [
        Class::Accepted,
        Class::Refused,
        Class::Delivered,
        Class::Deferred,
        Class::Bounced,
        Class::Expired,
        Class::Held,
        Class::SetAside,
        Class::Released,
        Class::Deleted,
        Class::Loop,
        Class::Connection,
        Class::Notice,
    ];

    /// As it is written in filters, exports and addresses of pages.
    pub fn name(self) -> &'static str {
        match self {
            Class::Accepted => "accepted",
            Class::Refused => "refused",
            Class::Delivered => "delivered",
            Class::Deferred => "deferred",
            Class::Bounced => "bounced",
            Class::Expired => "expired",
            Class::Held => "held",
            Class::SetAside => "set-aside",
            Class::Released => "released",
            Class::Deleted => "deleted",
            Class::Loop => "loop",
            Class::Connection => "connection",
            Class::Notice => "notice",
        }
    }

    /// Its number in the database: never changed.
    pub(crate) fn number(self) -> i64 {
        match self {
            Class::Accepted => 1,
            Class::Refused => 2,
            Class::Delivered => 3,
            Class::Deferred => 4,
            Class::Bounced => 5,
            Class::Expired => 6,
            Class::Held => 7,
            Class::SetAside => 8,
            Class::Released => 9,
            Class::Deleted => 10,
            Class::Loop => 11,
            Class::Connection => 12,
            Class::Notice => 13,
        }
    }

    pub(crate) fn from_number(number: i64) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.number() == number)
    }

    pub(crate) fn bit(self) -> i64 {
        1 << self.number()
    }

    /// Events of these kinds may be of this class.
    pub(crate) fn kinds(self) -> &'static [&'static str] {
        match self {
            Class::Accepted => &["accepted"],
            Class::Refused => &["refused"],
            Class::Delivered => &["delivered"],
            Class::Deferred => &["deferred"],
            Class::Bounced | Class::Expired => &["bounced", "loop"],
            // By an administrator, or by the gateway itself: a loop.
            Class::Held => &["hold", "held"],
            Class::SetAside => &["set-aside"],
            Class::Released => &["release"],
            Class::Deleted => &["delete"],
            Class::Loop => &["loop"],
            Class::Connection => &["visit"],
            Class::Notice => &["alert", "order", "settings", "identity"],
        }
    }

    /// What an event is counted as. Kinds that are not known count as nothing.
    pub(crate) fn of(kind: &str, facts: &Facts<'_>) -> Vec<Class> {
        match kind {
            "bounced" if is_expired(facts) => vec![Class::Bounced, Class::Expired],
            "bounced" => vec![Class::Bounced],
            // Given up while it was delivered, or refused when it came back: the latter is told by an event of its own.
            "loop" if facts.attempt.is_some() => vec![Class::Bounced, Class::Loop],
            "loop" => vec![Class::Loop],
            // Points to the connection's own record.
            "visit" if facts.recorded_under.is_some() => Vec::new(),
            kind => Class::ALL.into_iter().find(|class| class.kinds().contains(&kind)).into_iter().collect(),
        }
    }
}

fn is_expired(facts: &Facts<'_>) -> bool {
    let expired = status::EXPIRED.with("").to_string();
    facts.status.text().is_some_and(|status| status.starts_with(&expired))
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Class, String> {
        let known = || Class::ALL.map(Class::name).join(", ");
        Class::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or_else(|| format!("{text:?} is no outcome; these are: {}", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn events_are_counted_as_what_they_mean() {
        let check = |kind: &str, fields: Value, classes: &[Class]| {
            let text = fields.to_string();
            let facts = serde_json::from_str(&text).unwrap();
            assert_eq!(Class::of(kind, &facts), classes, "{kind} {text}");
        };
        check("accepted", json!({}), &[Class::Accepted]);
        check("bounced", json!({"status": "550 5.1.1 [mx.test] no"}), &[Class::Bounced]);
        let expired = status::EXPIRED.with("last failure: x").to_string();
        check("bounced", json!({"status": expired}), &[Class::Bounced, Class::Expired]);
        check("loop", json!({"attempt": {}}), &[Class::Bounced, Class::Loop]);
        check("loop", json!({"returns": []}), &[Class::Loop]);
        check("visit", json!({"recorded_under": "x"}), &[]);
        check("hold", json!({}), &[Class::Held]);
        check("held", json!({}), &[Class::Held]);
        check("order", json!({}), &[Class::Notice]);
        check("some-new-kind", json!({}), &[]);
    }

    #[test]
    fn names_and_numbers_lead_back() {
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(Class::from_number(class.number()), Some(class));
        }
    }
}
