//! Change: the one way in which pages change settings. A form makes a wish; the preview shows what it comes to; then it is
//! applied, if no other version came in force meanwhile.

use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::{self, Typed};
use crate::part::shell;
use crate::right::{May, rights};
use crate::{Account, Center, Checked, Document, Order, Problem};
use axum::Form;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use decide::settings::{Change, Complaint, Edit, diff, edit};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

/// A form's longest body: a settings document with lists of 100,000 entries.
const BODY_MAX: usize = 64 << 20;

pub(crate) fn routes() -> Routes {
    large(Routes::new().route("/settings/apply", post(apply)).route("/settings/rollback", post(rollback)))
}

/// Routes that may be sent whole lists.
pub(crate) fn large(routes: Routes) -> Routes {
    routes.layer(DefaultBodyLimit::max(BODY_MAX))
}

/// What somebody wants changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wish {
    Edits(Vec<Edit>),
    /// The whole document.
    Text(String),
    /// The document of an earlier version.
    Version(i64),
}

/// What a wish comes to.
#[derive(Debug)]
pub(crate) struct Preview {
    /// The version in force, to which the wish was held.
    pub(crate) now: Document,
    pub(crate) text: String,
    pub(crate) checked: Checked,
    pub(crate) changes: Vec<Change>,
    /// The wish was made of another version than the one in force.
    pub(crate) meanwhile: Option<Meanwhile>,
}

/// What came in force while somebody was typing.
#[derive(Debug)]
pub(crate) struct Meanwhile {
    pub(crate) base: i64,
    /// Changed by others and by the wish: base value → theirs.
    pub(crate) collisions: Vec<Change>,
    /// Changed by others alone. A whole document would undo it, edits leave it.
    pub(crate) others: Vec<Change>,
}

impl Preview {
    pub(crate) fn is_good(&self) -> bool {
        self.checked.settings.is_some()
    }
}

/// Holds a wish, made of version `base`, to the version in force.
pub(crate) async fn preview(center: &Center, base: i64, wish: &Wish) -> Result<Preview, Problem> {
    let now = center.reader.settings();
    let made = match wish {
        Wish::Edits(edits) => edit(&center.reader.settings_text(now.version)?, edits),
        Wish::Text(text) => Ok(text.replace("\r\n", "\n")),
        Wish::Version(version) => Ok(center.reader.settings_text(*version)?),
    };
    let (text, checked) = match made {
        Ok(text) => {
            let checked = center.reader.settings_check(&text).await;
            (text, checked)
        }
        Err(complaints) => (String::new(), Checked { settings: None, complaints, notes: Vec::new() }),
    };
    let changes = checked.settings.as_ref().map(|next| diff(&now.settings, next)).unwrap_or_default();
    let meanwhile = if base == now.version { None } else { Some(meanwhile(center, base, &now, wish, &changes)?) };
    Ok(Preview { now, text, checked, changes, meanwhile })
}

fn meanwhile(
    center: &Center,
    base: i64,
    now: &Document,
    wish: &Wish,
    changes: &[Change],
) -> Result<Meanwhile, Problem> {
    let before = center.reader.settings_of(base)?;
    let theirs = diff(&before.settings, &now.settings);
    let touched: Vec<&str> = match wish {
        Wish::Edits(edits) => edits.iter().map(Edit::path).collect(),
        Wish::Text(_) | Wish::Version(_) => changes.iter().map(|change| change.path.as_str()).collect(),
    };
    let is_touched = |change: &Change| {
        touched.iter().any(|path| change.path == *path || (path.ends_with(']') && change.path.starts_with(*path)))
    };
    let (collisions, others) = theirs.into_iter().partition(is_touched);
    Ok(Meanwhile { base, collisions, others })
}

/// How a page goes on with a wish: the preview, or back to the form (`Err`) with the complaints beside what was typed.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) account: &'a Account,
    /// The menu entry, and the page to return to.
    pub(crate) here: &'a str,
    pub(crate) back: &'a str,
    pub(crate) wish: Wish,
    pub(crate) base: i64,
    /// Shown above the difference: what follows besides.
    pub(crate) besides: Markup,
}

/// The preview page, or the complaints for the form.
pub(crate) async fn ask(center: &Center, asked: &Asked<'_>) -> Result<Response, Vec<Complaint>> {
    match preview(center, asked.base, &asked.wish).await {
        Err(failed) => Ok(problem::page(asked.account, &failed)),
        Ok(found) if found.is_good() => Ok(preview_page(center, asked, &found, StatusCode::OK)),
        Ok(found) => Err(found.checked.complaints),
    }
}

fn preview_page(center: &Center, asked: &Asked<'_>, found: &Preview, code: StatusCode) -> Response {
    let has_others = !center.scanners.scanners().is_empty();
    let body = html! {
        p.lead { "Nothing is changed yet. This is what would change in version " (found.now.version) ", which is in force:" }
        (collisions(found, &asked.wish))
        (setting::changes(&found.changes))
        (asked.besides)
        @if !found.checked.notes.is_empty() {
            details { summary { "Worth knowing (" (found.checked.notes.len()) ")" } ul { @for note in &found.checked.notes { li { (note.to_string()) } } } }
        }
        @match &found.now.file {
            Some(file) => (owned(file, &found.text)),
            None => {
                form action="/settings/apply" method="post" {
                    input type="hidden" name="version" value=(found.now.version);
                    input type="hidden" name="back" value=(asked.back);
                    input type="hidden" name="here" value=(asked.here);
                    input type="hidden" name="wish" value=(serde_json::to_string(&asked.wish).unwrap_or_default());
                    (form::text("text", Field { name: "comment", label: "Comment", hint: "Why; it stands in the history of versions.", ..Field::default() }))
                    p {
                        button.primary type="submit" { @if has_others { "Apply now, on this Scanner" } @else { "Apply now" } } " "
                        @if has_others { button type="submit" formaction="/settings/everywhere" { "Preview on all Scanners" } " " }
                        a.button href=(asked.back) { "Leave it as it is" }
                    }
                    p.quiet { "New connections and new attempts follow it at once, without a restart. The version before can be put back in one step." }
                }
                details { summary { "The whole document as it would be" } pre #result { (found.text) } }
            }
        }
    };
    shell::with(code, shell::page(asked.account, asked.here, "Preview", body))
}

fn collisions(found: &Preview, wish: &Wish) -> Markup {
    let Some(Meanwhile { base, collisions, others }) = &found.meanwhile else { return html! {} };
    let undoes = !matches!(wish, Wish::Edits(_));
    html! {
        div.notice.warn role="alert" {
            p { "You began with version " (base) "; meanwhile version " (found.now.version) " came in force. The difference below is to that one." }
            @if collisions.is_empty() && (others.is_empty() || !undoes) { p { "Nothing that you changed was changed by others." } }
        }
        @if !collisions.is_empty() {
            h2 { "Changed by others, and by you" }
            p { "Left: as you saw it. Right: as others set it. Applied, your value replaces theirs." }
            (setting::changes(collisions))
        }
        @if undoes && !others.is_empty() {
            h2 { "Changed by others; you would undo it" }
            (setting::changes(others))
        }
    }
}

/// The settings belong to a file: here is what to write into it.
fn owned(file: &str, text: &str) -> Markup {
    html! {
        (file_notice(file))
        h2 { "The document to put there" }
        p { button type="button" data-copy="#result" { "Copy" } }
        pre #result { (text) }
    }
}

/// Says that a file owns the settings.
pub(crate) fn file_notice(file: &str) -> Markup {
    html! {
        div.notice.info role="status" {
            p { "The settings belong to the file " code { (file) } " (settings_file in gatepost.toml). They are read-only here: the preview gives the text to put there, and the gateway applies it within two seconds of the file's change." }
        }
    }
}

/// Above every page of settings: what was just applied, with the way back; who owns the settings.
pub(crate) fn above(document: &Document, applied: Option<i64>, may: bool) -> Markup {
    html! {
        @if let Some(version) = applied.filter(|version| *version == document.version && *version > 0) {
            div.notice.good role="status" {
                p { "Settings version " (version) " is in force." }
                @if may && version > 1 {
                    form action="/settings/rollback" method="post" {
                        input type="hidden" name="version" value=(version - 1);
                        input type="hidden" name="base" value=(version);
                        button type="submit" { "Put version " (version - 1) " back" }
                    }
                }
            }
        }
        @if let Some(file) = &document.file { (file_notice(file)) }
    }
}

/// A page of this site, and no other.
pub(crate) fn local(path: &str) -> &str {
    if path.starts_with('/') && !path.starts_with("//") && !path.contains('\\') { path } else { "/settings" }
}

fn applied(back: &str, version: &str) -> Response {
    let back = local(back);
    let join = if back.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{back}{join}applied={version}")).into_response()
}

async fn apply(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let text = |name: &str| typed.of(name).unwrap_or_default();
    let wish = serde_json::from_str::<Wish>(text("wish"));
    let (Some(base), Ok(wish)) = (typed.version(), wish) else {
        let what = "the preview's form came back incomplete: go back and try again".to_owned();
        return problem::page(&may.account, &Problem::Failed { what });
    };
    let found = match preview(&center, base, &wish).await {
        Ok(found) => found,
        Err(failed) => return problem::page(&may.account, &failed),
    };
    let asked = Asked {
        account: &may.account,
        here: local(text("here")),
        back: local(text("back")),
        wish,
        base,
        besides: html! {},
    };
    if !found.is_good() {
        let complaints: Vec<&Complaint> = found.checked.complaints.iter().collect();
        let body = html! { (collisions(&found, &asked.wish)) (setting::complaints(&complaints)) p { a.button href=(asked.back) { "Back" } } };
        return shell::with(
            StatusCode::UNPROCESSABLE_ENTITY,
            shell::page(&may.account, asked.here, "Not applied", body),
        );
    }
    if found.meanwhile.is_some() || found.now.file.is_some() {
        return preview_page(&center, &asked, &found, StatusCode::CONFLICT);
    }
    let order = Order::SettingsApply { text: found.text, comment: text("comment").trim().to_owned(), base: Some(base) };
    match center.orders.order(&may.account, order, false).await {
        Ok(done) => applied(asked.back, &done.made.unwrap_or_default()),
        Err(failed) => problem::page(&may.account, &failed),
    }
}

async fn rollback(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let base = typed.of("base").and_then(|base| base.parse::<i64>().ok());
    let now = center.reader.settings();
    let Some(version) = typed.version().filter(|_| base == Some(now.version)) else {
        let what = format!(
            "version {} came in force meanwhile: look at it first, then roll back from Administration, Settings versions",
            now.version
        );
        return problem::page(&may.account, &Problem::Conflict { what });
    };
    if let Some(file) = now.file {
        let what = format!("the settings belong to {file}: put the earlier text there");
        return problem::page(&may.account, &Problem::Conflict { what });
    }
    let order = Order::SettingsRollback { version: u64::try_from(version).unwrap_or_default(), base };
    match center.orders.order(&may.account, order, false).await {
        Ok(done) => applied("/settings", &done.made.unwrap_or_default()),
        Err(failed) => problem::page(&may.account, &failed),
    }
}
