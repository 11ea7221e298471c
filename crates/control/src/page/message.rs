//! One message: its cause on top, then its whole way from the connection to the last attempt.

mod evidence;
mod way;

use crate::page::{Routes, problem};
use crate::part::{self, encode, finding, shell, time};
use crate::reader::{Inside, Message};
use crate::right::{May, rights};
use crate::{Center, Problem, Right};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mail::Time;
use maud::{Markup, html};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/message/{id}", get(page)).route("/message/{id}/text", get(text)).routes(routes!(api))
}

async fn read<R>(may: &May<R>, center: &Center, id: &str) -> Result<Message, Problem> {
    let message = center.reader.message(id.trim()).await?;
    Ok(if may.also(Right::Look) { message } else { message.for_help_desk() })
}

async fn page(may: May<rights::Find>, State(center): State<Center>, Path(id): Path<String>) -> Response {
    match read(&may, &center, &id).await {
        Ok(message) => {
            let body = body(&message, center.reader.now(), may.also(Right::Look), may.also(Right::Operate));
            shell::page(&may.account, "/audit", &format!("Message {}", message.row.id), body).into_response()
        }
        Err(problem) => problem::page(&may.account, &problem),
    }
}

/// The whole way as text.
async fn text(may: May<rights::Find>, State(center): State<Center>, Path(id): Path<String>) -> Response {
    match read(&may, &center, &id).await {
        Ok(message) => {
            let text = way::text_of(&message, &way::steps(&message));
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Err(problem) => problem::page(&may.account, &problem),
    }
}

/// What became of one Audit ID. The help desk gets no subject, transcript or header.
#[utoipa::path(get, path = "/api/v1/audit/{id}", tag = "audit", params(("id" = String, Path, description = "Audit ID")),
    responses((status = 200, body = Message), (status = 404, body = Problem)))]
async fn api(may: May<rights::Find>, State(center): State<Center>, Path(id): Path<String>) -> Response {
    match read(&may, &center, &id).await {
        Ok(message) => Json(message).into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn body(message: &Message, now: Time, sees_all: bool, operates: bool) -> Markup {
    let steps = way::steps(message);
    let row = &message.row;
    let found = way::findings(&steps);
    let evidence = evidence::text(message, &steps).filter(|_| sees_all);
    html! {
        @if let Some(first) = found.first() { (finding::card(first)) }
        @if found.len() > 1 { details { summary { (found.len() - 1) (if found.len() == 2 { " more finding" } else { " more findings" }) } @for other in &found[1..] { (finding::card(other)) } } }
        @if found.is_empty() && !row.finding.is_empty() { p.lead { (row.finding) } }
        dl.facts {
            dt { "Status" } dd { strong { (row.status) } }
            @if !row.trouble.is_empty() && row.trouble != row.status { dt { "Before that" } dd { (row.trouble) } }
            dt { "From" } dd { (address(&row.sender)) }
            @if !row.recipients.is_empty() { dt { "To" } dd { @for (at, recipient) in row.recipients.iter().take(50).enumerate() { @if at > 0 { ", " } (address(recipient)) } @if row.recipients.len() > 50 { " and " (row.recipients.len() - 50) " more" } } }
            @if !row.subject.is_empty() { dt { "Subject" } dd { (row.subject) } }
            @if !row.message_id.is_empty() { dt { "Message-ID" } dd { code { (row.message_id) } } }
            @if !row.client.is_empty() { dt { "Client" } dd { a href=(format!("/audit?client={}", encode(&row.client))) { (row.client) } @if !row.helo.is_empty() { " as " (row.helo) } @if !row.listener.is_empty() { ", " (row.listener) " listener" } } }
            @if row.size > 0 { dt { "Size" } dd { (way::size(row.size)) } }
            dt { "First seen" } dd { (time::exact(row.at)) " UTC, " (time::ago(row.at, now)) }
            @if let Some(related) = &row.related { dt { "Belongs to" } dd { a href=(format!("/message/{}", encode(related))) { code { (related) } } } }
        }
        @if !message.waiting.is_empty() { (waiting(message, now, operates)) }
        h2 { "Its way" }
        @if sees_all { p.quiet { "All times are UTC. → is what the client said, ← what the server said. Passwords and content are never kept." } }
        (way::list_of(&steps, now))
        @if let Some(inside) = &message.inside { (inside_of(inside)) }
        h2 { "To pass on" }
        div.row {
            a.button href=(format!("/message/{}/text", encode(&row.id))) { "As text" }
            a.button href=(format!("/api/v1/audit/{}", encode(&row.id))) { "As JSON" }
            button type="button" data-copy="#whole" { "Copy all as text" }
        }
        pre #whole hidden { (way::text_of(message, &steps)) }
        @if let Some(evidence) = evidence {
            details.table { summary { "Evidence for the other side's postmaster" }
                p.quiet { "Times, DNS answers and every line said, without settings, other mail or content. Read it before you send it." }
                p { button type="button" data-copy="#evidence" { "Copy" } }
                pre #evidence { (evidence) }
            }
        }
    }
}

fn address(address: &str) -> Markup {
    html! { @if address.is_empty() || address == "<>" { span.quiet { "<> (no sender: a report)" } } @else { a href=(format!("/audit?q={}", encode(address))) { (address) } } }
}

fn waiting(message: &Message, now: Time, operates: bool) -> Markup {
    html! {
        h2 { "In the queue" }
        div.scroll { table {
            thead { tr { th { "Domain" } th { "Recipients" } th { "State" } th { "Attempts" } th { "Next attempt" } th { "Expires" } th { "Last status" } } }
            tbody { @for delivery in &message.waiting { tr {
                th scope="row" { (delivery.domain) }
                td.break.wide { (delivery.recipients.join(", ")) }
                td { (shell::badge(if delivery.state == "queued" { "info" } else { "warn" }, &delivery.state)) }
                td.number { (delivery.attempts) }
                td { @if let Some(next) = delivery.next { (time::ago(next, now)) } @else { "when released" } }
                td { (time::ago(delivery.expires, now)) }
                td.break { (delivery.status) }
            } } }
        } }
        @if operates { (orders(message)) }
    }
}

/// What can be done with it; the same orders as in the queue, each shown before it is given.
fn orders(message: &Message) -> Markup {
    let held = message.waiting.iter().filter(|delivery| delivery.state == "held").count();
    html! {
        form.row action="/queue/orders" method="post" {
            input type="hidden" name="scope" value="all";
            input type="hidden" name="id" value=(message.row.id);
            @if held < message.waiting.len() { button.primary name="order" value="retry" { "Retry now" } button name="order" value="hold" { "Hold" } }
            @if held > 0 { button.primary name="order" value="release" { "Release" } }
            button.danger name="order" value="delete" { "Delete" }
            a href=(format!("/queue?id={}", encode(&message.row.id))) { "Reroute, or one recipient alone" }
        }
    }
}

/// Header and structure, as text only: what others wrote is never more than text here.
fn inside_of(inside: &Inside) -> Markup {
    html! {
        h2 { "The message itself" }
        details { summary { "Header" } pre { (inside.header) } }
        div.scroll { table {
            thead { tr { th { "Part" } th { "Charset" } th { "Encoding" } th { "File name" } th { "Size" } } }
            tbody { @for each in &inside.parts { tr {
                th scope="row" { @for _ in 0..each.depth { "– " } (each.kind) }
                td { (each.charset) } td { (each.encoding) } td.break { (each.name) } td.number { (part::bytes(each.size)) }
            } } }
        } }
        @if inside.is_cut { p.quiet { "There is more; only the beginning was read." } }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    const PATH: &str = "/message/01K8Z6T3WQM2V";

    #[tokio::test]
    async fn a_message_tells_its_way_with_its_cause_on_top() {
        let (code, page) = get("ReadOnly", PATH).await;
        assert_eq!(code, 200);
        let places: Vec<usize> = [
            "mx.there.test greylists",
            "Connection of",
            "250 2.0.0 hello there",
            "Taken from",
            "Attempt 1: put off",
            "RCPT TO:",
            "Evidence for the other side",
        ]
        .iter()
        .map(|text| page.find(text).unwrap_or_else(|| panic!("{text} is missing: {page}")))
        .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(page.contains("12:00:01.500"), "lines have times: {page}");
    }

    #[tokio::test]
    async fn what_others_wrote_is_text() {
        let (_, page) = get("Full", PATH).await;
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    }

    #[tokio::test]
    async fn the_help_desk_sees_where_it_is_and_no_more() {
        for path in [PATH.to_owned(), format!("{PATH}/text"), "/api/v1/audit/01K8Z6T3WQM2V".to_owned()] {
            let (code, page) = get("HelpDesk", &path).await;
            assert_eq!(code, 200, "{path}");
            assert!(page.contains("bob@there.test") && page.contains("451 4.7.1"), "{path}: {page}");
            for secret in ["alert(1)", "hello there", "X-Secret", "Evidence for"] {
                assert!(!page.contains(secret), "{secret} in {path}: {page}");
            }
        }
    }

    #[tokio::test]
    async fn evidence_has_the_lines_and_not_our_facts() {
        let (_, page) = get("Full", PATH).await;
        let evidence = page.split("id=\"evidence\"").nth(1).unwrap().split("</pre>").next().unwrap();
        for text in
            ["Audit ID", "there.test MX", "← 451 4.7.1 come back later", "What we conclude", "AUTH PLAIN (left out)"]
        {
            assert!(evidence.contains(text), "{text}: {evidence}");
        }
        for ours in ["alert(1)", "settings version", "listener", "jane"] {
            assert!(!evidence.contains(ours), "{ours}: {evidence}");
        }
    }

    #[tokio::test]
    async fn an_unknown_id_says_so() {
        let (code, page) = get("Full", "/message/%3Cb%3Enothing").await;
        assert!(code == 404 && page.contains("nothing is known of &lt;b&gt;nothing"), "{page}");
        assert_eq!(get("", PATH).await.0, 303);
    }
}
