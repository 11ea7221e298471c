//! Loops: how a gateway knows itself, and a message that it has seen before.
//!
//! Two marks, both keyed, so that strangers can neither read nor forge them. The **token** in the greeting: a client that
//! finds one of its own gateway talks to itself, whatever NAT, load balancer or port lies between. The **trace** in the
//! header, once in our Received line and once in a field of its own, since relays strip one or the other: who was given
//! this message for whom, and which way it went. All Scanners of a gateway share the key.

mod answer;

pub use answer::{Deed, behind_filter, deed, detour, detour_rule, is_filter, setting};

use blake2::Blake2sMac;
use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput, KeyInit, Update};
use mail::{Address, AuditId, Headers, Listener, Time};
use std::str::FromStr;

/// The header field that holds the trace.
pub const FIELD: &str = "Gatepost-Trace";
/// A trace names at most so many recipients; of a message to more, only the hop count catches a loop.
const RECIPIENTS_MAX: usize = 1024;
/// In the Received line, where some relays cut what is long.
const RECEIVED_RECIPIENTS_MAX: usize = 50;
/// Traces looked at in one message: more passes than any loop can make before it is caught.
const TRACES_MAX: usize = 64;
/// A greeting's token is good for this long, and for the time before and after it: clocks differ.
const TOKEN_MS: i64 = 5 * 60 * 1000;
/// A message that comes again after so long was taken out of an archive, not handed on.
const RETURN_MAX_MS: i64 = 10 * 24 * 3600 * 1000;

/// The secret of a gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    pub fn new(octets: [u8; 32]) -> Key {
        Key(octets)
    }

    /// As it stands in its file: 64 hex digits.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// BLAKE2s is a MAC by itself (RFC 7693 2.9): no HMAC is needed.
    fn mac(&self, purpose: &str, said: &[u8]) -> [u8; 32] {
        let key: &blake2::digest::Key<Blake2sMac<U32>> = (&self.0).into();
        let mut mac = Blake2sMac::<U32>::new(key);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(said);
        mac.finalize_fixed().into()
    }

    /// What a greeting carries: a number used once, and what only we can make of it and of the time. Nobody else can tell
    /// two tokens of one gateway from those of two; one that was heard elsewhere is soon worth nothing.
    pub fn token(&self, nonce: u32, at: Time) -> String {
        let nonce = nonce.to_be_bytes();
        format!("{}{}", hex(&nonce), self.token_mac(nonce, at.ms() / TOKEN_MS))
    }

    fn token_mac(&self, nonce: [u8; 4], slot: i64) -> String {
        let said = [&nonce[..], &slot.to_be_bytes()].concat();
        hex(&self.mac("greeting", &said)[..8])
    }

    /// Whether a greeting was made by this gateway.
    pub fn is_own_greeting(&self, greeting: &str, at: Time) -> bool {
        let slot = at.ms() / TOKEN_MS;
        greeting.split_whitespace().filter(|word| word.len() == 24).any(|word| {
            let Some(nonce) = word.get(..8).and_then(unhex) else { return false };
            (slot - 1..=slot + 1).any(|slot| self.token_mac(nonce, slot) == word[8..])
        })
    }

    /// What stands for a recipient in a trace: 32 bits that say nothing without the key, other ones in each message.
    fn digest(&self, id: AuditId, recipient: &Address) -> [u8; 4] {
        let said = [&id.to_i64().to_be_bytes()[..], recipient.key().as_bytes()].concat();
        let [a, b, c, d, ..] = self.mac("recipient", &said);
        [a, b, c, d]
    }

    /// The marks of a message that was given to us for these recipients.
    pub fn marks(&self, id: AuditId, listener: Listener, pass: u8, recipients: &[Address]) -> Marks {
        let digests: Vec<[u8; 4]> =
            recipients.iter().take(RECIPIENTS_MAX).map(|recipient| self.digest(id, recipient)).collect();
        let mut trace = Trace { id, listener, pass, recipients: digests };
        let folded = self.write(&trace, "\r\n\t");
        trace.recipients.truncate(RECEIVED_RECIPIENTS_MAX);
        Marks { field: format!("{FIELD}: {folded}\r\n"), comment: self.write(&trace, "\r\n\t") }
    }

    /// `1 0123456789ABC inbound 1 a1b2c3d4 … =0123456789abcdef`, folded before every eighth recipient.
    fn write(&self, trace: &Trace, fold: &str) -> String {
        let mut text = format!("1 {} {} {}", trace.id, trace.listener.name(), trace.pass);
        for (at, digest) in trace.recipients.iter().enumerate() {
            text.push_str(if at % 8 == 0 { fold } else { " " });
            text.push_str(&hex(digest));
        }
        let mac = self.trace_mac(trace);
        text + fold + "=" + &mac
    }

    fn trace_mac(&self, trace: &Trace) -> String {
        let mut said = trace.id.to_i64().to_be_bytes().to_vec();
        said.extend_from_slice(trace.listener.name().as_bytes());
        said.push(trace.pass);
        said.extend(trace.recipients.iter().flatten());
        hex(&self.mac("trace", &said)[..8])
    }

    /// A trace, if this gateway wrote it.
    fn read(&self, text: &str) -> Option<Trace> {
        let mut words = text.split_whitespace();
        if words.next()? != "1" {
            return None;
        }
        let id = AuditId::from_str(words.next()?).ok()?;
        let listener = match words.next()? {
            "inbound" => Listener::Inbound,
            "outbound" => Listener::Outbound,
            "submission" => Listener::Submission,
            "internal" => Listener::Internal,
            _ => return None,
        };
        let pass = words.next()?.parse().ok()?;
        let mut trace = Trace { id, listener, pass, recipients: Vec::new() };
        for word in words.take(RECIPIENTS_MAX + 1) {
            if let Some(mac) = word.strip_prefix('=') {
                return (mac == self.trace_mac(&trace)).then_some(trace);
            }
            trace.recipients.push(unhex(word)?);
        }
        None
    }

    /// All passes that a header tells of, the newest first, each once.
    pub fn traces(&self, header: &[u8]) -> Vec<Trace> {
        let mut found: Vec<Trace> = Vec::new();
        for field in Headers::of(header) {
            let trace = if field.is(FIELD) {
                self.read(&field.text())
            } else if field.is("Received") {
                let text = field.text();
                text.split_once("(trace ").and_then(|(_, rest)| self.read(rest.split(')').next()?))
            } else {
                continue;
            };
            let Some(trace) = trace else { continue };
            match found.iter_mut().find(|known| known.id == trace.id) {
                // The Received line names fewer.
                Some(known) if known.recipients.len() < trace.recipients.len() => *known = trace,
                Some(_) => {}
                None => found.push(trace),
            }
            if found.len() >= TRACES_MAX {
                break;
            }
        }
        found
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Key, String> {
        unhex(text.trim()).map(Key).ok_or_else(|| "a key is 64 hex digits".to_owned())
    }
}

/// What is written into a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The field of its own, CRLF at its end.
    pub field: String,
    /// For the Received line, without brackets.
    pub comment: String,
}

/// One pass of a message through this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The Audit ID that the message had then; it holds the time and the Scanner.
    pub id: AuditId,
    pub listener: Listener,
    /// Counted from 1.
    pub pass: u8,
    recipients: Vec<[u8; 4]>,
}

/// A message as it comes in, as far as it matters whether it was here before.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    pub listener: Listener,
    /// As given at RCPT, before aliases.
    pub recipients: &'a [Address],
    pub header: &'a [u8],
    /// The client is one of `loop.filters`: it may hand each message back once.
    pub from_filter: bool,
    pub at: Time,
}

/// One recipient for whom the message was here before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    pub recipient: Address,
    pub trace: Trace,
}

/// Whether two listeners serve the same direction.
fn same_direction(one: Listener, other: Listener) -> bool {
    let leaves = |listener| matches!(listener, Listener::Outbound | Listener::Submission);
    one == other || leaves(one) && leaves(other)
}

/// The recipients for whom a message comes again, with the pass that shows it. The first return is a loop: the same message,
/// the same recipient, the same direction. What is no loop:
///
/// - another recipient: a mailing list, a forward, the reports about it;
/// - another direction: out through one listener and in through another, or back from a content filter; unless it comes
///   from the very host that it was handed to for that recipient (`sent_to_client`): it would go straight there again;
/// - the first return from one of `loop.filters`;
/// - a message that a person resent (RFC 5322 3.6.6), once;
/// - one that went to several recipients, and another one of them forwarded it to this one, as Delivered-To tells.
pub fn returned(
    key: &Key,
    traces: &[Trace],
    arrival: &Arrival<'_>,
    sent_to_client: impl Fn(&Trace, &Address) -> bool,
) -> Vec<Again> {
    let passes_max = usize::from(arrival.from_filter) + usize::from(is_resent(arrival.header));
    let delivered_to = delivered_to(arrival.header);
    let again = |recipient: &Address| {
        let mut seen = traces.iter().filter(|trace| {
            arrival.at.ms() - trace.id.ms() <= RETURN_MAX_MS
                && trace.recipients.contains(&key.digest(trace.id, recipient))
                && (same_direction(trace.listener, arrival.listener) || sent_to_client(trace, recipient))
                && !(trace.recipients.len() > 1 && is_forwarded(key, trace, recipient, &delivered_to))
        });
        // The newest trace stands first: it is the pass that the message comes back from.
        let newest = seen.next()?;
        (seen.count() + 1 > passes_max).then(|| Again { recipient: recipient.clone(), trace: newest.clone() })
    };
    arrival.recipients.iter().filter_map(again).collect()
}

/// The message reached another of its recipients, who sent it on to this one.
fn is_forwarded(key: &Key, trace: &Trace, recipient: &Address, delivered_to: &[String]) -> bool {
    let mut reached = delivered_to.iter().filter_map(|address| address.parse::<Address>().ok()).peekable();
    reached.peek().is_some()
        && reached.all(|reached| {
            reached.key() != recipient.key() && trace.recipients.contains(&key.digest(trace.id, &reached))
        })
}

/// Resent-Date or Resent-From above the first trace of ours.
fn is_resent(header: &[u8]) -> bool {
    Headers::of(header)
        .take_while(|field| !(field.is(FIELD) || field.is("Received") && field.text().contains("(trace ")))
        .any(|field| field.is("Resent-Date") || field.is("Resent-From"))
}

/// Addresses that final deliveries before left in the header, the newest first, at most twenty.
pub fn delivered_to(header: &[u8]) -> Vec<String> {
    let names = ["Delivered-To", "X-Original-To", "X-Forwarded-To", "X-Delivered-To", "Envelope-To"];
    Headers::of(header)
        .filter(|field| names.iter().any(|name| field.is(name)))
        .map(|field| field.text().trim_matches(['<', '>']).to_owned())
        .take(20)
        .collect()
}

/// What a `Received` field says: `(from, by)`; the client's part with its address, as written.
fn hop(text: &str) -> (String, String) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let from = text.strip_prefix("from ").and_then(|rest| rest.split(" by ").next()).unwrap_or_default();
    let rest = text.strip_prefix("by ").or_else(|| text.split_once(" by ").map(|(_, rest)| rest)).unwrap_or_default();
    let by = rest.split(' ').next().unwrap_or_default();
    (from.to_owned(), by.trim_end_matches(';').to_owned())
}

/// The hosts that passed a message on since its newest pass here, the newest first, at most twenty: `by (from …)`.
pub fn between(key: &Key, header: &[u8]) -> Vec<String> {
    let is_ours =
        |text: &str| text.split_once("(trace ").and_then(|(_, rest)| key.read(rest.split(')').next()?)).is_some();
    Headers::of(header)
        .filter(|field| field.is("Received"))
        .map(|field| field.text())
        .take_while(|text| !is_ours(text))
        .take(20)
        .map(|text| {
            let (from, by) = hop(&text);
            if from.is_empty() { by } else { format!("{by} (from {from})") }
        })
        .collect()
}

/// Whether a host repeats among the Received fields so often that the message goes round: three times, not counting what
/// products on one machine hand to each other.
pub fn repeats(header: &[u8]) -> Option<(String, usize)> {
    /// A host that appears twice may lie on a way out and back, as a list server does.
    const TIMES: usize = 3;
    let mut hosts: Vec<(String, usize)> = Vec::new();
    let mut last = String::new();
    for field in Headers::of(header).filter(|field| field.is("Received")) {
        let by = hop(&field.text()).1.to_ascii_lowercase();
        if by.is_empty() || by == "localhost" || by.starts_with("127.") || by == last {
            continue;
        }
        match hosts.iter_mut().find(|(host, _)| *host == by) {
            Some((_, times)) => *times += 1,
            None => hosts.push((by.clone(), 1)),
        }
        last = by;
    }
    hosts.into_iter().filter(|(_, times)| *times >= TIMES).max_by_key(|(_, times)| *times)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let octets = text.as_bytes();
    if octets.len() != 2 * N || !octets.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut all = [0; N];
    for (at, octet) in all.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(all)
}

#[cfg(test)]
mod tests;
