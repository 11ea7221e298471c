//! Diagnose: why mail to an address, of a message or from a client does not get through, looked at now and shown meanwhile.

use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::{self, finding, live, shell};
use crate::right::{May, rights};
use crate::{Center, Diagnosed, Diagnosis, Problem, Step};
use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Json};
use mail::Time;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/diagnose", get(ask).post(begin))
        .route("/diagnose/{number}", get(show))
        .route("/diagnose/{number}/events", get(events))
        .routes(routes!(begin_api))
        .routes(routes!(show_api))
}

/// How long an answer waits for the end, where no script shows the steps. All experiments of one case take 15 s, twice.
const WAIT_MS: u64 = 45_000;
/// How long the events wait for a step before they look whether somebody still listens.
const STEP_MS: u64 = 5_000;

#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
struct Asked {
    /// An address, an Audit ID, or a client's address or a sender.
    q: String,
    /// Sender to greet with; empty: the postmaster; `<>`: the null sender.
    from: String,
}

async fn ask(may: May<rights::Operate>, Query(asked): Query<Asked>) -> Html<String> {
    shell::page(&may.account, "/diagnose", "Diagnose", question(&asked, None))
}

fn question(asked: &Asked, error: Option<&str>) -> Markup {
    let hint = "An address (its route is tried as far as RCPT, no message is sent), an Audit ID, or the address of a client or a sender.";
    html! {
        form action="/diagnose" method="post" {
            (form::text("text", Field { name: "q", label: "Address or Audit ID", value: &asked.q, hint, error, required: true }))
            (form::text("text", Field { name: "from", label: "Sender to greet with", value: &asked.from, hint: "Empty: the postmaster of this gateway. <>: the null sender.", ..Field::default() }))
            button.primary type="submit" { "Diagnose" }
        }
    }
}

async fn begin(may: May<rights::Operate>, State(center): State<Center>, Form(asked): Form<Asked>) -> Response {
    match center.reader.diagnose(&asked.q, asked.from.trim()) {
        Ok(number) => Redirect::to(&format!("/diagnose/{number}")).into_response(),
        Err(error @ Problem::Field { .. }) => {
            let code = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
            let page = shell::page(&may.account, "/diagnose", "Diagnose", question(&asked, Some(error.what())));
            shell::with(code, page)
        }
        Err(error) => problem::page(&may.account, &error),
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct How {
    /// Answer when it is over.
    wait: Option<String>,
}

async fn show(
    may: May<rights::Operate>,
    State(center): State<Center>,
    Path(number): Path<u64>,
    Query(how): Query<How>,
) -> Response {
    let Some(found) = at(&center, number, how.wait.is_some()).await else {
        return problem::page(&may.account, &unknown());
    };
    let title = format!("Diagnose {}", found.q);
    shell::page(&may.account, "/diagnose", &title, body(&found)).into_response()
}

fn unknown() -> Problem {
    Problem::Unknown { what: "this diagnosis is not known any more; ask again".to_owned() }
}

/// All that was seen; `wait`: when it is over.
async fn at(center: &Center, number: u64, wait: bool) -> Option<Diagnosis> {
    if wait {
        // More steps than any diagnosis has: only its end is waited for.
        center.reader.diagnosis(number, usize::MAX, WAIT_MS).await?;
    }
    center.reader.diagnosis(number, 0, 0).await
}

fn body(found: &Diagnosis) -> Markup {
    let number = found.number;
    html! {
        @if found.is_over() {
            div { (result(found)) }
            h2 { "What was looked at" }
            ol.steps { (steps(&found.steps, start(found))) }
        } @else {
            div #result aria-live="polite" { p.quiet { "Looking …" } }
            h2 { "What is looked at" }
            ol.steps #steps data-mode="append" data-live=(format!("/diagnose/{number}/events")) data-events="steps result" {}
            // Without script the result is waited for.
            noscript { meta http-equiv="refresh" content=(format!("0; url=/diagnose/{number}?wait=1")); p { a href=(format!("/diagnose/{number}?wait=1")) { "Show the result" } } }
        }
        p { a.button href=(format!("/diagnose?q={}", part::encode(&found.q))) { "Ask again" } }
    }
}

fn start(found: &Diagnosis) -> Time {
    found.steps.first().map_or(Time(0), |step| step.at)
}

fn steps(steps: &[Step], start: Time) -> Markup {
    html! {
        @for step in steps {
            li class=(step.stage.to_lowercase()) {
                span.when { "+" (step.at.since(start).as_millis()) " ms" } " "
                span { (shell::badge(if step.stage == "experiment" { "info" } else { "plain" }, &step.stage)) } " "
                span { @if !step.host.is_empty() { span.quiet { (step.host) } " " } code { (step.text) } }
            }
        }
    }
}

fn result(found: &Diagnosis) -> Markup {
    html! {
        @if let Some(problem) = &found.problem { (shell::notice("bad", problem.what())) }
        @if let Some(result) = &found.result { (outcome(result)) }
    }
}

fn outcome(result: &Diagnosed) -> Markup {
    html! {
        @for one in &result.findings { (finding::card(one)) }
        @if result.findings.is_empty() {
            (shell::notice("info", "No rule explains these facts: either nothing is wrong as far as RCPT, or the cause is not known. The record below is all that was seen."))
        }
        @for why in &result.not_looked_at { (shell::notice("warn", &format!("Not looked at: {why}"))) }
        details { summary { "The record" } pre { (serde_json::to_string_pretty(&result.record).unwrap_or_default()) } }
    }
}

/// Steps as they come, then the result.
async fn events(may: May<rights::Operate>, State(center): State<Center>, Path(number): Path<u64>) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let reader = center.reader.clone();
    tokio::spawn(async move {
        let (mut seen, mut first) = (0, None);
        while !sender.is_closed() {
            let Some(found) = reader.diagnosis(number, seen, STEP_MS).await else { break };
            seen += found.steps.len();
            first = first.or_else(|| found.steps.first().map(|step| step.at));
            if !found.steps.is_empty() {
                let lines = steps(&found.steps, first.unwrap_or_default());
                if sender.send(live::fragment("steps", lines)).await.is_err() {
                    return;
                }
            }
            if found.is_over() {
                let _ = sender.send(live::fragment("result", result(&found))).await;
                break;
            }
        }
        // So that the browser does not ask again.
        let _ = sender.send(Event::default().event("end").data("")).await;
    });
    live::events(may, &center, receiver)
}

/// Looks at an address, an Audit ID or a client now, and answers when it is over.
#[utoipa::path(post, path = "/api/v1/diagnose", tag = "diagnose", request_body = Asked, responses((status = 200, body = Diagnosis), (status = 422, body = Problem)))]
async fn begin_api(
    _: May<rights::Operate>,
    State(center): State<Center>,
    Json(asked): Json<Asked>,
) -> Result<Json<Diagnosis>, Problem> {
    let number = center.reader.diagnose(&asked.q, asked.from.trim())?;
    at(&center, number, true).await.map(Json).ok_or_else(unknown)
}

/// A diagnosis that was begun, as far as it is.
#[utoipa::path(get, path = "/api/v1/diagnose/{number}", tag = "diagnose", params(("number" = u64, Path)), responses((status = 200, body = Diagnosis), (status = 404, body = Problem)))]
async fn show_api(
    _: May<rights::Operate>,
    State(center): State<Center>,
    Path(number): Path<u64>,
) -> Result<Json<Diagnosis>, Problem> {
    at(&center, number, false).await.map(Json).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_question_leads_to_its_steps_and_its_result() {
        let world = Arc::<World>::default();
        assert_eq!(post(&world, "Operator", "/diagnose", "q=bob%40typo.test").await.0, 303);
        let (code, page) = get("Operator", "/diagnose/7").await;
        assert_eq!(code, 200);
        for part in [
            "mx.typo.test has no address",
            "+35 ms",
            "&lt;b&gt;EHLO",
            "Not looked at: spent",
            "The record",
            "&quot;rule&quot;",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>EHLO") && !page.contains("data-live"), "it is over: {page}");
    }

    #[tokio::test]
    async fn while_it_is_made_a_script_gets_events_and_others_wait() {
        let (_, page) = get("Operator", "/diagnose/8").await;
        for part in ["data-live=\"/diagnose/8/events\"", "data-events=\"steps result\"", "url=/diagnose/8?wait=1"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let (code, stream) = get("Operator", "/diagnose/7/events").await;
        assert_eq!(code, 200);
        let order: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(order, ["steps", "result", "end"], "{stream}");
    }

    #[tokio::test]
    async fn what_cannot_be_looked_at_stays_in_the_field_with_the_reason() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Operator", "/diagnose", "q=%3Cnonsense%3E").await;
        assert!(code == 422 && page.contains("value=\"&lt;nonsense&gt;\"") && page.contains("neither"), "{page}");
        assert_eq!(post(&world, "ReadOnly", "/diagnose", "q=bob%40typo.test").await.0, 403);
        assert_eq!(get("Operator", "/diagnose/99").await.0, 404);
    }
}
