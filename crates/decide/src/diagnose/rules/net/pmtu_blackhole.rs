//! Large messages never arrive: full packets are lost on the way.

use super::tried_place;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Connect, End, Finding, Stage};

rule! {
    /// Path-MTU black hole
    ///
    /// Commands pass, small messages pass, and of a large message's content nothing is acknowledged: packets of full size are
    /// dropped on the way, and the ICMP messages that would say so are filtered (RFC 2923). Usual with tunnels, VPNs and PPPoE.
    /// The peer's system acknowledges what arrives even while its mail server is slow, so unacknowledged data (SIOCOUTQ) tells
    /// this from a slow peer or a content filter.
    ///
    /// Let ICMP "fragmentation needed" (IPv6: "packet too big") pass, clamp the MSS on the tunnel's router, or lower this
    /// machine's MTU for that route.
    "net.pmtu_blackhole", find
}

/// What surely needs more than one full packet.
const LARGE: u64 = 1400;

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, failure)) = case.failed() else { return Answer::No };
    let waited = matches!(tried.end, End::TimedOut { .. });
    let in_content = matches!(failure.stage, Stage::Body | Stage::FinalReply);
    if !waited || !in_content || tried.content_sent < LARGE {
        return Answer::No;
    }
    let here = || {
        case.around
            .seen
            .iter()
            .filter(|seen| seen.address == tried.address && matches!(seen.connect, Connect::Made { .. }))
    };
    let passed: Vec<u64> = here().filter(|seen| seen.delivered).map(|seen| seen.size).collect();
    // This attempt may be among those seen already.
    let hung = here()
        .filter(|seen| {
            !seen.delivered
                && seen.content_sent >= LARGE
                && matches!(seen.end, End::TimedOut { .. })
                && matches!(seen.stage, Some(Stage::Body | Stage::FinalReply))
        })
        .count()
        .max(1);
    let large_passed = passed.iter().any(|size| *size > LARGE);
    let small_passed = passed.iter().any(|size| *size <= LARGE);
    // Of full packets that are lost, none is acknowledged: what is left is all of the content, but for a packet or two.
    let lost = tried.unacknowledged.is_some_and(|left| left > 0 && left + 2 * LARGE >= tried.content_sent);
    let confidence = match (lost, small_passed, hung) {
        _ if large_passed => return Answer::No,
        (true, true, _) => Confidence::Likely,
        (true, false, _) => Confidence::Possible,
        // Acknowledged in part, and content stops all the same: a box in between that speaks TCP for both sides can do that,
        // and so can a server that hangs.
        (false, true, _) if failure.stage == Stage::Body => Confidence::Possible,
        (false, true, 2..) => Confidence::Possible,
        _ => return Answer::No,
    };
    let pattern = match (small_passed, hung) {
        (true, count) => format!("{count} of {count} large messages hang, small ones pass"),
        (false, count) => format!("{count} of {count} large messages hang"),
    };
    let what = if lost {
        "no message data above about 1400 bytes per packet is acknowledged"
    } else {
        "no message data above about 1400 bytes per packet gets through"
    };
    let sentence = format!("To {} all commands pass, but {what} ({pattern}): path-MTU black hole.", tried_place(tried));
    let mut finding = Finding::new("net.pmtu_blackhole", Actor::OurNetwork, sentence)
        .confidence(confidence)
        .evidence(format!("content given to the socket: {} octets", tried.content_sent))
        .evidence(failure.to_string())
        .disproof(format!("`ping -M do -s 1472 {}` is answered, or a large message arrives", tried.address))
        .fix("On the router of the tunnel or PPPoE line: clamp the MSS to the path MTU, and let ICMP type 3 code 4 pass.")
        .fix(format!("Here, at once: `ip route add {} via GATEWAY mtu 1280`.", tried.address));
    if let Some(left) = tried.unacknowledged {
        finding = finding.evidence(format!("of these not acknowledged by the peer's system: {left} octets"));
    }
    if small_passed {
        finding = finding.evidence(format!("sizes delivered to {} lately: {passed:?}", tried.address));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const HANGS: &str = "to a@mtu.test
         try mx.mtu.test 127.0.0.11
           banner 220 x
           data 354 go
           sent 20000
           silent 180000
           fail body path [internal] 451 4.4.2 no response
         seen mtu.test mx.mtu.test 127.0.0.11 500 size 600, delivered
         seen mtu.test mx.mtu.test 127.0.0.11 300 size 20000, content 20000 180000, stage body, silent 180000";

    #[test]
    fn nothing_of_large_content_is_acknowledged() {
        check(
            &format!(
                "{HANGS}\n seen mtu.test mx.mtu.test 127.0.0.11 1 size 20000, content 20000 180000, stage body, silent 180000\n unacked 20000"
            ),
            "net.pmtu_blackhole: To mx.mtu.test (127.0.0.11) all commands pass, but no message data above about 1400 bytes per \
             packet is acknowledged (2 of 2 large messages hang, small ones pass): path-MTU black hole.",
        );
    }

    #[test]
    fn a_large_message_that_passed_shows_another_reason() {
        check(
            &format!("{HANGS}\n unacked 20000\n seen mtu.test mx.mtu.test 127.0.0.11 200 size 90000, delivered"),
            "unknown",
        );
    }

    #[test]
    fn a_peer_that_has_it_all_and_is_slow_is_no_black_hole() {
        let slow = HANGS.replace("fail body", "fail final-reply").replace("stage body", "stage final-reply");
        let found = scene(&format!("{slow}\n unacked 0")).diagnose();
        assert!(found.findings.iter().all(|finding| finding.cause != "net.pmtu_blackhole"), "{found:?}");
    }

    #[test]
    fn content_that_stops_with_a_part_acknowledged_may_be_it() {
        let scene = scene(&format!("{HANGS}\n unacked 9000"));
        let found = scene.diagnose();
        let finding = found.first().unwrap();
        assert_eq!((finding.cause.as_ref(), finding.confidence), ("net.pmtu_blackhole", mail::Confidence::Possible));
    }
}
