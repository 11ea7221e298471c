//! Live: bodies that grow while they are sent, and server-sent events.

use crate::Center;
use crate::right::May;
use crate::right::rights::Named;
use axum::body::{Body, Bytes};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use maud::Markup;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};

/// What comes out of a channel, until its other end is dropped.
struct Channel<T>(Receiver<T>);

impl<T> Stream for Channel<T> {
    type Item = Result<T, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|item| item.map(Ok))
    }
}

/// How often it is asked whether whoever reads along still may.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A body of what is sent into the channel. It ends by itself, and is not cut off half way.
pub(crate) fn body(pieces: Receiver<Bytes>) -> Body {
    Body::from_stream(Channel(pieces))
}

/// Passes on what comes until the right is gone. Then that is said, and both ends are closed: the sender stops by itself.
fn while_allowed<R: Named>(may: May<R>, center: &Center, mut from: Receiver<Event>) -> Receiver<Event> {
    let (sender, receiver) = channel(4);
    let center = center.clone();
    tokio::spawn(async move {
        while may.still(&center).await {
            let asked_again = tokio::time::sleep(ASK_EVERY);
            tokio::pin!(asked_again);
            loop {
                let item = tokio::select! {
                    () = &mut asked_again => break,
                    () = sender.closed() => return,
                    item = from.recv() => item,
                };
                let Some(item) = item else { return };
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        }
        let _ = sender.send(Event::default().event("signed-out").data("")).await;
    });
    receiver
}

/// An event that replaces the inside of the element `id`.
pub(crate) fn fragment(id: &str, html: Markup) -> Event {
    Event::default().event(id).data(html.into_string())
}

/// Events for a page that stands open; a comment keeps the connection alive. They end with the session or the right, with an event
/// `signed-out`.
pub(crate) fn events<R: Named>(may: May<R>, center: &Center, events: Receiver<Event>) -> Response {
    Sse::new(Channel(while_allowed(may, center, events))).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, ask};
    use axum::http::Request;
    use std::sync::Arc;

    #[tokio::test]
    async fn what_is_followed_ends_with_the_session() {
        let world = Arc::<World>::default();
        for path in ["/dashboard/live", "/logs/events?after=1000"] {
            let follow = async || ask(&world, "ReadOnly", Request::get(path).body(String::new()).unwrap()).await.1;
            let heard = follow().await;
            assert!(heard.contains("data: <") && !heard.contains("signed-out"), "{path}: {heard}");
            world.ended.store(true, std::sync::atomic::Ordering::Relaxed);
            let heard = follow().await;
            assert!(heard.starts_with("event: signed-out\n") && !heard.contains("data: <"), "{path}: {heard}");
            world.ended.store(false, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
