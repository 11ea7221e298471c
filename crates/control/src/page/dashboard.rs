//! Dashboard: how mail is doing, at a glance; every number leads to the messages behind it.

use crate::page::Routes;
use crate::part::{self, shell};
use crate::right::{May, rights};
use crate::{Center, Health};
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use maud::{Markup, html};

pub(crate) fn routes() -> Routes {
    Routes::new().route("/", get(page))
}

async fn page(may: May<rights::Look>, State(center): State<Center>) -> Html<String> {
    shell::page(&may.account, "/", "Dashboard", body(&center.reader.health()))
}

fn body(health: &Health) -> Markup {
    let state = if health.accepting { ("good", "accepts mail") } else { ("bad", "does not accept mail") };
    html! {
        @for alert in &health.alerts { (shell::notice("bad", alert)) }
        section.cards {
            div.card { h2 { (health.hostname) } p { (shell::badge(state.0, state.1)) " " (health.mode) } p.quiet { "version " (health.version) ", settings version " (health.settings_version) } }
            div.card { h2 { "Queue" } p.big { a href="/queue" { (part::count(health.queued)) } } p.quiet { (part::count(health.held)) " held" } }
            div.card { h2 { "Disk" } p.big { (part::bytes(health.disk_free)) } p.quiet { "free; " (part::bytes(health.disk_reserve)) " kept in reserve" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn the_dashboard_leads_to_the_queue_and_shows_alerts_as_text() {
        let (code, page) = get("ReadOnly", "/").await;
        assert_eq!(code, 200);
        assert!(page.contains("<a href=\"/queue\">1,234</a>") && page.contains("&lt;img"), "{page}");
    }

    #[tokio::test]
    async fn strangers_are_led_to_the_sign_in_and_the_help_desk_is_told_no() {
        assert_eq!(get("", "/").await.0, 303);
        let (code, page) = get("HelpDesk", "/").await;
        assert!(code == 403 && page.contains("needs the right to look"), "{page}");
    }
}
