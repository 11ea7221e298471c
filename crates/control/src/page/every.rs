//! Every route there is, asked by everybody: found in the source, so that none can be forgotten.

use crate::testing::{World, ask};
use axum::http::{Method, Request};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What strangers may ask for. Everything else leads to the sign-in.
const OPEN: [&str; 8] = [
    "/sign-in",
    "/sign-in/code",
    "/sign-out",
    "/first-start",
    "/healthz",
    "/metrics",
    "/api/v1/openapi.json",
    "/api/v1/nowhere",
];

/// What everybody signed in may change: what is their own.
const OWN: &str = "/account";

/// What a POST to it changes nothing: a question that is too long for an address.
const QUESTIONS: [&str; 2] = ["/explain", "/api/v1/settings/check"];

/// All paths in the source of pages, with examples in place of their parameters.
fn paths() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    scan(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(
        found.len() > 15 && found.contains("/administrators/change") && found.contains("/api/v1/acts"),
        "{found:?}"
    );
    found
}

fn scan(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scan(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("every.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for mark in [".route(", "path = "] {
                let after = text.split(mark).skip(1).filter_map(|rest| rest.trim_start().strip_prefix("\"/"));
                found.extend(after.map(|rest| format!("/{}", example(rest.split('"').next().unwrap()))));
            }
        }
    }
}

fn example(path: &str) -> String {
    let part = |part: &str| match part.strip_prefix('{') {
        Some("id}") => "38GJ3X6RR0000".to_owned(),
        Some(_) => "1".to_owned(),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn asked(world: &Arc<World>, who: &str, method: &Method, path: &str, json: bool) -> (u16, String) {
    let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let body = if json { "{}" } else { "" };
    let (code, text) = ask(world, who, request.body(body.to_owned()).unwrap()).await;
    (code.as_u16(), text)
}

/// Nothing was ordered, nothing changed, here or on another Scanner.
fn untouched(world: &World) {
    assert!(world.orders.lock().unwrap().is_empty() && world.changes.lock().unwrap().is_empty());
    assert!(world.enrolled.lock().unwrap().is_empty() && world.calls.lock().unwrap().is_empty());
}

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

#[tokio::test]
async fn without_a_session_nothing_answers_that_is_not_meant_for_everybody() {
    let world = Arc::<World>::default();
    for path in paths().iter().filter(|path| !OPEN.contains(&path.as_str())) {
        for method in &METHODS {
            for json in [false, true] {
                let (code, text) = asked(&world, "", method, path, json).await;
                let turned_away = matches!(code, 303 | 401 | 405);
                assert!(turned_away, "{method} {path} answers {code} to strangers: {text:.300}");
            }
        }
    }
    untouched(&world);
}

#[tokio::test]
async fn the_help_desk_and_readers_can_change_nothing() {
    for who in ["HelpDesk", "ReadOnly"] {
        let world = Arc::<World>::default();
        let is_own = |path: &str| path.starts_with(OWN) || OPEN.contains(&path) || QUESTIONS.contains(&path);
        for path in paths().iter().filter(|path| !is_own(path)) {
            for method in METHODS.iter().filter(|method| **method != Method::GET) {
                for json in [false, true] {
                    let (code, text) = asked(&world, who, method, path, json).await;
                    assert!(matches!(code, 403 | 405), "{method} {path} answers {code} to {who}: {text:.300}");
                }
            }
            asked(&world, who, &Method::GET, path, false).await;
        }
        untouched(&world);
    }
}

#[tokio::test]
async fn no_question_by_get_changes_anything() {
    let world = Arc::<World>::default();
    for path in paths() {
        asked(&world, "Full", &Method::GET, &path, false).await;
    }
    untouched(&world);
}

/// The policy forbids them, and a browser would leave them out without a word.
#[tokio::test]
async fn no_page_has_inline_styles_or_scripts() {
    let world = Arc::<World>::default();
    for path in paths() {
        let (_, page) = asked(&world, "Full", &Method::GET, &path, false).await;
        if !page.starts_with("<!DOCTYPE html>") {
            continue;
        }
        for inline in [" style=\"", "<style", "javascript:", " onclick=", " onchange=", " onload=", " onsubmit="] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
        let scripts = page.matches("<script").count();
        assert_eq!(scripts, page.matches("<script src=\"/asset/").count(), "{path} has an inline script");
        assert!(
            page.contains("<html lang=\"en\">") && page.contains("<h1>") && page.contains("name=\"viewport\""),
            "{path}"
        );
    }
}
