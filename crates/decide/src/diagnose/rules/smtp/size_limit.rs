//! The message is larger than the peer, or this gateway, takes.

use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Fault, Finding, HostTry, Reply, Retry, status};

rule! {
    /// The message is larger than the server takes
    ///
    /// A server's limit (SIZE, RFC 1870) counts the message as it is sent. Attachments are sent in base64, which makes them about
    /// 37 % larger: a file of 21 MB is a message of 29 MB. A limit of 25 MB therefore takes files of about 18 MB.
    ///
    /// Known by the size of the message and the limit that the server's EHLO answer names, or by its refusal. The size of the
    /// attachments is measured before their encoding.
    ///
    /// Send less, or a link to the file; or raise the limit at the server that names it. For mail that this gateway itself
    /// refuses, the limit is `listener.*.message_size`.
    "smtp.size_limit", find
}

/// Below this a size alone is no reason for anybody who names no limit.
const DOUBTFUL: u64 = 1_000_000;

fn find(case: &Case<'_>) -> Answer {
    taken_by_us(case).or_else(|| refused_by_peer(case)).into()
}

fn taken_by_us(case: &Case<'_>) -> Option<Finding> {
    let visit = case.visit()?;
    let (reply, size, size_max) = visit.refusals.iter().find_map(|refusal| match refusal.fault? {
        Fault::TooLarge { size, size_max } => Some((&refusal.reply, size, size_max)),
        _ => None,
    })?;
    let listener = visit.listener.name();
    let sentence = format!(
        "The message of client {} is {} encoded{}; this gateway's {listener} listener takes at most {} and refused it with {} {}.",
        visit.client,
        megabytes(size),
        attachments(case),
        megabytes(size_max),
        reply.code,
        reply.status()
    );
    let finding = Finding::new("smtp.size_limit", Actor::TheSender, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::AfterFix)
        .evidence(format!("size {size} octets, limit {size_max} octets"))
        .evidence(format!("answered: {reply}"))
        .disproof(format!("a message of more than {size_max} octets that the {listener} listener takes"))
        .fix("The sender sends a smaller file, or a link to it.")
        .fix(format!("Or raise the limit: `listener.{listener}.message_size = {}` or more.", size + size / 20));
    Some(finding)
}

fn refused_by_peer(case: &Case<'_>) -> Option<Finding> {
    let ours = case.failed().filter(|(_, failure)| {
        failure.status.host.is_none() && failure.status.enhanced == status::PEER_SIZE_LIMIT.with("").enhanced
    });
    let is_about_size =
        |reply: &Reply| reply.is_permanent() && words::topics(reply).first() == Some(&Topic::MessageSize);
    let theirs = case.refusals().into_iter().find(|(_, _, reply)| is_about_size(reply));
    let (tried, reply) = match (ours, theirs) {
        (Some((tried, _)), _) => (tried, None),
        (None, Some((tried, _, reply))) => (tried, Some(reply)),
        (None, None) => return None,
    };
    let content = case.content?;
    let (size, host, limit) = (content.size, &tried.host, limit(tried));
    let exceeds = limit.is_some_and(|limit| size > limit);
    let confidence = match reply {
        _ if exceeds => Confidence::Proven,
        Some(_) if size >= DOUBTFUL => Confidence::Likely,
        Some(_) => Confidence::Possible,
        None => return None,
    };
    let takes = match (limit, reply) {
        (Some(limit), _) if exceeds => format!("{host} takes at most {}", megabytes(limit)),
        (Some(limit), Some(reply)) => {
            format!("{host} refused it as too large although it announces {}: {reply}", megabytes(limit))
        }
        (None, Some(reply)) => format!("{host} refused it as too large and announces no limit: {reply}"),
        (_, None) => return None,
    };
    let sentence = format!("The message is {} encoded{}; {takes}.", megabytes(size), attachments(case));
    let mut finding = Finding::new("smtp.size_limit", Actor::TheSender, sentence)
        .confidence(confidence)
        .retry(Retry::Useless)
        .evidence(format!("size {size} octets, attachments {} octets before base64", content.attachments_decoded));
    finding.evidence.extend(limit.map(|limit| format!("EHLO answer of {host}: SIZE {limit}")));
    finding.evidence.extend(reply.map(|reply| format!("{host} answered: {reply}")));
    let finding = finding
        .disproof(format!("{host} takes a message of {size} octets or more from another sender"))
        .fix("Send a smaller file, or a link to it.")
        .fix(format!("Or have the limit of {host} raised above {size} octets."));
    Some(finding)
}

/// The limit that the EHLO answer names (RFC 1870 3; 0 is none).
fn limit(tried: &HostTry) -> Option<u64> {
    tried.capabilities.iter().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("SIZE"))?;
        words.next()?.parse().ok().filter(|&size| size != 0)
    })
}

/// ` (attachments 21.0 MB before base64)`
fn attachments(case: &Case<'_>) -> String {
    let decoded = case.content.map_or(0, |content| content.attachments_decoded);
    if decoded == 0 { String::new() } else { format!(" (attachments {} before base64)", megabytes(decoded)) }
}

/// `28.9 MB`, in millions; below a tenth of one, octets.
fn megabytes(octets: u64) -> String {
    if octets < 100_000 {
        return format!("{octets} octets");
    }
    let tenths = (octets + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::ContentFacts;
    use crate::diagnose::testing::{scene, visit};
    use mail::{Confidence, Fault};

    fn large() -> Option<ContentFacts> {
        Some(ContentFacts { size: 28_900_000, attachments_decoded: 21_000_000, ..ContentFacts::default() })
    }

    #[test]
    fn both_sizes_and_the_limit_are_named() {
        let mut scene = scene(
            "to a@big.test\ntry mx.big.test 127.0.0.11\n  caps PIPELINING, SIZE 26214400\n  \
             fail mail them [internal] 552 5.3.4 message larger than the peer accepts",
        );
        scene.content = large();
        scene.check(
            "smtp.size_limit: The message is 28.9 MB encoded (attachments 21.0 MB before base64); mx.big.test takes at most \
             26.2 MB.",
        );
        assert_eq!(scene.diagnose().findings[0].confidence, Confidence::Proven);
    }

    #[test]
    fn a_full_mailbox_is_not_a_size_limit() {
        let mut scene = scene(
            "to a@big.test\ntry mx.big.test 127.0.0.11\n  caps SIZE 52428800\n  rcpt a@big.test 552 5.2.2 mailbox full\n  \
             fail rcpt them 552 5.2.2 mailbox full",
        );
        scene.content = large();
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "smtp.size_limit"));
    }

    #[test]
    fn our_own_limit_is_named_with_its_setting() {
        let scene =
            visit("127.0.1.10", "552 5.3.4 too large", Fault::TooLarge { size: 28_900_000, size_max: 10_485_760 });
        scene.check(
            "smtp.size_limit: The message of client 127.0.1.10 is 28.9 MB encoded; this gateway's inbound listener takes at most \
             10.5 MB and refused it with 552 5.3.4.",
        );
    }
}
