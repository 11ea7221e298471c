//! Setup: what a new gateway needs before mail flows: its name, a domain with its server, a test message. Each step can be
//! left out and done again later; what was typed stays.

use crate::page::Routes;
use crate::part::form::{Field, text};
use crate::part::shell;
use crate::reader::{HopCheck, Looked};
use crate::right::{May, rights};
use crate::{Account, Center, Order, Problem};
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use decide::settings::{Edit, Settings};
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/setup", get(begin))
        .route("/setup/name", get(name).post(set_name))
        .route("/setup/domain", get(domain).post(set_domain))
        .route("/setup/test", get(test).post(send))
}

type Admin = May<rights::Configure>;

async fn begin(_: Admin) -> Redirect {
    Redirect::to("/setup/name")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Name {
    hostname: String,
    act: String,
}

async fn name(may: Admin, State(center): State<Center>) -> Response {
    let typed = Name { hostname: center.reader.health().hostname, ..Name::default() };
    name_page(&center, &may.account, &typed, &[], None)
}

async fn set_name(may: Admin, State(center): State<Center>, Form(typed): Form<Name>) -> Response {
    if typed.act == "save" {
        let edit = Edit::Set { path: "hostname".to_owned(), value: quoted(typed.hostname.trim()) };
        return match apply(&center, &may.account, edit, "setup: host name").await {
            Ok(()) => Redirect::to("/setup/domain").into_response(),
            Err(problem) => name_page(&center, &may.account, &typed, &[], Some(problem.what())),
        };
    }
    match center.reader.look(typed.hostname.trim()).await {
        Ok(looked) => name_page(&center, &may.account, &typed, &looked, None),
        Err(problem) => name_page(&center, &may.account, &typed, &[], Some(problem.what())),
    }
}

fn name_page(center: &Center, account: &Account, typed: &Name, looked: &[Looked], error: Option<&str>) -> Response {
    let hint = "What the gateway calls itself. It must have an address in public DNS, and the address should lead back to the name.";
    let field = Field { name: "hostname", label: "MTA host name", value: &typed.hostname, hint, error, required: true };
    let body = html! {
        form method="post" action="/setup/name" {
            (text("text", field))
            p { button type="submit" name="act" value="check" { "Look at it from outside" } " " button.primary type="submit" name="act" value="save" { "Save and go on" } }
        }
        @if !looked.is_empty() {
            h2 { "Seen from outside" }
            ul.looked { @for one in looked {
                li { (shell::badge(one.kind, state(one.kind))) " " (one.sentence)
                    @if !one.fix.is_empty() { ul { @for step in &one.fix { li { (step) } } } } }
            } }
        }
    };
    page(center, account, 1, "What is this gateway called?", "/setup/domain", body)
}

fn state(kind: &str) -> &'static str {
    match kind {
        "good" => "fine",
        "warn" => "some mind it",
        "bad" => "mail is refused for it",
        "info" => "worth knowing",
        _ => "not known",
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Domain {
    name: String,
    hops: String,
    act: String,
}

async fn domain(may: Admin, State(center): State<Center>) -> Response {
    domain_page(&center, &may.account, &Domain::default(), &[], None).await
}

async fn set_domain(may: Admin, State(center): State<Center>, Form(typed): Form<Domain>) -> Response {
    let hops: Vec<&str> = typed.hops.split([',', ' ', '\n', '\r']).filter(|hop| !hop.is_empty()).collect();
    if hops.is_empty() {
        let what = Problem::Field {
            field: "hops".to_owned(),
            what: "Name the server behind, such as 192.0.2.25 or mail.corp.example:25.".to_owned(),
        };
        return domain_page(&center, &may.account, &typed, &[], Some(&what)).await;
    }
    if typed.act == "save" {
        let list = hops.iter().map(|hop| quoted(hop)).collect::<Vec<_>>().join(", ");
        let keys = vec![("name".to_owned(), quoted(typed.name.trim())), ("next_hops".to_owned(), format!("[{list}]"))];
        let edit = Edit::Add { list: "domain".to_owned(), keys };
        return match apply(&center, &may.account, edit, "setup: domain").await {
            Ok(()) => domain_page(&center, &may.account, &Domain::default(), &[], None).await,
            Err(problem) => {
                let what = Problem::Field { field: "name".to_owned(), what: problem.what().to_owned() };
                domain_page(&center, &may.account, &typed, &[], Some(&what)).await
            }
        };
    }
    let mut found = Vec::new();
    for hop in hops.iter().take(HOPS_MAX) {
        let way = center.reader.hop(hop).await;
        let way =
            way.unwrap_or_else(|problem| HopCheck { problem: Some(problem.what().to_owned()), ..HopCheck::default() });
        found.push(((*hop).to_owned(), way));
    }
    domain_page(&center, &may.account, &typed, &found, None).await
}

/// Next hops looked at in one go.
const HOPS_MAX: usize = 10;

async fn domain_page(
    center: &Center,
    account: &Account,
    typed: &Domain,
    found: &[(String, HopCheck)],
    problem: Option<&Problem>,
) -> Response {
    let error = |name: &str| match problem {
        Some(Problem::Field { field, what }) if field == name => Some(what.as_str()),
        _ => None,
    };
    let there = center.reader.document().await.ok().and_then(|text| Settings::read(&text).ok());
    let names: Vec<String> = there
        .iter()
        .flat_map(|settings| settings.domains.iter())
        .map(|domain| domain.name.to_string())
        .take(20)
        .collect();
    let body = html! {
        @if !names.is_empty() { p { "Mail is taken for: " strong { (names.join(", ")) } } }
        form method="post" action="/setup/domain" {
            (text("text", Field { name: "name", label: "Domain", value: &typed.name, hint: "Mail for it is accepted from the Internet, such as corp.example", error: error("name"), required: true }))
            (text("text", Field { name: "hops", label: "Server behind", value: &typed.hops, hint: "Where its mail goes: host or address, with :port if it is not 25. Several: with commas, tried in this order.", error: error("hops"), required: true }))
            p { button type="submit" name="act" value="check" { "Look at the way" } " " button.primary type="submit" name="act" value="save" { "Add this domain" } }
        }
        @for (hop, way) in found {
            @match &way.problem {
                Some(problem) => (shell::notice("bad", &format!("{hop}: {problem}"))),
                None => (shell::notice("good", &format!("{hop}: mail would go to {}", way.hosts.join(", then ")))),
            }
        }
    };
    page(center, account, 2, "Which mail is yours, and where does it go?", "/setup/test", body)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Test {
    to: String,
}

async fn test(may: Admin, State(center): State<Center>) -> Response {
    test_page(&center, &may.account, &Test::default(), html! {}, None)
}

async fn send(may: Admin, State(center): State<Center>, Form(typed): Form<Test>) -> Response {
    let order = Order::Send {
        to: typed.to.trim().to_owned(),
        subject: "Gatepost test message".to_owned(),
        body: format!("This is a test message that {} sent from the Control Center.", may.account.name),
    };
    match center.orders.order(&may.account, order, false).await {
        Ok(done) => {
            let id = done.made.unwrap_or_default();
            let above = html! {
                div.notice.good role="status" { p { "It is on its way. " a href=(format!("/message/{}", crate::part::encode(&id))) { "Follow it: " (id) } } }
            };
            test_page(&center, &may.account, &typed, above, None)
        }
        Err(problem) => test_page(&center, &may.account, &typed, html! {}, Some(problem.what())),
    }
}

fn test_page(center: &Center, account: &Account, typed: &Test, above: Markup, error: Option<&str>) -> Response {
    let hint = "It takes the way of all mail: queue, route, delivery.";
    let body = html! {
        (above)
        form method="post" action="/setup/test" {
            (text("email", Field { name: "to", label: "Send a test message to", value: &typed.to, hint, error, required: true }))
            button.primary type="submit" { "Send" }
        }
    };
    page(center, account, 3, "Does mail arrive?", "/", body)
}

const STEPS: usize = 3;

fn page(center: &Center, account: &Account, step: usize, title: &str, next: &str, body: Markup) -> Response {
    let on = if step < STEPS { "Leave this out" } else { "To the dashboard" };
    let body = html! {
        p.quiet { "Setup, step " (step) " of " (STEPS) ". All of it can be changed later." }
        @if step < STEPS && center.reader.is_owned_by_file() {
            (shell::notice("warn", "The settings lie in a file (settings_file of gatepost.toml) and are changed there: what is saved here would be replaced by it."))
        }
        (body)
        p { @if step > 1 { a href=(if step == 2 { "/setup/name" } else { "/setup/domain" }) { "Back" } " · " } a href=(next) { (on) } }
    };
    shell::page(account, "", title, body).into_response()
}

async fn apply(center: &Center, by: &Account, edit: Edit, comment: &str) -> Result<(), Problem> {
    let said = |complaints: Vec<decide::settings::Complaint>| {
        let what = complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Problem::Failed { what }
    };
    let text = decide::settings::edit(&center.reader.document().await?, &[edit]).map_err(said)?;
    Settings::read(&text).map_err(said)?;
    let order = Order::SettingsApply { text, comment: comment.to_owned(), base: None };
    center.orders.order(by, order, false).await.map(drop)
}

/// As TOML; JSON's strings are TOML's basic ones (TOML 1.0, String).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use crate::reader::{Looked, SetupReader};
    use crate::testing::{World, get, post};
    use crate::{Order, Problem};
    use async_trait::async_trait;
    use std::sync::Arc;

    #[async_trait]
    impl SetupReader for World {
        async fn document(&self) -> Result<String, Problem> {
            Ok("hostname = \"old.corp.test\" # kept\n[[domain]]\nname = \"first.test\"\nnext_hops = [\"192.0.2.1\"]\n"
                .to_owned())
        }

        fn is_owned_by_file(&self) -> bool {
            false
        }

        async fn look(&self, hostname: &str) -> Result<Vec<Looked>, Problem> {
            let sentence = format!("<b>{hostname} has no address");
            Ok(vec![Looked { kind: "bad", sentence, fix: vec!["add an A record".to_owned()] }])
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_at_before_it_is_saved() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/setup/name", "hostname=mail.corp.test&act=check").await;
        assert!(code == 200 && page.contains("has no address") && page.contains("add an A record"), "{page}");
        assert!(page.contains("value=\"mail.corp.test\"") && !page.contains("<b>mail"), "{page}");
        assert!(world.orders.lock().unwrap().is_empty());
        let (code, _) = post(&world, "Full", "/setup/name", "hostname=mail.corp.test&act=save").await;
        assert_eq!(code, 303);
        let orders = world.orders.lock().unwrap();
        let Order::SettingsApply { text, .. } = &orders[0] else { panic!("{orders:?}") };
        assert!(text.starts_with("hostname = \"mail.corp.test\" # kept\n"), "{text}");
    }

    #[tokio::test]
    async fn what_the_settings_refuse_stays_typed() {
        let world = Arc::<World>::default();
        let (_, page) = post(&world, "Full", "/setup/name", "hostname=a..b&act=save").await;
        assert!(page.contains("hostname-error") && page.contains("value=\"a..b\""), "{page}");
        let (_, page) = post(&world, "Full", "/setup/domain", "name=first.test&hops=192.0.2.2&act=save").await;
        assert!(page.contains("name-error") && page.contains("value=\"192.0.2.2\""), "{page}");
        let (_, page) = post(&world, "Full", "/setup/domain", "name=corp.test&hops=&act=save").await;
        assert!(page.contains("hops-error") && page.contains("value=\"corp.test\""), "{page}");
        assert!(world.orders.lock().unwrap().is_empty());
        assert_eq!(
            post(&world, "Full", "/setup/domain", "name=corp.test&hops=192.0.2.2,+mx2.corp.test:26&act=save").await.0,
            200
        );
        let orders = world.orders.lock().unwrap();
        let Order::SettingsApply { text, .. } = &orders[0] else { panic!("{orders:?}") };
        assert!(
            text.contains("name = \"corp.test\"") && text.contains("\"192.0.2.2\", \"mx2.corp.test:26\""),
            "{text}"
        );
    }

    #[tokio::test]
    async fn every_step_can_be_left_out() {
        for (path, next) in [("/setup/name", "/setup/domain"), ("/setup/domain", "/setup/test"), ("/setup/test", "/")] {
            let (code, page) = get("Full", path).await;
            assert!(code == 200 && page.contains(&format!("<a href=\"{next}\">")), "{page}");
        }
        assert_eq!(get("Operator", "/setup/name").await.0, 403);
    }
}
