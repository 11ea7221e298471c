//! The audit log of all Scanners: each is asked the same, at once; rows name their Scanner, and one that is silent is named.

use super::{Asked, Pairs, ROWS, Row, refused, search, table};
use crate::page::everywhere::{ask_all, refusal};
use crate::page::scanners::words;
use crate::part::shell;
use crate::reader::{AuditPage, AuditRow};
use crate::right::{May, rights};
use crate::{Account, Call, Center, Problem, Trouble};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mail::Time;
use maud::{Markup, html};
use serde::Serialize;
use std::collections::BTreeMap;

/// What all Scanners found.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct Found {
    /// Newest first; up to 50 of each Scanner.
    rows: Vec<Named>,
    /// Who did not answer: what they know is missing here.
    silent: Vec<Silent>,
    /// Ask for what follows with this as `after`; absent: that was all.
    next: Option<String>,
    /// Scanners that took too long for a page: more may be there, go on with `next`.
    hurried: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Named {
    scanner: String,
    /// Of its Control Center; empty: this gateway.
    url: String,
    row: AuditRow,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Silent {
    scanner: String,
    trouble: Trouble,
}

/// Where each Scanner's page goes on, by its name; this one is the empty name. One that is not there has told all.
type Cursors = BTreeMap<String, String>;

/// Like `/api/v1/audit`, on this Scanner and all others at once. Who does not answer stands in `silent`.
#[utoipa::path(get, path = "/api/v1/audit/everywhere", tag = "scanners", params(Asked), responses((status = 200, body = Found), (status = 422, body = Problem)))]
pub(super) async fn api(may: May<rights::Look>, State(center): State<Center>, pairs: Pairs) -> Response {
    match find(&center, &may.account, &Asked::of(pairs)).await {
        Ok(found) => Json(found).into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn page(account: &Account, center: &Center, asked: &Asked) -> Response {
    let now = center.reader.now();
    let (code, body) = match find(center, account, asked).await {
        Ok(found) => (StatusCode::OK, html! { (search(asked, &[], true, true)) (results(&found, asked, now)) }),
        Err(Problem::Field { field, what }) => {
            let wrong = [(field.as_str(), what)];
            (StatusCode::UNPROCESSABLE_ENTITY, search(asked, &wrong, true, true))
        }
        Err(failed) => return crate::page::problem::page(account, &failed),
    };
    shell::with(code, shell::page(account, "/audit", "Message audit log of all Scanners", body))
}

async fn find(center: &Center, by: &Account, asked: &Asked) -> Result<Found, Problem> {
    let filter = asked.filter(center.reader.now(), true).map_err(refused)?;
    let cursors: Option<Cursors> = match asked.after.as_str() {
        "" => None,
        text => {
            let what = "this is no `next` of a page before".to_owned();
            Some(serde_json::from_str(text).map_err(|_| Problem::Field { field: "after".to_owned(), what })?)
        }
    };
    let after = |name: &str| cursors.as_ref().map_or(Some(""), |cursors| cursors.get(name).map(String::as_str));
    let others = center.scanners.scanners();
    let call = |name: &str, after: &str| {
        let asked = Asked { everywhere: String::new(), limit: ROWS.to_string(), ..asked.clone() };
        (name.to_owned(), Call::get(format!("/api/v1/audit?{}", asked.with("after", after))))
    };
    let calls = others.iter().filter_map(|other| after(&other.name).map(|after| call(&other.name, after))).collect();
    let here = async {
        match after("") {
            Some(after) => center.reader.audit(&filter, ROWS, Some(after).filter(|after| !after.is_empty())).await,
            None => Ok(AuditPage::default()),
        }
    };
    let (here, answers) = tokio::join!(here, ask_all(center, by, calls));
    let (mut found, mut next) = (Found::default(), Cursors::new());
    let own = center.reader.health().hostname;
    take(&mut found, &mut next, (String::new(), own, String::new()), here?);
    for (name, answer) in answers {
        let url = others.iter().find(|other| other.name == name).map(|other| other.url.clone()).unwrap_or_default();
        let page = answer.and_then(|answer| match answer.code {
            200 => serde_json::from_value::<AuditPage>(answer.json()).map_err(|_| refusal(&answer)),
            _ => Err(refusal(&answer)),
        });
        match page {
            Ok(page) => take(&mut found, &mut next, (name.clone(), name, url), page),
            Err(trouble) => {
                // Asked again with the next page.
                next.insert(name.clone(), after(&name).unwrap_or_default().to_owned());
                found.silent.push(Silent { scanner: name, trouble });
            }
        }
    }
    found.rows.sort_by_key(|entry| std::cmp::Reverse(entry.row.at));
    let goes_on = next.keys().any(|name| found.silent.iter().all(|silent| silent.scanner != *name));
    found.next = goes_on.then(|| serde_json::to_string(&next).unwrap_or_default());
    Ok(found)
}

fn take(found: &mut Found, next: &mut Cursors, (key, scanner, url): (String, String, String), page: AuditPage) {
    if let Some(cursor) = page.next {
        next.insert(key, cursor);
    }
    if page.stopped_at.is_some() {
        found.hurried.push(scanner.clone());
    }
    let named = |row| Named { scanner: scanner.clone(), url: url.clone(), row };
    found.rows.extend(page.rows.into_iter().map(named));
}

fn results(found: &Found, asked: &Asked, now: Time) -> Markup {
    let rows: Vec<Row> =
        found.rows.iter().map(|named| Row { scanner: Some((&named.scanner, &named.url)), row: &named.row }).collect();
    html! {
        @for silent in &found.silent {
            div.notice.bad role="alert" { p { strong { (silent.scanner) } " did not answer: what it knows is missing here. " (words(&silent.trouble)) } }
        }
        @if !found.hurried.is_empty() { (shell::notice("info", &format!("{} looked as far back as the time for one page allows; go on with Older.", found.hurried.join(", ")))) }
        @if rows.is_empty() { (shell::empty(if found.silent.is_empty() { "Nothing matches on any Scanner." } else { "Nothing matches on the Scanners that answered." })) }
        @else { p.quiet { "Up to " (ROWS) " messages of each Scanner." } (table(&rows, now)) }
        div.row {
            @if !asked.after.is_empty() { a.button href=(format!("/audit?{}", asked.with("after", ""))) { "Newest" } }
            @if let Some(next) = &found.next { a.button rel="next" href=(format!("/audit?{}", asked.with("after", next))) { "Older" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn rows_of_all_scanners_stand_together_and_a_silent_one_is_named() {
        let (code, page) = get("ReadOnly", "/audit?q=corp&everywhere=on").await;
        assert_eq!(code, 200);
        for part in [
            "<strong>mx3</strong> did not answer: what it knows is missing here",
            "192.0.2.3:8025: refused",
            "https://mx2.example.test:8025/message/38GJ3X6RR0002",
            "&lt;i&gt;from mx2",
            "href=\"/message/",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let (_, page) = get("HelpDesk", "/audit?q=corp&everywhere=on").await;
        assert!(!page.contains("mx2"), "another Scanner's search would look into subjects: {page}");
    }

    #[tokio::test]
    async fn the_api_says_who_is_missing_and_where_to_go_on() {
        let (code, text) = get("ReadOnly", "/api/v1/audit/everywhere?q=corp").await;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(code == 200 && value["silent"][0]["scanner"] == "mx3", "{text}");
        let next: serde_json::Value = serde_json::from_str(value["next"].as_str().unwrap()).unwrap();
        assert_eq!((&next["mx2"], &next["mx3"]), (&"older".into(), &"".into()), "the silent one is asked again");
        assert_eq!(get("ReadOnly", "/api/v1/audit/everywhere?after=x").await.0, 422);
        assert_eq!(get("HelpDesk", "/api/v1/audit/everywhere").await.0, 403);
    }
}
