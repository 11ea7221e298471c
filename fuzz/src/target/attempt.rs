//! Attempts: packed and folded for the trail, they come back whole; so do events with a stranger's words in them.

use crate::octets::Octets;
use mail::{Attempt, HostTry, Reply, Said, Speaker, Time};
use serde_json::json;

/// Lines of a conversation, each behind an octet that says who spoke; a greeting with extensions among them.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let how = octets.octet();
    let started = Time(1_000);
    let mut tried = HostTry::new("mx.test", [192, 0, 2, 1].into(), 25, started);
    let mut at = 0;
    while !octets.0.is_empty() {
        let speaker = [Speaker::Client, Speaker::Server, Speaker::Note][usize::from(octets.octet() % 3)];
        let text = octets.line().to_owned();
        at += i64::from(how & 7) - 1;
        tried.transcript.push(Said { at: Time(started.ms() + at), speaker, text });
    }
    let lines: Vec<String> = tried.transcript.iter().map(|said| said.text.clone()).collect();
    if how & 8 != 0 {
        tried.capabilities = lines.iter().skip(1).take(3).cloned().collect();
        let lines: Vec<String> = lines.iter().take(1 + usize::from(how >> 4 & 3)).cloned().collect();
        tried.greeted = Some(Reply { code: 250, enhanced: None, lines });
    }
    if how & 128 != 0 {
        // As a transcript may hold it that is not split at every line end.
        tried.transcript.push(Said { at: started, speaker: Speaker::Note, text: lines.join("\n") });
    }
    let blank = json!({"number": 1, "started": 0, "ended": 0, "settings_version": 1, "rule": "", "dns": [], "dropped": [], "notes": [], "tries": []});
    let mut attempt: Attempt = serde_json::from_value(blank).unwrap();
    attempt.tries = vec![tried];
    let whole = serde_json::to_value(&attempt).unwrap();

    attempt.tries.iter_mut().for_each(HostTry::fold);
    let words = lines.first().cloned().unwrap_or_default();
    let mut fields = json!({"attempt": store::pack(&attempt), "status": words, "subject": words});
    store::unpack(&mut fields);
    assert_eq!(fields["attempt"], whole, "the attempt does not come back");
    assert_eq!(
        (&fields["status"], &fields["subject"]),
        (&json!(words), &json!(words)),
        "a stranger's words are unpacked"
    );
    // Strangers' words in the place of what is packed.
    let mut fields = json!({"attempt": words});
    store::unpack(&mut fields);
}
