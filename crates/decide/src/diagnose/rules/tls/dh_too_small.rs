//! The server's Diffie-Hellman group is too small.

use super::{aftermath, place, unshaken, with_facts};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// Diffie-Hellman group too small
    ///
    /// The peer chose a DHE suite, and the prime in its ServerKeyExchange (RFC 5246 7.4.3) is shorter than 2048 bits: such a
    /// group can be broken (RFC 9325 4.4), so the handshake is given up.
    ///
    /// The peer's administrator gives it a group of 2048 bits or, better, enables ECDHE suites.
    "tls.dh_too_small", find
}

const BITS_MIN: u32 = 2048;

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, hello)) = unshaken(case) else { return Answer::No };
    let Some(bits) = hello.dh_bits.filter(|bits| *bits < BITS_MIN) else { return Answer::No };
    let host = &tried.host;
    let finding = aftermath(case, tried, |end| {
        let sentence = format!(
            "{} offers only DHE with a {bits}-bit group; this side needs 2048 bits or ECDHE{end}.",
            place(tried)
        );
        Finding::new("tls.dh_too_small", Actor::TheirHost, sentence)
    });
    with_facts(finding.confidence(Confidence::Proven), tried, hello)
        .disproof(format!("a ServerHello of {host} with an ECDHE suite"))
        .fix(format!("The owner of {host} enables ECDHE suites, or sets a Diffie-Hellman group of 2048 bits or more."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const FAILED: &str = "to a@dh.test
         try mx.dh.test 127.0.0.11
           fail start-tls path [internal] 451 4.7.5 TLS negotiation failed
           hello version 0303
           hello suite 0033
           hello sig 0201";

    #[test]
    fn the_length_is_named() {
        check(
            &format!("{FAILED}\n hello dh 1024"),
            "tls.dh_too_small: mx.dh.test (127.0.0.11) offers only DHE with a 1024-bit group; this side needs 2048 bits or \
             ECDHE; the message waits.",
        );
    }

    #[test]
    fn a_large_group_is_not_it() {
        check(&format!("{FAILED}\n hello dh 2048"), "tls.legacy_sigalg");
    }
}
