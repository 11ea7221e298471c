//! Live: bodies that grow while they are sent, and server-sent events.

use axum::body::{Body, Bytes};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use maud::Markup;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::Receiver;

/// What comes out of a channel, until its other end is dropped.
struct Channel<T>(Receiver<T>);

impl<T> Stream for Channel<T> {
    type Item = Result<T, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|item| item.map(Ok))
    }
}

/// A body of what is sent into the channel.
pub(crate) fn body(pieces: Receiver<Bytes>) -> Body {
    Body::from_stream(Channel(pieces))
}

/// An event that replaces the inside of the element `id`.
pub(crate) fn fragment(id: &str, html: Markup) -> Event {
    Event::default().event(id).data(html.into_string())
}

/// Events for a page that stands open; a comment keeps the connection alive.
pub(crate) fn events(events: Receiver<Event>) -> Response {
    Sse::new(Channel(events)).keep_alive(KeepAlive::default()).into_response()
}
