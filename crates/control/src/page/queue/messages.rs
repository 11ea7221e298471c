//! The queue message by message: a filter, rows, the next page, and the bar of orders.

use super::{Asked, deliveries};
use crate::part::form::{self, Field};
use crate::part::{self, finding, shell, time};
use crate::right::{May, rights};
use crate::{Center, PageOf, Problem, QueuePage, QueueSort, Queued, Right};
use axum::Json;
use axum::extract::{Query, State};
use mail::Time;
use maud::{Markup, html};

/// Rows of a page.
const ROWS: usize = 50;
/// Recipients shown of one delivery.
const RECIPIENTS: usize = 3;

/// Messages in the queue that match, a page at a time.
#[utoipa::path(get, path = "/api/v1/queue/messages", tag = "queue", params(Asked), responses((status = 200, body = QueuePage), (status = 422, body = Problem)))]
pub(super) async fn api(
    _: May<rights::Look>,
    State(center): State<Center>,
    Query(asked): Query<Asked>,
) -> Result<Json<QueuePage>, Problem> {
    read(&center, &asked).await.map(Json)
}

async fn read(center: &Center, asked: &Asked) -> Result<QueuePage, Problem> {
    let limit = if asked.rows.is_empty() { ROWS } else { asked.rows.parse().unwrap_or(ROWS) };
    let after = Some(asked.after.clone()).filter(|after| !after.is_empty());
    center.reader.queue(&asked.selected()?, &PageOf { sort: asked.sort(), limit, after }).await
}

pub(super) async fn body(may: &May<rights::Look>, center: &Center, asked: &Asked) -> Result<Markup, Problem> {
    let page = read(center, asked).await?;
    let now = center.reader.now();
    let acts = may.also(Right::Operate);
    let table = html! {
        div.scroll { table.rows {
            thead { tr {
                @if acts { th.all { input type="checkbox" data-all aria-label="Tick all of this page"; } }
                th { "Message" } th { "Why it is here" } th.number { "Attempts" } th { "Next attempt" } th { "Age" } th { "Expires" } th.number { "Size" }
            } }
            tbody { @for row in &page.messages { (self::row(row, acts, now)) } }
        } }
    };
    Ok(html! {
        (filter(asked))
        @if page.messages.is_empty() { (shell::empty(&nothing(&page, asked))) }
        @else if acts {
            form action="/queue/orders" method="post" {
                @for (name, value) in asked.fields() { @if !value.is_empty() { input type="hidden" name=(name) value=(value); } }
                (bar(asked))
                (table)
            }
        } @else { (table) }
        p.row {
            @if !asked.after.is_empty() { a.button href=(asked.href(&[])) { "First page" } }
            @if let Some(next) = &page.next {
                a.button.primary href=(asked.href(&[("after", next)])) { (if page.messages.is_empty() { "Look further" } else { "Next page" }) }
            }
            span.quiet {
                (part::count(page.messages.len() as u64)) " shown; "
                @if asked.is_filtered() { (part::count(page.looked)) " looked at; " }
                (part::count(page.queued)) " " (deliveries(page.queued)) " in the queue"
            }
        }
    })
}

fn nothing(page: &QueuePage, asked: &Asked) -> String {
    let left_out = match asked.sort() {
        QueueSort::Attempts => " By attempts, what was never tried is left out.",
        QueueSort::Largest => " By size, messages up to 16 KiB are left out.",
        _ => "",
    };
    match (&page.next, asked.is_filtered()) {
        (Some(_), _) => format!("Nothing that matches among the {} looked at so far.", part::count(page.looked)),
        (None, true) => format!("Nothing in the queue matches.{left_out}"),
        (None, false) => format!("Nothing waits.{left_out}"),
    }
}

fn filter(asked: &Asked) -> Markup {
    let field = |name, label, value| Field { name, label, value, ..Field::default() };
    html! {
        form.filter action="/queue" method="get" {
            input type="hidden" name="by" value="message";
            @if !asked.object.is_empty() { input type="hidden" name="object" value=(asked.object); }
            div.row {
                (form::text("search", field("sender", "Sender", &asked.sender)))
                (form::text("search", field("recipient", "Recipient", &asked.recipient)))
                (form::text("search", field("domain", "Domain", &asked.domain)))
                (form::text("search", field("text", "Status or any text", &asked.text)))
                (form::text("search", field("cause", "Cause", &asked.cause)))
                (form::text("search", field("hop", "Next hop", &asked.hop)))
                (form::text("search", field("id", "Audit ID", &asked.id)))
                (form::select(&[("", "any"), ("no", "queued"), ("yes", "held")], field("held", "State", &asked.held)))
                (form::select(&[("", "any"), ("15m", "15 min"), ("1h", "1 h"), ("4h", "4 h"), ("1d", "1 day"), ("2d", "2 days"), ("4d", "4 days")], field("older", "Older than", &asked.older)))
                (form::select(&[("", "oldest first"), ("newest", "newest first"), ("next", "next attempt first"), ("expiry", "expiring first"), ("attempts", "most attempts first"), ("largest", "largest first")], field("sort", "Order", &asked.sort)))
                div.buttons {
                    button.primary type="submit" { "Show" }
                    @if asked.is_filtered() { a.button href="/queue?by=message" { "Show all" } }
                }
            }
        }
    }
}

/// What can be done with the ticked rows or with all that the filter finds.
fn bar(asked: &Asked) -> Markup {
    let all = if asked.is_filtered() { "all that match the filter" } else { "the whole queue" };
    html! {
        fieldset.bar {
            legend { "Orders" }
            div.row {
                (form::select(&[("ticked", "the ticked rows"), ("all", all)], Field { name: "scope", label: "Concerning", value: "ticked", ..Field::default() }))
                button name="order" value="retry" { "Retry now" }
                button name="order" value="release" { "Release" }
                button.danger name="order" value="delete" { "Delete" }
            }
            div.row {
                (form::text("text", Field { name: "why", label: "Reason", ..Field::default() }))
                button name="order" value="hold" { "Hold" }
                (form::text("text", Field { name: "to_hop", label: "Next hop, host[:port]", ..Field::default() }))
                button name="order" value="reroute" { "Reroute" }
                button name="order" value="back" { "Back to the settings' route" }
            }
            p.hint { "What an order would do, and to how many, is shown before anything is done." }
        }
    }
}

fn row(row: &Queued, acts: bool, now: Time) -> Markup {
    html! {
        tr {
            @if acts { td { input type="checkbox" name="key" value=(row.key) aria-label=(format!("Tick {} to {}", row.id, row.domain)); } }
            td.break.wide { (message(row)) }
            td.break.wide { (why(row, now)) }
            td.number data-label="Attempts" { (row.attempts) }
            td data-label="Next attempt" { (next(row, now)) }
            td data-label="Age" { (time::ago(row.received, now)) }
            td data-label="Expires" { (time::ago(row.expires, now)) }
            td.number data-label="Size" { (part::bytes(row.size)) }
        }
    }
}

/// Which message it is.
pub(super) fn message(row: &Queued) -> Markup {
    html! {
        a href=(format!("/message/{}", row.id)) { code { (row.id) } }
        br; (if row.sender.is_empty() { "<> (a report)" } else { row.sender.as_str() }) " → "
        @for (at, recipient) in row.recipients.iter().take(RECIPIENTS).enumerate() { @if at > 0 { ", " } (recipient) }
        @if row.recipients.len() > RECIPIENTS { " and " (row.recipients.len() - RECIPIENTS) " more" }
        @if let Some(hop) = &row.rerouted { br; span.quiet { "rerouted to " (hop) } }
    }
}

/// The finding, and the status that other systems show.
fn why(row: &Queued, now: Time) -> Markup {
    html! {
        @match row.state.as_str() { "held" => (shell::badge("warn", "held")), "set-aside" => (shell::badge("bad", "set aside")), _ => "" }
        @if let Some(found) = &row.finding { p { (finding::line(found)) " " a href=(format!("/explain?q={}", part::encode(&found.cause))) { (found.cause) } } }
        @if !row.status.is_empty() { p.quiet { a.status href=(format!("/explain?q={}", part::encode(&row.status))) { (row.status) } } }
        @if let Some(until) = row.down_until { p { (shell::badge("bad", "destination down")) " tried again " (time::ago(until, now)) } }
        @if row.status.is_empty() && row.finding.is_none() && row.state == "queued" { span.quiet { "not tried yet" } }
    }
}

fn next(row: &Queued, now: Time) -> Markup {
    match (row.next_attempt, row.down_until) {
        (None, _) => html! { span.quiet { "not until released" } },
        (Some(next), Some(down)) => time::ago(next.max(down), now),
        (Some(next), None) => time::ago(next, now),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn rows_show_status_finding_and_times_and_the_next_page() {
        let (code, page) = get("Operator", "/queue?by=message&domain=typo.test&sort=next").await;
        assert_eq!(code, 200);
        for part in [
            "01K8Z6T3WQM2V",
            "450 4.4.3",
            "/explain?q=dns.mx_target_missing",
            "Next page",
            "after=5.01K8Z6T3WQM2V.0",
            "&lt;img src=x",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(
            page.contains("value=\"01K8Z6T3WQM2V:0\"") && page.contains("name=\"domain\" value=\"typo.test\""),
            "{page}"
        );
        assert!(!page.contains("<img src=x"), "{page}");
    }

    #[tokio::test]
    async fn who_may_only_look_sees_no_orders() {
        let (_, page) = get("ReadOnly", "/queue?by=message").await;
        assert!(
            page.contains("01K8Z6T3WQM2V") && !page.contains("name=\"order\"") && !page.contains("name=\"key\""),
            "{page}"
        );
    }

    #[tokio::test]
    async fn a_field_that_is_no_good_is_named() {
        let (code, page) = get("ReadOnly", "/queue?older=soon").await;
        assert!(code == 422 && page.contains("such as 90m, 4h or 2d"), "{page}");
        let (code, text) = get("ReadOnly", "/api/v1/queue/messages?older=soon").await;
        assert!(code == 422 && text.contains("\"field\":\"older\""), "{text}");
    }
}
