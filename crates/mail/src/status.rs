//! Status: the outcome of a delivery or a refusal, as RFC 3463 numbers it, and the one table of those we make ourselves.
//!
//! Statuses made here carry `[internal]`; all others are a remote host's words. Every reply and every queue status of the
//! gateway's own making comes from [`TABLE`], and the manual's list of statuses is printed from it.

use crate::{Reply, Stage};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `class.subject.detail` (RFC 3463 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedStatus {
    /// 2 success, 4 transient, 5 permanent.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl FromStr for EnhancedStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<EnhancedStatus, String> {
        let number = |part: Option<&str>| {
            part.filter(|digits| (1..=3).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u16>().ok())
        };
        let mut parts = text.split('.');
        let status = (number(parts.next()), number(parts.next()), number(parts.next()), parts.next());
        match status {
            (Some(class @ (2 | 4 | 5)), Some(subject), Some(detail), None) => {
                Ok(EnhancedStatus { class: class as u8, subject, detail })
            }
            _ => Err(format!("{text:?} is not an enhanced status such as 5.1.1")),
        }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl Serialize for EnhancedStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EnhancedStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EnhancedStatus, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Characters kept of a remote host's text: it goes into queue rows, logs and bounces.
const TEXT_MAX: usize = 1000;

/// A status with its origin: `None` is us (`[internal]`), else the remote host that said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub code: u16,
    pub enhanced: EnhancedStatus,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Status {
    /// What a remote host answered.
    pub fn remote(host: impl Into<String>, reply: &Reply) -> Status {
        Status {
            code: reply.code,
            enhanced: reply.status(),
            text: reply.text().chars().take(TEXT_MAX).collect(),
            host: Some(host.into()),
        }
    }

    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The reply that says this to a client.
    pub fn reply(&self) -> Reply {
        Reply { code: self.code, enhanced: Some(self.enhanced), lines: vec![self.text.clone()] }
    }
}

/// `451 4.4.2 [internal] no banner: …` or `550 5.1.1 [mx.example.test] no such user`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.host.as_deref().unwrap_or("internal");
        write!(f, "{} {} [{origin}] {}", self.code, self.enhanced, self.text)
    }
}

/// A kind of status that the gateway makes itself: a line of the manual.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Stable name, for settings, metrics and the manual.
    pub id: &'static str,
    pub code: u16,
    /// `(class, subject, detail)`.
    pub enhanced: (u8, u16, u16),
    pub text: &'static str,
    pub stage: Stage,
    pub meaning: &'static str,
    pub causes: &'static str,
    pub fix: &'static str,
}

impl Kind {
    /// The status with what happened: `detail` names hosts, addresses, times and last words.
    pub fn with(&self, detail: impl AsRef<str>) -> Status {
        let (class, subject, number) = self.enhanced;
        let detail = detail.as_ref();
        let text = if detail.is_empty() { self.text.to_owned() } else { format!("{}: {detail}", self.text) };
        Status { code: self.code, enhanced: EnhancedStatus { class, subject, detail: number }, text, host: None }
    }

    /// The kind that a reply of our own making is of.
    pub fn of(reply: &Reply) -> Option<&'static Kind> {
        let is_said = |kind: &&&Kind| {
            let (class, subject, detail) = kind.enhanced;
            reply.code == kind.code
                && reply.enhanced == Some(EnhancedStatus { class, subject, detail })
                && reply.lines.first().is_some_and(|line| line.starts_with(kind.text))
        };
        TABLE.iter().find(is_said).copied()
    }

    /// The reply of a listener with what happened.
    pub fn reply(&self, detail: impl AsRef<str>) -> Reply {
        self.with(detail).reply()
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $code:literal, $enhanced:expr, $stage:ident, $text:literal, $meaning:literal, $causes:literal, $fix:literal;)*) => {
        $($(#[$doc])* pub const $name: Kind = Kind { id: $id, code: $code, enhanced: $enhanced, text: $text, stage: Stage::$stage, meaning: $meaning, causes: $causes, fix: $fix };)*
        /// All of them, in the order of a message's way.
        pub const TABLE: &[&Kind] = &[$(&$name),*];
    };
}

// A macro, against the habit: the alternative is a list kept by hand beside the constants, which drifts.
kinds! {
    /// Accepting.
    STORAGE_LOW = "storage-low", 421, (4, 3, 1), Connect, "storage low", "The spool's disk has less free space than its reserve, or cannot be written; new mail is deferred.", "Disk full, read-only or failing.", "Free space on the data folder's disk, or see the alert for the write error.";
    QUEUE_FULL = "queue-full", 421, (4, 3, 1), Connect, "queue is full", "The message queue holds as many deliveries as the settings allow; new mail is deferred.", "A destination is down and its mail piles up.", "See `gatepost queue list`; raise queue.limit only if disk and memory allow.";
    TOO_MANY_CONNECTIONS = "too-many-connections", 421, (4, 3, 2), Connect, "too many connections", "The listener's limit of connections is reached.", "A flood, or a limit that is too low.", "Raise listener.*.connections, or find who connects so often.";
    TOO_MANY_FROM_ADDRESS = "too-many-connections-from-address", 421, (4, 3, 2), Connect, "too many connections from your address", "This client's limit of connections is reached (IPv6: one /64 counts as one client).", "A busy sender, a proxy in front that hides addresses.", "Raise listener.*.connections_per_address, or use the PROXY protocol.";
    SHUTTING_DOWN = "shutting-down", 421, (4, 3, 2), Connect, "not accepting mail now, try again", "The gateway stops or does not accept mail now.", "Restart, or MTA operation is set to drain.", "Wait, or set mode back to accept-and-deliver.";
    DNS_UNAVAILABLE = "dns-unavailable", 421, (4, 4, 0), Connect, "unable to connect to DNS, try again later", "A lookup that an enabled check needs has failed; unknown is not no, so the mail is deferred.", "The resolver does not answer.", "Check dns.servers and the path to them.";
    ACCESS_DENIED = "access-denied", 554, (5, 7, 1), Connect, "access denied", "The listener's acceptance list does not hold this client.", "A client that should use another listener.", "Add its network to listener.*.accept_from if it may send here.";
    NO_REVERSE_NAME = "no-reverse-name", 550, (5, 7, 25), Connect, "no reverse name", "The client's address has no PTR record, and listener.*.require_reverse_name asks for one.", "A client that is no mail server, or whose provider has not set the record.", "Its operator has the record set; or add its network to internal_hosts if it is yours.";
    REVERSE_NAME_MISMATCH = "reverse-name-mismatch", 550, (5, 7, 25), Connect, "reverse name does not lead back", "No name that the client's address has in reverse DNS has this address (A, AAAA), and listener.*.require_confirmed_reverse_name asks for it.", "A stale or generic record.", "Its operator makes PTR and A or AAAA agree; or add its network to internal_hosts if it is yours.";
    BLOCK_LISTED = "block-listed", 554, (5, 7, 1), Connect, "blocked", "A DNS block list that listener.*.dnsbl names holds the client's address.", "A compromised or dynamic address.", "Its operator has it removed from the list; or add its network to internal_hosts if it is yours.";
    PROXY_HEADER = "proxy-header", 421, (4, 3, 5), Connect, "no PROXY header", "This address is in listener.*.proxy_protocol_from and did not begin with a PROXY protocol header.", "The balancer does not send it, or is no balancer.", "Switch it on at the balancer, or take the address out of proxy_protocol_from.";
    HELO_UNRESOLVABLE = "helo-unresolvable", 550, (5, 7, 1), Ehlo, "EHLO name does not resolve", "The name in HELO or EHLO has neither A, AAAA nor MX, and listener.*.require_resolvable_helo asks for one.", "A client that calls itself by an internal name.", "Its operator sets a fully qualified name that resolves in public DNS.";
    TLS_REQUIRED = "tls-required", 530, (5, 7, 0), StartTls, "Must issue a STARTTLS command first", "listener.*.tls is \"require\" and the client spoke without TLS.", "An old client, or one whose TLS failed.", "Use TLS, or set listener.*.tls to \"offer\".";
    AUTH_REQUIRED = "auth-required", 530, (5, 7, 0), Mail, "Authentication required", "The submission listener takes mail only from users who have said who they are (RFC 6409 4.3).", "A mail server that should use port 25, or a client without a password.", "Set user and password in the client, or the right port.";
    BAD_CREDENTIALS = "bad-credentials", 535, (5, 7, 8), Auth, "authentication credentials invalid", "No user of the settings has this name and password.", "A typing error, or somebody who guesses.", "Correct the password in the client, or set a new one.";
    IDLE = "idle", 421, (4, 4, 2), Connect, "idle for too long", "The client said nothing for five minutes (RFC 5321 4.5.3.2.7), or did not leave after it was turned away.", "A client that hangs, a path that lost the connection.", "Nothing, unless it recurs.";
    SENDER_DOMAIN_UNRESOLVABLE = "sender-domain-unresolvable", 550, (5, 1, 8), Mail, "sender's domain takes no mail", "The MAIL FROM domain has neither MX, A nor AAAA, or a null MX, so that no bounce could be returned; listener.*.require_resolvable_sender asks for one.", "A typing error, a domain for sending only.", "Its owner publishes an MX or address record.";
    RELAYING_DENIED = "relaying-denied", 550, (5, 7, 1), Rcpt, "relaying denied", "The recipient is not in a local domain and this client may not relay.", "A domain missing from the settings, or a client on the wrong listener.", "Add the domain, or let the client use the outbound or submission listener.";
    SPF_FAILED = "spf-failed", 550, (5, 7, 23), Rcpt, "SPF does not permit this client", "The sender's domain says by SPF that mail in its name does not come from this client's address, and listener.*.spf is \"enforce\" (RFC 7372 3.2).", "A forged sender, mail forwarded by a host that keeps the sender, an address missing from the domain's record.", "The domain's owner adds the address to its SPF record; a forwarder rewrites the sender; or set listener.*.spf to \"mark\".";
    SPF_UNKNOWN = "spf-unknown", 451, (4, 7, 24), Rcpt, "SPF could not be evaluated, try again later", "A DNS question about the SPF record of the sender's domain was not answered, and listener.*.spf is \"enforce\": unknown is not no, so the mail is deferred.", "The domain's name servers or our resolver are down; large answers need TCP, and it is blocked.", "See the finding; check dns.servers, and TCP port 53.";
    GREYLISTED = "greylisted", 450, (4, 7, 1), Rcpt, "greylisted, try again later", "This client has not sent mail of this sender to this recipient before, and listener.*.greylisting asks such clients to come again after a while.", "The first mail of a new correspondent.", "Nothing: mail servers come again by themselves. Set listener.*.greylisting to a shorter time, or 0s.";
    NO_SUCH_RECIPIENT = "no-such-recipient", 550, (5, 1, 1), Rcpt, "recipient address rejected: user unknown", "The recipient is not on the domain's list of recipients.", "A typing error, or a list that is out of date.", "Correct the address or the list.";
    RECIPIENT_REJECTED = "recipient-rejected", 554, (5, 1, 2), Rcpt, "recipient rejected", "The recipient's domain can never be delivered to from here.", "The domain does not exist or takes no mail.", "Correct the address.";
    TOO_MANY_RECIPIENTS = "too-many-recipients", 452, (4, 5, 3), Rcpt, "too many recipients", "The message has as many recipients as the listener allows; the client sends the rest in another message.", "A large list.", "Nothing, or raise listener.*.recipients_per_message.";
    MESSAGE_TOO_LARGE = "message-too-large", 552, (5, 3, 4), Data, "message too large", "The message is larger than the listener allows.", "A large attachment.", "Send less, or raise listener.*.message_size.";
    MALFORMED = "malformed", 550, (5, 6, 0), Data, "malformed content", "The content holds a bare CR, a bare LF, a NUL or an over-long line; none of them is mail, and some smuggle commands.", "A broken sending program.", "Repair the sender; the reply names the line.";
    CONTENT_REFUSED = "content-refused", 554, (5, 7, 1), Body, "content refused", "The content scanner found something in the message; the reply says what.", "A virus, or a false alarm of the scanner.", "See the scanner's log; send the file in another form if it is harmless.";
    SCANNER_FAILED = "scanner-failed", 451, (4, 3, 0), Body, "content could not be scanned, try again later", "The content scanner could not be asked, and scanner.accept_unscanned is false: mail is deferred until it can.", "The scanner is down, reloads its signatures, or is too slow.", "See the scanner; or set scanner.accept_unscanned = true.";
    LOOP = "mail-loop", 554, (5, 4, 6), Route, "mail loop", "Delivery would lead back to this gateway, or the message has been here before.", "MX, A record, static route or the server behind points back here.", "Break the cycle that the text names.";
    IP_LOOP = "ip-loop", 554, (5, 4, 6), Connect, "IP mail loop detected", "The client has an address of this gateway itself: either the gateway talks to itself, or another program on this machine uses the inbound listener.", "An MX, A record or route leads back here, or a program on this machine uses the inbound listener.", "Mend the route that leads here; local programs use loopback or the outbound listener.";
    HOPS_EXCEEDED = "hops-exceeded", 554, (5, 4, 6), Data, "too many hops, possible mail loop", "The message carries more Received fields than the limit.", "Two servers hand the mail to each other.", "Read its Received fields: the pair that repeats is the cycle.";
    WRITE_FAILED = "write-failed", 451, (4, 3, 0), FinalReply, "message could not be stored", "The message could not be made durable, so it was not accepted.", "Disk full, read-only or failing.", "See the alert for the error.";

    /// Routing.
    NO_SUCH_DOMAIN = "no-such-domain", 550, (5, 1, 2), Dns, "domain does not exist", "DNS says that the recipient's domain does not exist (NXDOMAIN).", "A typing error, an expired domain.", "Correct the address.";
    NO_MAIL_HOST = "no-mail-host", 550, (5, 4, 4), Dns, "no MX, A or AAAA record", "The domain exists but has no host that takes mail.", "Missing DNS records at the recipient.", "Tell the recipient's postmaster.";
    NULL_MX = "null-mx", 550, (5, 1, 10), Dns, "domain does not accept mail (null MX)", "The domain says in DNS that it takes no mail (RFC 7505).", "A domain for sending or web only.", "Correct the address.";
    DNS_FAILED = "dns-failed", 421, (4, 4, 4), Dns, "domain does not resolve (resolver failed)", "The lookup failed; whether the domain exists is not known.", "The domain's servers or our resolver are down; a DNSSEC signature does not fit.", "Wait; check dns.servers if many domains fail.";
    TLSA_UNKNOWN = "tlsa-unknown", 451, (4, 7, 5), Dns, "TLSA lookup of a signed host failed", "The host's zone is signed and the lookup of its TLSA record failed: whether DANE protects it is not known, so mail waits (RFC 7672 2.1).", "A name server or a forwarder that cannot answer for TLSA.", "Have the zone's name servers, or the resolver, answer TLSA questions.";
    PROHIBITED_ADDRESS = "prohibited-address", 551, (5, 4, 6), Dns, "private or loopback address", "The domain's mail host has an address that cannot be on the Internet.", "A wrong DNS record, an internal name used outside.", "Give the domain a route of its own, or have the record corrected.";
    NO_ROUTE = "no-route", 451, (4, 4, 0), Route, "no next hop", "The settings name no next hop for this domain.", "A local domain without next_hops, and no route.local.", "Set domain.next_hops or route.local.next_hops.";
    MARKED_DOWN = "marked-down", 451, (4, 4, 1), Connect, "connection not attempted: destination is marked down", "Several attempts in a row failed; the next one waits. A retry by hand tries at once.", "The destination is down.", "See its last failure.";

    /// Delivering.
    CONNECT_TIMEOUT = "connect-timeout", 450, (4, 4, 1), Connect, "connection timed out", "The TCP connection did not come about in time.", "A firewall, a dead host.", "Check the path to the named address and port.";
    CONNECT_FAILED = "connect-failed", 421, (4, 4, 1), Connect, "connection failed", "The TCP connection was refused, or the network or host cannot be reached.", "No server at that port, no route, no address family.", "The text says which of them.";
    NO_HOST_REACHED = "no-host-reached", 421, (4, 4, 0), Connect, "no mail server for this domain could be reached", "Every host was tried; each failed for its own reason.", "See each host's reason.", "See each host's reason.";
    NO_BANNER = "no-banner", 451, (4, 4, 2), Banner, "no banner", "Connected, but no greeting came.", "An overloaded peer, a firewall that swallows data, a TLS-only port.", "Check the peer; the text says whether it closed or kept silent.";
    NO_RESPONSE = "no-response", 451, (4, 4, 2), Mail, "no response", "We said a command and no answer came.", "A hung or overloaded peer.", "The text says which command and how long we waited.";
    SEND_FAILED = "send-failed", 451, (4, 4, 2), Mail, "send failed", "Our write to the peer failed.", "The peer or a middle box cut the connection.", "Check the path; see the peer's last words.";
    CLOSED = "closed", 451, (4, 4, 2), Mail, "connection closed by remote host", "The peer hung up in the middle of the conversation.", "Its policy, a crash, a middle box.", "See the peer's last words.";
    BAD_REPLY = "bad-reply", 451, (4, 5, 0), Mail, "not an SMTP reply", "The peer said something that is no SMTP.", "Another service on this port, a middle box.", "Check the address and port.";
    TLS_NOT_OFFERED = "tls-not-offered", 451, (4, 7, 6), StartTls, "STARTTLS required but not advertised", "The settings ask for TLS and the peer does not offer it.", "A middle box that removes STARTTLS, a peer without TLS.", "Set tls to offer for this route, or have the peer offer it.";
    TLS_FAILED = "tls-failed", 451, (4, 7, 5), StartTls, "TLS negotiation failed", "The TLS handshake failed.", "Old versions, a wrong certificate, a broken peer.", "The text names the alert.";
    CERTIFICATE_NOT_VERIFIED = "certificate-not-verified", 451, (4, 7, 5), StartTls, "the peer's certificate is not verified", "The settings ask for a certificate that proves the peer's name, and the peer's does not.", "It has ended, is for other names, or no known authority signed it.", "The text says which; have the peer's certificate mended, add its authority to delivery.ca_file, or set tls to require.";
    AUTH_FAILED = "auth-failed", 451, (4, 7, 8), Auth, "authentication with the relay host failed", "The relay host refused our user or does not offer AUTH.", "Wrong password, AUTH only behind TLS.", "Check route.other.user and password_file.";
    NEEDS_8BITMIME = "needs-8bitmime", 554, (5, 6, 3), Mail, "peer does not offer 8BITMIME", "The message has 8-bit content that this peer cannot take; it is not converted.", "An old server.", "Send it in 7-bit encoding.";
    NEEDS_SMTPUTF8 = "needs-smtputf8", 553, (5, 6, 7), Mail, "peer does not offer SMTPUTF8", "The message has international addresses or headers that this peer cannot take.", "An old server.", "Use an ASCII address for this recipient.";
    NEEDS_BINARYMIME = "needs-binarymime", 554, (5, 6, 3), Mail, "peer does not offer BINARYMIME", "The message is binary and this peer takes lines only.", "A server without CHUNKING and BINARYMIME.", "Send it base64 encoded.";
    PEER_SIZE_LIMIT = "peer-size-limit", 552, (5, 3, 4), Mail, "message larger than the peer accepts", "The peer's SIZE is below this message's.", "A large attachment.", "Send less.";
    MAYBE_TWICE = "maybe-twice", 451, (4, 4, 2), FinalReply, "no final reply: the message may be delivered twice", "All of the message was sent and the answer was lost: the peer may have taken it, and the retry may be a second copy.", "A peer that filters longer than we wait, a cut connection.", "Ask the recipient before sending again.";

    /// In the queue.
    HELD = "held", 451, (4, 3, 0), Queue, "message held", "An administrator or a rule holds this message.", "See who and why in the text.", "`gatepost queue release`.";
    REROUTED = "rerouted", 451, (4, 3, 0), Queue, "taking another way", "The message would go round, and loop.answer names another way for such mail.", "The loop that the text names.", "Break the cycle that the text names.";
    EXPIRED = "expired", 554, (5, 4, 7), Queue, "exceeded max time without delivery", "The message could not be delivered within retry.expire.", "The last failure, which the text quotes.", "See the last failure.";
    DELETED = "deleted", 554, (5, 7, 0), Queue, "message deleted by administrator", "An administrator deleted this message from the queue.", "The text says who.", "Nothing.";
    CONTENT_LOST = "content-lost", 451, (4, 3, 0), Queue, "content cannot be read", "The message's content is missing or damaged on our disk; it is set aside, not returned, and an alert is raised.", "A failing disk.", "Check the disk; delete the message or restore the data folder.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_who_made_it() {
        assert_eq!(
            NO_BANNER.with("192.0.2.1 closed after 5 s").to_string(),
            "451 4.4.2 [internal] no banner: 192.0.2.1 closed after 5 s"
        );
        let reply = Reply::new(550, "5.1.1", "no such user");
        assert_eq!(Status::remote("mx.example.test", &reply).to_string(), "550 5.1.1 [mx.example.test] no such user");
    }

    #[test]
    fn every_kind_has_its_own_id_and_a_fitting_class() {
        let mut ids: Vec<_> = TABLE.iter().map(|kind| kind.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), TABLE.len());
        for kind in TABLE {
            assert_eq!(u16::from(kind.enhanced.0), kind.code / 100, "{}", kind.id);
            assert!(!kind.meaning.is_empty() && !kind.causes.is_empty() && !kind.fix.is_empty(), "{}", kind.id);
        }
    }

    #[test]
    fn an_enhanced_status_is_three_numbers() {
        assert_eq!("5.1.10".parse::<EnhancedStatus>().unwrap().to_string(), "5.1.10");
        for wrong in ["", "5.1", "3.1.1", "5.1.1.1", "5.+1.1", "5.1.1000"] {
            assert!(wrong.parse::<EnhancedStatus>().is_err(), "{wrong}");
        }
    }
}
