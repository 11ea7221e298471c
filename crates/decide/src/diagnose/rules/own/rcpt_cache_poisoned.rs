//! The server behind refuses a sender at RCPT, and the recipient would be taken for unknown.

use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, Experiment, Result, rule};
use mail::{Actor, Confidence, Finding, RcptSaid, Retry};
use std::net::SocketAddr;

rule! {
    /// A refusal of the sender, which says nothing about the recipient
    ///
    /// Servers often refuse a sender (callout failed, policy) only in answer to RCPT. A gateway that takes any 550 there for "no
    /// such user" and remembers it shuts the recipient out for everybody. This gateway asks with the null sender, and only
    /// "no such mailbox" (5.1.1 and its like) counts.
    ///
    /// Known by the words of the refusal, and by the server's accepting the recipient for the null sender.
    ///
    /// The mailbox is right. What is refused is this sender: see the server's own words.
    "own.rcpt_cache_poisoned", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.local && !attempt.sender.is_empty()) else {
        return Answer::No;
    };
    let Some(tried) = case.last() else { return Answer::No };
    let about_sender = |said: &&RcptSaid| {
        let about = [Topic::Callout, Topic::SenderDomain, Topic::SenderNotAllowed];
        // The surest topic alone: "SPF: not allowed to send from" is about the address that connects, which is ours.
        said.reply.is_permanent() && words::topic(&said.reply).is_some_and(|topic| about.contains(&topic))
    };
    let Some(said) = tried.rcpt.iter().find(about_sender) else { return Answer::No };
    let experiment = Experiment::Greet {
        address: SocketAddr::new(tried.address, tried.port),
        host: tried.host.clone(),
        source: None,
        ehlo: None,
        tls: false,
        sender: Some(String::new()),
        recipient: Some(said.recipient.clone()),
    };
    let other = match case.look(&experiment) {
        None => return Answer::Ask(vec![experiment]),
        Some(Result::Talk(talk)) => talk.rcpt.first().map(|said| &said.reply),
        Some(_) => None,
    };
    let Some(other) = other.filter(|reply| reply.is_positive()) else { return Answer::No };
    let (recipient, sender, address) = (&said.recipient, &attempt.sender, tried.address);
    Finding::new(
        "own.rcpt_cache_poisoned",
        Actor::OurServer,
        format!(
            "{address} said \"{} {}\" at RCPT about the sender {sender}, not about {recipient}: the address is valid (accepted for \
             the null sender) and must not be put on an unknown-recipient cache.",
            said.reply.code,
            said.reply.text()
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::Useless)
    .evidence(format!("MAIL FROM:<{sender}> RCPT TO:<{recipient}> at {} [{address}]: {}", tried.host, said.reply))
    .evidence(format!("MAIL FROM:<> RCPT TO:<{recipient}> there: {other}"))
    .disproof(format!("{address} refuses {recipient} for other senders as well"))
    .fix(format!("Nothing here: {address} does not want mail from {sender}; its own log says why."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{reply, scene};
    use crate::diagnose::{Experiment, Result};
    use mail::{HostTry, RcptSaid, Time};

    #[test]
    fn a_refused_sender_leaves_the_recipient_valid() {
        let scene = scene(
            "to u@corp.test
             from x@spam.test
             local
             try backend.corp.test 127.0.0.20
               rcpt u@corp.test 550 Sender verify failed
               fail rcpt them 550 Sender verify failed",
        );
        let experiment = Experiment::Greet {
            address: "127.0.0.20:25".parse().unwrap(),
            host: "backend.corp.test".to_owned(),
            source: None,
            ehlo: None,
            tls: false,
            sender: Some(String::new()),
            recipient: Some("u@corp.test".to_owned()),
        };
        scene.asks(&experiment);
        let mut tried = HostTry::new("backend.corp.test", "127.0.0.20".parse().unwrap(), 25, Time(0));
        tried.rcpt.push(RcptSaid { recipient: "u@corp.test".to_owned(), reply: reply("250 2.1.5 ok") });
        scene.look(experiment, Result::Talk(Box::new(tried))).check(
            "own.rcpt_cache_poisoned: 127.0.0.20 said \"550 Sender verify failed\" at RCPT about the sender x@spam.test, not about \
             u@corp.test: the address is valid (accepted for the null sender) and must not be put on an unknown-recipient cache.",
        );
    }
}
