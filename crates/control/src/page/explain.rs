//! Explain: any status, reply, log line or finding's id, and the reference of all that the gateway says itself.

use crate::page::Routes;
use crate::part::form::{self, Field};
use crate::part::{self, markdown, shell};
use crate::right::{May, rights};
use crate::{Center, Explained, FindingPage, Problem, ReplyPage, Right, StatusPage};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Html;
use axum::routing::get;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/explain", get(page)).routes(routes!(api)).routes(routes!(reference_api))
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct Asked {
    /// A status, a reply, a log line or a finding's id.
    q: String,
}

/// What is known of a status, a reply, a log line or a finding's id.
#[utoipa::path(get, path = "/api/v1/explain", tag = "explain", params(Asked), responses((status = 200, body = Explained), (status = 404, body = Problem)))]
async fn api(
    _: May<rights::Find>,
    State(center): State<Center>,
    Query(asked): Query<Asked>,
) -> Result<Json<Explained>, Problem> {
    center.reader.explain(&asked.q).map(Json)
}

/// All that can be looked up.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
struct Reference {
    findings: Vec<FindingPage>,
    statuses: Vec<StatusPage>,
}

/// Every finding and every status of the gateway's own making.
#[utoipa::path(get, path = "/api/v1/reference", tag = "explain", responses((status = 200, body = Reference)))]
async fn reference_api(_: May<rights::Find>) -> Json<Reference> {
    Json(reference(""))
}

/// Entries that hold all words.
fn reference(words: &str) -> Reference {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let holds = |texts: &[&str]| {
        let text = texts.join(" ").to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let findings = decide::diagnose::rules::all().map(|rule| finding(rule.cause, rule.manual));
    let findings = findings.filter(|page| holds(&[&page.cause, &page.title, &page.manual])).collect();
    let statuses = mail::status::TABLE.iter().map(|kind| status(kind));
    let fits =
        |page: &StatusPage| holds(&[&page.id, &page.status, &page.stage, &page.meaning, &page.causes, &page.fix]);
    Reference { findings, statuses: statuses.filter(fits).collect() }
}

fn finding(cause: &str, manual: &str) -> FindingPage {
    let (title, rest) = manual.trim().split_once('\n').unwrap_or((manual.trim(), ""));
    let lines: Vec<&str> = rest.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    FindingPage { cause: cause.to_owned(), title: title.trim().to_owned(), manual: lines.join("\n").trim().to_owned() }
}

fn status(kind: &mail::status::Kind) -> StatusPage {
    StatusPage {
        id: kind.id.to_owned(),
        status: kind.with("").to_string(),
        stage: kind.stage.to_string(),
        meaning: kind.meaning.to_owned(),
        causes: kind.causes.to_owned(),
        fix: kind.fix.to_owned(),
    }
}

async fn page(may: May<rights::Find>, State(center): State<Center>, Query(asked): Query<Asked>) -> Html<String> {
    let q = asked.q.trim();
    let explained = (!q.is_empty()).then(|| center.reader.explain(q));
    let hint = "An SMTP status or reply, a line of a log, a finding's id, or words to look for in the reference.";
    let body = html! {
        form.row action="/explain" method="get" {
            (form::text("search", Field { name: "q", label: "What is to be explained", value: q, hint, ..Field::default() }))
            button.primary type="submit" { "Explain" }
        }
        @match &explained {
            Some(Ok(found)) => { (answer(found)) @if may.also(Right::Operate) { (looks(found)) } }
            Some(Err(_)) => (matching(q)),
            None => (list(&reference(""), "All findings", "All statuses of the gateway's own making")),
        }
    };
    shell::page(&may.account, "/explain", "Explain a status", body)
}

fn answer(found: &Explained) -> Markup {
    html! {
        @if let Some(id) = &found.audit_id { p { "It speaks of " a href=(format!("/message/{id}")) { code { (id) } } "." } }
        @if let Some(page) = &found.finding { (finding_page(page)) }
        @if let Some(page) = &found.status { (status_page(page)) }
        @if let Some(reply) = &found.reply { (reply_page(reply)) }
        p { a href="/explain" { "All findings and statuses" } }
    }
}

/// Where the facts are looked at, for who may.
fn looks(found: &Explained) -> Markup {
    html! {
        @if found.reply.is_some() {
            p.quiet { "The words alone prove nothing. " a href=(found.audit_id.as_ref().map_or_else(|| "/diagnose".to_owned(), |id| format!("/diagnose?q={id}"))) { "Diagnose" } " looks at the facts: an address, or an Audit ID." }
        }
    }
}

fn finding_page(page: &FindingPage) -> Markup {
    html! {
        section.card {
            h2.title { (page.title) }
            p { code { (page.cause) } " · " a href=(format!("/queue?by=message&cause={}", part::encode(&page.cause))) { "messages that wait for it" } }
            (markdown::blocks(&page.manual))
        }
    }
}

fn status_page(page: &StatusPage) -> Markup {
    html! {
        section.card {
            h2.title { code { (page.status) } }
            dl.facts {
                dt { "Said by" } dd { "this gateway (" code { (page.id) } ")" }
                dt { "Stage" } dd { (page.stage) }
                dt { "Meaning" } dd { (page.meaning) }
                dt { "Causes" } dd { (page.causes) }
                dt { "What to do" } dd { (page.fix) }
            }
        }
    }
}

fn reply_page(reply: &ReplyPage) -> Markup {
    html! {
        section.card {
            h2.title { "The reply " (reply.code) " " (reply.enhanced) }
            dl.facts {
                dt { "Code" } dd { (reply.code) ": " (reply.class) }
                dt { "Enhanced" } dd { (reply.enhanced) @if !reply.meaning.is_empty() { ": " (reply.meaning) } }
                dt { "About" } dd { @if reply.about.is_empty() { "not known from its words" } @else { (reply.about.join(", ")) } }
                @if !reply.text.is_empty() { dt { "Words" } dd { (reply.text) } }
            }
        }
    }
}

fn matching(q: &str) -> Markup {
    let found = reference(q);
    html! {
        @if found.findings.is_empty() && found.statuses.is_empty() {
            (shell::empty("This is neither a finding's id nor a status, holds no SMTP reply such as 450 4.7.1, and no page holds its words."))
            p { a href="/explain" { "All findings and statuses" } }
        } @else { (list(&found, "Findings that speak of it", "Statuses that speak of it")) }
    }
}

fn list(found: &Reference, findings: &str, statuses: &str) -> Markup {
    let href = |q: &str| format!("/explain?q={}", part::encode(q));
    html! {
        @if !found.findings.is_empty() {
            h2 { (findings) " (" (found.findings.len()) ")" }
            div.scroll { table { tbody { @for page in &found.findings { tr { td { a href=(href(&page.cause)) { code { (page.cause) } } } td { (page.title) } } } } } }
        }
        @if !found.statuses.is_empty() {
            h2 { (statuses) " (" (found.statuses.len()) ")" }
            div.scroll { table { tbody { @for page in &found.statuses { tr { td { a href=(href(&page.id)) { code { (page.status) } } } td { (page.stage) } td { (page.meaning) } } } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn the_reference_lists_every_finding_and_status() {
        let (code, page) = get("HelpDesk", "/explain").await;
        assert_eq!(code, 200);
        for rule in decide::diagnose::rules::all() {
            assert!(page.contains(&format!("<code>{}</code>", rule.cause)), "{}", rule.cause);
        }
        for kind in mail::status::TABLE {
            assert!(page.contains(&format!("/explain?q={}\"", kind.id)), "{}", kind.id);
        }
    }

    #[tokio::test]
    async fn a_finding_has_a_page_and_a_reply_is_taken_apart() {
        let (_, page) = get("HelpDesk", "/explain?q=dns.mx_target_missing").await;
        assert!(
            page.contains("MX target does not exist") && page.contains("<code>mx.example.org.example.org</code>"),
            "{page}"
        );
        let (_, page) = get("Operator", "/explain?q=450+4.7.1+%3Cb%3E").await;
        for part in ["450: temporary", "delivery not authorized", "/message/01K8Z6T3WQM2V", "/diagnose", "&lt;b&gt;"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>"), "{page}");
        let (_, page) = get("HelpDesk", "/explain?q=450+4.7.1").await;
        assert!(!page.contains("href=\"/diagnose"), "the help desk makes no connections: {page}");
    }

    #[tokio::test]
    async fn words_are_looked_for_in_the_reference() {
        let (_, page) = get("HelpDesk", "/explain?q=final+dot").await;
        assert!(page.contains("dns.mx_target_missing") && page.contains("Findings that speak of it"), "{page}");
        let (_, page) = get("HelpDesk", "/explain?q=xyzzy+plugh").await;
        assert!(page.contains("holds no SMTP reply"), "{page}");
        assert_eq!(get("HelpDesk", "/api/v1/explain?q=xyzzy").await.0, 404);
        let (code, text) = get("HelpDesk", "/api/v1/reference").await;
        assert!(code == 200 && text.contains("\"cause\":\"dns.mx_target_missing\""), "{code}");
    }
}
