//! Who may connect, and whose mail we take: the relay question. Whatever the settings, this is no open relay.

use crate::settings::{Book, Door, InvalidRecipients, Mode, Settings, is_own_network};
use mail::{Address, Listener, Reply, Status, status};
use std::net::{IpAddr, Ipv6Addr};

/// What to do with one RCPT.
#[derive(Debug, Clone, PartialEq)]
pub enum RcptVerdict {
    /// For a server behind us, or an alias of the settings.
    Local,
    /// For elsewhere, from someone who may.
    Relay,
    Denied(Reply),
    /// A local domain without such a recipient. Never `Reject`: that is `Denied` with 550 5.1.1.
    UnknownRecipient(InvalidRecipients),
}

/// How many connections the listener has now, without the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub all: u32,
    pub from_address: u32,
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is what one customer is given (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub IpAddr);

/// May this client talk to us at all? Err: the reply that stands in place of the banner (RFC 5321 3.1).
pub fn connect(settings: &Settings, listener: Listener, client: IpAddr, counts: Counts) -> Result<(), Reply> {
    let Some(door) = settings.door(listener) else { return Ok(()) };
    if !is_accepted(door, client) {
        return Err(status::ACCESS_DENIED.reply(format!("{} listener, client {client}", listener.name())));
    }
    if settings.mode == Mode::Drain {
        return Err(status::SHUTTING_DOWN.reply(""));
    }
    if counts.all >= door.connections {
        return Err(status::TOO_MANY_CONNECTIONS.reply(format!("{} are open", counts.all)));
    }
    if counts.from_address >= door.connections_per_address {
        return Err(status::TOO_MANY_FROM_ADDRESS.reply(format!(
            "{} are open from {}",
            counts.from_address,
            client_key(client)
        )));
    }
    Ok(())
}

fn is_accepted(door: &Door, client: IpAddr) -> bool {
    door.accept_from.iter().any(|net| net.contains(&client.to_canonical()))
}

/// May this recipient be given here, by this client?
pub fn relay(
    settings: &Settings,
    listener: Listener,
    client: IpAddr,
    user: Option<&str>,
    recipient: &Address,
) -> RcptVerdict {
    match standing(settings, listener, client, user) {
        Standing::Anonymous => RcptVerdict::Denied(status::AUTH_REQUIRED.reply("")),
        Standing::Stranger if is_source_routed(settings, recipient) => denied(recipient, client),
        _ if is_ours(settings, recipient) => known(settings, recipient),
        Standing::Stranger => denied(recipient, client),
        Standing::Trusted => RcptVerdict::Relay,
    }
}

/// Whose mail this is, as far as relaying goes.
enum Standing {
    /// Must say who it is before anything else (RFC 6409 4.3).
    Anonymous,
    /// May only reach local recipients.
    Stranger,
    Trusted,
}

fn standing(settings: &Settings, listener: Listener, client: IpAddr, user: Option<&str>) -> Standing {
    match listener {
        Listener::Internal => Standing::Trusted,
        Listener::Inbound => Standing::Stranger,
        Listener::Outbound if is_own_client(settings, client) => Standing::Trusted,
        Listener::Outbound => Standing::Stranger,
        Listener::Submission if user.is_some_and(|user| settings.users.find(user).is_some()) => Standing::Trusted,
        Listener::Submission => Standing::Anonymous,
    }
}

/// The reader refuses networks that are too wide; they count for nothing here as well, should they ever get in.
fn is_own_client(settings: &Settings, client: IpAddr) -> bool {
    let client = client.to_canonical();
    settings.outbound.accept_from.iter().any(|net| is_own_network(net) && net.contains(&client))
}

fn is_ours(settings: &Settings, recipient: &Address) -> bool {
    settings.local_domain(recipient.domain()).is_some() || settings.aliases.of(recipient).is_some()
}

/// `user%remote@local`, `remote!user@local`, `"user@remote"@local`: the server behind us may take the local part for an
/// address of its own and relay it (RFC 5321 F.2), and our word that it came from inside would be what opens it.
/// An address that is written so in the settings is meant.
fn is_source_routed(settings: &Settings, recipient: &Address) -> bool {
    let meant = |domain: &crate::settings::LocalDomain| {
        domain.recipients.as_ref().is_some_and(|list| list.find(&recipient.key()).is_some())
    };
    let is_meant = settings.aliases.find(&recipient.key()).is_some()
        || settings.local_domain(recipient.domain()).is_some_and(meant);
    recipient.local().contains(['@', '%', '!']) && !is_meant
}

/// Whether a recipient of a local domain is on its list, or need not be: postmaster (RFC 5321 4.5.1), aliases and what
/// they lead to. Domains without a list know everybody.
pub fn is_known(settings: &Settings, recipient: &Address) -> bool {
    let list = settings.local_domain(recipient.domain()).and_then(|domain| domain.recipients.as_ref());
    let is_target = |alias: &crate::settings::Alias| {
        alias.to.iter().any(|to| matches!(to, crate::settings::Mailboxes::One(to) if to.key() == recipient.key()))
    };
    list.is_none_or(|list| is_on_list(settings, list, recipient) || settings.aliases.iter().any(is_target))
}

/// Whether the next hop is to be asked if it knows this recipient: not about aliases, which are ours, nor postmaster, whom everybody
/// must have (RFC 5321 4.5.1).
pub fn asks_next_hop(settings: &Settings, recipient: &Address) -> bool {
    settings.local_domain(recipient.domain()).is_some_and(|domain| domain.verify_recipients)
        && settings.aliases.of(recipient).is_none()
        && !recipient.local().eq_ignore_ascii_case("postmaster")
}

/// On the domain's list, or needs no place on it: postmaster (RFC 5321 4.5.1), and what is an alias itself.
fn is_on_list(settings: &Settings, list: &Book<Address>, recipient: &Address) -> bool {
    recipient.local().eq_ignore_ascii_case("postmaster")
        || list.find(&recipient.key()).is_some()
        || settings.aliases.of(recipient).is_some()
}

fn known(settings: &Settings, recipient: &Address) -> RcptVerdict {
    let Some(domain) = settings.local_domain(recipient.domain()) else { return RcptVerdict::Local };
    let Some(list) = &domain.recipients else { return RcptVerdict::Local };
    if is_on_list(settings, list, recipient) {
        return RcptVerdict::Local;
    }
    match domain.invalid_recipients {
        InvalidRecipients::Reject => RcptVerdict::Denied(status::NO_SUCH_RECIPIENT.reply(recipient.to_string())),
        other => RcptVerdict::UnknownRecipient(other),
    }
}

fn denied(recipient: &Address, client: IpAddr) -> RcptVerdict {
    RcptVerdict::Denied(status::RELAYING_DENIED.reply(format!("{recipient} from {client}")))
}

/// Whom a connection is counted for.
pub fn client_key(client: IpAddr) -> ClientKey {
    const NETWORK: u128 = !0 << 64;
    ClientKey(match client.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        v4 => v4,
    })
}

impl std::fmt::Display for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.0, if self.0.is_ipv6() { "/64" } else { "" })
    }
}

/// Too many Received fields are a loop (RFC 5321 6.3). `repeats`: the host that stands in them again and again, if one does.
pub fn hops(received: usize, max: u32, repeats: Option<&(String, usize)>) -> Result<(), Status> {
    if received <= max as usize {
        return Ok(());
    }
    let round = repeats.map_or(String::new(), |(host, times)| format!("; {host} stands in them {times} times"));
    Err(status::HOPS_EXCEEDED.with(format!("{received} Received fields, {max} are allowed{round}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    const SETTINGS: &str = r#"
        [listener.outbound]
        accept_from = ["10.0.0.0/8", "fd00::/8"]
        [listener.inbound]
        accept_from = ["0.0.0.0/0"]
        [route.local]
        next_hops = ["192.0.2.1"]
        [[domain]]
        name = "corp.test"
        recipients = ["a@corp.test", "50%off@corp.test"]
        [[domain]]
        name = "all.test"
        [[domain]]
        name = "drop.test"
        recipients = []
        invalid_recipients = "drop"
        [[alias]]
        from = "sales@corp.test"
        to = ["a@corp.test"]
        [[alias]]
        from = "@old.test"
        to = ["@corp.test"]
        [[user]]
        name = "alice"
        password = "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA"
    "#;

    fn listener(name: &str) -> Listener {
        match name {
            "inbound" => Listener::Inbound,
            "outbound" => Listener::Outbound,
            "submission" => Listener::Submission,
            _ => Listener::Internal,
        }
    }

    fn word(verdict: &RcptVerdict) -> String {
        match verdict {
            RcptVerdict::Local => "local".to_owned(),
            RcptVerdict::Relay => "relay".to_owned(),
            RcptVerdict::Denied(reply) => reply.to_string(),
            RcptVerdict::UnknownRecipient(mode) => format!("unknown: {mode:?}"),
        }
    }

    /// `inbound 192.0.2.9 -` is the listener, the client and the user.
    fn check(from: &str, recipient: &str, expected: &str) {
        let settings = Settings::read(SETTINGS).unwrap();
        let mut words = from.split(' ');
        let (door, client) = (listener(words.next().unwrap()), words.next().unwrap().parse().unwrap());
        let verdict = relay(&settings, door, client, words.next(), &recipient.parse().unwrap());
        assert_eq!(word(&verdict), expected, "{from} → {recipient}");
    }

    #[test]
    fn strangers_reach_local_recipients_only() {
        check("inbound 192.0.2.9", "x@all.test", "local");
        check("inbound 192.0.2.9", "x@sub.all.test", "local");
        check("inbound 192.0.2.9", "A@CORP.test", "local");
        check("inbound 192.0.2.9", "x@far.test", "550 5.7.1 relaying denied: x@far.test from 192.0.2.9");
        check("inbound 10.0.0.1", "x@far.test", "550 5.7.1 relaying denied: x@far.test from 10.0.0.1");
        check("inbound 192.0.2.9 alice", "x@far.test", "550 5.7.1 relaying denied: x@far.test from 192.0.2.9");
    }

    #[test]
    fn own_networks_and_users_may_relay() {
        check("outbound 10.0.0.1", "x@far.test", "relay");
        check("outbound ::ffff:10.0.0.1", "x@far.test", "relay");
        check("outbound fd00::1", "x@[192.0.2.7]", "relay");
        check("outbound 10.0.0.1", "a@corp.test", "local");
        check("outbound 192.0.2.9", "x@far.test", "550 5.7.1 relaying denied: x@far.test from 192.0.2.9");
        check("submission 192.0.2.9 alice", "x@far.test", "relay");
        check("submission 192.0.2.9 mallory", "x@far.test", "530 5.7.0 Authentication required");
        check("submission 10.0.0.1", "a@corp.test", "530 5.7.0 Authentication required");
        check("internal 127.0.0.1", "x@far.test", "relay");
    }

    #[test]
    fn what_is_not_listed_is_treated_as_its_domain_says() {
        check("inbound 192.0.2.9", "b@corp.test", "550 5.1.1 recipient address rejected: user unknown: b@corp.test");
        check("inbound 192.0.2.9", "b@drop.test", "unknown: Drop");
        check("inbound 192.0.2.9", "Postmaster@drop.test", "local");
        check("inbound 192.0.2.9", "sales@corp.test", "local");
        check("inbound 192.0.2.9", "anyone@old.test", "local");
        check(
            "inbound 192.0.2.9",
            "anyone@sub.old.test",
            "550 5.7.1 relaying denied: anyone@sub.old.test from 192.0.2.9",
        );
    }

    #[test]
    fn a_local_part_that_routes_is_relaying() {
        for recipient in [
            "user%far.test@all.test",
            "far.test!user@all.test",
            "\"user@far.test\"@all.test",
            "\"@far.test:user\"@all.test",
            "user%far.test@old.test",
        ] {
            check("inbound 192.0.2.9", recipient, &format!("550 5.7.1 relaying denied: {recipient} from 192.0.2.9"));
        }
        check("inbound 192.0.2.9", "50%off@corp.test", "local");
        check("outbound 10.0.0.1", "user%far.test@all.test", "local");
    }

    /// All combinations of up to three networks, doors, clients, users and recipients: mail for elsewhere is taken only from own
    /// networks at the outbound door and from users at the submission door, however the settings came to be.
    #[test]
    fn no_settings_make_an_open_relay() {
        let nets = [
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "::/1",
            "2000::/3",
            "::ffff:0:0/96",
            "10.0.0.0/8",
            "203.0.113.0/24",
            "2001:db8::/32",
            "fc00::/7",
        ];
        let clients = [
            "192.0.2.9",
            "203.0.113.5",
            "10.1.1.1",
            "127.0.0.1",
            "::1",
            "2001:db8::5",
            "2001:db9::5",
            "::ffff:192.0.2.9",
            "fd00::1",
        ];
        let recipients = [
            "x@far.test",
            "x@[192.0.2.1]",
            "x@[IPv6:::1]",
            "x%far.test@corp.test",
            "\"x@far.test\"@corp.test",
            "far.test!x@corp.test",
            "x@corp.test.far.test",
            "x@notcorp.test",
            "x@test",
            "\"a@corp.test\"@far.test",
        ];
        let mut settings = Settings::read(SETTINGS).unwrap();
        let mut relayed = 0;
        for chosen in (0..1u32 << nets.len()).filter(|chosen| chosen.count_ones() <= 3) {
            let accept_from: Vec<IpNet> = nets
                .iter()
                .enumerate()
                .filter(|(at, _)| chosen & 1 << at != 0)
                .map(|(_, net)| net.parse().unwrap())
                .collect();
            settings.outbound.accept_from = accept_from.clone();
            settings.inbound.accept_from = accept_from;
            for (client, recipient) in
                clients.iter().flat_map(|client| recipients.iter().map(move |recipient| (client, recipient)))
            {
                let address: IpAddr = client.parse().unwrap();
                let own = |net: &str, prefix: &str| {
                    client.starts_with(prefix) && settings.outbound.accept_from.contains(&net.parse().unwrap())
                };
                let is_own = own("10.0.0.0/8", "10.")
                    || own("203.0.113.0/24", "203.0.113.")
                    || own("2001:db8::/32", "2001:db8:")
                    || own("fc00::/7", "fd00:");
                for (door, user) in [
                    ("inbound", None),
                    ("inbound", Some("alice")),
                    ("outbound", None),
                    ("outbound", Some("alice")),
                    ("submission", None),
                    ("submission", Some("mallory")),
                ] {
                    let verdict = relay(&settings, listener(door), address, user, &recipient.parse().unwrap());
                    let may = door == "outbound" && is_own;
                    assert!(
                        may || matches!(verdict, RcptVerdict::Denied(_)),
                        "{door} {client} {user:?} {recipient} {:?}: {verdict:?}",
                        settings.outbound.accept_from
                    );
                    relayed += u32::from(verdict == RcptVerdict::Relay);
                }
            }
        }
        assert!(relayed > 0);
    }

    #[test]
    fn source_routes_are_no_addresses() {
        for text in ["@a.test:b@corp.test", "@corp.test:x@far.test", "a@b@corp.test"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    fn check_connect(from: &str, counts: (u32, u32), expected: &str) {
        let settings = Settings::read(SETTINGS).unwrap();
        let (door, client) = from.split_once(' ').unwrap();
        let found = connect(
            &settings,
            listener(door),
            client.parse().unwrap(),
            Counts { all: counts.0, from_address: counts.1 },
        );
        assert_eq!(found.map_or_else(|reply| reply.to_string(), |()| "welcome".to_owned()), expected, "{from}");
    }

    #[test]
    fn a_door_opens_for_those_it_is_for_while_there_is_room() {
        check_connect("inbound 192.0.2.9", (0, 0), "welcome");
        check_connect("inbound ::ffff:192.0.2.9", (1999, 19), "welcome");
        check_connect("outbound 192.0.2.9", (0, 0), "554 5.7.1 access denied: outbound listener, client 192.0.2.9");
        check_connect("inbound 2001:db8::1", (0, 0), "554 5.7.1 access denied: inbound listener, client 2001:db8::1");
        check_connect("inbound 192.0.2.9", (2000, 0), "421 4.3.2 too many connections: 2000 are open");
        check_connect(
            "outbound fd00::1:2:3:4:5",
            (20, 20),
            "421 4.3.2 too many connections from your address: 20 are open from fd00:0:0:1::/64",
        );
    }

    #[test]
    fn a_client_is_an_address_or_a_64() {
        let key = |client: &str| client_key(client.parse().unwrap()).to_string();
        assert_eq!(key("192.0.2.9"), "192.0.2.9");
        assert_eq!(key("::ffff:192.0.2.9"), "192.0.2.9");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn thirty_hops_are_enough() {
        assert_eq!(hops(30, 30, None), Ok(()));
        assert_eq!(
            hops(31, 30, None).unwrap_err().to_string(),
            "554 5.4.6 [internal] too many hops, possible mail loop: 31 Received fields, 30 are allowed"
        );
        assert_eq!(
            hops(31, 30, Some(&("mx.a.test".to_owned(), 15))).unwrap_err().text,
            "too many hops, possible mail loop: 31 Received fields, 30 are allowed; mx.a.test stands in them 15 times"
        );
    }
}
