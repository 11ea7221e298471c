//! Protocols, SMTP: the listeners and everything about them, one tab for each table of the settings. A table that no other
//! page has comes here, so a new one is seen.

use crate::page::change::{self, Asked, Wish};
use crate::page::{Routes, configuration, everywhere};
use crate::part::setting::{self, Typed};
use crate::part::shell;
use crate::right::{May, Right, rights};
use crate::{Account, Center};
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use decide::settings::{Complaint, Key};
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) fn routes() -> Routes {
    change::large(Routes::new().route("/smtp", get(page).post(save)))
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Tab {
    pub(crate) tab: Option<String>,
    pub(crate) applied: Option<i64>,
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Query(tab): Query<Tab>) -> Response {
    show(&may.account, &center, &tab, &Typed::default(), &[]).into_response()
}

async fn save(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Query(tab): Query<Tab>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let name = tab.tab.clone().unwrap_or_default();
    let back = format!("/smtp?tab={}", crate::part::encode(&name));
    match wish(&may.account, &center, "/smtp", &back, &typed, html! {}).await {
        Ok(answer) => answer,
        Err(complaints) => {
            let page = show(&may.account, &center, &tab, &typed, &complaints);
            shell::with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

/// Goes on with a form of keys that are named by their paths.
pub(crate) async fn wish(
    account: &Account,
    center: &Center,
    here: &str,
    back: &str,
    typed: &Typed,
    besides: Markup,
) -> Result<Response, Vec<Complaint>> {
    let now = center.reader.settings();
    let base = typed.version().unwrap_or(now.version);
    let seen = if base == now.version { now } else { center.reader.settings_of(base).unwrap_or(now) };
    let keys = setting::tables(&seen.settings).into_iter().flat_map(|(_, keys)| keys);
    let edits: Vec<_> = keys.filter_map(|key| typed.edit(&key.path, &key)).collect();
    if edits.is_empty() {
        let nothing = Complaint {
            path: String::new(),
            line: None,
            value: String::new(),
            problem: "no field was changed".to_owned(),
            suggestion: String::new(),
        };
        return Err(vec![nothing]);
    }
    let asked = Asked { account, here, back, wish: Wish::Edits(edits), base, besides };
    if typed.of("all").is_some() && !center.scanners.scanners().is_empty() {
        return everywhere::ask(center, &asked).await;
    }
    change::ask(center, &asked).await
}

/// The form around some keys: what is wrong, the fields, the button.
pub(crate) fn form(
    action: &str,
    version: i64,
    keys: &[Key],
    typed: &Typed,
    found: &[Complaint],
    may: bool,
    more: Markup,
) -> Markup {
    let elsewhere: Vec<&Complaint> =
        found.iter().filter(|complaint| !keys.iter().any(|key| key.path == complaint.path)).collect();
    html! {
        (setting::complaints(&elsewhere))
        form action=(action) method="post" {
            // What the fields were filled from; kept when a refused form comes back.
            input type="hidden" name="version" value=(typed.version().unwrap_or(version));
            (setting::fields(keys, typed, found, may))
            (more)
            @if may { p { button.primary type="submit" { "Preview the change" } } }
            @else { p.quiet { "Changing settings needs a full administrator." } }
        }
    }
}

/// Links between the tabs of a page: address, words, whether it is the one shown.
pub(crate) fn tabs(tabs: &[(String, String, bool)]) -> Markup {
    html! { nav.tabs aria-label="Sections" { ul { @for (address, words, here) in tabs {
        li { a href=(address) aria-current=[here.then_some("page")] { (words) } }
    } } } }
}

/// `listener.inbound` → `Inbound`; `dns` → `DNS`.
pub(crate) fn words_of_table(table: &str) -> String {
    setting::label(table.strip_prefix("listener.").unwrap_or(table).replace('.', " ").as_str())
}

fn show(
    account: &Account,
    center: &Center,
    tab: &Tab,
    typed: &Typed,
    found: &[Complaint],
) -> axum::response::Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let all: Vec<_> =
        setting::tables(&document.settings).into_iter().filter(|(table, _)| !configuration::has(table)).collect();
    let wanted = tab.tab.as_deref().unwrap_or_default();
    let at = all.iter().position(|(table, _)| table == wanted).unwrap_or(0);
    let links: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(place, (table, _))| (format!("/smtp?tab={table}"), words_of_table(table), place == at))
        .collect();
    let body = html! {
        (change::above(&document, tab.applied, may))
        (tabs(&links))
        @if let Some((table, keys)) = all.get(at) {
            (form(&format!("/smtp?tab={table}"), document.version, keys, typed, found, may, html! {}))
        }
        (crate::page::list::links(&document.settings, |list| !configuration::has(list)))
    };
    shell::page(account, "/smtp", "SMTP", body)
}

#[cfg(test)]
mod tests {
    use crate::Order;
    use crate::reader::settings::tests::settings_text;
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn every_key_of_the_settings_has_its_field() {
        let mut pages = String::new();
        let tables = crate::part::setting::tables(&decide::settings::Settings::default());
        for (table, _) in &tables {
            pages.push_str(&get("Full", &format!("/smtp?tab={table}")).await.1);
        }
        let host = "/configuration/mail.example.test/smtp";
        for path in [host.to_owned(), "/domains/routes".to_owned()]
            .into_iter()
            .chain(["delivery", "identity", "queue"].map(|tab| format!("{host}/advanced?tab={tab}")))
        {
            pages.push_str(&get("Full", &path).await.1);
        }
        let missing: Vec<_> = tables
            .iter()
            .flat_map(|(_, keys)| keys)
            .filter(|key| !pages.contains(&format!("name=\"{}\"", key.path)))
            .map(|key| &key.path)
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[tokio::test]
    async fn a_change_is_shown_then_applied_and_touches_nothing_else() {
        let world = Arc::<World>::default();
        let (code, page) =
            post(&world, "Full", "/smtp?tab=listener.inbound", "version=2&listener.inbound.connections=7").await;
        assert!(code == 200 && page.contains("<code>2000</code>") && page.contains("<code>7</code>"), "{page}");
        assert!(world.orders.lock().unwrap().is_empty(), "a preview changes nothing");

        let wish =
            crate::part::encode(r#"{"edits":[{"edit":"set","path":"listener.inbound.connections","value":"7"}]}"#);
        let form = format!("version=2&back=%2Fsmtp&here=%2Fsmtp&comment=why&wish={wish}");
        let (code, _) = post(&world, "Full", "/settings/apply", &form).await;
        assert_eq!(code, 303);
        let text = format!("{}\n[listener.inbound]\nconnections = 7\n", settings_text(2).unwrap());
        let expected = Order::SettingsApply { text, comment: "why".to_owned(), base: Some(2) };
        assert_eq!(*world.orders.lock().unwrap(), [expected]);
    }

    #[tokio::test]
    async fn a_wrong_value_is_told_at_its_field() {
        let world = Arc::<World>::default();
        let (code, page) =
            post(&world, "Full", "/smtp?tab=listener.inbound", "version=2&listener.inbound.connections=many").await;
        assert!(code == 422 && page.contains("value=\"many\"") && page.contains("must be 1 to 100000"), "{page}");
    }

    #[tokio::test]
    async fn what_others_changed_meanwhile_is_shown_before_anything_is_applied() {
        let world = Arc::<World>::default();
        let wish = crate::part::encode(r#"{"edits":[{"edit":"set","path":"queue.limit","value":"7000"}]}"#);
        let (code, page) = post(&world, "Full", "/settings/apply", &format!("version=1&wish={wish}")).await;
        assert!(
            code == 409 && page.contains("Changed by others, and by you") && page.contains("<code>5000</code>"),
            "{page}"
        );
        assert!(world.orders.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn settings_that_belong_to_a_file_are_offered_as_text() {
        let world =
            Arc::new(World { settings_file: Some("/etc/gatepost/settings.toml".to_owned()), ..World::default() });
        let (code, page) =
            post(&world, "Full", "/smtp?tab=listener.inbound", "version=2&listener.inbound.connections=7").await;
        assert!(
            code == 200 && page.contains("/etc/gatepost/settings.toml") && page.contains("connections = 7"),
            "{page}"
        );
        assert!(!page.contains("Apply now"), "{page}");
    }

    #[tokio::test]
    async fn only_a_full_administrator_changes_settings() {
        let world = Arc::<World>::default();
        for who in ["Operator", "ReadOnly"] {
            assert_eq!(post(&world, who, "/smtp", "version=2&listener.inbound.connections=7").await.0, 403);
        }
    }
}
