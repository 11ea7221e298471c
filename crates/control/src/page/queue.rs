//! Message queues: what waits, by cause, by domain, by message; and orders on it, each shown before it is given.

mod act;
mod messages;

use crate::page::{Routes, problem};
use crate::part::{self, finding, shell, time};
use crate::right::{May, rights};
use crate::{Account, Causes, Center, Incident, Problem, QueueSort, QueuedDomain, Right, Selected};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mail::Time;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/queue", get(page))
        .routes(routes!(messages::api))
        .routes(routes!(causes_api))
        .routes(routes!(domains_api))
        .merge(act::routes())
}

/// Rows of a list of domains.
const DOMAINS: usize = 100;
/// Incidents of a page: each is a card with evidence and advice.
const CARDS: usize = 20;

/// What an address asks for: a tab, a filter, an order of rows. An empty field is not given.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub(crate) struct Asked {
    /// `cause`, `domain` or `message`.
    by: String,
    /// A part of the sender's address; `<>` finds bounces.
    sender: String,
    /// A part of a recipient's address.
    recipient: String,
    /// A recipient domain.
    domain: String,
    /// A finding's cause id; `none`: deliveries without a finding.
    cause: String,
    /// What the finding is about, as an incident says it.
    object: String,
    /// A part of status, sender, recipients or lane.
    text: String,
    /// `yes` or `no`.
    held: String,
    /// Older than: `90m`, `4h`, `2d`.
    older: String,
    /// A part of the next hop, `host[:port]`.
    hop: String,
    /// An Audit ID.
    id: String,
    /// `oldest`, `newest`, `next`, `expiry`, `attempts` or `largest`.
    sort: String,
    /// `next` of the page before.
    after: String,
    /// Rows of a page, at most 500.
    rows: String,
    /// Domains to pass over.
    skip: String,
}

impl Asked {
    /// The fields of the filter, as they stand in addresses and forms.
    fn fields(&self) -> [(&'static str, &str); 10] {
        [
            ("sender", &self.sender),
            ("recipient", &self.recipient),
            ("domain", &self.domain),
            ("cause", &self.cause),
            ("object", &self.object),
            ("text", &self.text),
            ("held", &self.held),
            ("older", &self.older),
            ("hop", &self.hop),
            ("id", &self.id),
        ]
    }

    fn is_filtered(&self) -> bool {
        self.fields().iter().any(|(_, value)| !value.trim().is_empty())
    }

    fn selected(&self) -> Result<Selected, Problem> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let held = match self.held.as_str() {
            "" => None,
            "yes" => Some(true),
            "no" => Some(false),
            other => return Err(wrong("held", format!("{other:?} is neither yes nor no"))),
        };
        Ok(Selected {
            ids: given(&self.id).into_iter().collect(),
            sender: given(&self.sender),
            recipient: given(&self.recipient),
            domain: given(&self.domain),
            text: given(&self.text),
            held,
            older_than_ms: given(&self.older).map(|text| span(&text)).transpose()?,
            next_hop: given(&self.hop),
            cause: given(&self.cause),
            object: given(&self.object),
        })
    }

    fn sort(&self) -> QueueSort {
        serde_json::from_value(self.sort.as_str().into()).unwrap_or_default()
    }

    /// This address with some fields changed; without a cursor, which belongs to the old ones.
    fn href(&self, changes: &[(&str, &str)]) -> String {
        let mut all: Vec<(&str, &str)> = vec![("by", &self.by)];
        all.extend(self.fields());
        all.extend([("sort", self.sort.as_str()), ("rows", self.rows.as_str())]);
        for (name, value) in changes {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        let pairs = all.iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", part::encode(value))).collect();
        if pairs.is_empty() { "/queue".to_owned() } else { format!("/queue?{}", pairs.join("&")) }
    }
}

fn wrong(field: &str, what: String) -> Problem {
    Problem::Field { field: field.to_owned(), what }
}

/// `90m`, `4h`, `2d` in milliseconds.
fn span(text: &str) -> Result<u64, Problem> {
    let no_time = || wrong("older", format!("{text:?} is not a time such as 90m, 4h or 2d"));
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let ms = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(no_time()),
    };
    number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(ms)).ok_or_else(no_time)
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Query(asked): Query<Asked>) -> Response {
    let tab = match asked.by.as_str() {
        "" if asked.is_filtered() => "message",
        "" => "cause",
        other => other,
    };
    let body = match tab {
        "domain" => domains(&center, &asked).await,
        "message" => messages::body(&may, &center, &asked).await,
        _ => causes(&center, &asked, may.also(Right::Operate)).await,
    };
    match body {
        Ok(body) => shell::page(&may.account, "/queue", "Message queues", html! { (tabs(tab)) (body) }).into_response(),
        Err(error) => problem::page(&may.account, &error),
    }
}

fn tabs(here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Groups" {
            @for (tab, words) in [("cause", "By cause"), ("domain", "By destination"), ("message", "Messages")] {
                a href=(format!("/queue?by={tab}")) aria-current=[(tab == here).then_some("page")] { (words) }
            }
        }
    }
}

async fn causes(center: &Center, asked: &Asked, acts: bool) -> Result<Markup, Problem> {
    let Causes { incidents, next, open: all, explained } = read_causes(center, asked, CARDS).await?;
    let (queued, now) = (center.reader.health().queued, center.reader.now());
    let (open, past): (Vec<_>, Vec<_>) = incidents.iter().partition(|incident| incident.open);
    Ok(html! {
        p.quiet {
            (part::count(queued)) " " (deliveries(queued)) " in the queue"
            @if queued > explained { "; " a href="/queue?by=message&cause=none&sort=newest" { (part::count(queued - explained)) " without a finding" } ": new, on their way, or waiting for a destination that is down" }
            "."
        }
        @if open.is_empty() { (shell::empty(if queued == 0 { "Nothing waits." } else { "Nothing waits for a known cause." })) }
        @for incident in &open { (card(incident, now, acts)) }
        p.row {
            @if !asked.after.is_empty() { a.button href="/queue?by=cause" { "First page" } }
            @if let Some(next) = &next { a.button.primary href=(format!("/queue?by=cause&after={}", part::encode(next))) { "Next page" } }
            @if next.is_some() || !asked.after.is_empty() { span.quiet { (part::count(open.len() as u64)) " of " (part::count(all)) " causes, those with the most mail first" } }
        }
        @if !past.is_empty() { h2 { "Refused or returned within a day; nothing waits" } }
        @for incident in &past { details.past {
            summary { (finding::summary(&incident.finding)) " " span.quiet { (times(incident.count)) @if let Some(last) = incident.last { ", last " (time::ago(last, now)) } } }
            (card(incident, now, false))
        } }
    })
}

async fn read_causes(center: &Center, asked: &Asked, rows: usize) -> Result<Causes, Problem> {
    let limit = if asked.rows.is_empty() { rows } else { asked.rows.parse().unwrap_or(rows) };
    center.reader.causes(limit, Some(asked.after.as_str()).filter(|after| !after.is_empty())).await
}

/// Where exactly the messages of an incident are.
pub(super) fn messages_of(incident: &Incident) -> String {
    let object =
        if incident.object.is_empty() { String::new() } else { format!("&object={}", part::encode(&incident.object)) };
    format!("/queue?by=message&cause={}{object}", part::encode(&incident.cause))
}

/// A group of mail with one cause; it leads to its messages, and to a retry of all of them.
fn card(incident: &Incident, now: Time, acts: bool) -> Markup {
    let messages = messages_of(incident);
    html! {
        article.incident {
            p.labels {
                @if incident.open { a.amount href=(messages) { (part::count(incident.count)) " " (deliveries(incident.count)) } }
                @else { span.amount { (times(incident.count)) } }
                @if !incident.domains.is_empty() { span { "to " @for (at, domain) in incident.domains.iter().enumerate() { @if at > 0 { ", " } a href=(format!("/destinations/{}", part::encode(domain))) { (domain) } } @if incident.domains.len() >= 10 { " and others" } } }
                @if let Some(since) = incident.since { span.quiet { (if incident.open { "oldest" } else { "first" }) " " (time::ago(since, now)) } }
                @if let Some(last) = incident.last { span.quiet { "last " (time::ago(last, now)) } }
                @if let Some(next) = incident.next_attempt { span.quiet { "next attempt " (time::ago(next, now)) } }
                @if let Some(expiry) = incident.first_expiry { span.quiet { "first expiry " (time::ago(expiry, now)) } }
            }
            (finding::short(&incident.finding))
            @if !incident.changed.is_empty() { details { summary { "What changed when it began" } ul { @for line in &incident.changed { li { (line) } } } } }
            @if acts { form.row action="/queue/orders" method="post" {
                input type="hidden" name="scope" value="all";
                input type="hidden" name="cause" value=(incident.cause);
                input type="hidden" name="object" value=(incident.object);
                button name="order" value="retry" { "Retry " (if incident.count == 1 { "it" } else { "them all" }) " …" }
                a href=(messages) { "The messages, with all orders" }
            } }
            @if !incident.example.is_empty() { p.quiet { "For example " a href=(format!("/message/{}", incident.example)) { (incident.example) } @if !incident.recipients.is_empty() { ", to " (incident.recipients[0]) } } }
        }
    }
}

async fn domains(center: &Center, asked: &Asked) -> Result<Markup, Problem> {
    let skip: usize = asked.skip.parse().unwrap_or(0);
    let (rows, all) = center.reader.queued_domains(skip, DOMAINS).await?;
    let now = center.reader.now();
    Ok(html! {
        @if rows.is_empty() { (shell::empty("Nothing waits.")) }
        @else {
            div.scroll { table {
                thead { tr { th { "Domain" } th.number { "Waiting" } th { "Next attempt" } th { "State" } } }
                tbody { @for row in &rows { (domain_row(row, now)) } }
            } }
            p.row {
                @if skip > 0 { a.button href=(format!("/queue?by=domain&skip={}", skip.saturating_sub(DOMAINS))) { "Back" } }
                @if (skip + rows.len()) < usize::try_from(all).unwrap_or(usize::MAX) { a.button href=(format!("/queue?by=domain&skip={}", skip + DOMAINS)) { "More" } }
                span.quiet { (part::count(all)) " in all" }
            }
        }
    })
}

fn domain_row(row: &QueuedDomain, now: Time) -> Markup {
    let name = part::encode(&row.domain);
    html! {
        tr {
            th scope="row" { a href=(format!("/destinations/{name}")) { (row.domain) } @if let Some(hop) = &row.rerouted { " " span.quiet { "rerouted to " (hop) } } }
            td.number { a href=(format!("/queue?by=message&domain={name}{}", row.rerouted.as_ref().map(|hop| format!("&hop={}", part::encode(hop))).unwrap_or_default())) { (part::count(row.count)) } }
            td { @match row.next_attempt { Some(next) => (time::ago(next, now)), None => span.quiet { "held" } } }
            td.break {
                @if row.paused { (shell::badge("warn", "paused")) " by the settings (queue.paused)" }
                @if let Some(down) = &row.down { (shell::badge("bad", "down")) " since " (time::ago(down.since, now)) ", tried again " (time::ago(down.until, now)) ": " (down.last_failure) }
            }
        }
    }
}

fn times(count: u64) -> String {
    format!("{} {}", part::count(count), if count == 1 { "time" } else { "times" })
}

pub(super) fn deliveries(count: u64) -> &'static str {
    if count == 1 { "delivery" } else { "deliveries" }
}

/// Waiting mail grouped by cause, a page at a time; with the first page, what was refused within a day.
#[utoipa::path(get, path = "/api/v1/queue/causes", tag = "queue", params(("after" = Option<String>, Query, description = "`next` of the page before"), ("rows" = Option<usize>, Query, description = "Open incidents of a page, at most 100")), responses((status = 200, body = Causes), (status = 422, body = Problem)))]
async fn causes_api(
    _: May<rights::Look>,
    State(center): State<Center>,
    Query(asked): Query<Asked>,
) -> Result<Json<Causes>, Problem> {
    read_causes(&center, &asked, DOMAINS).await.map(Json)
}

/// Domains with mail in the queue, the most first.
#[utoipa::path(get, path = "/api/v1/queue/domains", tag = "queue", params(("skip" = Option<usize>, Query, description = "Domains to pass over")), responses((status = 200, body = QueuedDomains)))]
async fn domains_api(
    _: May<rights::Look>,
    State(center): State<Center>,
    Query(asked): Query<Asked>,
) -> Result<Json<QueuedDomains>, Problem> {
    let skip = if asked.skip.is_empty() {
        0
    } else {
        asked.skip.parse().map_err(|_| wrong("skip", "not a number".to_owned()))?
    };
    let (domains, all) = center.reader.queued_domains(skip, DOMAINS).await?;
    Ok(Json(QueuedDomains { domains, all }))
}

/// A piece of the list of domains.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct QueuedDomains {
    domains: Vec<QueuedDomain>,
    /// How many there are.
    all: u64,
}

/// Whether this account is the one that began an order: what one prepared another does not give.
fn is_by(account: &Account, by: &str) -> bool {
    account.name == by
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn the_queue_opens_with_its_causes_and_each_leads_to_its_messages() {
        let (code, page) = get("ReadOnly", "/queue").await;
        assert_eq!(code, 200);
        for part in [
            "/queue?by=message&amp;cause=dns.mx_target_missing",
            "1,200 deliveries",
            "Publish an address for mx.typo.test",
            "settings: version 6 → 7",
            "/destinations/typo.test",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script>alert"), "{page}");
    }

    #[tokio::test]
    async fn causes_come_a_page_at_a_time() {
        let (_, page) = get("ReadOnly", "/queue").await;
        for part in [
            "/queue?by=cause&amp;after=1200%2Fdns.mx_target_missing%2Fmx.typo.test",
            "1 of 2 causes",
            "/queue?by=message&amp;cause=none&amp;sort=newest\">27 without a finding",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let (_, page) = get("ReadOnly", "/queue?by=cause&after=1200%2Fdns.mx_target_missing%2Fmx.typo.test").await;
        assert!(page.contains("7 deliveries") && page.contains("First page") && !page.contains("Next page"), "{page}");
        let (code, text) = get("ReadOnly", "/api/v1/queue/causes?rows=1").await;
        assert!(code == 200 && text.contains("\"next\":\"1200/") && text.contains("\"open\":2"), "{text}");
    }

    #[tokio::test]
    async fn domains_lead_to_their_messages() {
        let (_, page) = get("ReadOnly", "/queue?by=domain").await;
        assert!(
            page.contains("/queue?by=message&amp;domain=typo.test") && page.contains("connection timed out"),
            "{page}"
        );
        let (code, text) = get("ReadOnly", "/api/v1/queue/domains").await;
        assert!(code == 200 && text.contains("\"all\":1"), "{text}");
    }

    #[test]
    fn an_age_is_written_with_its_unit() {
        assert_eq!(super::span("90m").ok(), Some(5_400_000));
        for wrong in ["", "4", "h", "4 weeks", "é", "99999999999999999999d"] {
            assert!(super::span(wrong).is_err(), "{wrong}");
        }
    }
}
