//! Bounces that people paste (`gatepost diagnose --bounce`), and what strangers' words come to when all rules read them.

use crate::octets::readable;
use decide::Settings;
use decide::diagnose::{Around, Bounce, Case, What, diagnose};
use mail::{Attempt, Failure, HostTry, Identity, Reply, Said, Speaker, Stage, Time};
use serde_json::json;
use std::sync::LazyLock;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let text = "hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"10.0.0.1\"]\n[[domain]]\nname = \"shop.test\"\nnext_hops = \"mx\"\n";
    Settings::read(text).unwrap()
});

/// A bounce; and the same words as a host's replies.
pub(crate) fn check(input: &[u8]) {
    let text = readable(input);
    let bounce = Bounce::read(text, &SETTINGS);
    assert!(text.starts_with(&bounce.text) && !bounce.domains.is_empty() && bounce.domains.len() <= 3);
    let _ = Bounce::is_qmail_cname(text);
    explained(What::Bounce(&bounce));
    let lines: Vec<&str> = text.lines().collect();
    if let Ok(reply) = Reply::parse(&lines) {
        explained(What::Attempt(&attempt(&reply, text.len())));
    }
}

fn explained(what: What<'_>) {
    let (identity, around) = (Identity::default(), Around::default());
    let case = Case {
        what,
        identity: &identity,
        settings: &SETTINGS,
        content: None,
        around: &around,
        looks: &[],
        now: Time(9_000_000),
    };
    let diagnosis = diagnose(&case);
    assert_eq!(diagnose(&case), diagnosis);
    for finding in &diagnosis.findings {
        assert!(decide::diagnose::manual(&finding.cause).is_some(), "{} has no page", finding.cause);
        let json = serde_json::to_string(finding).unwrap();
        assert_eq!(&serde_json::from_str::<mail::Finding>(&json).unwrap(), finding);
    }
}

/// A delivery in which a host says this, at a stage that depends on its length.
fn attempt(reply: &Reply, salt: usize) -> Attempt {
    let mut tried = HostTry::new("mx.test", [192, 0, 2, 1].into(), 25, Time(1_000));
    tried.banner = Some(if salt.is_multiple_of(5) { reply.clone() } else { Reply::plain(220, "mx.test ESMTP") });
    tried.greeted = Some(if salt % 5 == 1 { reply.clone() } else { Reply::plain(250, "mx.test") });
    tried.capabilities = reply.lines.clone();
    tried.transcript =
        reply.lines.iter().map(|line| Said { at: Time(1_100), speaker: Speaker::Server, text: line.clone() }).collect();
    let stage = [Stage::Banner, Stage::Ehlo, Stage::Mail, Stage::Data, Stage::FinalReply][salt % 5];
    match stage {
        Stage::Mail => tried.mail_reply = Some(reply.clone()),
        Stage::Data => tried.data_reply = Some(reply.clone()),
        Stage::FinalReply => tried.final_reply = Some(reply.clone()),
        _ => {}
    }
    if !reply.is_positive() {
        tried.failure = Some(Failure::remote(stage, "mx.test", reply));
    }
    let blank = json!({"number": 1, "started": 0, "ended": 2000, "settings_version": 1, "rule": "mx", "dns": [], "dropped": [], "notes": [], "tries": []});
    let mut attempt: Attempt = serde_json::from_value(blank).unwrap();
    attempt.tries = vec![tried];
    attempt
}
