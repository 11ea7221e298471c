//! One side speaks the PROXY protocol and the other does not.

use crate::diagnose::rules::shown;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, End, Finding, Severity, Visit};

rule! {
    /// PROXY protocol on one side only
    ///
    /// A load balancer that speaks the PROXY protocol sends a header with the true client's address before everything else: a line
    /// that begins with `PROXY ` (version 1), or twelve fixed octets and binary data (version 2). The gateway expects it from the
    /// addresses in `listener.*.proxy_protocol_from`, and from nobody else. If only one side is set so, no mail comes through: the
    /// header is taken for a bad command, or the gateway waits for a header that never comes.
    ///
    /// Known by the first octets of the connection.
    ///
    /// Switch it on at both ends, or at none. Health checks of the balancer must send the header as well (HAProxy:
    /// `check-send-proxy`).
    "net.proxy_protocol_mismatch", find
}

const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    if visit.proxy_awaited { missing(visit) } else { unexpected(visit) }.into()
}

fn version(first: &[u8]) -> Option<&'static str> {
    if first.starts_with(b"PROXY ") {
        Some("PROXY v1")
    } else {
        // The whole signature, or what the greeting's answer let through of it.
        first.starts_with(VERSION_2).then_some("PROXY v2")
    }
}

fn unexpected(visit: &Visit) -> Option<Finding> {
    let first = if visit.first.is_empty() { &visit.early } else { &visit.first };
    let version = version(first)?;
    let listener = visit.listener.name();
    let finding = Finding::new(
        "net.proxy_protocol_mismatch",
        Actor::OurSettings,
        format!(
            "Listener {} ({listener}) got a {version} header from {} but is not configured for it.",
            visit.local, visit.client
        ),
    )
    .confidence(Confidence::Proven)
    .evidence(format!("first octets: {}", shown::octets(first)))
    .disproof(format!("{} in listener.{listener}.proxy_protocol_from", visit.client))
    .fix(format!(
        "If {} is your load balancer: add it to `listener.{listener}.proxy_protocol_from`, else whoever sends the header could \
         pass as any client.",
        visit.client
    ))
    .fix("Or switch the PROXY protocol off at the balancer for this port.");
    Some(finding)
}

fn missing(visit: &Visit) -> Option<Finding> {
    let refusal = visit.refused("proxy-header")?;
    let listener = visit.listener.name();
    let peer = visit.proxy.unwrap_or(visit.client);
    let is_check = visit.first.is_empty() && visit.end == End::Closed;
    let came = match &visit.end {
        _ if !visit.first.is_empty() => format!("it began with \"{}\"", shown::octets(&visit.first)),
        End::TimedOut { waited_ms } => format!("none came within {}", shown::span(*waited_ms)),
        _ => "it closed without one, as a health check does".to_owned(),
    };
    let finding = Finding::new(
        "net.proxy_protocol_mismatch",
        Actor::OurNetwork,
        format!("Listener {} ({listener}) requires a PROXY header from {peer}, and {came}.", visit.local),
    )
    .severity(if is_check { Severity::Info } else { Severity::Failure })
    .confidence(Confidence::Proven)
    .evidence(format!("{peer} is in listener.{listener}.proxy_protocol_from"))
    .evidence(format!("answered: {}", refusal.reply))
    .disproof("a packet capture that shows the header")
    .fix(format!(
        "If {peer} is the balancer: switch the PROXY protocol on there (HAProxy: `send-proxy` or `send-proxy-v2`, and \
                  `check-send-proxy` for health checks)."
    ))
    .fix(format!("If it is not: take it out of `listener.{listener}.proxy_protocol_from`."));
    Some(finding)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_header_that_nobody_asked_for_is_one() {
        check(
            "visit inbound 127.0.1.10
             first PROXY TCP4 127.0.1.10 127.0.0.2 4000 25\\r\\n
             refuse ehlo - - 500 5.5.2 Command not recognized",
            "net.proxy_protocol_mismatch: Listener 127.0.0.2:25 (inbound) got a PROXY v1 header from 127.0.1.10 but is not \
             configured for it.",
        );
        check(
            "visit inbound 127.0.1.10
             first \\r\\n\\r\\n\\x00\\r\\nQUIT\\n\\x21
             refuse ehlo nul-in-command - 500 5.5.2 NUL",
            "net.proxy_protocol_mismatch",
        );
    }

    #[test]
    fn a_header_that_never_comes_is_named_with_what_came_instead() {
        let awaited = "visit inbound 127.0.1.10\nawaits-proxy\nnot-greeted\nrefuse connect proxy-header - 421 4.3.5 no PROXY header";
        check(
            &format!("{awaited}\nfirst EHLO a.test\\r\\n\nours"),
            "net.proxy_protocol_mismatch: Listener 127.0.0.2:25 (inbound) requires a PROXY header from 127.0.1.10, and it began \
             with \"EHLO a.test\".",
        );
        check(
            &format!("{awaited}\nsilent 5000"),
            "net.proxy_protocol_mismatch: Listener 127.0.0.2:25 (inbound) requires a PROXY header from 127.0.1.10, and none came \
             within 5 s.",
        );
    }

    #[test]
    fn two_empty_lines_are_no_header() {
        check(
            "visit inbound 127.0.1.10\nfirst \\r\\n\\r\\n\nrefuse ehlo - - 500 5.5.2 Command not recognized",
            "unknown",
        );
    }
}
