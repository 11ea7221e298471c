//! Identity check: how this gateway looks from outside; the last result, a new one, and that of a proposed name.

use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::Typed;
use crate::part::{shell, time};
use crate::reader::settings::Looks;
use crate::right::{May, Right, rights};
use crate::{Account, Center, Document, Problem};
use axum::Form;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use decide::identity::{Line, State as Standing};
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/identity", get(page).post(check)).routes(routes!(api))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
struct Wanted {
    /// A name to look at as if it were the MTA host name; asks DNS, and needs the right to operate.
    #[serde(default)]
    #[param(required = false)]
    hostname: String,
}

async fn page(may: May<rights::Look>, State(center): State<Center>) -> Html<String> {
    show(&may.account, &center, center.reader.identity(), "")
}

/// A check asks DNS and other servers: only whoever may act does it.
async fn check(may: May<rights::Operate>, State(center): State<Center>, Form(wanted): Form<Wanted>) -> Response {
    let name = wanted.hostname.trim();
    match center.reader.identity_check(Some(name).filter(|name| !name.is_empty())).await {
        Ok(looks) => show(&may.account, &center, Some(looks), name).into_response(),
        Err(failed) => problem::page(&may.account, &failed),
    }
}

/// The last result of the identity check, null before the first; with `hostname`, one of a proposed name, made now.
#[utoipa::path(get, path = "/api/v1/identity", tag = "status", params(Wanted), responses((status = 200, body = Option<Looks>), (status = 403), (status = 422, body = Problem)))]
async fn api(
    may: May<rights::Look>,
    State(center): State<Center>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    if wanted.hostname.is_empty() {
        return Ok(Json(center.reader.identity()).into_response());
    }
    if !may.also(Right::Operate) {
        return Ok(problem::forbidden(&may.account, Right::Operate, true));
    }
    Ok(Json(center.reader.identity_check(Some(&wanted.hostname)).await?).into_response())
}

fn show(account: &Account, center: &Center, looks: Option<Looks>, name: &str) -> Html<String> {
    let may = account.role.may(Right::Operate);
    let body = html! {
        @match &looks {
            Some(looks) => {
                p.lead {
                    @if looks.proposed { "If " (looks.hostname) " were the MTA host name:" } @else { (looks.hostname) ", as others see it; checked " (time::ago(looks.at, center.reader.now())) "." }
                }
                (lines(&looks.lines))
            }
            None => { (shell::empty("Not checked yet: the first check is made shortly after the start.")) }
        }
        @if may {
            form.row action="/identity" method="post" {
                (form::text("text", Field { name: "hostname", label: "Host name", value: name, hint: "Empty: the one in force.", ..Field::default() }))
                button.primary type="submit" { "Check now" }
            }
            p.quiet { "It asks DNS and opens a few connections on which nothing is said; it takes up to 15 seconds." }
        }
        p { a href="/configuration" { "Change names and addresses" } }
    };
    shell::page(account, "/identity", "Identity check", body)
}

fn lines(lines: &[Line]) -> Markup {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by_key(|line| std::cmp::Reverse(line.state));
    let (fine, other): (Vec<&Line>, Vec<&Line>) =
        sorted.into_iter().partition(|line| line.state == Standing::Ok && line.fix.is_empty());
    html! {
        @for (place, line) in other.iter().enumerate() {
            @let (kind, word) = words(line.state);
            section class=(format!("finding {kind}")) {
                p.sentence { (line.sentence) }
                p.labels { (shell::badge(kind, word)) " " span.quiet { (line.about) } }
                @if !line.fix.is_empty() {
                    h3 { "What to do" }
                    @for (step, fix) in line.fix.iter().enumerate() {
                        div.fix {
                            p #(format!("fix-{place}-{step}")) { (with_code(fix)) }
                            button type="button" data-copy=(format!("#fix-{place}-{step}")) { "Copy" }
                        }
                    }
                }
                @if !line.evidence.is_empty() {
                    details open[line.state >= Standing::Warning] { summary { "Evidence" } ul.evidence { @for fact in &line.evidence { li { code { (fact) } } } } }
                }
            }
        }
        @if !fine.is_empty() {
            h2 { "In order" }
            ul.in-order { @for line in &fine { li {
                (shell::badge("good", "ok")) " " (line.sentence)
                @if !line.evidence.is_empty() { details { summary { "Evidence" } ul.evidence { @for fact in &line.evidence { li { code { (fact) } } } } } }
            } } }
        }
    }
}

/// What stands between backticks is something to type or to publish.
fn with_code(text: &str) -> Markup {
    html! { @for (place, piece) in text.split('`').enumerate() { @if place % 2 == 1 { code { (piece) } } @else { (piece) } } }
}

fn words(state: Standing) -> (&'static str, &'static str) {
    match state {
        Standing::Ok => ("good", "ok"),
        Standing::Note => ("info", "worth knowing"),
        Standing::NotChecked => ("plain", "not checked"),
        Standing::Warning => ("warn", "warning"),
        Standing::Problem => ("bad", "problem"),
    }
}

/// What another MTA host name would mean, for the preview.
pub(crate) async fn consequences(center: &Center, document: &Document, typed: &Typed) -> Markup {
    let name = typed.of("hostname").map(str::trim).filter(|name| !name.is_empty() && *name != document.hostname);
    let Some(name) = name else { return html! {} };
    html! {
        h2 { "How " (name) " would look from outside" }
        @match center.reader.identity_check(Some(name)).await {
            Ok(looks) => { (lines(&looks.lines)) }
            Err(failed) => { (shell::notice("warn", failed.what())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn each_line_has_its_state_evidence_and_a_record_to_copy() {
        let (code, page) = get("ReadOnly", "/identity").await;
        assert_eq!(code, 200);
        for part in ["has no PTR record", "problem", "data-copy=\"#fix-0-0\"", "PTR mail.example.test.", "&lt;b&gt;"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("Check now"), "{page}");
    }

    #[tokio::test]
    async fn tools_ask_for_the_last_look_and_who_operates_for_another_name() {
        let (code, text) = get("ReadOnly", "/api/v1/identity").await;
        assert!(code == 200 && text.contains("\"proposed\":false") && text.contains("reverse-name"), "{text}");
        let (code, text) = get("Operator", "/api/v1/identity?hostname=mx.example.test").await;
        assert!(code == 200 && text.contains("\"proposed\":true"), "{text}");
        assert_eq!(get("ReadOnly", "/api/v1/identity?hostname=mx.example.test").await.0, 403);
        let (_, openapi) = get("", "/api/v1/openapi.json").await;
        assert!(openapi.contains("\"/api/v1/identity\""), "{openapi}");
    }

    #[tokio::test]
    async fn a_new_host_name_is_looked_at_before_it_is_saved() {
        let world = Arc::<World>::default();
        let path = "/configuration/mail.example.test/smtp/advanced?tab=delivery";
        let (code, page) = post(&world, "Full", path, "version=2&hostname=mx.example.test").await;
        assert!(
            code == 200 && page.contains("How mx.example.test would look") && page.contains("has no PTR record"),
            "{page}"
        );
        let (_, page) = post(&world, "Operator", "/identity", "hostname=mx.example.test").await;
        assert!(page.contains("If mx.example.test were the MTA host name"), "{page}");
    }
}
