//! Who may enter the Control Center, and what is written down about it.

use crate::gateway::{Gateway, peer};

const PASSWORD: &str = "correct horse battery";

/// Posts a form as a browser does from one of our own pages.
pub(crate) async fn post(gateway: &Gateway, path: &str, session: &str, form: &str) -> String {
    let headers = format!("Sec-Fetch-Site: same-origin\r\nCookie: gatepost={session}\r\n");
    gateway.request(&format!("POST {path}"), &headers, form).await
}

pub(crate) async fn get(gateway: &Gateway, path: &str, session: &str) -> String {
    gateway.request(&format!("GET {path}"), &format!("Cookie: gatepost={session}\r\n"), "").await
}

/// The session that an answer begins.
fn session(answer: &str) -> String {
    let cookie = answer.split("set-cookie: gatepost=").nth(1).unwrap_or_else(|| panic!("no session: {answer}"));
    assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// The first administrator, `ann`, by the printed link.
pub(crate) async fn first(gateway: &Gateway) -> String {
    let (code, link) = gateway.run(&["admin", "first-start"]);
    assert_eq!(code, 0, "{link}");
    let key = link.trim().split("key=").nth(1).unwrap();
    assert!(gateway.http(&format!("/first-start?key={key}")).await.starts_with("HTTP/1.1 200"));
    let form = format!("key={key}&name=ann&password={PASSWORD}&again={PASSWORD}");
    session(&post(gateway, "/first-start", "", &form).await)
}

fn sign_in(name: &str, password: &str) -> String {
    format!("name={name}&password={password}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_link_makes_the_first_administrator_once() {
    let gateway = Gateway::start("").await;
    let session = first(&gateway).await;
    assert!(get(&gateway, "/", &session).await.starts_with("HTTP/1.1 200"));
    assert_eq!(gateway.run(&["admin", "first-start"]).0, 1);
    let form = format!("key=&name=eve&password={PASSWORD}&again={PASSWORD}");
    assert!(post(&gateway, "/first-start", "", &form).await.starts_with("HTTP/1.1 403"));
    let acts = get(&gateway, "/api/v1/acts", &session).await;
    assert!(acts.contains("first administrator made") && acts.contains("127.0.0.1"), "{acts}");
    // Nothing of it is in the log.
    let log = std::fs::read_to_string(gateway.path("data/events.json")).unwrap();
    assert!(!log.contains(PASSWORD) && !log.contains(&session), "{log}");
    let database = std::fs::read(gateway.path("data/accounts.db")).unwrap();
    let found = |what: &str| database.windows(what.len()).any(|part| part == what.as_bytes());
    assert!(!found(&session) && !found(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_lock_and_nobody_is_told_more_than_that() {
    let gateway = Gateway::start("").await;
    let ann = first(&gateway).await;
    assert!(post(&gateway, "/sign-in", "", &sign_in("ann", PASSWORD)).await.starts_with("HTTP/1.1 303"));
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.replace("nobody", "ann");
    let wrong = body(post(&gateway, "/sign-in", "", &sign_in("ann", "wrong")).await);
    let unknown = body(post(&gateway, "/sign-in", "", &sign_in("nobody", "wrong")).await);
    assert_eq!(wrong, unknown);
    for _ in 0..4 {
        post(&gateway, "/sign-in", "", &sign_in("ann", "wrong")).await;
    }
    let locked = post(&gateway, "/sign-in", "", &sign_in("ann", PASSWORD)).await;
    assert!(locked.starts_with("HTTP/1.1 401"), "{locked}");
    assert_eq!(body(locked), wrong);
    assert!(get(&gateway, "/administrators", &ann).await.contains("locked"), "who was signed in stays so");
    assert_eq!(gateway.run(&["admin", "unlock", "ann"]).0, 0);
    assert!(post(&gateway, "/sign-in", "", &sign_in("ann", PASSWORD)).await.starts_with("HTTP/1.1 303"));
    assert!(get(&gateway, "/api/v1/acts?q=locked", &ann).await.contains("sign-in locked after failures"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_password_the_role_and_the_sign_out() {
    let gateway = Gateway::start("").await;
    let ann = first(&gateway).await;
    let form = format!("name=bob&role=operator&password={PASSWORD}");
    assert!(post(&gateway, "/administrators", &ann, &form).await.starts_with("HTTP/1.1 200"));
    let enter = async || session(&post(&gateway, "/sign-in", "", &sign_in("bob", PASSWORD)).await);
    let is_in = async |session: &str| get(&gateway, "/", session).await.starts_with("HTTP/1.1 200");
    let bob = enter().await;
    assert!(is_in(&bob).await);
    assert!(get(&gateway, "/administrators", &bob).await.starts_with("HTTP/1.1 403"));
    post(&gateway, "/administrators/change", &ann, "name=bob&act=role&role=help-desk").await;
    assert!(!is_in(&bob).await);
    post(&gateway, "/administrators/change", &ann, "name=bob&act=role&role=read-only").await;
    let (bob, other) = (enter().await, enter().await);
    let form = format!("old={PASSWORD}&new={PASSWORD} staple&again={PASSWORD} staple");
    let changed = session(&post(&gateway, "/account/password", &bob, &form).await);
    assert_eq!((is_in(&bob).await, is_in(&other).await, is_in(&changed).await), (false, false, true));
    post(&gateway, "/sign-out", &changed, "").await;
    assert!(!is_in(&changed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_full_administrator_cannot_be_taken_away() {
    let gateway = Gateway::start("").await;
    let ann = first(&gateway).await;
    for act in ["act=disable", "act=remove", "act=role&role=operator"] {
        let answer = post(&gateway, "/administrators/change", &ann, &format!("name=ann&{act}")).await;
        assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("last full administrator"), "{answer}");
    }
    for command in ["disable", "remove"] {
        assert_eq!(gateway.run(&["admin", command, "ann"]).0, 1);
    }
    assert!(gateway.run(&["admin", "list"]).1.contains("may sign in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_written_down_with_who_gave_it_and_from_where() {
    let next_hop = peer("rcpt 450 4.2.0 not now\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let ann = first(&gateway).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert_eq!(gateway.run(&["queue", "hold", "--domain", "corp.test"]).0, 0);
    let acts = get(&gateway, "/api/v1/acts?q=hold", &ann).await;
    assert!(acts.contains("\"command line\"") && acts.contains("corp.test"), "{acts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_role_may_and_no_more() {
    let gateway = Gateway::start("").await;
    first(&gateway).await;
    let (code, token) = gateway.run(&["admin", "token", "monitor", "--role", "operator", "--days", "1"]);
    assert_eq!(code, 0, "{token}");
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    let ask = async |path: &str| gateway.request(&format!("GET {path}"), &bearer, "").await;
    assert!(ask("/").await.starts_with("HTTP/1.1 200"));
    assert!(ask("/api/v1/administrators").await.starts_with("HTTP/1.1 403"));
    let tampered = bearer.replace("gp_", "gp_0");
    assert!(gateway.request("GET /api/v1/acts", &tampered, "").await.starts_with("HTTP/1.1 401"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_use_a_browsers_session() {
    let gateway = Gateway::start("").await;
    let ann = first(&gateway).await;
    for says in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.test", "X-Nothing: said"] {
        let headers = format!("{says}\r\nCookie: gatepost={ann}\r\n");
        let answer = gateway.request("POST /sign-out", &headers, "").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{says}: {answer}");
    }
    assert!(get(&gateway, "/", &ann).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_no_way_around_waiting() {
    let mut gateway = Gateway::start("").await;
    first(&gateway).await;
    for _ in 0..5 {
        post(&gateway, "/sign-in", "", &sign_in("ann", "wrong")).await;
    }
    gateway.kill();
    gateway.launch().await;
    let locked = post(&gateway, "/sign-in", "", &sign_in("ann", PASSWORD)).await;
    assert!(locked.starts_with("HTTP/1.1 401"), "{locked}");
    assert_eq!(gateway.run(&["admin", "unlock", "ann"]).0, 0);
    gateway.kill();
    gateway.launch().await;
    assert!(post(&gateway, "/sign-in", "", &sign_in("ann", PASSWORD)).await.starts_with("HTTP/1.1 303"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stops_with_the_right_of_who_made_it() {
    let gateway = Gateway::start("").await;
    let ann = first(&gateway).await;
    post(&gateway, "/administrators", &ann, &format!("name=bob&role=full&password={PASSWORD}")).await;
    let bob = session(&post(&gateway, "/sign-in", "", &sign_in("bob", PASSWORD)).await);
    let page = post(&gateway, "/tokens", &bob, "name=robot&role=full&days=").await;
    let token = page.split("id=\"token\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let works = async || {
        let answer = gateway.request("GET /api/v1/administrators", &bearer, "").await;
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 401"), "{answer}");
        answer.starts_with("HTTP/1.1 200")
    };
    assert!(works().await);
    for (change, back, said) in [
        ("act=disable", "act=enable", "bob, who made it, is disabled"),
        ("act=role&role=operator", "act=role&role=full", "is operator now"),
    ] {
        post(&gateway, "/administrators/change", &ann, &format!("name=bob&{change}")).await;
        assert!(!works().await && get(&gateway, "/tokens", &ann).await.contains(said), "{change}");
        post(&gateway, "/administrators/change", &ann, &format!("name=bob&{back}")).await;
        assert!(works().await, "{back}");
    }
    post(&gateway, "/administrators/change", &ann, "name=bob&act=remove").await;
    post(&gateway, "/administrators", &ann, &format!("name=bob&role=full&password={PASSWORD}")).await;
    assert!(!works().await, "another bob did not make it");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_held_to_the_rules_of_the_page() {
    let gateway = Gateway::start("").await;
    let (_, token) = gateway.run(&["admin", "token", "robot", "--role", "full"]);
    let headers = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", token.trim());
    let ask = async |what: &str, body: &str| gateway.request(what, &headers, body).await;
    let new = |name: &str, role: &str| format!(r#"{{"name":"{name}","role":"{role}","password":"{PASSWORD}"}}"#);
    let add = async |name, role| ask("POST /api/v1/administrators", &new(name, role)).await;
    let first = add("bob", "operator").await;
    assert!(first.starts_with("HTTP/1.1 409") && first.contains("full administrator first"), "{first}");
    assert!(add("ann", "full").await.starts_with("HTTP/1.1 201"));
    assert!(add("bob", "operator").await.starts_with("HTTP/1.1 201"));
    for (what, body) in [
        ("PATCH /api/v1/administrators/ann", r#"{"role":"operator"}"#),
        ("PATCH /api/v1/administrators/ann", r#"{"disabled":true}"#),
        ("DELETE /api/v1/administrators/ann", ""),
    ] {
        let answer = ask(what, body).await;
        assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("last full administrator"), "{what}: {answer}");
    }
    let bob = session(&post(&gateway, "/sign-in", "", &sign_in("bob", PASSWORD)).await);
    let sessions = ask("GET /api/v1/administrators/bob/sessions", "").await;
    assert!(sessions.contains("127.0.0.1") && !sessions.contains(&bob), "{sessions}");
    assert!(ask("DELETE /api/v1/administrators/bob/sessions", "").await.contains("\"sessions\":0"));
    assert!(get(&gateway, "/", &bob).await.starts_with("HTTP/1.1 303"));
    let raised = gateway
        .request(
            "PATCH /api/v1/administrators/bob",
            &format!(
                "Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\nCookie: gatepost={}\r\n",
                session(&post(&gateway, "/sign-in", "", &sign_in("bob", PASSWORD)).await)
            ),
            r#"{"role":"full"}"#,
        )
        .await;
    assert!(raised.starts_with("HTTP/1.1 403"), "{raised}");
    // What a token of the command line makes stands on nobody either.
    let made = ask("POST /api/v1/tokens", r#"{"name":"child","role":"read-only"}"#).await;
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let tokens = ask("GET /api/v1/tokens", "").await;
    assert!(tokens.matches("\"apart\":true").count() == 2 && tokens.contains("\"stopped\":null"), "{tokens}");
}
