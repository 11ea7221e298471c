//! Which certificate each listener shows, for the Control Center; and those that came by it.

mod keep;

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::view::View;
use async_trait::async_trait;
use control::{Account, CertificateReader, Examined, Kept, Note, Problem, Sent, Shown};
use decide::settings::Tls;
use mail::{Certificate, Distrust, Listener, Time};
use std::path::PathBuf;

/// An authority needs some days to issue the next one, and people to notice.
const SOON_DAYS: u64 = 21;

#[async_trait]
impl CertificateReader for View {
    async fn certificates(&self) -> Vec<Shown> {
        let core = self.0.clone();
        // Files are read, and their chains verified.
        tokio::task::spawn_blocking(move || all(&core)).await.unwrap_or_default()
    }

    async fn certificate_examine(&self, sent: Sent) -> Result<Examined, Problem> {
        self.on_disk(move |core| Ok(keep::examine(core, &sent))).await
    }

    async fn certificate_keep(&self, by: &Account, sent: Sent) -> Result<Kept, Problem> {
        let kept = self.on_disk(move |core| keep::keep(core, &sent)).await?;
        self.did(by, "uploaded a certificate", &kept.name).await;
        Ok(kept)
    }

    async fn certificates_kept(&self) -> Vec<Kept> {
        self.on_disk(|core| Ok(keep::kept(core))).await.unwrap_or_default()
    }

    async fn certificate_forget(&self, by: &Account, name: &str) -> Result<(), Problem> {
        let asked = name.to_owned();
        self.on_disk(move |core| keep::forget(core, &asked)).await?;
        self.did(by, "removed a certificate", name).await;
        Ok(())
    }

    async fn certificate_request(&self, by: &Account, names: Vec<String>) -> Result<Kept, Problem> {
        let kept = self.on_disk(move |core| keep::request(core, &names)).await?;
        self.did(by, "requested a certificate", &kept.name).await;
        Ok(kept)
    }
}

impl View {
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let core = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&core)).await;
        done.unwrap_or_else(|error| Err(Problem::Failed { what: error.to_string() }))
    }

    async fn did(&self, by: &Account, what: &str, name: &str) {
        let fields = serde_json::json!({ "certificate": name });
        crate::accounts::act(&self.0, &crate::accounts::who(by), &by.from, what, fields).await;
    }
}

const LISTENERS: [Listener; 3] = [Listener::Inbound, Listener::Outbound, Listener::Submission];

pub(crate) fn all(core: &Core) -> Vec<Shown> {
    let in_force = core.in_force();
    let mut all = Vec::new();
    for listener in LISTENERS {
        let Some(door) = in_force.settings.door(listener).filter(|door| door.tls != Tls::Off) else { continue };
        let tls = if door.tls == Tls::Offer { "offer" } else { "require" };
        let verifies = listener == Listener::Submission;
        let name = format!("listener.{}", listener.name());
        all.push(shown(core, &in_force, name, tls, (&door.certificate, &door.key), verifies));
    }
    if let Some(control) = core.accounts.control.get().filter(|control| control.1) {
        let files = (&control.0.certificate, &control.0.key);
        all.push(shown(core, &in_force, "control".to_owned(), "require", files, true));
    }
    all
}

fn shown(
    core: &Core,
    in_force: &InForce,
    listener: String,
    tls: &str,
    (certificate, key): (&Option<PathBuf>, &Option<PathBuf>),
    verifies: bool,
) -> Shown {
    let hostname = in_force.hostname.as_str();
    let file = certificate.as_ref().map(|file| file.display().to_string());
    let mut shown = Shown { listener, tls: tls.to_owned(), file, certificate: None, chain: 0, notes: Vec::new() };
    let chain =
        core.certificates.of(certificate, key, hostname).map(|_| core.certificates.chain(certificate, hostname));
    let chain = match chain {
        Ok(chain) => chain,
        Err(error) => {
            shown.notes.push(note("bad", format!("{error}. TLS is not spoken here until that is mended.")));
            return shown;
        }
    };
    if let Some(error) = core.certificates.trouble(certificate, key) {
        shown.notes.push(note(
            "bad",
            format!("The file changed and is no good, so the certificate before it stays in use: {error}"),
        ));
    }
    let Ok(name) = rustls::pki_types::ServerName::try_from(hostname.to_owned()) else { return shown };
    let facts = core.trust.judge(None, &chain, &name, now());
    shown.notes.extend(notes(&facts, certificate.is_none(), &shown.listener, verifies, hostname, now()));
    shown.chain = chain.len();
    shown.certificate = Some(facts);
    shown
}

fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

/// What is wrong with it, worst first. `verifies`: people's programs come here, which verify; mail servers mostly do not.
fn notes(facts: &Certificate, made_here: bool, listener: &str, verifies: bool, hostname: &str, now: Time) -> Vec<Note> {
    if made_here {
        let what = "The gateway made this certificate itself.";
        return vec![match verifies {
            true => note(
                "warn",
                format!(
                    "{what} Programs of people warn of it or refuse it: set {listener}.certificate and {listener}.key."
                ),
            ),
            false => note(
                "info",
                format!(
                    "{what} Mail servers that only want encryption take it; those that verify (MTA-STS, DANE) do not: set {listener}.certificate and {listener}.key."
                ),
            ),
        }];
    }
    let serious = if verifies { "bad" } else { "warn" };
    let words = |problem: &Distrust| match problem {
        Distrust::Ended => note("bad", "It has ended: put a new one in its place.".to_owned()),
        Distrust::NotYet => note("bad", "It is not valid yet: is this machine's clock right?".to_owned()),
        Distrust::OtherName => {
            note(serious, format!("It is for {}, not for this gateway's name {hostname}.", facts.names.join(", ")))
        }
        Distrust::Untrusted(_) if facts.self_signed => {
            note(serious, "It is self-signed: nobody but you vouches for it.".to_owned())
        }
        Distrust::Untrusted(why) => note(
            serious,
            format!(
                "No chain leads from it to an authority that this machine knows ({why}). Mostly the intermediate certificate is missing: append it to the file."
            ),
        ),
        Distrust::Weak(why) => note(serious, format!("It is too weak: {why}.")),
    };
    let mut all: Vec<Note> = facts.problems.iter().map(words).collect();
    if let Some(end) = facts.not_after.filter(|end| *end > now) {
        let days = end.since(now).as_secs() / 86_400;
        if days < SOON_DAYS {
            all.push(note("warn", format!("It ends in {days} days: get the next one now.")));
        }
    }
    all.sort_by_key(|note| note.kind != "bad");
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(problems: Vec<Distrust>, days: i64, verifies: bool, expected: &[(&str, &str)]) {
        let facts = Certificate {
            names: vec!["other.test".to_owned()],
            not_after: Some(Time(days * 86_400_000)),
            problems,
            ..Certificate::default()
        };
        let notes = notes(&facts, false, "listener.submission", verifies, "gw.test", Time(0));
        assert_eq!(notes.len(), expected.len(), "{notes:?}");
        for (note, (kind, part)) in notes.iter().zip(expected) {
            assert!(note.kind == *kind && note.text.contains(part), "{note:?}");
        }
    }

    #[test]
    fn what_speaks_against_a_certificate_is_said_with_what_to_do() {
        check(vec![], 90, true, &[]);
        check(vec![], 5, true, &[("warn", "ends in 5 days")]);
        check(vec![Distrust::Ended], -5, true, &[("bad", "has ended")]);
        check(vec![Distrust::OtherName], 90, true, &[("bad", "other.test, not for this gateway's name gw.test")]);
        check(vec![Distrust::OtherName], 90, false, &[("warn", "other.test")]);
        let unknown = Distrust::Untrusted("unknown issuer".to_owned());
        check(vec![unknown, Distrust::Ended], -1, false, &[("bad", "has ended"), ("warn", "intermediate")]);
    }
}
