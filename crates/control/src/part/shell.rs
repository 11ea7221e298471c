//! Shell: what stands around every page: menu, who is signed in, the state of the gateway's mail.

use crate::{Account, Right, asset};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Path, words, and who sees it.
type Entry = (&'static str, &'static str, Right);

/// The menu, with the words that administrators of messaging gateways know.
#[rustfmt::skip]
const MENU: &[(&str, &[Entry])] = &[
    ("Messages", &[
        ("/", "Dashboard", Right::Look),
        ("/queue", "Message queues", Right::Look),
        ("/audit", "Message audit log", Right::Find),
        ("/destinations", "Destinations", Right::Look),
        ("/diagnose", "Diagnose", Right::Operate),
        ("/explain", "Explain a status", Right::Find),
    ]),
    ("Protocols", &[
        ("/smtp", "SMTP", Right::Look),
        ("/domains", "Domains and routes", Right::Look),
        ("/aliases", "Aliases", Right::Look),
        ("/masquerades", "Address masquerading", Right::Look),
        ("/invalid-recipients", "Invalid recipients", Right::Look),
    ]),
    ("Administration", &[
        ("/configuration", "Configuration", Right::Look),
        ("/scanners", "Scanners", Right::Look),
        ("/identity", "Identity check", Right::Look),
        ("/settings", "Settings versions", Right::Look),
        ("/certificates", "Certificates", Right::Look),
        ("/alerts", "Alerts", Right::Look),
        ("/logs", "Logs", Right::Look),
        ("/backup", "Backup and restore", Right::Administer),
        ("/administrators", "Administrators", Right::Administer),
        ("/tokens", "API tokens", Right::Administer),
        ("/acts", "Administrators' acts", Right::Administer),
    ]),
];

/// A whole page. `here` is the path of its menu entry.
pub(crate) fn page(account: &Account, here: &str, title: &str, body: Markup) -> Html<String> {
    let menu = html! {
        nav.menu #menu aria-label="Main" {
            @for (group, entries) in MENU {
                @let seen: Vec<_> = entries.iter().filter(|entry| account.role.may(entry.2)).collect();
                @if !seen.is_empty() {
                    h2 { (group) }
                    ul { @for (path, name, _) in seen {
                        li { a href=(path) aria-current=[(*path == here).then_some("page")] { (name) } }
                    } }
                }
            }
        }
    };
    let top = html! {
        header.top {
            a.skip href="#main" { "Skip to content" }
            a.brand href="/" { (logo()) "Gatepost" }
            form.find action="/audit" method="get" role="search" {
                label.unseen for="find" { "Find mail: Audit ID, address, domain, IP, subject, status" }
                input #find type="search" name="q" placeholder="Find mail: ID, address, IP, subject …";
            }
            a.to-menu href="#menu" { "Menu" }
            details.who {
                summary { (account.name) }
                div.drop {
                    p { (account.role.name()) }
                    p { a href="/account" { "Password and sign-in" } }
                    form action="/sign-out" method="post" { button type="submit" { "Sign out" } }
                }
            }
        }
    };
    whole(title, "app", html! { (top) (menu) main #main tabindex="-1" { h1 { (title) } (body) } })
}

/// A page for who is not signed in: sign-in, first start, not found.
pub(crate) fn bare(title: &str, body: Markup) -> Html<String> {
    whole(title, "bare", html! { main #main { p.brand { (logo()) "Gatepost" } h1 { (title) } (body) } })
}

fn whole(title: &str, class: &str, body: Markup) -> Html<String> {
    Html(
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Gatepost" }
                    link rel="icon" type="image/svg+xml" href=(asset::ICON.path());
                    link rel="stylesheet" href=(asset::STYLE.path());
                    script src=(asset::SCRIPT.path()) defer {}
                }
                body class=(class) { (body) }
            }
        }
        .into_string(),
    )
}

/// A post with its leaf.
fn logo() -> Markup {
    html! { (PreEscaped(r#"<svg class="logo" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true"><path d="M5 3v18M19 3v18" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"/><path d="M5 9h14M5 15h14M5 15 19 9" stroke="currentColor" stroke-width="1.8" fill="none"/></svg>"#)) }
}

/// A line above the content: what was just done, or what is wrong. `kind`: good, bad, warn, info.
pub(crate) fn notice(kind: &str, text: &str) -> Markup {
    let role = if kind == "bad" { "alert" } else { "status" };
    html! { div class=(format!("notice {kind}")) role=(role) { p { (text) } } }
}

/// A word in a coloured field. `kind`: good, bad, warn, info, plain. The word alone must say it; the colour helps.
pub(crate) fn badge(kind: &str, word: &str) -> Markup {
    html! { span class=(format!("badge {kind}")) { (word) } }
}

/// Nothing to show, and what that means.
pub(crate) fn empty(text: &str) -> Markup {
    html! { p.empty { (text) } }
}

/// A page's answer with a code of its own.
pub(crate) fn with(code: axum::http::StatusCode, page: Html<String>) -> Response {
    (code, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn what_others_wrote_is_never_active_in_a_page() {
        let account = Account {
            name: "<script>alert(1)</script>".to_owned(),
            role: Role::Full,
            token: None,
            on_behalf: None,
            from: String::new(),
        };
        let Html(text) = page(&account, "/", "\"><img onerror=x>", html! { (notice("bad", "<b>")) });
        assert!(!text.contains("<script>alert") && !text.contains("<img") && !text.contains("<b>"), "{text}");
    }
}
