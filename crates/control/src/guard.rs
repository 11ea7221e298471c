//! Guard: what another site makes a browser send is turned away, whatever cookie comes with it.

use crate::account::{Peer, cookie};
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Lets only requests through that change nothing, or that come from our own pages or from a program with a token.
pub(crate) async fn same_site(request: Request, next: Next) -> Response {
    let tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.tls);
    if is_safe(request.method()) || is_ours(request.headers(), tls) {
        return next.run(request).await;
    }
    let what = "this request came from another site, or from a program without an API token; nothing was done";
    (StatusCode::FORBIDDEN, Json(json!({ "problem": "cross-site", "what": what }))).into_response()
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Browsers say in Sec-Fetch-Site where a request comes from, older ones in Origin at least; neither can be forged by
/// a page. What says nothing and carries a session is not believed: every browser of the last years says something.
fn is_ours(headers: &HeaderMap, tls: bool) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    if let Some(origin) = text("origin") {
        // http://gw and https://gw say the same in Host. Before a proxy that ends TLS the scheme is not known here.
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://").filter(|_| !tls));
        return host.is_some() && host == text("host");
    }
    let with_session = text("cookie").is_some_and(|all| all.contains(&format!("{}=", cookie(tls))));
    !with_session
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], ours: bool) {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(is_ours(&headers, false), ours, "{headers:?}");
    }

    #[test]
    fn another_site_can_change_nothing() {
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "none")], true);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "cross-site"), ("origin", "http://gw:8025"), ("host", "gw:8025")], false);
        check(&[("origin", "http://gw:8025"), ("host", "gw:8025")], true);
        check(&[("origin", "http://evil.test"), ("host", "gw:8025")], false);
        check(&[("origin", "null"), ("host", "gw:8025")], false);
        check(&[("cookie", "gatepost=x")], false);
        check(&[("authorization", "Bearer x")], true);
    }

    #[test]
    fn over_tls_a_page_in_clear_is_another_site() {
        let from = |origin: &'static str, tls| {
            let headers = [("origin", origin), ("host", "gw")];
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            is_ours(&headers, tls)
        };
        assert!(from("https://gw", true) && from("https://gw", false) && from("http://gw", false));
        assert!(!from("http://gw", true));
    }

    #[test]
    fn what_changes_nothing_passes() {
        assert!(is_safe(&Method::GET) && !is_safe(&Method::POST) && !is_safe(&Method::DELETE));
    }
}
