//! Our late greeting breaks the peer's callout.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Call, Case, rule};
use mail::dns::{Data, Kind};
use mail::{Actor, Confidence, End, Finding, Retry, Stage, Time};

rule! {
    /// Our greeting comes too late for a callout
    ///
    /// Before it accepts a message, the host calls back here to see whether the sender exists. It waits only some seconds for
    /// the greeting, and this gateway holds its greeting longer, so the host hangs up and defers: it got no answer, which is not a
    /// negative one. Port 25 is open and the sender exists.
    ///
    /// Known by a connection from the same host, while its answer to our RCPT was awaited, that it closed before our greeting and
    /// without a command.
    ///
    /// Lower listener.inbound.greeting_delay below ten seconds, or to nothing.
    "own.banner_delay_breaks_callout", find
}

/// The peer's clock of the callout and ours of the delivery are one, but its answer may leave a moment before its close.
const SLACK_MS: i64 = 2_000;

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let about = |said: &Said<'_>| {
        matches!(said.stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::FinalReply)
            && (said.is_about(Topic::Callout) || said.gives_no_reason())
    };
    let found = said::refusals(case).into_iter().filter(about).find_map(|said| {
        let until = attempt.ended.ms() + SLACK_MS;
        let call = case
            .around
            .calls
            .iter()
            .rev()
            .find(|call| is_callout(case, &said, call, said.tried.started, Time(until)))?;
        Some((said, call))
    });
    let Some((said, call)) = found else { return Answer::No };
    let waited = call.ended.since(call.started);
    let delay = case.settings.inbound.greeting_delay;
    let held = if delay.is_zero() {
        "this gateway had not sent its greeting by then".to_owned()
    } else {
        format!("this gateway holds its greeting for {}", said::seconds(delay.as_secs()))
    };
    let says_so = said.is_about(Topic::Callout);
    let explains = delay > waited;
    let confidence = match (says_so, explains) {
        (true, true) => Confidence::Proven,
        (true, false) | (false, true) => Confidence::Likely,
        (false, false) => return Answer::No,
    };
    let sender = said::sender(&attempt.sender);
    Finding::new(
        "own.banner_delay_breaks_callout",
        Actor::OurSettings,
        format!(
            "{} called back to verify {sender} and hung up after {}, because {held}: our own banner delay causes the {}.",
            said.place(),
            seconds(waited),
            said.code(),
        ),
    )
    .severity(said::severity(case, &said))
    .confidence(confidence)
    .retry(Retry::AfterFix)
    .evidence(said.quote())
    .evidence(format!(
        "connection from {} at {}, closed by it after {}: no greeting sent, no command received",
        call.client,
        call.started.rfc5322(),
        seconds(waited)
    ))
    .evidence(format!("listener.inbound.greeting_delay = {}", seconds(delay)))
    .disproof("the same answer while the greeting goes out at once")
    .fix("Set listener.inbound.greeting_delay = \"0s\", or to a few seconds.")
    .into()
}

/// A connection from the same host, in that time, which it left before our greeting without a word.
fn is_callout(case: &Case<'_>, said: &Said<'_>, call: &Call, from: Time, until: Time) -> bool {
    let is_theirs = call.client == said.tried.address
        || case.addresses(&said.tried.host).contains(&call.client)
        || is_mx(case, call);
    let was_early = call.greeted.is_none_or(|greeted| greeted > call.ended);
    let is_silent = call.commands == 0 && call.refused.is_none() && matches!(call.end, End::Closed | End::Broken(_));
    is_theirs && was_early && is_silent && call.started >= from && call.started <= until
}

/// Another mail host of the recipient's domain may be the one that calls.
fn is_mx(case: &Case<'_>, call: &Call) -> bool {
    let Some(mx) = case.attempt().and_then(|attempt| case.dns(&attempt.domain, Kind::Mx)) else { return false };
    mx.data().any(|data| matches!(data, Data::Mx { host, .. } if case.addresses(host).contains(&call.client)))
}

fn seconds(duration: std::time::Duration) -> String {
    if duration.as_secs() < 2 && !duration.is_zero() {
        format!("{:.2} s", duration.as_secs_f32())
    } else {
        said::seconds(duration.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::Call;
    use crate::diagnose::testing::{Scene, scene};
    use mail::{End, Time};

    fn called(greeted_after_ms: Option<i64>, client: &str, settings: &str) -> Scene {
        let mut scene = scene(&format!(
            "to a@dest.test
             from me@corp.test
             try mx.dest.test 127.0.0.11
               mail 250 ok
               rcpt a@dest.test 451 Could not complete sender verify callout
               fail rcpt them 451 Could not complete sender verify callout{settings}"
        ));
        let at = scene.attempt.started.ms();
        scene.attempt.ended = Time(at + 11_000);
        scene.around.calls.push(Call {
            started: Time(at + 100),
            ended: Time(at + 10_100),
            client: client.parse().unwrap(),
            helo: String::new(),
            sender_domain: String::new(),
            commands: 0,
            greeted: greeted_after_ms.map(|ms| Time(at + ms)),
            refused: None,
            taken: 0,
            end: End::Closed,
            whole_lines: true,
            authenticated: false,
        });
        scene
    }

    const DELAY: &str = "\nsettings\n[listener.inbound]\ngreeting_delay = \"30s\"";

    #[test]
    fn the_two_connections_are_one_story() {
        called(None, "127.0.0.11", DELAY).check(
            "own.banner_delay_breaks_callout: mx.dest.test (127.0.0.11) called back to verify me@corp.test and hung up after \
             10 s, because this gateway holds its greeting for 30 s: our own banner delay causes the 451.",
        );
    }

    #[test]
    fn a_call_that_was_greeted_or_came_from_elsewhere_is_no_proof() {
        called(Some(200), "127.0.0.11", "").check("peer.deferred");
        called(None, "127.0.0.99", DELAY).check("peer.deferred");
    }
}
