//! Message audit log: mail by anything that is known of it, with what became of it; as CSV and JSON lines as well.

mod everywhere;
mod export;

use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::{encode, shell, time};
use crate::reader::{AuditFilter, AuditPage, AuditRow, LISTENERS, OUTCOMES};
use crate::right::{May, rights};
use crate::{Center, Problem, Right};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mail::Time;
use maud::{Markup, html};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/audit", get(page))
        .route("/audit/export", get(export::file))
        .routes(routes!(api))
        .routes(routes!(everywhere::api))
}

/// Rows of a page, and the most that the API gives at once.
const ROWS: usize = 50;
const ROWS_MAX: usize = 1000;

/// What was typed, as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Anything: an Audit ID, or words of a Message-ID, address, domain, client, subject or answer of a remote host. Words of
    /// three letters or more are found by their beginning and by the beginning of each part.
    q: String,
    /// From this time on: `2026-11-25`, `2026-11-25 14:00` (UTC), or how long ago: `2h`, `7d`. Of what was found by `outcome`
    /// or `cause` it is the time of that, of others that at which it came.
    from: String,
    /// Before this time; a day counts to its end.
    until: String,
    /// What happened to it: `accepted`, `refused`, `delivered`, `deferred`, `bounced`, `expired`, `held`, …
    outcome: String,
    /// `inbound`, `outbound`, `submission` or `internal`.
    listener: String,
    /// Words of the sender's address; `<>` for reports.
    sender: String,
    /// Words of a recipient's address.
    recipient: String,
    /// Words of the client's address or name.
    client: String,
    /// Id of the finding.
    cause: String,
    /// `next` of the page before.
    after: String,
    /// At most 1000.
    limit: String,
    /// Of an export: `csv` or `jsonl`.
    #[param(ignore)]
    format: String,
    /// Not empty: on all Scanners.
    #[param(ignore)]
    everywhere: String,
}

/// Everything that can be typed, by its name in addresses.
type Pairs = Query<Vec<(String, String)>>;

impl Asked {
    fn of(Query(pairs): Pairs) -> Asked {
        let mut asked = Asked::default();
        for (name, value) in pairs {
            if let Some((_, place)) = asked.fields_mut().into_iter().find(|(known, _)| *known == name) {
                *place = value.trim().to_owned();
            }
        }
        asked
    }

    fn fields_mut(&mut self) -> [(&'static str, &mut String); 13] {
        [
            ("q", &mut self.q),
            ("from", &mut self.from),
            ("until", &mut self.until),
            ("outcome", &mut self.outcome),
            ("listener", &mut self.listener),
            ("sender", &mut self.sender),
            ("recipient", &mut self.recipient),
            ("client", &mut self.client),
            ("cause", &mut self.cause),
            ("after", &mut self.after),
            ("limit", &mut self.limit),
            ("format", &mut self.format),
            ("everywhere", &mut self.everywhere),
        ]
    }

    /// The query that asks the same, with one field put anew.
    fn with(&self, name: &str, value: &str) -> String {
        let mut asked = self.clone();
        let fields = asked.fields_mut().into_iter().map(|(known, old)| {
            let value = if known == name { value.to_owned() } else { std::mem::take(old) };
            (known, value)
        });
        let fields = fields.filter(|(_, value)| !value.is_empty());
        fields.map(|(name, value)| format!("{name}={}", encode(&value))).collect::<Vec<_>>().join("&")
    }

    /// Whether anything narrows the search.
    fn is_narrow(&self) -> bool {
        let Asked { after, limit, everywhere, .. } = self.clone();
        *self != Asked { after, limit, everywhere, ..Asked::default() }
    }

    fn has_filters(&self) -> bool {
        Asked { q: String::new(), ..self.clone() }.is_narrow()
    }

    /// What is meant, or the fields that are no good.
    fn filter(&self, now: Time, sees_all: bool) -> Result<AuditFilter, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let mut time = |name, text: &str, at_end| {
            if text.is_empty() {
                return None;
            }
            time::read(text, now, at_end).map_err(|what| wrong.push((name, what))).ok()
        };
        let (from, until) = (time("from", &self.from, false), time("until", &self.until, true));
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            wrong.push(("until", format!("{:?} is not after {:?}: nothing lies between them.", self.until, self.from)));
        }
        for (name, value, known) in [("outcome", &self.outcome, OUTCOMES), ("listener", &self.listener, LISTENERS)] {
            if !value.is_empty() && !known.iter().any(|(word, _)| word == value) {
                let words = known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
                wrong.push((name, format!("{value:?} is none of these: {words}.")));
            }
        }
        let is_letters = |text: &str| text.is_empty() || text == "<>" || text.chars().any(char::is_alphanumeric);
        for (name, value) in
            [("q", &self.q), ("sender", &self.sender), ("recipient", &self.recipient), ("client", &self.client)]
        {
            if !is_letters(value) {
                wrong.push((name, format!("{value:?} has no letter or digit to look for.")));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(AuditFilter {
            term: self.q.clone(),
            addresses_only: !sees_all,
            from,
            until,
            outcome: self.outcome.clone(),
            listener: self.listener.clone(),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            client: self.client.clone(),
            cause: self.cause.clone(),
        })
    }
}

fn refused(wrong: Vec<(&'static str, String)>) -> Problem {
    let (field, what) = wrong.into_iter().next().unwrap_or_default();
    Problem::Field { field: field.to_owned(), what }
}

async fn page(may: May<rights::Find>, State(center): State<Center>, pairs: Pairs) -> Response {
    let asked = Asked::of(pairs);
    let (now, sees_all) = (center.reader.now(), may.also(Right::Look));
    let has_others = sees_all && !center.scanners.scanners().is_empty();
    if has_others && !asked.everywhere.is_empty() {
        return everywhere::page(&may.account, &center, &asked).await;
    }
    let show = |code: StatusCode, found: Option<&AuditPage>, wrong: &[(&str, String)]| {
        let body = body(&asked, found, wrong, now, sees_all, has_others, center.reader.audit_days());
        (code, shell::page(&may.account, "/audit", "Message audit log", body)).into_response()
    };
    let filter = match asked.filter(now, sees_all) {
        Ok(filter) => filter,
        Err(wrong) => return show(StatusCode::UNPROCESSABLE_ENTITY, None, &wrong),
    };
    let after = Some(asked.after.as_str()).filter(|after| !after.is_empty());
    match center.reader.audit(&filter, ROWS, after).await {
        Ok(found) => show(StatusCode::OK, Some(&for_them(found, sees_all)), &[]),
        Err(problem) => problem::page(&may.account, &problem),
    }
}

/// The audit log, newest first, a page at a time. The help desk gets no subjects, and its `q` is looked for in addresses only.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Asked),
    responses((status = 200, body = AuditPage), (status = 422, body = Problem)))]
async fn api(may: May<rights::Find>, State(center): State<Center>, pairs: Pairs) -> Response {
    let asked = Asked::of(pairs);
    let sees_all = may.also(Right::Look);
    let limit = match asked.limit.as_str() {
        "" => ROWS,
        text => match text.parse() {
            Ok(limit @ 1..=ROWS_MAX) => limit,
            _ => {
                return refused(vec![("limit", format!("{text:?} is no number from 1 to {ROWS_MAX}."))])
                    .into_response();
            }
        },
    };
    let filter = match asked.filter(center.reader.now(), sees_all) {
        Ok(filter) => filter,
        Err(wrong) => return refused(wrong).into_response(),
    };
    let after = Some(asked.after.as_str()).filter(|after| !after.is_empty());
    match center.reader.audit(&filter, limit, after).await {
        Ok(found) => Json(for_them(found, sees_all)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn for_them(found: AuditPage, sees_all: bool) -> AuditPage {
    match sees_all {
        true => found,
        false => AuditPage { rows: found.rows.into_iter().map(AuditRow::for_help_desk).collect(), ..found },
    }
}

fn body(
    asked: &Asked,
    found: Option<&AuditPage>,
    wrong: &[(&str, String)],
    now: Time,
    sees_all: bool,
    has_others: bool,
    days: u64,
) -> Markup {
    html! {
        (search(asked, wrong, sees_all, has_others))
        @if let Some(found) = found {
            @if let Some(at) = found.stopped_at { div.notice.info role="status" { p {
                "Looked back to " (time::exact(at)) " UTC within the time for one page. "
                @if let Some(next) = &found.next { a href=(format!("/audit?{}", asked.with("after", next))) { "Look further back" } }
            } } }
            @if found.rows.is_empty() && found.stopped_at.is_none() { (nothing(asked, sees_all, days)) }
            @if !found.rows.is_empty() {
                (table(&found.rows.iter().map(|row| Row { scanner: None, row }).collect::<Vec<_>>(), now))
                div.row {
                    @if !asked.after.is_empty() { a.button href=(format!("/audit?{}", asked.with("after", ""))) { "Newest" } }
                    @if let Some(next) = &found.next { a.button rel="next" href=(format!("/audit?{}", asked.with("after", next))) { "Older" } }
                    @if sees_all {
                        a.button download="" href=(format!("/audit/export?{}", asked.with("format", "csv"))) { "All as CSV" }
                        a.button download="" href=(format!("/audit/export?{}", asked.with("format", "jsonl"))) { "All as JSON lines" }
                    }
                }
            }
        }
    }
}

fn search(asked: &Asked, wrong: &[(&str, String)], sees_all: bool, has_others: bool) -> Markup {
    let error = |name: &str| wrong.iter().find(|(field, _)| *field == name).map(|(_, what)| what.as_str());
    let field = |name, label, value, hint| Field { name, label, value, hint, error: error(name), required: false };
    let any = [("", "any")];
    let outcomes: Vec<(&str, &str)> = any.iter().chain(OUTCOMES).copied().collect();
    let listeners: Vec<(&str, &str)> = any.iter().chain(LISTENERS).copied().collect();
    let hint = match sees_all {
        true => {
            "Audit ID, Message-ID, address, domain, client, subject, or what a server said. Several words: all of them."
        }
        false => "Audit ID, address, domain or client. Several words: all of them.",
    };
    html! {
        @if !wrong.is_empty() { (shell::notice("bad", "This search was not made; see the fields below.")) }
        form.audit action="/audit" method="get" role="search" {
            (form::text("search", field("q", "Find", &asked.q, hint)))
            details open[asked.has_filters() || !wrong.is_empty()] {
                summary { "Filters" }
                div.row {
                    (form::text("text", field("from", "From", &asked.from, "2026-11-25 14:00 (UTC), or 2h, 7d ago")))
                    (form::text("text", field("until", "Until", &asked.until, "a day counts to its end")))
                    (form::select(&outcomes, field("outcome", "What happened", &asked.outcome, "")))
                    (form::select(&listeners, field("listener", "Came by", &asked.listener, "")))
                    (form::text("text", field("sender", "Sender", &asked.sender, "<> finds reports")))
                    (form::text("text", field("recipient", "Recipient", &asked.recipient, "")))
                    (form::text("text", field("client", "Client", &asked.client, "address or name")))
                    (form::text("text", field("cause", "Cause", &asked.cause, "id of a finding")))
                }
            }
            @if has_others { (form::tick(!asked.everywhere.is_empty(), Field { name: "everywhere", label: "On all Scanners", ..Field::default() })) }
            div.row { button.primary type="submit" { "Search" } @if asked.is_narrow() { a.button href="/audit" { "Clear" } } }
        }
    }
}

/// Nothing was found: why that may be, and what to do.
fn nothing(asked: &Asked, sees_all: bool, days: u64) -> Markup {
    if !asked.after.is_empty() {
        return html! { (shell::empty("There is nothing older.")) };
    }
    if !asked.is_narrow() {
        return html! { div.empty { p { "No mail has come yet, and nobody has tried to send any." } @if sees_all { p { a href="/diagnose" { "Send a test message" } } } } };
    }
    html! {
        div.empty {
            p { strong { "Nothing matches." } }
            p { "A word is found by its beginning, and by the beginning of each part: " code { "corp" } " finds " code { "ann@mail.corp.test" } ", " code { "orp" } " does not. The trail is kept for " (days) " days (" code { "audit.keep" } ")." }
            p { "Mail that nobody tried to deliver here leaves no trace: if its sender says that it was sent, ask for the answer that their server got, and from which address." }
            @if asked.has_filters() && !asked.q.is_empty() { p { a href=(format!("/audit?q={}", encode(&asked.q))) { "Search without the filters" } } }
        }
    }
}

/// A row, and the Scanner that it is of: its name, and the address of its Control Center (empty: this one).
#[derive(Clone, Copy)]
struct Row<'a> {
    scanner: Option<(&'a str, &'a str)>,
    row: &'a AuditRow,
}

fn table(rows: &[Row<'_>], now: Time) -> Markup {
    let with_scanner = rows.iter().any(|row| row.scanner.is_some());
    html! {
        div.scroll { table.audit.rows {
            thead { tr { @if with_scanner { th { "Scanner" } } th { "Time (UTC)" } th { "From and to" } th { "Subject" } th { "What became of it" } th { "Audit ID" } } }
            tbody { @for Row { scanner, row } in rows { tr {
                @if let Some((name, _)) = scanner { td { (name) } }
                td { (time::exact(row.at)) br; span.quiet { (time::ago(row.at, now)) } }
                td.break.wide { @if row.sender.is_empty() || row.sender == "<>" { span.quiet { @if row.recipients.is_empty() { (row.client) } @else { "<>" } } } @else { (row.sender) }
                    @if let Some(first) = row.recipients.first() { br; "→ " (first) @if row.recipients.len() > 1 { " and " (row.recipients.len() - 1) " more" } } }
                td.break { (row.subject) }
                td.break.wide { (badges(row)) " " (row.status)
                    @if !row.trouble.is_empty() && row.trouble != row.status { p.quiet { "before: " (row.trouble) } }
                    @if !row.finding.is_empty() { p { span.cause-line.(if is_well(row) { "info" } else { "bad" }) { (row.finding) } } } }
                th scope="row" { a href=(format!("{}/message/{}", scanner.map(|(_, url)| url).unwrap_or_default(), encode(&row.id))) { code { (row.id) } } }
            } } }
        } }
    }
}

fn is_well(row: &AuditRow) -> bool {
    row.outcomes.iter().any(|outcome| outcome == "delivered")
        && !row.outcomes.iter().any(|outcome| outcome == "bounced")
}

/// What happened, in words. That it came says nothing if more is known, and that a connection was explained neither.
fn badges(row: &AuditRow) -> Markup {
    let dull = |outcome: &str| matches!(outcome, "accepted" | "connection" | "notice");
    let is_dull_only = row.outcomes.iter().all(|outcome| dull(outcome));
    let words = |outcome: &str| OUTCOMES.iter().find(|(word, _)| *word == outcome).map_or("", |(_, words)| *words);
    html! {
        @for outcome in row.outcomes.iter().filter(|outcome| is_dull_only || !dull(outcome)) {
            (shell::badge(colour(outcome), words(outcome))) " "
        }
    }
}

fn colour(outcome: &str) -> &'static str {
    match outcome {
        "delivered" => "good",
        "deferred" | "held" | "set-aside" => "warn",
        "refused" | "bounced" | "expired" | "loop" | "deleted" => "bad",
        _ => "plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    #[tokio::test]
    async fn the_log_shows_mail_and_refusals_with_their_cause() {
        let (code, page) = get("ReadOnly", "/audit").await;
        assert_eq!(code, 200);
        for text in [
            "ann@corp.test",
            "→ bob@there.test",
            "put off",
            "mx.there.test greylists",
            "href=\"/message/01K8Z6T3WQM2V\"",
            "550 5.7.1 relaying denied",
            "Older",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(
            page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"),
            "subjects are text: {page}"
        );
    }

    #[tokio::test]
    async fn what_is_no_good_is_told_at_its_field_and_nothing_typed_is_lost() {
        let (code, page) =
            get("Full", "/audit?q=a%22b&from=tomorrow&until=2026-11-01&sender=%3Cb%3E&outcome=eaten").await;
        assert_eq!(code, 422);
        for text in [
            "value=\"a&quot;b\"",
            "value=\"tomorrow\"",
            "value=\"2026-11-01\"",
            "value=\"&lt;b&gt;\"",
            "from-error",
            "is no time. Write a day such as",
            "eaten&quot; is none of these",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        let (code, page) = get("Full", "/audit?from=1d&until=2d").await;
        assert!(code == 422 && page.contains("nothing lies between them"), "{page}");
        let (code, text) = get("Full", "/api/v1/audit?limit=0").await;
        assert!(code == 422 && text.contains("\"field\":\"limit\""), "{text}");
    }

    #[tokio::test]
    async fn an_empty_answer_says_what_to_do() {
        let (code, page) = get("Full", "/audit?q=nobody&outcome=refused").await;
        assert!(code == 200 && page.contains("Nothing matches") && page.contains("kept for 30 days"), "{page}");
        assert!(page.contains("href=\"/audit?q=nobody\""), "{page}");
    }

    #[tokio::test]
    async fn paging_keeps_the_question() {
        let (_, page) = get("Full", "/audit?q=corp+test&listener=inbound").await;
        assert!(page.contains("/audit?q=corp%20test&amp;listener=inbound&amp;after=1.2\""), "{page}");
        let (_, page) = get("Full", "/audit?q=corp&after=1.2").await;
        assert!(page.contains("There is nothing older"), "{page}");
    }

    #[tokio::test]
    async fn the_help_desk_finds_mail_by_its_addresses_and_sees_no_subject() {
        let (code, page) = get("HelpDesk", "/audit").await;
        assert!(code == 200 && page.contains("bob@there.test") && !page.contains("alert(1)"), "{page}");
        assert!(!page.contains("/audit/export"), "{page}");
        let (_, text) = get("HelpDesk", "/api/v1/audit").await;
        assert!(text.contains("bob@there.test") && !text.contains("alert(1)"), "{text}");
        assert!(Asked::default().filter(Time(0), false).unwrap().addresses_only);
        assert_eq!(get("HelpDesk", "/audit/export?format=csv").await.0, 403);
        assert_eq!(get("", "/audit").await.0, 303);
    }

    #[test]
    fn a_day_counts_to_its_end() {
        let asked = Asked { from: "2026-11-25".into(), until: "2026-11-25".into(), ..Asked::default() };
        let filter = asked.filter(Time(0), true).unwrap();
        assert_eq!(filter.until.unwrap().ms() - filter.from.unwrap().ms(), 86_400_000);
    }
}
