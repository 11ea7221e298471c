//! Certificates: what each listener shows, until when, for which names, and what is wrong with it.

mod keep;

use crate::page::Routes;
use crate::part::{shell, time};
use crate::reader::Shown;
use crate::right::{May, Right, rights};
use crate::{Account, Center, Note, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use mail::{Certificate, Time};
use maud::{Markup, html};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/certificates", get(page)).routes(routes!(list)).merge(keep::routes())
}

/// Which certificate each listener shows, and what is wrong with it.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "administration", responses((status = 200, body = Vec<Shown>)))]
async fn list(_: May<rights::Look>, State(center): State<Center>) -> Json<Vec<Shown>> {
    Json(center.reader.certificates().await)
}

async fn page(may: May<rights::Look>, State(center): State<Center>) -> Response {
    show(&center, &may.account, Found::default()).await
}

/// What came of what somebody did on the page.
#[derive(Default)]
struct Found {
    good: String,
    wrong: Option<Problem>,
    notes: Vec<Note>,
    /// The chain as it was sent. A key is never shown, not even to who sent it.
    chain: String,
    names: String,
}

async fn show(center: &Center, account: &Account, found: Found) -> Response {
    let all = center.reader.certificates().await;
    let kept = center.reader.certificates_kept().await;
    let is_wrong = found.wrong.is_some() || found.notes.iter().any(|note| note.kind == "bad");
    let code = if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let may = account.role.may(Right::Administer);
    let body = html! {
        @if !found.good.is_empty() { (shell::notice("good", &found.good)) }
        @if let Some(wrong) = &found.wrong { (shell::notice("bad", wrong.what())) }
        @for note in &found.notes { (shell::notice(&note.kind, &note.text)) }
        (body(&all, center.reader.now()))
        (keep::table(&kept, &all, may, center.reader.settings().version, center.reader.now()))
        @if may { (keep::forms(&found, &all)) }
    };
    shell::with(code, shell::page(account, "/certificates", "Certificates", body))
}

fn body(all: &[Shown], now: Time) -> Markup {
    html! {
        p { "The files are named in the settings (" code { "listener.NAME.certificate" } ", " code { "listener.NAME.key" } "); the Control Center's own in " code { "gatepost.toml" } "; or they are uploaded below. A file that changes is read again at the next connection." }
        @for one in all { (shown(one, now)) }
    }
}

fn shown(one: &Shown, now: Time) -> Markup {
    html! {
        section.card.certificate {
            h2 { (one.listener) " " (shell::badge("plain", &format!("TLS: {}", one.tls))) }
            @for note in &one.notes { (shell::notice(&note.kind, &note.text)) }
            @if let Some(certificate) = &one.certificate { (facts(one, certificate, now)) }
        }
    }
}

fn facts(one: &Shown, certificate: &Certificate, now: Time) -> Markup {
    html! {
        dl.facts {
            dt { "Names" } dd { (certificate.names.join(", ")) }
            dt { "Valid until" } dd { @if one.file.is_none() { "the gateway stops" } @else { @match certificate.not_after { Some(end) => { (time::exact(end)) " (" (time::ago(end, now)) ")" }, None => "unknown" } } }
            dt { "Issued by" } dd { @if certificate.self_signed { "itself" } @else { (certificate.issuer) } }
            dt { "Key" } dd { (certificate.key) ", signed with " (certificate.signature) }
            dt { "In the file" } dd { @match one.chain { 0 | 1 => "no intermediate certificates", more => { (more - 1) " intermediate" @if more > 2 { "s" } } } }
            dt { "SHA-256" } dd { code { (certificate.fingerprint) } }
            dt { "File" } dd { @match &one.file { Some(file) => code { (file) }, None => "none: made by the gateway at its start" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::reader::{CertificateReader, Examined, Kept, Note, Sent, Shown};
    use crate::testing::{World, get};
    use crate::{Account, Problem};
    use async_trait::async_trait;
    use mail::{Certificate, Time};

    fn kept(name: &str, request: Option<String>) -> Kept {
        Kept {
            name: name.to_owned(),
            certificate: None,
            chain_file: format!("/data/certificates/{name}/chain.pem"),
            key_file: format!("/data/certificates/{name}/key.pem"),
            used_by: vec![],
            request,
        }
    }

    #[async_trait]
    impl CertificateReader for World {
        async fn certificates(&self) -> Vec<Shown> {
            let certificate = Certificate {
                names: vec!["<b>mail.example.test".to_owned()],
                not_after: Some(Time(crate::testing::NOW.ms() + 86_400_000 * 5)),
                issuer: "CN=Some Authority".to_owned(),
                fingerprint: "ab12".to_owned(),
                ..Certificate::default()
            };
            let note = Note { kind: "warn".to_owned(), text: "it ends in 5 days".to_owned() };
            let shown = |listener: &str, certificate, notes| Shown {
                listener: listener.to_owned(),
                tls: "offer".to_owned(),
                file: Some("/etc/gatepost/mail.pem".to_owned()),
                certificate,
                chain: 2,
                notes,
            };
            let bad = Note { kind: "bad".to_owned(), text: "the file cannot be read".to_owned() };
            vec![
                shown("listener.inbound", Some(certificate), vec![note]),
                shown("listener.submission", None, vec![bad]),
            ]
        }

        /// Good is what holds the word.
        async fn certificate_examine(&self, sent: Sent) -> Result<Examined, Problem> {
            let usable = sent.chain.contains("good");
            let text = if usable { "It ends in 5 days" } else { "The key does not belong to it" };
            let note = Note { kind: if usable { "warn" } else { "bad" }.to_owned(), text: text.to_owned() };
            Ok(Examined { usable, certificate: None, chain: 1, notes: vec![note] })
        }

        async fn certificate_keep(&self, by: &Account, sent: Sent) -> Result<Kept, Problem> {
            assert!(sent.chain.contains("good") && sent.key == "secret", "only what was found good is kept");
            self.certificates_kept.lock().unwrap().push(format!("{} keeps", by.name));
            Ok(kept("mail-ab12", None))
        }

        async fn certificates_kept(&self) -> Vec<Kept> {
            let used = Kept { used_by: vec!["listener.inbound".to_owned()], ..kept("old-cd34", None) };
            vec![kept("mail-ab12", None), used, kept("request-mail-ef56", Some("REQUEST <b>".to_owned()))]
        }

        async fn certificate_forget(&self, _: &Account, name: &str) -> Result<(), Problem> {
            self.certificates_kept.lock().unwrap().push(format!("without {name}"));
            Ok(())
        }

        async fn certificate_request(&self, _: &Account, names: Vec<String>) -> Result<Kept, Problem> {
            self.certificates_kept.lock().unwrap().push(format!("asks for {}", names.join(" ")));
            Ok(kept("request-mail-ef56", Some("REQUEST <b>".to_owned())))
        }
    }

    #[tokio::test]
    async fn what_is_wrong_stands_above_the_facts() {
        let (code, page) = get("ReadOnly", "/certificates").await;
        assert!(code == 200 && page.contains("it ends in 5 days") && page.contains("1 intermediate"), "{page}");
        assert!(page.contains("the file cannot be read") && !page.contains("<b>mail"), "{page}");
        assert_eq!(get("HelpDesk", "/certificates").await.0, 403);
    }
}
