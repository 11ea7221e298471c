//! Certificates: what each listener shows, until when, for which names, and what is wrong with it.

use crate::Center;
use crate::page::Routes;
use crate::part::{shell, time};
use crate::reader::Shown;
use crate::right::{May, rights};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mail::{Certificate, Time};
use maud::{Markup, html};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/certificates", get(page)).routes(routes!(list))
}

/// Which certificate each listener shows, and what is wrong with it.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "administration", responses((status = 200, body = Vec<Shown>)))]
async fn list(_: May<rights::Look>, State(center): State<Center>) -> Json<Vec<Shown>> {
    Json(center.reader.certificates().await)
}

async fn page(may: May<rights::Look>, State(center): State<Center>) -> Response {
    let all = center.reader.certificates().await;
    shell::page(&may.account, "/certificates", "Certificates", body(&all, center.reader.now())).into_response()
}

fn body(all: &[Shown], now: Time) -> Markup {
    html! {
        p { "The files are named in the settings (" code { "listener.NAME.certificate" } ", " code { "listener.NAME.key" } "); the Control Center's own in " code { "gatepost.toml" } ". A file that changes is read again at the next connection." }
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
    use crate::reader::{CertificateReader, Note, Shown};
    use crate::testing::{World, get};
    use async_trait::async_trait;
    use mail::{Certificate, Time};

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
    }

    #[tokio::test]
    async fn what_is_wrong_stands_above_the_facts() {
        let (code, page) = get("ReadOnly", "/certificates").await;
        assert!(code == 200 && page.contains("it ends in 5 days") && page.contains("1 intermediate"), "{page}");
        assert!(page.contains("the file cannot be read") && !page.contains("<b>mail"), "{page}");
        assert_eq!(get("HelpDesk", "/certificates").await.0, 403);
    }
}
