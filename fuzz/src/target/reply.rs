//! Replies: what is written is read again as the same; what a reply is about can be asked of any text.

use crate::octets::readable;
use decide::diagnose::words;
use mail::{Reply, Status};

/// Lines of one reply.
pub(crate) fn check(input: &[u8]) {
    let text = readable(input);
    let lines: Vec<&str> = text.lines().collect();
    let Ok(reply) = Reply::parse(&lines) else { return };
    let mut wire = Vec::new();
    reply.write(&mut wire);
    let said = String::from_utf8(wire).unwrap();
    assert!(said.ends_with("\r\n") && !said.replace("\r\n", "").contains(['\r', '\n']), "{said:?}");
    let lines: Vec<&str> = said.split_terminator("\r\n").collect();
    let again = Reply::parse(&lines).unwrap_or_else(|error| panic!("{said:?}: {error}"));
    assert_eq!(again.to_string(), reply.to_string().replace('\r', " "), "{said:?}");
    assert_eq!(
        (again.code, again.enhanced, again.lines.len()),
        (reply.code, reply.enhanced, reply.lines.len()),
        "{said:?}"
    );
    assert!(reply.enhanced.is_none_or(|enhanced| u16::from(enhanced.class) == reply.code / 100), "{reply}");
    let json = serde_json::to_string(&reply).unwrap();
    assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), reply);

    let topics = words::topics(&reply);
    assert_eq!(words::topic(&reply), topics.first().copied());
    let status = Status::remote("mx.test", &reply);
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}
