//! Settings changed through the Control Center of the real program: shown first, applied live, put back in one step.

use crate::accounts::{first, get, post};
use crate::gateway::Gateway;

const DOCUMENT: &str = "# ours: ask ann first\nhostname = \"gw.corp.test\" # as in DNS\n";

/// A gateway whose settings belong to itself, not to a file.
async fn with_settings_of_its_own() -> Gateway {
    owning(DOCUMENT).await
}

/// The same with a document of the test's own.
pub(crate) async fn owning(document: &str) -> Gateway {
    let mut gateway = Gateway::start(document).await;
    gateway.terminate();
    assert!(gateway.ended().await);
    let host = std::fs::read_to_string(gateway.path("gatepost.toml")).unwrap();
    std::fs::write(gateway.path("gatepost.toml"), host.replace("settings_file = \"settings.toml\"\n", "")).unwrap();
    gateway.launch().await;
    gateway
}

fn holds(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part} is missing in: {page}");
    }
}

/// The preview's form, sent back.
pub(crate) fn sent_back(preview: &str) -> String {
    let value = |name: &str| {
        let (_, rest) = preview.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        let text = rest.split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&");
        let encoded: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{name}={}&", encoded.concat())
    };
    ["version", "back", "here", "wish"].map(value).concat() + "comment=smaller+mail"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_applied_live_and_put_back() {
    let gateway = with_settings_of_its_own().await;
    let ann = first(&gateway).await;
    let export = || gateway.run(&["settings", "export"]).1;
    let now = gateway.run(&["settings", "history"]).1.split_whitespace().next().unwrap().parse::<i64>().unwrap();

    let form = format!("version={now}&listener.inbound.message_size=1MB");
    let preview = post(&gateway, "/smtp?tab=listener.inbound", &ann, &form).await;
    holds(&preview, &["<code>&quot;10MB&quot;</code>", "<code>&quot;1MB&quot;</code>", "Apply now"]);
    assert!(export().contains("as in DNS") && !export().contains("1MB"), "a preview changes nothing");

    let apply = sent_back(&preview);
    let answer = post(&gateway, "/settings/apply", &ann, &apply).await;
    holds(&answer, &["303", &format!("applied={}", now + 1)]);
    assert_eq!(export().trim_end(), format!("{DOCUMENT}\n[listener.inbound]\nmessage_size = \"1MB\""));
    holds(&get(&gateway, "/settings", &ann).await, &["smaller mail", "in force"]);

    holds(&post(&gateway, "/settings/apply", &ann, &apply).await, &["409", "came in force"]);

    let back = format!("version={now}&base={}", now + 1);
    assert!(post(&gateway, "/settings/rollback", &ann, &back).await.starts_with("HTTP/1.1 303"));
    assert_eq!(export().trim_end(), DOCUMENT.trim_end());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_hop_that_leads_back_is_told_in_the_form_with_its_cycle() {
    let gateway = with_settings_of_its_own().await;
    let ann = first(&gateway).await;
    let form = format!("act=save&entry=new&name=corp.test&next_hops={}", gateway.inbound);
    let answer = post(&gateway, "/domains", &ann, &form).await;
    holds(&answer, &["422", "leads back here: mail for corp.test", &format!("{}</textarea>", gateway.inbound)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_file_are_only_shown_and_offered_as_text() {
    let gateway = Gateway::start(DOCUMENT).await;
    let ann = first(&gateway).await;
    let preview = post(&gateway, "/smtp?tab=listener.inbound", &ann, "listener.inbound.message_size=1MB").await;
    holds(&preview, &["settings.toml", "message_size = &quot;1MB&quot;"]);
    assert!(!preview.contains("Apply now"), "{preview}");
}
