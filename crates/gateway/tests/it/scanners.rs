//! Several real gateways under one Control Center: enrolled, seen, silent, refused.

use crate::accounts::{first, get, post};
use crate::configure::{owning, sent_back};
use crate::gateway::{Gateway, free};

async fn named(name: &str) -> Gateway {
    Gateway::start(&format!("hostname = \"{name}.corp.test\"\n")).await
}

/// The code by which a gateway is enrolled.
fn invite(gateway: &Gateway) -> String {
    let (code, text) = gateway.run(&["scanner", "invite"]);
    assert_eq!(code, 0, "{text}");
    text.trim().to_owned()
}

fn enrol(center: &Gateway, code: &str, name: &str) -> (i32, String) {
    center.run_with(&["scanner", "enrol", "--name", name], code)
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_is_enrolled_seen_and_when_it_falls_silent_it_is_said_why() {
    let (center, mut other) = (named("gw1").await, named("gw2").await);
    let ann = first(&center).await;
    let (code, text) = enrol(&center, &invite(&other), "");
    assert_eq!(code, 0, "{text}");
    holds(&text, &["gw2.corp.test, gatepost", "gw2.corp.test answers as it should"]);
    let asked = center.run(&["scanner", "test", "gw2.corp.test"]);
    assert_eq!(asked.0, 0, "{}", asked.1);
    let page = get(&center, "/", &ann).await;
    holds(&page, &["/scanner/gw2.corp.test", "accepts mail", "the same as here"]);
    assert!(!page.contains("unreachable"), "{page}");

    other.kill();
    let (code, text) = center.run(&["scanner", "test", "gw2.corp.test"]);
    assert_eq!(code, 1, "{text}");
    holds(&text, &["connection: ", "refused", "Is the gateway running there"]);
    let page = get(&center, "/", &ann).await;
    holds(&page, &["HTTP/1.1 200", "unreachable", "connection: ", "Is the gateway running there"]);
    holds(&center.run(&["scanner", "list"]).1, &["gw2.corp.test", "unreachable: "]);

    other.launch().await;
    assert_eq!(center.run(&["scanner", "test", "gw2.corp.test"]).0, 0);
    assert!(!get(&center, "/", &ann).await.contains("unreachable"));
    center.wait_log(|log| log.contains("status: silent") && log.contains("status: answers")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_other_scanner_is_refused_and_nothing_is_kept() {
    let (center, other) = (named("gw1").await, named("gw2").await);
    let ann = first(&center).await;
    let good = invite(&other);
    let (code, text) = enrol(&center, &good.replace("token=gp_", "token=gp_0"), "");
    assert!(code == 1 && text.contains("token: it does not know the token"), "{text}");
    let (code, text) = enrol(&center, &invite(&center), "");
    assert!(code == 1 && text.contains("that is this gateway itself, gw1.corp.test"), "{text}");
    let (code, text) = enrol(&center, &good.replace("http://", "https://"), "");
    assert!(code == 1 && text.contains("certificate: ") && text.contains("does not speak TLS"), "{text}");
    let peer = format!("http://{}/#token=gp_x", center.inbound);
    let (code, text) = enrol(&center, &peer, "");
    assert!(code == 1 && text.contains("answer: it does not answer as HTTP"), "{text}");
    let (code, token) = other.run(&["admin", "token", "desk", "--role", "help-desk"]);
    assert_eq!(code, 0);
    let url = good.split("/#").next().unwrap();
    let (code, text) = enrol(&center, &format!("{url}/#token={}", token.trim()), "");
    assert!(code == 1 && text.contains("token: the token may not see how it is (403)"), "{text}");
    assert_eq!(center.run(&["scanner", "list"]).1, "");

    assert_eq!(enrol(&center, &good, "mx2").0, 0);
    assert_eq!(center.run(&["scanner", "test", "mx2"]).0, 0);
    let (code, text) = enrol(&center, &good, "mx3");
    assert!(code == 1 && text.contains("which is enrolled already as mx2"), "{text}");
    let token = good.split("token=").nth(1).unwrap();
    for path in ["/scanners", "/scanner/mx2", "/api/v1/scanners", "/api/v1/acts"] {
        let page = get(&center, path, &ann).await;
        assert!(page.starts_with("HTTP/1.1 200") && !page.contains(token), "{path}: {page}");
    }
    let log = std::fs::read_to_string(center.path("data/events.json")).unwrap();
    assert!(!log.contains(token));
    // A backup opens no other gateway.
    assert_eq!(center.run(&["backup", "create", "x.tar"]).0, 0);
    let backup = std::fs::read(center.path("x.tar")).unwrap();
    let found = |what: &str| backup.windows(what.len()).any(|part| part == what.as_bytes());
    assert!(found("mx2") && !found(token));
}

/// A gateway whose Control Center speaks TLS, with a certificate that it made itself; and a code that leads there.
async fn with_tls(name: &str) -> (Gateway, String) {
    let mut gateway = named(name).await;
    gateway.terminate();
    assert!(gateway.ended().await);
    let port = free("127.0.0.1").port();
    let file = gateway.path("gatepost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("[control]").unwrap();
    std::fs::write(&file, format!("{before}[control]\nlisten = \"0.0.0.0:{port}\"\n")).unwrap();
    gateway.launch().await;
    let code = invite(&gateway);
    assert!(code.starts_with(&format!("https://{name}.corp.test:{port}/#sha256=")), "{code}");
    (gateway, code.replace(&format!("{name}.corp.test"), "127.0.0.1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_pinned_and_another_one_gets_no_token() {
    let center = named("gw1").await;
    let ann = first(&center).await;
    let (mut other, good) = with_tls("gw2").await;
    let pin = good.split("sha256=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let (code, text) = enrol(&center, &good.replace(&pin, &"ab".repeat(32)), "");
    assert!(code == 1 && text.contains("certificate: it shows another certificate") && text.contains(&pin), "{text}");
    let (code, text) = enrol(&center, &good.replace(&format!("sha256={pin}&"), ""), "");
    assert!(code == 1 && text.contains("certificate: the certificate is not believed"), "{text}");
    let url = good.split("/#").next().unwrap().to_owned();
    let form = format!("name=mx2&url={}", url.replace(':', "%3A"));
    let page = post(&center, "/scanners/look", &ann, &form).await;
    holds(&page, &["HTTP/1.1 200", "Compare this SHA-256", &pin]);
    let (code, text) = enrol(&center, &good, "mx2");
    assert_eq!(code, 0, "{text}");

    // Its certificate is the same after a restart; when it is another one, that is said, and confirmed.
    other.kill();
    other.launch().await;
    assert_eq!(center.run(&["scanner", "test", "mx2"]).0, 0);
    other.kill();
    std::fs::remove_file(other.path("data/own-certificate.pem")).unwrap();
    other.launch().await;
    let page = post(&center, "/scanner/mx2", &ann, "act=test").await;
    holds(&page, &["it shows another certificate", "Confirm this certificate"]);
    let shown = page.split("name=\"fingerprint\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_ne!(shown, pin);
    let page = post(&center, "/scanner/mx2", &ann, &format!("act=certificate&fingerprint={shown}")).await;
    holds(&page, &["HTTP/1.1 200", "Changed."]);
    assert_eq!(center.run(&["scanner", "test", "mx2"]).0, 0);
    assert_eq!(center.run(&["scanner", "remove", "mx2"]).0, 0);
    assert_eq!(center.run(&["scanner", "list"]).1, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_is_applied_to_all_that_take_it_and_told_of_each_that_does_not() {
    let own = async |name: &str| owning(&format!("hostname = \"{name}.corp.test\"\n")).await;
    let (center, taker, looper, mut silent) = (own("gw1").await, own("gw2").await, own("gw3").await, own("gw4").await);
    let ann = first(&center).await;
    for (gateway, name) in [(&taker, "gw2"), (&looper, "gw3"), (&silent, "gw4")] {
        assert_eq!(enrol(&center, &invite(gateway), name).0, 0);
        assert_eq!(center.run(&["scanner", "test", name]).0, 0);
    }
    // For gw3 this next hop is gw3 itself; the host name is gw1's alone.
    let form = format!("act=save&entry=new&name=corp.test&next_hops={}", looper.inbound);
    let preview = post(&center, "/domains", &ann, &form).await;
    holds(&preview, &["HTTP/1.1 200", "Preview on all Scanners"]);
    let wish = sent_back(&preview);
    let page = post(&center, "/settings/everywhere", &ann, &wish).await;
    holds(
        &page,
        &[
            "name=\"on\" value=\"gw2\" checked",
            "name=\"on\" value=\"gw3\" disabled",
            "leads back here",
            "domain[corp.test].name",
        ],
    );
    let at = |name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"at.{name}\" value=\"")).unwrap();
        format!("&on={name}&at.{name}={}", rest.split('"').next().unwrap())
    };
    let order = format!("{wish}&on={}{}{}", at("gw2"), at("gw3"), at("gw4"));
    silent.kill();
    let page = post(&center, "/settings/everywhere/apply", &ann, &order).await;
    holds(&page, &["HTTP/1.1 409", "Not done on 2 of 4", "leads back here", "connection: ", "Preview it again"]);
    let export = |gateway: &Gateway| gateway.run(&["settings", "export"]).1;
    for (gateway, name, has) in [(&center, "gw1", true), (&taker, "gw2", true), (&looper, "gw3", false)] {
        let text = export(gateway);
        assert_eq!(text.contains("next_hops"), has, "{text}");
        assert!(text.contains(&format!("hostname = \"{name}.corp.test\"")), "{text}");
    }
    let history = taker.run(&["settings", "history"]).1;
    holds(&history, &["token control-center for ann at gw1.corp.test", "smaller mail"]);
    let acts = get(&center, "/api/v1/acts?q=another", &ann).await;
    assert_eq!(acts.matches("settings on another Scanner").count(), 3, "{acts}");

    // The same order once more: another version is in force there.
    let page = post(&center, "/settings/everywhere/apply", &ann, &order.replace("&on=&", "&")).await;
    holds(&page, &["HTTP/1.1 409", "another version came in force there meanwhile"]);

    // What still differs is seen, and brought in line from here.
    let page = get(&center, "/scanner/gw3/drift", &ann).await;
    holds(&page, &["HTTP/1.1 200", "domain[corp.test]", "has no such entry", "belong to one host"]);
    let page = get(&center, "/scanner/gw2/drift", &ann).await;
    holds(&page, &["All settings that Scanners share are the same", "<code>hostname</code>"]);
    let page = get(&center, "/scanner/gw4/drift", &ann).await;
    holds(&page, &["HTTP/1.1 200", "connection: "]);
    let page = post(&center, "/scanner/gw3/drift", &ann, "act=here&path=domain%5Bcorp.test%5D").await;
    holds(&page, &["HTTP/1.1 200", "Apply now"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_found_on_all_scanners_at_once() {
    let (center, other, mut silent) = (named("gw1").await, named("gw2").await, named("gw3").await);
    let ann = first(&center).await;
    for (gateway, name) in [(&other, "mx2"), (&silent, "mx3")] {
        assert_eq!(enrol(&center, &invite(gateway), name).0, 0);
    }
    let mut ids = Vec::new();
    for gateway in [&center, &other] {
        let reply = gateway.send("a@out.test", "ann@elsewhere.test", "Subject: x\r\n\r\nx").await.to_string();
        assert!(reply.starts_with("550"), "{reply}");
        ids.push(reply.rsplit_once('(').unwrap().1.trim_end_matches([')', '\n', '\r']).to_owned());
        crate::gateway::record_of(gateway, &reply).await;
    }
    silent.kill();
    let page = get(&center, "/audit?q=elsewhere&everywhere=on", &ann).await;
    holds(&page, &["HTTP/1.1 200", "mx3</strong> did not answer", "connection: ", "<td>mx2</td>"]);
    holds(&page, &[&format!("href=\"/message/{}\"", ids[0]), &format!("/message/{}\"", ids[1])]);
    let found = get(&center, "/api/v1/audit/everywhere?q=elsewhere", &ann).await;
    holds(&found, &["\"silent\":[{\"scanner\":\"mx3\"", &ids[0], &ids[1]]);
}
