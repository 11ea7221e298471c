//! Heard: what is looked at for a diagnosis, told to whoever waits for it while it is made.
//!
//! The listener belongs to the task that makes the diagnosis: experiments that deliveries make for themselves tell nobody.

use crate::clock::now;
use control::Step;
use tokio::sync::mpsc::UnboundedSender;

tokio::task_local! {
    static LISTENER: UnboundedSender<Step>;
}

/// Tells of a step, if somebody listens; the text is made only then.
pub(crate) fn tell(stage: &str, host: &str, text: impl FnOnce() -> String) {
    let _ = LISTENER.try_with(|listener| {
        let step = Step { at: now(), stage: stage.to_owned(), host: host.to_owned(), text: text() };
        listener.send(step)
    });
}

/// Does something whose steps are told.
pub(crate) async fn by<T>(listener: UnboundedSender<Step>, work: impl Future<Output = T>) -> T {
    LISTENER.scope(listener, work).await
}
