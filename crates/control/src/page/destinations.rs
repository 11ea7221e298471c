//! Destinations: where mail goes and how that is going, all of them and one by one.

use crate::page::{Routes, problem};
use crate::part::{self, finding, live, shell, time};
use crate::right::{May, rights};
use crate::{AttemptSeen, Center, Destination, DestinationRow, Down, Problem, Right, Spread, TlsSeen};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mail::Time;
use maud::{Markup, html};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::mpsc::channel;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/destinations", get(all))
        .route("/destinations/{domain}", get(one))
        .route("/destinations/{domain}/live", get(live))
        .routes(routes!(all_api))
        .routes(routes!(one_api))
}

/// The page comes without waiting longer for DNS: what it says follows.
const DNS_SOON: Duration = Duration::from_millis(30);
/// Whoever asks for it waits at most so long.
const DNS_WAIT: Duration = Duration::from_secs(4);

/// How a page is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// Not empty: it waits for DNS.
    wait: String,
}

/// Destinations with mail or contact lately.
#[utoipa::path(get, path = "/api/v1/destinations", tag = "destinations", responses((status = 200, body = Vec<DestinationRow>)))]
async fn all_api(_: May<rights::Look>, State(center): State<Center>) -> Result<Json<Vec<DestinationRow>>, Problem> {
    center.reader.destinations().await.map(Json)
}

/// The way of one recipient domain. Asks DNS, and waits for it up to four seconds.
#[utoipa::path(get, path = "/api/v1/destinations/{domain}", tag = "destinations", params(("domain" = String, Path)), responses((status = 200, body = Destination), (status = 422, body = Problem)))]
async fn one_api(
    _: May<rights::Look>,
    State(center): State<Center>,
    Path(domain): Path<String>,
) -> Result<Json<Destination>, Problem> {
    center.reader.destination(&domain, DNS_WAIT).await.map(Json)
}

async fn all(may: May<rights::Look>, State(center): State<Center>) -> Response {
    let now = center.reader.now();
    match center.reader.destinations().await {
        Ok(rows) => shell::page(&may.account, "/destinations", "Destinations", list(&rows, now)).into_response(),
        Err(error) => problem::page(&may.account, &error),
    }
}

fn list(rows: &[DestinationRow], now: Time) -> Markup {
    html! {
        p.quiet { "Mail to the same next hops shares connections and health. Those in trouble come first, then those with the most mail." }
        @if rows.is_empty() { (shell::empty("No mail waits, and none was sent within the hour.")) }
        @else { div.scroll { table {
            thead { tr { th { "Destination" } th.number { "Waiting" } th.number { "Under way" } th.number { "Connections" } th { "Health" } th.number { "Took mail" } th.number { "Connecting" } } }
            tbody { @for row in rows { (self::row(row, now)) } }
        } } }
    }
}

fn row(row: &DestinationRow, now: Time) -> Markup {
    let first = row.domains.first();
    html! {
        tr {
            th.break scope="row" {
                @match first { Some(domain) => a href=(link(domain)) { (row.name) }, None => (row.name) }
                @if row.domain_count > 1 || first.is_some_and(|domain| *domain != row.name) {
                    br; span.quiet { "for " @for (at, domain) in row.domains.iter().enumerate() { @if at > 0 { ", " } a href=(link(domain)) { (domain) } } @if row.domain_count > row.domains.len() as u64 { " and " (part::count(row.domain_count - row.domains.len() as u64)) " more" } }
                }
            }
            td.number { @if let (Some(domain), 1) = (first, row.domain_count) { a href=(format!("/queue?by=message&domain={}", part::encode(domain))) { (part::count(row.waiting)) } } @else { (part::count(row.waiting)) } }
            td.number { (row.in_flight) }
            td.number { (row.connections) }
            td.break { @if row.tried > 0 && row.delivered == 0 && row.down.is_none() && row.failures == 0 { (shell::badge("warn", "takes none")) } @else { (health(row.down.as_ref(), row.failures, now)) } }
            td.number { @if row.tried > 0 { (row.delivered) " of " (row.tried) } @else { span.quiet { "–" } } }
            td.number { (spread(row.connect)) }
        }
    }
}

fn link(domain: &str) -> String {
    format!("/destinations/{}", part::encode(domain))
}

fn health(down: Option<&Down>, failures: u32, now: Time) -> Markup {
    html! {
        @match (down, failures) {
            (Some(down), _) => { (shell::badge("bad", "down")) " since " (time::ago(down.since, now)) ", tried again " (time::ago(down.until, now)) ": " (down.last_failure) }
            (None, 0) => (shell::badge("good", "up")),
            (None, failures) => { (shell::badge("warn", "failing")) " " (failures) (if failures == 1 { " failure" } else { " failures in a row" }) }
        }
    }
}

fn spread(spread: Option<Spread>) -> Markup {
    html! { @match spread { Some(spread) => { (spread.median_ms) " ms" br; span.quiet { "95 %: " (spread.p95_ms) " ms" } } None => span.quiet { "–" } } }
}

async fn one(
    may: May<rights::Look>,
    State(center): State<Center>,
    Path(domain): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let now = center.reader.now();
    let waits = !asked.wait.is_empty();
    match center.reader.destination(&domain, if waits { DNS_WAIT } else { DNS_SOON }).await {
        Ok(found) => {
            let title = format!("Destination {}", found.domain);
            shell::page(&may.account, "/destinations", &title, body(&found, may.also(Right::Operate), waits, now))
                .into_response()
        }
        Err(error) => problem::page(&may.account, &error),
    }
}

/// The route, once DNS has said it.
async fn live(may: May<rights::Look>, State(center): State<Center>, Path(domain): Path<String>) -> Response {
    let (news, events) = channel(2);
    let asked = center.clone();
    tokio::spawn(async move {
        let now = center.reader.now();
        let Ok(found) = center.reader.destination(&domain, DNS_WAIT).await else { return };
        for (id, html) in [("verdict", verdict(&found)), ("route", route(&found, true, now))] {
            if news.send(live::fragment(id, html)).await.is_err() {
                return;
            }
        }
        // So that the browser does not ask again.
        let _ = news.send(Event::default().event("end").data("")).await;
    });
    live::events(may, &asked, events)
}

fn verdict(found: &Destination) -> Markup {
    html! { @if let Some(verdict) = &found.verdict { (shell::notice("bad", verdict)) } }
}

/// `waited`: as long as anybody waits for DNS.
fn body(found: &Destination, acts: bool, waited: bool, now: Time) -> Markup {
    let live = (!found.route_known && !waited).then(|| format!("{}/live", link(&found.domain)));
    html! {
        @if found.paused { (shell::notice("warn", "The settings keep the mail of this domain (queue.paused).")) }
        div #verdict { (verdict(found)) }
        section.cards {
            div.card { h2 { "Health" } p { (health(found.down.as_ref(), found.failures, now)) } }
            div.card { h2 { "Waiting" } p.big { a href=(format!("/queue?by=message&domain={}", part::encode(&found.domain))) { (part::count(found.waiting)) } } p.quiet { (found.in_flight) " under way" } }
            div.card { h2 { "Connections" } p.big { (found.connections) } p.quiet { "at most " (found.connections_per_address) " to an address, " (found.connections_max) " in all (delivery.connections)" } }
        }
        @if acts {
            form.row action="/diagnose" method="post" {
                input type="hidden" name="q" value=(format!("postmaster@{}", found.domain));
                button.primary type="submit" { "Probe it now" }
                span.quiet { "A conversation as far as RCPT, by the way that mail goes; nothing is sent. Each address takes a few an hour (diagnosis.connections_per_hour)." }
            }
        }
        @for one in &found.findings { (finding::card(one)) }
        h2 { "Route" }
        div #route data-live=[live] data-events="verdict route" { (route(found, waited, now)) }
        (stages(found))
        @if let Some(tls) = &found.tls { (tls_seen(tls, &found.tls_policy, now)) } @else { h2 { "TLS" } p { "By the settings: " code { (found.tls_policy) } ". No conversation under TLS lately." } }
        (attempts(&found.attempts, now))
    }
}

fn route(found: &Destination, waited: bool, now: Time) -> Markup {
    html! {
        dl.facts {
            dt { "Rule" } dd { (found.rule) ", settings version " (found.settings_version) }
            dt { "Shares connections as" } dd { (found.name) }
        }
        @if !found.route_known && waited { p { (shell::badge("warn", "not known")) " DNS did not answer within " (DNS_WAIT.as_secs()) " s: where mail would go now is not known. " a href=(link(&found.domain)) { "Ask again" } } }
        @else if !found.route_known { p { "DNS is being asked where mail goes now; its answer appears here. " a href=(format!("{}?wait=yes", link(&found.domain))) { "Wait for it" } } }
        @if !found.hosts.is_empty() {
            div.scroll { table {
                thead { tr { th.number { "Preference" } th { "Host" } th { "Address" } th.number { "Connections" } th { "Limit learned" } } }
                tbody { @for host in &found.hosts { tr {
                    td.number { (host.preference) } td { (host.host) } td { code { (host.address) } } td.number { (host.connections) }
                    td { @match (host.learned_max, host.learned_until) { (Some(max), Some(until)) => { "no more than " (max) ", tried anew " (time::ago(until, now)) } _ => span.quiet { "none" } } }
                } } }
            } }
        }
        @for line in &found.dropped { p { (shell::badge("warn", "left out")) " " (line) } }
        @for line in &found.notes { p.quiet { (line) } }
        @if !found.dns.is_empty() { details { summary { "What DNS said" } ul.evidence { @for line in &found.dns { li { code { (line) } } } } } }
    }
}

fn stages(found: &Destination) -> Markup {
    html! {
        @if !found.stages.is_empty() {
            h2 { "Times of recent attempts" }
            div.scroll { table {
                thead { tr { th { "Stage" } th.number { "Median" } th.number { "95 %" } th.number { "Attempts" } } }
                tbody { @for stage in &found.stages { tr { th scope="row" { (stage.stage) } td.number { (stage.time.median_ms) " ms" } td.number { (stage.time.p95_ms) " ms" } td.number { (stage.time.count) } } } }
            } }
        }
    }
}

fn tls_seen(tls: &TlsSeen, policy: &str, now: Time) -> Markup {
    html! {
        h2 { "TLS" }
        dl.facts {
            dt { "By the settings" } dd { code { (policy) } }
            dt { "Last seen" } dd { (tls.version) ", " (tls.cipher) " with " (tls.host) ", " (time::ago(tls.at, now)) }
            @if let Some(unverified) = &tls.unverified { dt { "Verification" } dd { (unverified) } }
            @if let Some(certificate) = &tls.certificate {
                dt { "Certificate for" } dd { (certificate.names.join(", ")) }
                dt { "Issued by" } dd { (certificate.issuer) @if certificate.self_signed { " (self-signed)" } }
                @if let Some(end) = certificate.not_after { dt { "Valid until" } dd { (time::exact(end)) @if end < now { " " (shell::badge("bad", "expired")) } } }
                dt { "Key" } dd { (certificate.key) }
                dt { "SHA-256" } dd { code { (certificate.fingerprint) } }
            }
        }
    }
}

fn attempts(attempts: &[AttemptSeen], now: Time) -> Markup {
    html! {
        h2 { "Recent attempts" }
        @if attempts.is_empty() { (shell::empty("None is in the audit log.")) }
        @else { div.scroll { table {
            thead { tr { th { "When" } th { "Message" } th { "Host" } th { "How it ended" } } }
            tbody { @for attempt in attempts { tr {
                td { (time::ago(attempt.at, now)) }
                td { a href=(format!("/message/{}", attempt.id)) { code { (attempt.id) } } }
                td.break { (attempt.host) }
                td.break {
                    (if attempt.good { shell::badge("good", "taken") } else { shell::badge("bad", "not taken") }) " " (attempt.status)
                    @if let Some(found) = &attempt.finding { p { (finding::line(found)) } }
                }
            } } }
        } } }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn a_page_does_not_wait_for_dns_which_follows_or_is_waited_for() {
        let (code, page) = get("ReadOnly", "/destinations/slow.test").await;
        assert_eq!(code, 200);
        for part in ["data-live=\"/destinations/slow.test/live\"", "/destinations/slow.test?wait=yes", "RCPT TO"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("192.0.2.1:25"), "{page}");
        let (_, stream) = get("ReadOnly", "/destinations/slow.test/live").await;
        assert!(
            stream.contains("event: route") && stream.contains("event: end") && stream.contains("192.0.2.1:25"),
            "{stream}"
        );
        let (_, page) = get("ReadOnly", "/destinations/slow.test?wait=yes").await;
        assert!(page.contains("192.0.2.1:25") && !page.contains("data-live"), "{page}");
        let (_, page) = get("ReadOnly", "/destinations/typo.test").await;
        assert!(!page.contains("data-live"), "{page}");
        assert_eq!(get("HelpDesk", "/destinations/slow.test/live").await.0, 403);
    }

    #[tokio::test]
    async fn destinations_show_health_and_lead_to_their_domains() {
        let (code, page) = get("ReadOnly", "/destinations").await;
        assert_eq!(code, 200);
        for part in ["/destinations/typo.test", "down", "&lt;i&gt;timed out", "3 of 7", "12 ms", "1,200"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[tokio::test]
    async fn a_destination_shows_route_limits_tls_attempts_and_who_may_probe() {
        let (code, page) = get("Operator", "/destinations/typo.test").await;
        assert_eq!(code, 200);
        for part in [
            "route.other (settings line 4)",
            "192.0.2.1:25",
            "no more than 2",
            "TLSv1.3",
            "expired",
            "/message/01K8Z6T3WQM2V",
            "RCPT TO",
            "Probe it now",
            "value=\"postmaster@typo.test\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let (_, page) = get("ReadOnly", "/destinations/typo.test").await;
        assert!(!page.contains("Probe it now"));
        assert_eq!(get("ReadOnly", "/destinations/%20").await.0, 422);
        let (code, text) = get("ReadOnly", "/api/v1/destinations/typo.test").await;
        assert!(code == 200 && text.contains("\"rule\":\"route.other"), "{text}");
    }
}
