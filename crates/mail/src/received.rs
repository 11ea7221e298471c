//! Received: the trace line that each hop puts on top (RFC 5321 4.4).

use crate::{AuditId, Listener, Origin, Time};

/// What the trace line says of this hop.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    pub origin: &'a Origin,
    /// Reverse name of the client, if it is known.
    pub reverse_name: Option<&'a str>,
    /// MTA host name.
    pub by: &'a str,
    pub id: AuditId,
    pub extended: bool,
    pub smtputf8: bool,
    /// The recipient, only if there is one (RFC 5321 7.2: blind copies stay blind).
    pub recipient: Option<&'a str>,
    pub at: Time,
}

/// The whole field, folded, CRLF at its end.
pub fn received(hop: &Hop<'_>) -> String {
    let mut field = String::with_capacity(256);
    field.push_str("Received: ");
    if hop.origin.listener != Listener::Internal {
        field.push_str("from ");
        field.push_str(&printable(&hop.origin.helo));
        if let Some(client) = hop.origin.client {
            let name = hop.reverse_name.map(|name| format!("{} ", printable(name))).unwrap_or_default();
            let tag = if client.is_ipv6() { "IPv6:" } else { "" };
            field.push_str(&format!(" ({name}[{tag}{client}])"));
        }
        field.push_str("\r\n\t");
    }
    field.push_str(&format!("by {} (Gatepost) with {} id {}", hop.by, protocol(hop), hop.id));
    if let Some(recipient) = hop.recipient {
        field.push_str(&format!("\r\n\tfor <{recipient}>"));
    }
    field.push_str(&format!(";\r\n\t{}\r\n", hop.at.rfc5322()));
    field
}

/// The registered keyword (RFC 3848, RFC 6531 4.3).
fn protocol(hop: &Hop<'_>) -> String {
    let base = match (hop.smtputf8, hop.extended) {
        (true, _) => "UTF8SMTP",
        (false, true) => "ESMTP",
        (false, false) => "SMTP",
    };
    let secure = if hop.origin.tls.is_some() { "S" } else { "" };
    let authenticated = if hop.origin.user.is_some() { "A" } else { "" };
    if base == "SMTP" { base.to_owned() } else { format!("{base}{secure}{authenticated}") }
}

/// A client's word, fit for a header: no control, no space, no bracket or comment of its own, bounded.
fn printable(word: &str) -> String {
    let safe: String = word.chars().filter(|c| !c.is_control() && !" ()<>;\\\"".contains(*c)).take(255).collect();
    if safe.is_empty() { "unknown".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_both_ends_and_the_audit_id() {
        let origin = Origin {
            listener: Listener::Inbound,
            connection: None,
            client: Some("192.0.2.7".parse().unwrap()),
            helo: "out.example.test (evil\r\nX: y)".to_owned(),
            user: None,
            tls: Some("TLSv1.3".to_owned()),
        };
        let hop = Hop {
            origin: &origin,
            reverse_name: None,
            by: "gw.corp.test",
            id: AuditId::new(1, 0, 0),
            extended: true,
            smtputf8: false,
            recipient: Some("a@corp.test"),
            at: Time(0),
        };
        let line = received(&hop);
        assert_eq!(
            line,
            "Received: from out.example.testevilX:y ([192.0.2.7])\r\n\tby gw.corp.test (Gatepost) with ESMTPS id 0000000020000\r\n\tfor <a@corp.test>;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n"
        );
    }
}
