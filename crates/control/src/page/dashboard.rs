//! Dashboard: how mail is doing, at a glance; every number leads to the messages behind it.

use crate::page::{Routes, problem};
use crate::part::chart::{self, Series};
use crate::part::{self, encode, finding, live, shell, time};
use crate::reader::{COUNTED, Causes, Health, Incident, Overview, Span};
use crate::right::{May, rights};
use crate::{Center, Problem, Report, Scanner};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mail::Time;
use maud::{Markup, html};
use std::time::Duration;
use tokio::sync::mpsc::channel;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/", get(page)).route("/dashboard/live", get(stream)).routes(routes!(api))
}

/// Incidents and causes shown; the queue's page has all.
const INCIDENTS: usize = 5;
const CAUSES: usize = 8;
const ALERTS: usize = 3;
/// How often an open page hears news, and how long one stream lives: the browser begins anew, and whether it may is asked again.
const EVERY: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 5000 });
const LIFE: u32 = if cfg!(test) { 2 } else { 120 };

#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Asked {
    /// `hour`, `day` or `month`.
    span: String,
}

impl Asked {
    /// What cannot be read is the day: nobody types this.
    fn span(&self) -> Span {
        Span::ALL.into_iter().find(|span| span.word() == self.span).unwrap_or_default()
    }
}

/// All that is on the page.
struct Seen {
    span: Span,
    health: Health,
    overview: Overview,
    causes: Causes,
    /// The other Scanners as they were known last, with this one; None: there are no others.
    scanners: Option<(Report, Vec<Scanner>)>,
}

async fn look(center: &Center, span: Span) -> Result<Seen, Problem> {
    let overview = center.reader.overview(span).await?;
    let others = center.scanners.scanners();
    let scanners = if others.is_empty() { None } else { Some((center.scanners.own().await?, others)) };
    let causes = center.reader.causes(INCIDENTS, None).await?;
    Ok(Seen { span, health: center.reader.health(), overview, causes, scanners })
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Query(asked): Query<Asked>) -> Response {
    match look(&center, asked.span()).await {
        Ok(seen) => shell::page(&may.account, "/", "Dashboard", body(&seen)).into_response(),
        Err(problem) => problem::page(&may.account, &problem),
    }
}

/// The figures of the dashboard.
#[utoipa::path(get, path = "/api/v1/overview", tag = "status", params(Asked), responses((status = 200, body = Overview)))]
async fn api(_: May<rights::Look>, State(center): State<Center>, Query(asked): Query<Asked>) -> Response {
    match center.reader.overview(asked.span()).await {
        Ok(overview) => Json(overview).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// The same parts of the page again and again, while it stands open.
async fn stream(may: May<rights::Look>, State(center): State<Center>, Query(asked): Query<Asked>) -> Response {
    let (news, events) = channel(4);
    let reading = center.clone();
    tokio::spawn(async move {
        for _ in 0..LIFE {
            tokio::time::sleep(EVERY).await;
            let Ok(seen) = look(&reading, asked.span()).await else { return };
            for (id, html) in parts(&seen) {
                if news.send(live::fragment(id, html)).await.is_err() {
                    return;
                }
            }
        }
    });
    live::events(may, &center, events)
}

fn body(seen: &Seen) -> Markup {
    let [alerts, figures, scanners, charts, troubles] = parts(seen).map(|(_, html)| html);
    html! {
        div #alerts { (alerts) }
        nav.tabs aria-label="Time" { @for span in Span::ALL {
            a href=(format!("/?span={}", span.word())) aria-current=[(span == seen.span).then_some("true")] { (span.words()) }
        } }
        div data-live=(format!("/dashboard/live?span={}", seen.span.word())) data-events="alerts figures scanners charts troubles" #live {
            div #figures { (figures) }
            div #scanners { (scanners) }
            div #troubles { (troubles) }
            div #charts { (charts) }
        }
    }
}

/// The parts that change, each with the id of its place.
fn parts(seen: &Seen) -> [(&'static str, Markup); 5] {
    [
        ("alerts", alerts(seen)),
        ("figures", figures(seen)),
        ("scanners", scanners(seen)),
        ("charts", charts(seen)),
        ("troubles", troubles(seen)),
    ]
}

/// All Scanners; of one alone the cards say everything.
fn scanners(seen: &Seen) -> Markup {
    html! {
        @if let Some((own, others)) = &seen.scanners {
            h2 { a href="/scanners" { "Scanners" } }
            (super::scanners::table(own, others, seen.overview.at))
        }
    }
}

fn alerts(seen: &Seen) -> Markup {
    let alerts = &seen.health.alerts;
    html! {
        @if !alerts.is_empty() {
            div.notice.bad role="alert" {
                ul { @for alert in alerts.iter().take(ALERTS) { li {
                    @match alert.strip_prefix("identity: ") { Some(what) => { (what) " " a href="/identity" { "What to publish" } } None => (alert) }
                } } }
                @if alerts.len() > ALERTS { p { a href="/alerts" { "All " (alerts.len()) } } }
            }
        }
    }
}

/// Where the messages behind a number are.
fn behind(overview: &Overview, outcome: &str, listener: &str) -> String {
    let listener = if listener.is_empty() { String::new() } else { format!("&listener={listener}") };
    format!("/audit?outcome={outcome}{listener}&{}", within(overview.from, overview.until))
}

fn within(from: Time, until: Time) -> String {
    format!("from={}&until={}", encode(&from.rfc3339()), encode(&until.rfc3339()))
}

fn number(overview: &Overview, outcome: &str, listener: Option<&str>) -> Markup {
    html! { a href=(behind(overview, outcome, listener.unwrap_or_default())) { (part::count(overview.total(outcome, listener))) } }
}

fn figures(seen: &Seen) -> Markup {
    let (overview, health) = (&seen.overview, &seen.health);
    let state = if health.accepting { ("good", "accepts mail") } else { ("bad", "does not accept mail") };
    let figure = |title: &str, outcome: &str, note: Markup| html! { div.card { h2 { (title) } p.big { (number(overview, outcome, None)) } p.quiet { (note) } } };
    html! {
        p.quiet { "As of " (time::ago(overview.at, overview.at)) " (" (time::exact(overview.at)) " UTC); the last " (seen.span.words()) "."
            @if overview.behind > 0 { " " (part::count(overview.behind)) " batches of changes are not counted yet." } }
        section.cards {
            (figure("Taken in", "accepted", html! { (number(overview, "accepted", Some("inbound"))) " inbound, " (number(overview, "accepted", Some("outbound"))) " outbound, " (number(overview, "accepted", Some("submission"))) " from users; " (part::bytes(overview.octets("accepted"))) }))
            (figure("Delivered", "delivered", html! { (part::bytes(overview.octets("delivered"))) }))
            (figure("Refused", "refused", html! { "connections, recipients, messages" }))
            (figure("Put off", "deferred", html! { "attempts that will be repeated" }))
            (figure("Returned", "bounced", html! { "to their senders" }))
            div.card { h2 { "Queue" } p.big { a href="/queue" { (part::count(health.queued)) } }
                p.quiet { a href="/queue?held=yes" { (part::count(health.held)) " held" }
                    @if let Some(oldest) = &overview.oldest { "; oldest " a href=(format!("/message/{}", encode(&oldest.id))) { (time::ago(oldest.received, overview.at)) } } } }
            div.card { h2 { "Disk" } p.big { (part::bytes(health.disk_free)) } p.quiet { "free; " (part::bytes(health.disk_reserve)) " kept in reserve" } }
            div.card { h2 { "Scanner" } p { strong { (health.hostname) } } p { (shell::badge(state.0, state.1)) " " (health.mode) } p.quiet { "version " (health.version) ", " a href="/settings" { "settings version " (health.settings_version) } }
                @for scanner in overview.scanners.iter().filter(|scanner| scanner.state.starts_with("not enrolled")) { p.quiet { (scanner.name) ": " a href="/scanners" { (scanner.state) } } } }
            div.card { h2 { "Identity" } @match &overview.identity {
                Some(identity) => { p { (shell::badge(if identity.is_well { "good" } else { "bad" }, if identity.is_well { "well" } else { "not well" })) } p.quiet { a href="/identity" { (identity.words) } } }
                None => p.quiet { a href="/identity" { "not checked yet" } }
            } }
        }
    }
}

/// Which of [`COUNTED`] a layer of a chart is, its words and its colour.
type Layer = (usize, &'static str, &'static str);

fn charts(seen: &Seen) -> Markup {
    html! {
        div.charts {
            (chart_of(seen, "What came", &[(0, "taken in", "s1"), (1, "refused", "bad")]))
            (chart_of(seen, "What went", &[(2, "delivered", "good"), (3, "put off", "warn"), (4, "returned", "bad")]))
        }
    }
}

fn chart_of(seen: &Seen, title: &str, layers: &[Layer]) -> Markup {
    let columns = &seen.overview.columns;
    let label = |at: Time| {
        let text = at.rfc3339();
        let part = if seen.span == Span::Month { 5..10 } else { 11..16 };
        text.get(part).unwrap_or_default().to_owned()
    };
    let labels: Vec<String> = columns.iter().map(|column| label(column.at)).collect();
    let series: Vec<Series> = layers
        .iter()
        .map(|(which, name, class)| Series {
            name,
            class,
            values: columns.iter().map(|column| column.counts[*which]).collect(),
        })
        .collect();
    let link = |layer: usize, at: usize| {
        let from = columns.get(at).map_or(Time(0), |column| column.at);
        let until = Time(from.ms() + seen.overview.step_ms);
        let outcome = layers.get(layer).map_or("", |(which, ..)| COUNTED[*which]);
        format!("/audit?outcome={outcome}&{}", within(from, until))
    };
    chart::stacked(&format!("{title}, the last {}", seen.span.words()), &labels, &series, &link)
}

fn troubles(seen: &Seen) -> Markup {
    let overview = &seen.overview;
    let open: Vec<&Incident> = seen.causes.incidents.iter().filter(|incident| incident.open).collect();
    html! {
        h2 { "What keeps mail waiting" }
        @if open.is_empty() { (shell::empty("Nothing in the queue waits for a cause that is known.")) }
        @for incident in open.iter() {
            div.card.incident {
                p { (finding::line(&incident.finding)) }
                p.quiet { a href=(super::queue::messages_of(incident)) { (part::count(incident.count)) " " (super::queue::deliveries(incident.count)) }
                    @if !incident.domains.is_empty() { " for " (incident.domains.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ")) @if incident.domains.len() > 3 { " and others" } }
                    @if let Some(since) = incident.since { ", since " (time::ago(since, overview.at)) }
                    @if let Some(expiry) = incident.first_expiry { "; the first expires " (time::ago(expiry, overview.at)) } }
                @if let Some(step) = incident.finding.fix.first() { p { "To do: " (step) } }
            }
        }
        @if seen.causes.open > open.len() as u64 { p { a href="/queue" { (part::count(seen.causes.open - open.len() as u64)) " more" } } }
        @if !overview.causes.is_empty() {
            h2 { "Causes found in the last " (seen.span.words()) }
            div.scroll { table {
                thead { tr { th { "Cause" } th.number { "Times" } th { } } }
                tbody { @for cause in overview.causes.iter().take(CAUSES) { tr {
                    th scope="row" { code { (cause.cause) } }
                    td.number { a href=(format!("/audit?cause={}&{}", encode(&cause.cause), within(overview.from, overview.until))) { (part::count(cause.count)) } }
                    td { a href=(format!("/explain?q={}", encode(&cause.cause))) { "What it means" } }
                } } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn every_number_leads_to_the_messages_behind_it() {
        let (code, page) = get("ReadOnly", "/?span=hour").await;
        assert_eq!(code, 200);
        let within = "from=2026-11-25T11%3A01%3A00.000Z&amp;until=2026-11-25T12%3A01%3A00.000Z";
        for link in [
            format!("<a href=\"/audit?outcome=accepted&amp;{within}\">1,300</a>"),
            format!("<a href=\"/audit?outcome=accepted&amp;listener=inbound&amp;{within}\">1,000</a>"),
            format!("<a href=\"/audit?outcome=refused&amp;{within}\">40</a>"),
            format!("<a href=\"/audit?cause=peer.greylisted&amp;{within}\">17</a>"),
            "<a href=\"/queue\">1,234</a>".to_owned(),
            "outcome=refused&amp;from=2026-11-25T11%3A01%3A00.000Z&amp;until=2026-11-25T11%3A02%3A00.000Z".to_owned(),
        ] {
            assert!(page.contains(&link), "{link}: {page}");
        }
        assert!(page.contains("&lt;img"), "alerts are text: {page}");
    }

    #[tokio::test]
    async fn the_page_says_how_old_it_is_and_asks_for_news() {
        let (_, page) = get("Full", "/?span=nonsense").await;
        assert!(page.contains("As of ") && page.contains("the last 24 hours"), "{page}");
        assert!(page.contains("data-live=\"/dashboard/live?span=day\""), "{page}");
    }

    #[tokio::test]
    async fn all_scanners_stand_on_the_dashboard_and_a_silent_one_with_its_reason() {
        let (_, page) = get("ReadOnly", "/").await;
        for part in [
            "<a href=\"/scanner/mx2\">",
            "https://mx2.example.test:8025/identity",
            "unreachable",
            "192.0.2.3:8025: refused",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[tokio::test]
    async fn an_open_page_hears_news() {
        let (code, text) = get("Full", "/dashboard/live?span=hour").await;
        assert_eq!(code, 200);
        assert_eq!(text.matches("event: figures\n").count(), 2, "{text}");
        assert!(text.contains("data: ") && text.contains("1,300</a>"), "{text}");
        assert_eq!(get("HelpDesk", "/dashboard/live").await.0, 403);
    }

    #[tokio::test]
    async fn the_figures_are_there_as_json() {
        let (code, text) = get("ReadOnly", "/api/v1/overview?span=hour").await;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(code == 200 && value["totals"][0]["count"] == 1000, "{text}");
    }

    #[tokio::test]
    async fn strangers_are_led_to_the_sign_in_and_the_help_desk_is_told_no() {
        assert_eq!(get("", "/").await.0, 303);
        let (code, page) = get("HelpDesk", "/").await;
        assert!(code == 403 && page.contains("needs the right to look"), "{page}");
    }
}
