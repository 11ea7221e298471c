//! A message could not be written to the queue.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// The message could not be stored
    ///
    /// The disk refused to take a message: it is full, read-only, over a quota, or failing. Nothing was acknowledged: the client was
    /// answered with a temporary code (4xx), so that it keeps the message and tries again. A permanent code (5xx) would
    /// have it return mail that a minute later could be taken.
    ///
    /// Known by the error of the system.
    ///
    /// Mend the disk; the mail comes by itself.
    "own.storage_wrong_class", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some((storage, error)) = visit.storage.as_ref().and_then(|storage| Some((storage, storage.error.as_ref()?)))
    else {
        return Answer::No;
    };
    let Some(refusal) = visit.refusals.iter().rev().find(|refusal| refusal.reply.is_transient()) else {
        return Answer::No;
    };
    let name = name_of(error).map_or(String::new(), |name| format!("{name}: "));
    Finding::new(
        "own.storage_wrong_class",
        Actor::OurSettings,
        format!(
            "Message could not be written to the queue in {} ({name}{error}); answered {} {} so that the sender keeps it.",
            storage.folder,
            refusal.reply.code,
            refusal.reply.status()
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("error: {error}"))
    .evidence(format!("{}: {} octets free", storage.folder, storage.free))
    .disproof("a message that is stored there at the same time")
    .fix(format!("See to the disk of {}: full, read-only, over quota, or failing.", storage.folder))
    .into()
}

/// As administrators know it from errno.
fn name_of(error: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 6] = [
        ("os error 28", "ENOSPC"),
        ("os error 30", "EROFS"),
        ("os error 13", "EACCES"),
        ("os error 5)", "EIO"),
        ("os error 122", "EDQUOT"),
        ("os error 27", "EFBIG"),
    ];
    NAMES.iter().find(|(text, _)| error.contains(text)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;
    use mail::Storage;

    #[test]
    fn the_error_of_the_system_is_named() {
        let mut scene =
            scene("visit inbound 127.0.1.10\nrefuse body write-failed - 451 4.3.0 message could not be stored");
        scene.visit.as_mut().unwrap().storage = Some(Storage {
            folder: "/data".to_owned(),
            error: Some("No space left on device (os error 28)".to_owned()),
            ..Storage::default()
        });
        scene.check(
            "own.storage_wrong_class: Message could not be written to the queue in /data (ENOSPC: No space left on device (os error \
             28)); answered 451 4.3.0 so that the sender keeps it.",
        );
    }
}
