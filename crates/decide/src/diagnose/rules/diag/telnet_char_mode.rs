//! Commands that come octet by octet: typed by hand.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity, Speaker};

rule! {
    /// Commands typed by hand, one octet in a packet
    ///
    /// Telnet sends each key as a packet of its own. A firewall that inspects SMTP packet by packet (Cisco PIX and ASA) takes each
    /// for a command that it does not know and writes X over it: the server sees `XXXX`. Mail servers send whole lines and are not
    /// affected; such a test says nothing about mail.
    ///
    /// Known by reads of single octets, for all or nearly all of what was said, while other clients' lines come whole.
    ///
    /// Test with a tool that sends lines (swaks, `openssl s_client`, `nc -C`), not with telnet key by key.
    "diag.telnet_char_mode", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let is_typed = visit.single_octet_reads >= 4 && visit.single_octet_reads * 10 >= visit.reads * 6;
    if !is_typed || visit.refusals.is_empty() {
        return Answer::No;
    }
    let commands: Vec<&str> =
        visit.transcript.iter().filter(|said| said.speaker == Speaker::Client).map(|said| said.text.as_str()).collect();
    let is_masked =
        |command: &&&str| command.len() >= 3 && command.bytes().all(|octet| matches!(octet, b'X' | b'x' | b' '));
    let masked = commands.iter().find(is_masked);
    let Some(shown) = masked.or(commands.first()) else { return Answer::No };
    let sentence = match masked {
        Some(command) => format!(
            "Client {} sent \"{command}\" one byte per packet: an inspecting firewall in front masks commands typed by hand; \
             line-wise clients are not affected.",
            visit.client
        ),
        None => format!(
            "Client {} sent \"{shown}\" one byte per packet: typed by hand, not sent by a mail server; line-wise clients are not \
             affected.",
            visit.client
        ),
    };
    let others = case.around.calls.iter().filter(|call| call.whole_lines && call.client != visit.client).count();
    let mut finding = Finding::new("diag.telnet_char_mode", Actor::Nobody, sentence)
        .severity(Severity::Info)
        .confidence(if masked.is_some() { Confidence::Likely } else { Confidence::Possible })
        .retry(Retry::NotNeeded)
        .evidence(format!("{} of {} reads brought a single octet", visit.single_octet_reads, visit.reads))
        .disproof("the same masked commands from a client that sends whole lines")
        .fix("Test with a tool that sends whole lines, such as swaks; a test typed by hand says nothing about mail.");
    if masked.is_some() {
        finding = finding
            .fix("If mail itself suffers, switch SMTP inspection (\"inspect esmtp\", \"fixup protocol smtp\") off.");
    }
    if others > 0 {
        finding = finding.evidence(format!("{others} other clients lately sent whole lines"));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn masked_keys_are_a_test_by_hand() {
        check(
            "visit inbound 127.0.1.10
             reads 5 single 4
             said client XXXX
             refuse ehlo - - 500 5.5.2 Command not recognized
             command XXXX
             closed",
            "diag.telnet_char_mode: Client 127.0.1.10 sent \"XXXX\" one byte per packet: an inspecting firewall in front masks \
             commands typed by hand; line-wise clients are not affected.",
        );
    }

    #[test]
    fn whole_lines_are_no_test_by_hand() {
        check(
            "visit inbound 127.0.1.10
             reads 3 single 0
             said client XXXX
             refuse ehlo - - 500 5.5.2 Command not recognized",
            "unknown",
        );
    }
}
