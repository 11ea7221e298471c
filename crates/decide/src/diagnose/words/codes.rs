//! Codes: what the numbers of a reply mean by themselves.

use super::{Topic, Weight};
use mail::EnhancedStatus;

/// `(class or 0 for both, subject, detail from, detail to, topics)`: codes with one meaning. RFC 3463 3, RFC 7372 3, RFC
/// 7505 4, RFC 6531 4.2, the IANA registry; details of three digits are Exchange Online's own
/// (learn.microsoft.com/exchange: "Email non-delivery reports").
const ENHANCED: &[(u8, u16, u16, u16, &[Topic])] = &[
    (0, 1, 1, 1, &[Topic::NoSuchUser]),
    (5, 1, 6, 6, &[Topic::NoSuchUser]),
    (0, 1, 7, 8, &[Topic::SenderDomain]),
    (5, 1, 10, 10, &[Topic::NoSuchUser]),
    (5, 2, 1, 1, &[Topic::NoSuchUser]),
    (0, 2, 2, 2, &[Topic::Quota]),
    (0, 2, 3, 3, &[Topic::MessageSize]),
    (0, 2, 121, 122, &[Topic::Rate]),
    (0, 3, 1, 1, &[Topic::Storage]),
    (0, 3, 4, 4, &[Topic::MessageSize]),
    (4, 4, 5, 5, &[Topic::Busy]),
    (0, 4, 6, 6, &[Topic::Loop, Topic::Hops]),
    (0, 4, 14, 14, &[Topic::Hops, Topic::Loop]),
    (0, 5, 3, 3, &[Topic::Recipients]),
    (0, 6, 7, 7, &[Topic::SmtpUtf8]),
    (5, 6, 9, 10, &[Topic::SmtpUtf8]),
    (5, 6, 11, 11, &[Topic::LineEnds]),
    (0, 7, 2, 2, &[Topic::SenderNotAllowed]),
    (0, 7, 8, 9, &[Topic::AuthRequired]),
    (0, 7, 10, 11, &[Topic::TlsRequired]),
    (0, 7, 20, 22, &[Topic::Dkim]),
    (0, 7, 23, 24, &[Topic::Spf]),
    (0, 7, 25, 25, &[Topic::ReverseDns]),
    (0, 7, 26, 26, &[Topic::Spf, Topic::Dkim, Topic::Dmarc]),
    (0, 7, 27, 27, &[Topic::SenderDomain]),
    (0, 7, 28, 28, &[Topic::Rate]),
    (0, 7, 30, 30, &[Topic::TlsRequired]),
    (0, 7, 57, 57, &[Topic::AuthRequired]),
    (0, 7, 60, 60, &[Topic::SenderNotAllowed]),
    (0, 7, 64, 64, &[Topic::RelayDenied]),
    (5, 7, 124, 124, &[Topic::SenderNotAllowed]),
    (5, 7, 133, 136, &[Topic::SenderNotAllowed]),
    (4, 7, 500, 503, &[Topic::Rate]),
    (5, 7, 501, 503, &[Topic::Rate]),
    (5, 7, 508, 508, &[Topic::Rate]),
    (5, 7, 509, 509, &[Topic::Dmarc]),
    (5, 7, 511, 511, &[Topic::BlockList]),
    (5, 7, 512, 512, &[Topic::Header]),
    (5, 7, 515, 515, &[Topic::Dmarc, Topic::Spf, Topic::Dkim]),
    (5, 7, 606, 649, &[Topic::BlockList]),
    (4, 7, 650, 659, &[Topic::Rate]),
    (5, 7, 703, 708, &[Topic::Rate]),
    (5, 7, 750, 750, &[Topic::SenderNotAllowed]),
];

/// What the codes say, each with its weight.
pub(super) fn topics(code: u16, enhanced: Option<EnhancedStatus>) -> Vec<(Topic, Weight)> {
    let mut found: Vec<(Topic, Weight)> = Vec::new();
    if let Some(status) = enhanced {
        let is_meant = |(class, subject, from, to, _): &&(u8, u16, u16, u16, &[Topic])| {
            (*class == 0 || *class == status.class)
                && *subject == status.subject
                && (*from..=*to).contains(&status.detail)
        };
        found.extend(ENHANCED.iter().filter(is_meant).flat_map(|row| row.4.iter().map(|topic| (*topic, Weight::Code))));
    }
    match (code, enhanced.map(|status| (status.subject, status.detail))) {
        // RFC 4954 6: credentials refused, mechanism too weak. 538 asks for encryption first.
        (534 | 535, _) => found.push((Topic::AuthRequired, Weight::Code)),
        (538, _) => found.push((Topic::TlsRequired, Weight::Code)),
        _ if !found.is_empty() => {}
        (530, _) => found.push((Topic::AuthRequired, Weight::Generic)),
        (421, _) | (_, Some((3, 2) | (4, 1 | 2))) if code < 500 => found.push((Topic::Busy, Weight::Generic)),
        (452, _) => found.push((Topic::Storage, Weight::Generic)),
        // RFC 5321 4.2.2 means the mailbox's allowance, RFC 1870 the message's size; which, the stage must tell.
        (552, None | Some((_, 0))) => {
            found.extend([(Topic::Quota, Weight::Generic), (Topic::MessageSize, Weight::Generic)]);
        }
        (551, _) | (550, Some((1, 0 | 3))) => found.push((Topic::NoSuchUser, Weight::Generic)),
        _ => {}
    }
    found
}
