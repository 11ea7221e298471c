//! A limit that hangs on rate or reputation.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Rate limit or bad reputation
    ///
    /// The host limits mail of an identity: this gateway's address, its network, the DKIM or SPF domain of the sender, or
    /// domains in links. It is no overload there, and more attempts make it worse.
    ///
    /// Known by the code (x.7.28, 4.7.650 …) and by the words, which mostly name the identity. A low volume of your own means
    /// a hidden one: forwarded spam, a compromised account, an address shared with others.
    ///
    /// Send less for a while; find the largest senders of the last hour; do not forward spam; sign with DKIM, publish SPF and
    /// DMARC; register with the provider's postmaster pages.
    "peer.rate_reputation", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(said) = said::about(case, Topic::Rate).filter(|_| !said::is_backend(case)) else { return Answer::No };
    let Some(attempt) = case.attempt() else { return Answer::No };
    let identity =
        words::identity(said.reply).filter(|identity| *identity != words::Identity::Address(said.tried.address));
    let limited = match (&identity, said.tried.source) {
        (Some(identity), _) => identity.to_string(),
        (None, Some(source)) => format!("mail from {source}"),
        (None, None) => "mail from this gateway".to_owned(),
    };
    let mut senders: Vec<(String, usize)> = Vec::new();
    let mut count = 0;
    for seen in said::before(case, said.tried).filter(|seen| seen.delivered) {
        count += 1;
        match senders.iter_mut().find(|(sender, _)| *sender == seen.sender) {
            Some((_, times)) => *times += 1,
            None => senders.push((seen.sender.clone(), 1)),
        }
    }
    senders.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let volume = match senders.first() {
        None => "in the last hour it took no message from here".to_owned(),
        Some((sender, times)) => {
            let messages = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
            format!("in the last hour {messages} went there, {times} of them from {}", said::sender(sender))
        }
    };
    let lasting = if said.reply.is_permanent() { "refuses" } else { "limits" };
    let mut finding = Finding::new(
        "peer.rate_reputation",
        Actor::OurReputation,
        format!("{} {lasting} {limited} ({}); {volume}.", said.place(), said.code()),
    )
    .severity(said::severity(case, &said))
    .confidence(Confidence::Likely)
    .evidence(said.quote())
    .disproof(format!("the same answer from {} to the first message after a day without any", said.tried.host));
    if !said.reply.is_permanent() {
        finding = finding.retry(Retry::Helps { after_s: words::delay(said.reply).map(|delay| delay.as_secs()) });
    }
    for (sender, times) in senders.iter().take(3) {
        finding = finding.evidence(format!(
            "{times} messages from {} to {} in the last hour",
            said::sender(sender),
            said.tried.host
        ));
    }
    finding
        .fix(format!(
            "Look at the largest senders to {}: a compromised account or forwarded spam counts as yours.",
            attempt.domain
        ))
        .fix("Send less for some hours; the gateway's retries slow down by themselves.")
        .fix("Register this gateway's addresses and domains with the provider's postmaster pages.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::seen_at;
    use crate::diagnose::testing::{check, scene};

    const LIMITED: &str = "to a@big.test
        from u@corp.test
        try mx.big.test 127.0.0.11
          banner 220 mx.big.test
          mail 250 ok
          rcpt a@big.test 250 ok
          data 354 go
          final 421 4.7.28 Our system has detected an unusual rate of mail originating from your DKIM domain [corp.test 35]
          fail final-reply them 421 4.7.28 unusual rate";

    #[test]
    fn the_limited_identity_is_named() {
        check(
            LIMITED,
            "peer.rate_reputation: mx.big.test (127.0.0.11) limits the DKIM domain corp.test (421 4.7.28); in the last hour it \
             took no message from here.",
        );
    }

    #[test]
    fn the_own_volume_is_counted() {
        let mut scene = scene(LIMITED);
        for sender in ["u@corp.test", "u@corp.test", "x@corp.test"] {
            scene.around.seen.push(seen_at("mx.big.test", "127.0.0.11", |seen| {
                seen.delivered = true;
                seen.sender = sender.to_owned();
            }));
        }
        assert!(
            scene.diagnose().findings[0]
                .sentence
                .ends_with("in the last hour 3 messages went there, 2 of them from u@corp.test.")
        );
    }
}
