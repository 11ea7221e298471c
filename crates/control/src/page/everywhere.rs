//! Everywhere: one change of settings on several Scanners: each judges it for itself, then it is applied where it is ticked.

use crate::page::change::{self, Wish};
use crate::page::scanners::words;
use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::{self, Typed};
use crate::part::{encode, shell};
use crate::right::{May, rights};
use crate::{Account, Answer, Call, Center, Order, Problem, Stage, Trouble};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json};
use decide::settings::{Change, Complaint, Edit, between, is_own};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    change::large(
        Routes::new()
            .route("/settings/everywhere", post(preview))
            .route("/settings/everywhere/apply", post(apply))
            .routes(routes!(api_check))
            .routes(routes!(api_apply)),
    )
}

/// An order to change settings waits for a sync of the other side's disk, and for the check of its routes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A check asks DNS where mail would go.
const CHECK: Duration = Duration::from_secs(8);

/// What a Scanner says of a change that is not made yet.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct Judged {
    pub(crate) scanner: String,
    /// The version that it was held to.
    version: Option<i64>,
    #[schema(value_type = Vec<Object>)]
    changes: Value,
    /// Why it would be refused.
    complaints: Vec<String>,
    notes: Vec<String>,
    /// The file that owns its settings.
    file: Option<String>,
    /// Why it could not be asked.
    trouble: Option<Trouble>,
}

impl Judged {
    fn is_good(&self) -> bool {
        self.trouble.is_none() && self.complaints.is_empty() && self.file.is_none() && self.version.is_some()
    }

    fn changes(&self) -> Vec<Change> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let one = |change: &Value| {
            Some(Change { path: text(&change["path"])?, old: text(&change["old"]), new: text(&change["new"]) })
        };
        self.changes.as_array().into_iter().flatten().filter_map(one).collect()
    }
}

/// What became of a change on one Scanner.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct Applied {
    scanner: String,
    /// The version that is in force there by it; absent: it was refused or not heard.
    version: Option<String>,
    /// Why not.
    why: String,
    /// What to do.
    fix: String,
    /// The order was sent and no answer came: it may be in force.
    unsure: bool,
}

/// Asks several at once; answers in the order of the names.
pub(crate) async fn ask_all(
    center: &Center,
    by: &Account,
    calls: Vec<(String, Call)>,
) -> Vec<(String, Result<Answer, Trouble>)> {
    let mut asking = JoinSet::new();
    for (at, (name, call)) in calls.into_iter().enumerate() {
        let (center, by) = (center.clone(), by.clone());
        asking.spawn(async move {
            let answer = center.scanners.call(&by, &name, call).await;
            (at, name, answer)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(at, ..)| *at);
    answers.into_iter().map(|(_, name, answer)| (name, answer)).collect()
}

/// Edits that may go to other Scanners, and those that belong to one host.
fn parted(edits: Vec<Edit>, with_own: bool) -> (Vec<Edit>, Vec<Edit>) {
    edits.into_iter().partition(|edit| with_own || !is_own(edit.path()))
}

/// Shows it to each; nothing is changed.
async fn judge(center: &Center, by: &Account, names: &[String], edits: &[Edit]) -> Vec<Judged> {
    let call = |name: &String| {
        let call = Call::post("/api/v1/settings/check", None, json!({ "edits": edits }));
        (name.clone(), Call { patience: CHECK, ..call })
    };
    let answers = ask_all(center, by, names.iter().map(call).collect()).await;
    answers.into_iter().map(|(name, answer)| judged(name, answer)).collect()
}

fn judged(scanner: String, answer: Result<Answer, Trouble>) -> Judged {
    let answer = match answer {
        Ok(answer) => answer,
        Err(trouble) => return Judged { scanner, trouble: Some(trouble), ..Judged::default() },
    };
    let said = answer.json();
    if !matches!(answer.code, 200 | 422) || said["version"].as_i64().is_none() {
        return Judged { scanner, trouble: Some(refusal(&answer)), ..Judged::default() };
    }
    Judged {
        scanner,
        version: said["version"].as_i64(),
        changes: said["changes"].clone(),
        complaints: lines(&said["complaints"]),
        notes: lines(&said["notes"]),
        file: said["file"].as_str().map(str::to_owned),
        trouble: None,
    }
}

/// Complaints as another Scanner says them.
fn lines(complaints: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |complaint: &Value| {
        let complaint = Complaint {
            path: text(&complaint["path"]),
            line: None,
            value: text(&complaint["value"]),
            problem: text(&complaint["problem"]),
            suggestion: text(&complaint["suggestion"]),
        };
        complaint.to_string()
    };
    complaints.as_array().into_iter().flatten().map(one).collect()
}

/// An answer that is none to the question.
pub(crate) fn refusal(answer: &Answer) -> Trouble {
    let said = answer.json();
    let what = said["what"].as_str().unwrap_or("in words that are not known here");
    let (stage, fix) = match answer.code {
        401 => (Stage::Token, "Make a new token on that Scanner and enter it on its page here."),
        403 => (Stage::Token, "Its token may not do this: make one there whose role is full."),
        _ => (Stage::Gateway, "Look at that Scanner's own pages; is it the same version?"),
    };
    Trouble { stage, what: format!("it answered {}: {what}", answer.code), fix: fix.to_owned() }
}

/// Makes the change on each, if the version that was looked at is still in force there. Written down here, too.
async fn apply_on(center: &Center, by: &Account, on: &[(String, i64)], edits: &[Edit], comment: &str) -> Vec<Applied> {
    let body = json!({ "edits": edits, "comment": comment });
    let call = |(name, version): &(String, i64)| {
        let call = Call::post("/api/v1/settings/apply", Some(*version), body.clone());
        (name.clone(), Call { patience: PATIENCE, ..call })
    };
    let answers = ask_all(center, by, on.iter().map(call).collect()).await;
    let mut all = Vec::new();
    for (name, answer) in answers {
        let done = applied(name, answer);
        let fields =
            json!({ "scanner": done.scanner, "version": done.version, "refused": done.why, "comment": comment });
        center.scanners.act(by, "settings on another Scanner", fields).await;
        all.push(done);
    }
    all
}

fn applied(scanner: String, answer: Result<Answer, Trouble>) -> Applied {
    let no =
        |why: String, fix: &str| Applied { scanner: scanner.clone(), why, fix: fix.to_owned(), ..Applied::default() };
    match answer {
        // From there on the order may have arrived.
        Err(trouble) if trouble.stage == Stage::Answer => Applied {
            unsure: true,
            ..no(
                format!("{}; the order may have arrived and been carried out", trouble.what),
                "Look at its settings versions before you order it again.",
            )
        },
        Err(trouble) => no(format!("{}: {}", trouble.stage.words(), trouble.what), &trouble.fix),
        Ok(answer) => {
            let said = answer.json();
            match answer.code {
                200 => {
                    let version = said["version"].as_str().map_or_else(|| said["version"].to_string(), str::to_owned);
                    Applied { version: Some(version), ..no(String::new(), "") }
                }
                409 => no(
                    said["what"].as_str().unwrap_or("another version came in force there meanwhile").to_owned(),
                    "Preview it again and look at the difference.",
                ),
                422 => no(
                    lines(&said["complaints"]).join("; "),
                    "Change what it complains of, there or here, and preview it again.",
                ),
                _ => {
                    let trouble = refusal(&answer);
                    no(trouble.what, &trouble.fix)
                }
            }
        }
    }
}

/// What a form asks for.
struct Asked {
    base: i64,
    wish: Wish,
    comment: String,
    here: String,
    back: String,
    with_own: bool,
    /// Only this other Scanner.
    only: Option<String>,
}

impl Asked {
    fn of(typed: &Typed) -> Option<Asked> {
        let text = |name: &str| typed.of(name).unwrap_or_default();
        Some(Asked {
            base: typed.version()?,
            wish: serde_json::from_str(text("wish")).ok()?,
            comment: text("comment").trim().to_owned(),
            here: change::local(text("here")).to_owned(),
            back: change::local(text("back")).to_owned(),
            with_own: !text("own").is_empty(),
            only: typed.of("only").filter(|name| !name.is_empty()).map(str::to_owned),
        })
    }

    fn names(&self, center: &Center) -> Vec<String> {
        let all = center.scanners.scanners().into_iter().map(|scanner| scanner.name);
        all.filter(|name| self.only.as_ref().is_none_or(|only| only == name)).collect()
    }

    fn hidden(&self) -> Markup {
        html! {
            input type="hidden" name="version" value=(self.base);
            input type="hidden" name="wish" value=(serde_json::to_string(&self.wish).unwrap_or_default());
            input type="hidden" name="here" value=(self.here);
            input type="hidden" name="back" value=(self.back);
            @if let Some(only) = &self.only { input type="hidden" name="only" value=(only); }
        }
    }
}

fn incomplete(account: &Account) -> Response {
    let what = "the preview's form came back incomplete: go back and try again".to_owned();
    problem::page(account, &Problem::Failed { what })
}

/// The edits that a wish comes to here: other Scanners have documents of their own, which keep everything else.
fn edits(found: &change::Preview, wish: &Wish) -> Vec<Edit> {
    match (wish, &found.checked.settings) {
        (Wish::Edits(edits), _) => edits.clone(),
        (_, Some(next)) => between(&found.now.settings, next).into_iter().map(|(_, edit)| edit).collect(),
        (_, None) => Vec::new(),
    }
}

async fn preview(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let Some(asked) = Asked::of(&Typed(fields)) else { return incomplete(&may.account) };
    show(&center, &may.account, &asked, html! {}, StatusCode::OK).await
}

/// A form that wants a change everywhere: the preview on each, or the complaints for the form.
pub(crate) async fn ask(center: &Center, wanted: &change::Asked<'_>) -> Result<Response, Vec<Complaint>> {
    let found = match change::preview(center, wanted.base, &wanted.wish).await {
        Ok(found) => found,
        Err(failed) => return Ok(problem::page(wanted.account, &failed)),
    };
    if !found.is_good() {
        return Err(found.checked.complaints);
    }
    let asked = Asked {
        base: wanted.base,
        wish: wanted.wish.clone(),
        comment: String::new(),
        here: wanted.here.to_owned(),
        back: wanted.back.to_owned(),
        with_own: false,
        only: None,
    };
    Ok(show(center, wanted.account, &asked, wanted.besides.clone(), StatusCode::OK).await)
}

/// One other Scanner brought in line: its preview.
pub(crate) async fn bring(center: &Center, account: &Account, name: &str, back: &str, edits: Vec<Edit>) -> Response {
    let asked = Asked {
        base: center.reader.settings().version,
        wish: Wish::Edits(edits),
        comment: String::new(),
        here: super::scanners::HERE.to_owned(),
        back: back.to_owned(),
        // Each was ticked by hand.
        with_own: true,
        only: Some(name.to_owned()),
    };
    show(center, account, &asked, html! {}, StatusCode::OK).await
}

/// The difference on each Scanner, as it says itself, with a tick for each that would take it.
async fn show(center: &Center, account: &Account, asked: &Asked, above: Markup, code: StatusCode) -> Response {
    let found = match change::preview(center, asked.base, &asked.wish).await {
        Ok(found) => found,
        Err(failed) => return problem::page(account, &failed),
    };
    let (shared, own) = parted(edits(&found, &asked.wish), asked.with_own);
    let others =
        if shared.is_empty() { Vec::new() } else { judge(center, account, &asked.names(center), &shared).await };
    let is_here = asked.only.is_none();
    let good_here = found.is_good() && found.meanwhile.is_none() && found.now.file.is_none();
    let body = html! {
        (above)
        p.lead { "Nothing is changed yet. Each Scanner has looked at the change and says what it would come to there:" }
        @if !own.is_empty() {
            div.notice.warn role="status" {
                p { "These keys name what one host has, and are left out on the others: " @for (at, edit) in own.iter().enumerate() { @if at > 0 { ", " } code { (edit.path()) } } "." }
                form method="post" action="/settings/everywhere" { (asked.hidden()) input type="hidden" name="own" value="on"; button type="submit" { "Preview them on all Scanners all the same" } }
            }
        }
        @if is_here && found.meanwhile.is_some() { (shell::notice("warn", "Another version came in force here meanwhile: preview the change again before you apply it here.")) }
        form action="/settings/everywhere/apply" method="post" {
            (asked.hidden())
            @if asked.with_own { input type="hidden" name="own" value="on"; }
            @if is_here {
                section.card {
                    h2 { (tick("", "This Scanner", good_here && !found.changes.is_empty(), good_here)) }
                    @let complaints: Vec<&Complaint> = found.checked.complaints.iter().collect();
                    @if found.is_good() { (setting::changes(&found.changes)) } @else { (setting::complaints(&complaints)) }
                }
            }
            @for other in &others { (card(other)) }
            @if shared.is_empty() { (shell::empty("Nothing of it is for other Scanners.")) }
            (form::text("text", Field { name: "comment", label: "Comment", value: &asked.comment, hint: "Why; it stands in the history of versions of each.", ..Field::default() }))
            p { button.primary type="submit" { "Apply to the ticked" } " " a.button href=(asked.back) { "Leave all as they are" } }
            p.quiet { "This Scanner is changed first; if it refuses, the others are not asked. Each of the others takes the change only if the version shown is still in force there." }
        }
    };
    shell::with(code, shell::page(account, &asked.here, "Preview on all Scanners", body))
}

fn tick(name: &str, words: &str, on: bool, may: bool) -> Markup {
    html! { label { input type="checkbox" name="on" value=(name) checked[on] disabled[!may]; " " (words) } }
}

fn card(other: &Judged) -> Markup {
    let changes = other.changes();
    html! {
        section.card {
            h2 { (tick(&other.scanner, &other.scanner, other.is_good() && !changes.is_empty(), other.is_good())) }
            @if let Some(trouble) = &other.trouble { p { (shell::badge("bad", "not asked")) " " (words(trouble)) } }
            @else {
                @if let Some(version) = other.version { input type="hidden" name=(format!("at.{}", other.scanner)) value=(version); p.quiet { "version " (version) " is in force there" } }
                @if let Some(file) = &other.file { p { (shell::badge("bad", "not from here")) " Its settings belong to its file " code { (file) } ": change them there." } }
                @if !other.complaints.is_empty() { p { (shell::badge("bad", "refused")) " It would refuse the change:" } ul { @for line in &other.complaints { li { (line) } } } }
                @else { (setting::changes(&changes)) }
                @if !other.notes.is_empty() { details { summary { "Worth knowing (" (other.notes.len()) ")" } ul { @for note in &other.notes { li { (note) } } } } }
            }
        }
    }
}

async fn apply(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let Some(asked) = Asked::of(&typed) else { return incomplete(&may.account) };
    let found = match change::preview(&center, asked.base, &asked.wish).await {
        Ok(found) => found,
        Err(failed) => return problem::page(&may.account, &failed),
    };
    let ticked: Vec<&str> = typed.all("on").collect();
    if ticked.is_empty() {
        let above = shell::notice("bad", "No Scanner is ticked; nothing was changed.");
        return show(&center, &may.account, &asked, above, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let (shared, _) = parted(edits(&found, &asked.wish), asked.with_own);
    let mut results = Vec::new();
    if ticked.contains(&"") {
        let stands = match (&found.meanwhile, &found.now.file) {
            _ if !found.is_good() => Some("This Scanner refuses the change; nothing was changed anywhere.".to_owned()),
            (Some(_), _) => {
                Some("Another version came in force here meanwhile; nothing was changed anywhere.".to_owned())
            }
            (_, Some(file)) => Some(format!("The settings here belong to {file}; nothing was changed anywhere.")),
            _ => None,
        };
        if let Some(what) = stands {
            return show(&center, &may.account, &asked, shell::notice("bad", &what), StatusCode::CONFLICT).await;
        }
        let order = Order::SettingsApply { text: found.text, comment: asked.comment.clone(), base: Some(asked.base) };
        match center.orders.order(&may.account, order, false).await {
            Ok(done) => results.push(Applied { version: done.made, ..Applied::default() }),
            Err(failed) => {
                let what = format!("{} Nothing was changed anywhere.", failed.what());
                return show(&center, &may.account, &asked, shell::notice("bad", &what), StatusCode::CONFLICT).await;
            }
        }
    }
    let at = |name: &str| typed.of(&format!("at.{name}")).and_then(|version| version.parse::<i64>().ok());
    let mut on = Vec::new();
    for name in ticked.iter().filter(|name| !name.is_empty()) {
        match at(name) {
            Some(version) => on.push(((*name).to_owned(), version)),
            None => results.push(Applied {
                scanner: (*name).to_owned(),
                why: "it did not answer the preview, so it got no order".to_owned(),
                fix: "Preview it again.".to_owned(),
                ..Applied::default()
            }),
        }
    }
    results.extend(apply_on(&center, &may.account, &on, &shared, &asked.comment).await);
    done_page(&center, &may.account, &asked, &results, shared)
}

fn done_page(center: &Center, account: &Account, asked: &Asked, results: &[Applied], shared: Vec<Edit>) -> Response {
    let failed: Vec<&Applied> = results.iter().filter(|result| result.version.is_none()).collect();
    let again = Asked {
        base: center.reader.settings().version,
        wish: Wish::Edits(shared),
        comment: asked.comment.clone(),
        here: asked.here.clone(),
        back: asked.back.clone(),
        with_own: asked.with_own,
        only: asked.only.clone(),
    };
    let body = html! {
        @if failed.is_empty() { (shell::notice("good", "Done on every Scanner that was ticked.")) }
        @else { (shell::notice("bad", &format!("Not done on {} of {}: they have what they had before, unless it says otherwise.", failed.len(), results.len()))) }
        div.scroll { table {
            thead { tr { th { "Scanner" } th { "Result" } th { "To do" } } }
            tbody { @for result in results { tr {
                th scope="row" { @if result.scanner.is_empty() { a href="/settings" { "this one" } } @else { a href=(format!("/scanner/{}", encode(&result.scanner))) { (result.scanner) } } }
                td.break { @match &result.version {
                    Some(version) => { (shell::badge("good", "done")) " version " (version) " is in force" }
                    None if result.unsure => { (shell::badge("warn", "not known")) " " (result.why) }
                    None => { (shell::badge("bad", "not done")) " " (result.why) }
                } }
                td.break { (result.fix) }
            } } }
        } }
        @if !failed.is_empty() {
            form method="post" action="/settings/everywhere" { (again.hidden()) @if again.with_own { input type="hidden" name="own" value="on"; } button type="submit" { "Preview it again on all" } }
        }
        p { a.button href=(asked.back) { "Back" } }
    };
    let code = if failed.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    shell::with(code, shell::page(account, &asked.here, "Applied", body))
}

/// Edits for other Scanners.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Proposal {
    /// As `/api/v1/settings/check` takes them.
    #[schema(value_type = Vec<Object>)]
    edits: Vec<Edit>,
    /// Keys that belong to one host as well: its name, its addresses, its files.
    #[serde(default)]
    own: bool,
    #[serde(default)]
    comment: String,
    /// Which Scanners, each with the version that the change was made from. Left out of a check: all.
    #[serde(default)]
    on: BTreeMap<String, Option<i64>>,
}

/// What a change comes to on other Scanners. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/settings/everywhere/check", tag = "scanners", request_body = Proposal, responses((status = 200, body = Vec<Judged>)))]
async fn api_check(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Json(wanted): Json<Proposal>,
) -> Json<Vec<Judged>> {
    let all = center.scanners.scanners().into_iter().map(|scanner| scanner.name);
    let names: Vec<String> = if wanted.on.is_empty() { all.collect() } else { wanted.on.into_keys().collect() };
    let (shared, _) = parted(wanted.edits, wanted.own);
    Json(judge(&center, &may.account, &names, &shared).await)
}

/// Makes a change on other Scanners; each result says whether it is in force there. 409 unless it is on all of them.
#[utoipa::path(post, path = "/api/v1/settings/everywhere/apply", tag = "scanners", request_body = Proposal, responses((status = 200, body = Vec<Applied>), (status = 409, body = Vec<Applied>), (status = 422, body = Problem)))]
async fn api_apply(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Json(wanted): Json<Proposal>,
) -> Result<Response, Problem> {
    let named = |(name, version): (String, Option<i64>)| {
        let what = format!("{name}: give the version that the change was made from, as the check says it");
        Ok((name, version.ok_or(Problem::Field { field: "on".to_owned(), what })?))
    };
    let on: Vec<(String, i64)> = wanted.on.into_iter().map(named).collect::<Result<_, _>>()?;
    let (shared, _) = parted(wanted.edits, wanted.own);
    if on.is_empty() || shared.is_empty() {
        let what = "name the Scanners in `on`, and edits that are not for one host alone".to_owned();
        return Err(Problem::Field { field: "on".to_owned(), what });
    }
    let results = apply_on(&center, &may.account, &on, &shared, &wanted.comment).await;
    let all = results.iter().all(|result| result.version.is_some());
    Ok((if all { StatusCode::OK } else { StatusCode::CONFLICT }, Json(results)).into_response())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, ask, post};
    use axum::http::Request;
    use std::sync::Arc;

    const WISH: &str = "%7B%22edits%22%3A%5B%7B%22edit%22%3A%22set%22%2C%22path%22%3A%22queue.limit%22%2C%22value%22%3A%229%22%7D%2C%7B%22edit%22%3A%22set%22%2C%22path%22%3A%22hostname%22%2C%22value%22%3A%22%5C%22x.test%5C%22%22%7D%5D%7D";

    #[tokio::test]
    async fn each_scanner_shows_its_own_difference_and_a_silent_one_its_reason() {
        let world = Arc::<World>::default();
        let form = format!("version=2&wish={WISH}&back=/smtp&here=/smtp");
        let (code, page) = post(&world, "Full", "/settings/everywhere", &form).await;
        assert_eq!(code, 200);
        for part in [
            "name=\"on\" value=\"\" checked",
            "name=\"on\" value=\"mx2\" checked",
            "name=\"at.mx2\" value=\"7\"",
            "&lt;b&gt;9",
            "name=\"on\" value=\"mx3\" disabled",
            "connection: 192.0.2.3:8025: refused",
            "left out on the others: <code>hostname</code>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(world.orders.lock().unwrap().is_empty() && world.calls.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn it_is_applied_where_it_is_ticked_and_each_result_is_told() {
        let world = Arc::<World>::default();
        let form =
            format!("version=2&wish={WISH}&back=/smtp&here=/smtp&comment=why&on=&on=mx2&at.mx2=7&on=mx3&at.mx3=4");
        let (code, page) = post(&world, "Full", "/settings/everywhere/apply", &form).await;
        assert_eq!(code, 409, "one of them is silent");
        for part in ["version 8 is in force", "not done", "192.0.2.3:8025: refused", "Preview it again"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(world.orders.lock().unwrap().len(), 1);
        {
            let calls = world.calls.lock().unwrap();
            assert_eq!((calls.len(), calls[0].version), (1, Some(7)));
            let body = calls[0].body.as_ref().unwrap().to_string();
            assert!(body.contains("queue.limit") && !body.contains("hostname"), "{body}");
        }
        assert_eq!(world.acts.lock().unwrap().len(), 2, "written down for the silent one as well");
    }

    #[tokio::test]
    async fn what_this_scanner_refuses_is_ordered_nowhere() {
        let world = Arc::<World>::default();
        for (base, wish) in [("1", WISH), ("2", "%7B%22text%22%3A%22mode+%3D+5%22%7D")] {
            let form = format!("version={base}&wish={wish}&back=/smtp&here=/smtp&on=&on=mx2&at.mx2=7");
            let (code, page) = post(&world, "Full", "/settings/everywhere/apply", &form).await;
            assert!(code == 409 && page.contains("nothing was changed anywhere"), "{page}");
        }
        let form = format!("version=2&wish={WISH}&on=mx2");
        let (code, page) = post(&world, "Full", "/settings/everywhere/apply", &form).await;
        assert!(code == 409 && page.contains("it did not answer the preview"), "{page}");
        let (code, page) = post(&world, "Full", "/settings/everywhere/apply", &format!("version=2&wish={WISH}")).await;
        assert!(code == 422 && page.contains("No Scanner is ticked"), "{page}");
        assert!(world.orders.lock().unwrap().is_empty() && world.calls.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_api_checks_and_applies_on_others() {
        let world = Arc::<World>::default();
        let send = async |path: &str, body: &str| {
            let request = Request::post(path).header("content-type", "application/json").body(body.to_owned());
            let (code, text) = ask(&world, "Full", request.unwrap()).await;
            (code.as_u16(), text)
        };
        let edits = r#""edits":[{"edit":"set","path":"queue.limit","value":"9"}]"#;
        let (code, text) = send("/api/v1/settings/everywhere/check", &format!("{{{edits}}}")).await;
        assert!(code == 200 && text.contains("\"version\":7") && text.contains("\"stage\":\"connect\""), "{text}");
        let (code, text) =
            send("/api/v1/settings/everywhere/apply", &format!("{{{edits},\"on\":{{\"mx2\":7}}}}")).await;
        assert!(code == 200 && text.contains("\"version\":\"8\""), "{text}");
        let (code, text) =
            send("/api/v1/settings/everywhere/apply", &format!("{{{edits},\"on\":{{\"mx2\":null}}}}")).await;
        assert!(code == 422 && text.contains("mx2: give the version"), "{text}");
        assert_eq!(world.calls.lock().unwrap().len(), 1);
    }
}
