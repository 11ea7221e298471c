//! Orders on mail: first what would be done and to how many, then the deed, then how it ended and how to undo it.

use super::{deliveries, is_by, messages};
use crate::page::{Routes, problem};
use crate::part::{self, shell};
use crate::right::{May, rights};
use crate::{Account, Center, Order, PageOf, Problem, QueueSort, Selected, Work};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json};
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/queue/orders", post(prepare))
        .route("/queue/orders/{number}", get(show).post(confirm))
        .route("/queue/orders/{number}/undo", post(undo))
        .routes(routes!(order_api))
        .routes(routes!(work_api))
}

/// How long a page waits for an order before it shows how far it is.
const WAIT_MS: u64 = 1500;
/// Messages shown as examples of what an order concerns.
const EXAMPLES: usize = 10;

type Pairs = Vec<(String, String)>;

/// A form of the queue: an order, and ticked rows or the whole filter.
async fn prepare(may: May<rights::Operate>, State(center): State<Center>, Form(fields): Form<Pairs>) -> Response {
    match read(&center, &fields).await {
        Ok(order) => to(center.orders.begin(&may.account, order, true)),
        Err(error) => problem::page(&may.account, &error),
    }
}

fn to(number: u64) -> Response {
    Redirect::to(&format!("/queue/orders/{number}")).into_response()
}

async fn read(center: &Center, fields: &Pairs) -> Result<Order, Problem> {
    let field =
        |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.trim()).to_owned();
    let ticked: Vec<String> = fields.iter().filter(|(name, _)| name == "key").map(|(_, value)| value.clone()).collect();
    let which = match field("scope").as_str() {
        "all" => super::Asked {
            sender: field("sender"),
            recipient: field("recipient"),
            domain: field("domain"),
            cause: field("cause"),
            object: field("object"),
            text: field("text"),
            held: field("held"),
            older: field("older"),
            hop: field("hop"),
            id: field("id"),
            ..super::Asked::default()
        }
        .selected()?,
        _ if ticked.is_empty() => {
            let what = "no message is ticked: go back and tick some, or choose all that match".to_owned();
            return Err(super::wrong("key", what));
        }
        _ => Selected { ids: ticked, ..Selected::default() },
    };
    Ok(match field("order").as_str() {
        "retry" => Order::Retry { which },
        "hold" => Order::Hold { which, why: field("why").chars().filter(|c| !c.is_control()).collect() },
        "release" => Order::Release { which },
        "delete" => Order::Delete { which },
        "back" => Order::Reroute { which, hop: String::new() },
        "reroute" => {
            let hop = field("to_hop");
            let check = center.reader.hop(&hop).await?;
            match check.problem {
                Some(problem) => return Err(super::wrong("to_hop", format!("mail cannot go by {hop}: {problem}"))),
                None => Order::Reroute { which, hop },
            }
        }
        other => return Err(super::wrong("order", format!("{other:?} is not an order"))),
    })
}

async fn show(may: May<rights::Operate>, State(center): State<Center>, Path(number): Path<u64>) -> Response {
    let Some(work) = center.orders.work(number, WAIT_MS).await else { return unknown(&may.account) };
    let body = match (&work.problem, &work.done) {
        (Some(problem), _) => html! { (shell::notice("bad", problem.what())) (back()) },
        (None, None) => {
            let page = shell::page(&may.account, "/queue", &title(&work), running(&work));
            // Without script the page comes again by itself.
            return ([(header::REFRESH, "2")], page).into_response();
        }
        (None, Some(done)) if work.dry_run => preview(&center, &may.account, &work, done.count).await,
        (None, Some(done)) => ended(&work, done.count),
    };
    shell::page(&may.account, "/queue", &title(&work), body).into_response()
}

fn unknown(account: &Account) -> Response {
    let what = "this order is not known any more: it was given long ago, or before a restart. Whatever it did is in the administrators' acts.";
    problem::page(account, &Problem::Unknown { what: what.to_owned() })
}

fn title(work: &Work) -> String {
    let back = matches!(&work.order, Order::Reroute { hop, .. } if hop.is_empty());
    let verb = if back { "Route by the settings" } else { work.order.verb() };
    if work.dry_run { format!("{verb}: is this right?") } else { verb.to_owned() }
}

fn back() -> Markup {
    html! { p { a.button href="/queue?by=message" { "Back to the queue" } } }
}

fn running(work: &Work) -> Markup {
    html! {
        p.lead { (if work.dry_run { "Counting" } else { "At work" }) ": " (part::count(work.so_far)) " " (deliveries(work.so_far)) " so far." }
        p.quiet { "This page shows the end by itself. The order goes on if you leave." }
        p { a.button href=(format!("/queue/orders/{}", work.number)) { "Look again" } }
    }
}

/// What would be done, to how many, with examples, before anything is.
async fn preview(center: &Center, account: &Account, work: &Work, count: u64) -> Markup {
    if count == 0 {
        return html! { (shell::notice("info", "There is nothing to do: this order concerns no delivery in the queue.")) (back()) };
    }
    let which = work.order.which().cloned().unwrap_or_default();
    let of = PageOf { sort: QueueSort::Oldest, limit: EXAMPLES, after: None };
    let examples = center.reader.queue(&concerned(&work.order, which.clone()), &of).await.map(|page| page.messages);
    let danger = matches!(work.order, Order::Delete { .. });
    html! {
        p.lead { (effect(&work.order, count)) }
        p { "Concerned: " (words(&which)) "." }
        @if which.is_all() { (shell::notice("warn", "This is the whole queue.")) }
        @if let Order::Delete { .. } = work.order { (shell::notice("bad", "A deletion cannot be undone. To keep the mail and decide later, hold it instead.")) }
        form.row action=(format!("/queue/orders/{}", work.number)) method="post" {
            @if is_by(account, &work.by) {
                button.danger[danger].primary[!danger] type="submit" { (work.order.verb()) " " (part::count(count)) " " (deliveries(count)) }
            } @else { span.quiet { "Prepared by " (work.by) ", who alone can give it." } }
            a.button href="/queue?by=message" { "Do nothing" }
        }
        @if let Ok(examples) = examples { @if !examples.is_empty() {
            h2 { (if examples.len() as u64 == count { "These" } else { "The oldest of them" }) }
            div.scroll { table { tbody { @for row in &examples { tr { td.break { (messages::message(row)) } td.break { (row.status) } } } } } }
        } }
    }
}

/// The part of a selection that an order changes.
fn concerned(order: &Order, which: Selected) -> Selected {
    let held = match order {
        Order::Retry { .. } | Order::Hold { .. } => Some(false),
        Order::Release { .. } => Some(true),
        _ => which.held,
    };
    Selected { held, ..which }
}

/// One sentence: what it does to the mail.
fn effect(order: &Order, count: u64) -> String {
    let some = format!("{} {}", part::count(count), deliveries(count));
    match order {
        Order::Retry { .. } => format!(
            "{some} will be tried now, also where the destination counts as down. Their timetable and the attempts that are left do not change."
        ),
        Order::Hold { why, .. } if why.is_empty() => {
            format!("{some} will not be tried until somebody releases them. Held mail does not expire.")
        }
        Order::Hold { why, .. } => format!(
            "{some} will not be tried until somebody releases them, with the reason “{why}”. Held mail does not expire."
        ),
        Order::Release { .. } => format!(
            "{some} will go back into the queue and be tried now. What is older than the settings keep mail is returned to its sender if that fails."
        ),
        Order::Delete { .. } => format!(
            "{some} will be taken out of the queue and delivered to nobody. Their senders are not told; the audit log keeps that it was done."
        ),
        Order::Reroute { hop, .. } if hop.is_empty() => {
            format!("{some} will go the way that the settings say again, and be tried now.")
        }
        Order::Reroute { hop, .. } => {
            format!(
                "{some} will go by {hop} instead of the way that the settings say, and be tried now. New mail is not concerned."
            )
        }
        Order::Send { .. } | Order::AlertTest | Order::SettingsApply { .. } | Order::SettingsRollback { .. } => {
            String::new()
        }
    }
}

/// A selection in words.
fn words(which: &Selected) -> String {
    let mut said = Vec::new();
    let mut say =
        |what: &str, value: &Option<String>| said.extend(value.iter().map(|value| format!("{what} “{value}”")));
    say("sender contains", &which.sender);
    say("recipient contains", &which.recipient);
    say("domain", &which.domain);
    say("status or another text contains", &which.text);
    say("cause", &which.cause);
    say("about", &which.object);
    say("next hop contains", &which.next_hop);
    match which.ids.as_slice() {
        [] => {}
        [one] => said.push(format!("message {}", one.split(':').next().unwrap_or_default())),
        several => said.push(format!("{} ticked rows", several.len())),
    }
    said.extend(which.held.map(|held| (if held { "held" } else { "not held" }).to_owned()));
    said.extend(which.older_than_ms.map(|ms| format!("older than {}", part::time::length(ms as i64))));
    if said.is_empty() { "every delivery in the queue".to_owned() } else { said.join(", ") }
}

/// Gives the order that was shown.
async fn confirm(may: May<rights::Operate>, State(center): State<Center>, Path(number): Path<u64>) -> Response {
    let Some(work) = center.orders.work(number, WAIT_MS).await else { return unknown(&may.account) };
    if !work.dry_run || work.done.is_none() || !is_by(&may.account, &work.by) {
        return to(number);
    }
    to(center.orders.begin(&may.account, work.order, false))
}

fn ended(work: &Work, count: u64) -> Markup {
    let deed = match &work.order {
        Order::Retry { .. } => "due now",
        Order::Hold { .. } => "held",
        Order::Release { .. } => "released",
        Order::Delete { .. } => "deleted",
        Order::Reroute { hop, .. } if hop.is_empty() => "back on the way of the settings",
        Order::Reroute { .. } => "rerouted",
        Order::Send { .. } | Order::AlertTest | Order::SettingsApply { .. } | Order::SettingsRollback { .. } => "done",
    };
    let verb = if count == 1 { "is" } else { "are" };
    html! {
        (shell::notice("good", &format!("{} {} {verb} {deed}.", part::count(count), deliveries(count))))
        @match reverse(&work.order) {
            Reverse::Order(_, words) => form.row action=(format!("/queue/orders/{}/undo", work.number)) method="post" { button type="submit" { "Undo: " (words) } },
            Reverse::No(why) => p.quiet { (why) },
        }
        (back())
    }
}

/// What takes an order back.
enum Reverse {
    Order(Box<Order>, &'static str),
    No(&'static str),
}

fn reverse(order: &Order) -> Reverse {
    let back = |order, words| Reverse::Order(Box::new(order), words);
    match order {
        Order::Hold { which, .. } if !which.ids.is_empty() => {
            back(Order::Release { which: which.clone() }, "release them; they are tried at once")
        }
        // By the reason, which no other order gave.
        Order::Hold { why, .. } => {
            let which = Selected { held: Some(true), text: Some(why.clone()), ..Selected::default() };
            back(Order::Release { which }, "release them; they are tried at once")
        }
        Order::Release { which } if !which.ids.is_empty() => {
            let why = "held again".to_owned();
            back(Order::Hold { which: which.clone(), why }, "hold again what has not gone yet")
        }
        Order::Release { .. } => Reverse::No("To stop it, hold what still waits: choose it in the queue."),
        Order::Reroute { which, hop } if !hop.is_empty() => {
            // Tried at the old hop no more, so that only the new one finds them.
            let which = Selected { next_hop: which.ids.is_empty().then(|| hop.clone()), ..which.clone() };
            let order = Order::Reroute { which, hop: String::new() };
            back(order, "back to the way of the settings, what has not gone yet")
        }
        Order::Reroute { .. } => Reverse::No("To take it back, reroute them again."),
        Order::Retry { .. } => Reverse::No("There is nothing to undo: the timetable has not changed."),
        Order::Delete { .. } => Reverse::No("A deletion cannot be undone."),
        Order::Send { .. } | Order::AlertTest | Order::SettingsApply { .. } | Order::SettingsRollback { .. } => {
            Reverse::No("")
        }
    }
}

async fn undo(may: May<rights::Operate>, State(center): State<Center>, Path(number): Path<u64>) -> Response {
    let Some(work) = center.orders.work(number, WAIT_MS).await else { return unknown(&may.account) };
    match reverse(&work.order) {
        Reverse::Order(order, _) if !work.dry_run && work.done.is_some() => {
            to(center.orders.begin(&may.account, *order, false))
        }
        _ => to(number),
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct HowTo {
    /// Only count.
    dry_run: bool,
}

/// Begins an order on mail in the queue: retry, hold, release, delete, reroute.
#[utoipa::path(post, path = "/api/v1/queue/orders", tag = "queue", params(HowTo), request_body = Order, responses((status = 202, body = Work), (status = 422, body = Problem)))]
async fn order_api(
    may: May<rights::Operate>,
    State(center): State<Center>,
    Query(how): Query<HowTo>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Work>), Problem> {
    if order.which().is_none() {
        return Err(super::wrong(
            "order",
            "only orders on mail in the queue: retry, hold, release, delete, reroute".to_owned(),
        ));
    }
    if let Order::Reroute { hop, .. } = &order
        && !hop.is_empty()
        && let Some(problem) = center.reader.hop(hop).await?.problem
    {
        return Err(super::wrong("hop", problem));
    }
    let number = center.orders.begin(&may.account, order, how.dry_run);
    found(center.orders.work(number, WAIT_MS).await).map(|work| (StatusCode::ACCEPTED, work))
}

/// How far an order is.
#[utoipa::path(get, path = "/api/v1/queue/orders/{number}", tag = "queue", params(("number" = u64, Path)), responses((status = 200, body = Work), (status = 404, body = Problem)))]
async fn work_api(
    _: May<rights::Operate>,
    State(center): State<Center>,
    Path(number): Path<u64>,
) -> Result<Json<Work>, Problem> {
    found(center.orders.work(number, WAIT_MS).await)
}

fn found(work: Option<Work>) -> Result<Json<Work>, Problem> {
    work.map(Json).ok_or_else(|| Problem::Unknown { what: "no such order; it may be long ago".to_owned() })
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, ask, get, post};
    use crate::{Order, Selected};
    use axum::http::Request;
    use std::sync::Arc;

    async fn see(world: &Arc<World>, who: &str, path: &str) -> String {
        ask(world, who, Request::get(path).body(String::new()).unwrap()).await.1
    }

    #[tokio::test]
    async fn an_order_is_shown_first_then_given_then_undone() {
        let world = Arc::<World>::default();
        let form = "scope=all&domain=typo.test&order=hold&why=looks+odd";
        assert_eq!(post(&world, "Operator", "/queue/orders", form).await.0, 303);
        let preview = see(&world, "Operator", "/queue/orders/1").await;
        for part in ["Hold 3 deliveries", "domain “typo.test”", "looks odd", "01K8Z6T3WQM2V", "Do nothing"] {
            assert!(preview.contains(part), "{part}: {preview}");
        }
        assert!(world.orders.lock().unwrap().is_empty(), "a preview does nothing");
        assert_eq!(post(&world, "Operator", "/queue/orders/1", "").await.0, 303);
        let which = Selected { domain: Some("typo.test".to_owned()), ..Selected::default() };
        let hold = Order::Hold { which, why: "looks odd".to_owned() };
        assert_eq!(*world.orders.lock().unwrap(), [hold]);
        let ended = see(&world, "Operator", "/queue/orders/2").await;
        assert!(ended.contains("3 deliveries are held") && ended.contains("Undo"), "{ended}");
        post(&world, "Operator", "/queue/orders/2/undo", "").await;
        let which = Selected { held: Some(true), text: Some("looks odd".to_owned()), ..Selected::default() };
        assert_eq!(world.orders.lock().unwrap()[1], Order::Release { which });
    }

    #[tokio::test]
    async fn ticked_rows_are_single_deliveries() {
        let world = Arc::<World>::default();
        let form = "scope=ticked&domain=typo.test&key=01K8Z6T3WQM2V%3A0&key=01K8Z6T3WQM2V%3A1&order=delete";
        post(&world, "Full", "/queue/orders", form).await;
        let preview = see(&world, "Full", "/queue/orders/1").await;
        assert!(preview.contains("cannot be undone") && preview.contains("2 ticked rows"), "{preview}");
        post(&world, "Full", "/queue/orders/1", "").await;
        let ids = vec!["01K8Z6T3WQM2V:0".to_owned(), "01K8Z6T3WQM2V:1".to_owned()];
        let which = Selected { ids, ..Selected::default() };
        assert_eq!(*world.orders.lock().unwrap(), [Order::Delete { which }]);
        let (code, page) = post(&world, "Full", "/queue/orders", "scope=ticked&order=delete").await;
        assert!(code == 422 && page.contains("no message is ticked"), "{page}");
    }

    #[tokio::test]
    async fn a_next_hop_that_leads_nowhere_is_refused_before_the_preview() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/queue/orders", "scope=all&order=reroute&to_hop=ourselves.test").await;
        assert!(code == 422 && page.contains("this gateway itself"), "{page}");
        post(&world, "Full", "/queue/orders", "scope=all&order=reroute&to_hop=mx2.test").await;
        let preview = see(&world, "Full", "/queue/orders/1").await;
        assert!(preview.contains("will go by mx2.test") && preview.contains("This is the whole queue"), "{preview}");
    }

    #[tokio::test]
    async fn only_operators_give_orders_and_only_their_own() {
        let world = Arc::<World>::default();
        for path in ["/queue/orders", "/queue/orders/1", "/queue/orders/1/undo", "/api/v1/queue/orders"] {
            assert_eq!(post(&world, "ReadOnly", path, "scope=all&order=delete").await.0, 403, "{path}");
        }
        post(&world, "Operator", "/queue/orders", "scope=all&order=delete").await;
        post(&world, "Full", "/queue/orders/1", "").await;
        assert!(world.orders.lock().unwrap().is_empty(), "another's preview is not given");
        assert_eq!(get("Operator", "/queue/orders/99").await.0, 404);
    }

    #[tokio::test]
    async fn tools_give_orders_as_json() {
        let world = Arc::<World>::default();
        let ask_for = async |body: &str| {
            let request = Request::post("/api/v1/queue/orders").header("content-type", "application/json");
            ask(&world, "Operator", request.body(body.to_owned()).unwrap()).await
        };
        let (code, text) = ask_for(r#"{"order":"retry","which":{"domain":"typo.test"}}"#).await;
        assert!(code == 202 && text.contains("\"count\":3"), "{text}");
        assert_eq!(world.orders.lock().unwrap().len(), 1);
        let (code, text) = ask_for(r#"{"order":"settings-rollback","version":3}"#).await;
        assert!(code == 422 && text.contains("only orders on mail"), "{text}");
    }
}
