//! Texts as the servers in use print them.

use super::*;
use crate::diagnose::testing::reply;
use mail::dns::Kind;
use std::time::Duration;

/// `topic | reply`: the surest topic, or `-` for none. All wrong lines are shown at once.
#[track_caller]
fn table(lines: &str) {
    let wrong: Vec<String> = lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .filter_map(|line| {
            let (wanted, text) = line.split_once(" | ").unwrap();
            let found = topics(&reply(text));
            let first = found.first().map_or("-".to_owned(), |topic| format!("{topic:?}"));
            (first != wanted).then(|| format!("{wanted}, not {found:?}: {text}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn greylisting_in_many_words() {
    table(
        "Greylist | 450 4.2.0 <a@b.test>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/b.test.html
         Greylist | 450 4.7.1 Greylisting in action, please come back in 00:04:59
         Greylist | 451 4.7.1 Greylisting in effect, please come back later
         Greylist | 451 Temporary greylist, try again in 300 seconds
         Greylist | 451 4.7.1 Please try again later (TMPFAIL): graylisted
         Greylist | 451 4.7.0 Greylisted for 5 minutes
         Greylist | 421 4.7.1 Intentional policy rejection, please try again later: grey listed
         Greylist | 451 4.3.0 Temporarily deferred: new sender triplet
         Greylist | 450 4.7.1 This host is grey-listed. Please retry in 5 minutes
         Greylist | 451 DT:SPM Greylisting, please try again later",
    );
}

#[test]
fn the_name_in_ehlo() {
    table(
        "Helo | 450 4.7.1 <gw.corp.test>: Helo command rejected: Host not found
         Helo | 504 5.5.2 <25aea30808b2>: Helo command rejected: need fully-qualified hostname
         Helo | 550 5.7.1 Bad HELO - Host impersonating domain name
         Helo | 550 HELO argument [localhost] is not valid; must be FQDN or address literal
         Helo | 554 5.7.1 <gw.corp.test>: Helo command rejected: Access denied
         Helo | 501 5.0.0 Invalid domain name in EHLO: HELO requires domain address
         Helo | 550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)
         Helo | 550 5.7.1 Your HELO name does not resolve
         Helo | 450 4.7.1 EHLO hostname does not match client address
         Helo | 501 Syntactically invalid EHLO argument(s)",
    );
}

#[test]
fn reverse_dns() {
    table(
        "ReverseDns | 450 4.7.1 Client host rejected: cannot find your hostname, [127.0.0.2]
         ReverseDns | 450 4.7.25 Client host rejected: cannot find your reverse hostname, [127.0.0.2]
         ReverseDns | 550 5.7.25 [127.0.0.2] The IP address sending this message does not have a PTR record setup, or the corresponding forward DNS entry does not point to the sending IP.
         ReverseDns | 550 5.7.1 Fix reverse DNS for 127.0.0.2
         ReverseDns | 554 IP name lookup failed for 127.0.0.2
         ReverseDns | 421 4.7.0 PTR record missing for your address
         ReverseDns | 550 Reverse lookup for 127.0.0.2 failed
         ReverseDns | 554 5.7.1 No reverse DNS entry for your host
         ReverseDns | 550 5.7.1 Connection refused: rDNS/DNS validation failed
         ReverseDns | 550 5.7.25 refused
         ReverseDns | 554-gmx.net No SMTP service: Bad DNS PTR resource record.
         ReverseDns | 450 4.1.8 Unresolvable: unable to resolve your host name, see reverse lookup",
    );
}

#[test]
fn authentication_of_domains() {
    table(
        "Spf | 550 5.7.23 <a@b.test>: Recipient address rejected: Message rejected due to: SPF fail - not authorized. Please see http://www.openspf.net/Why
         Spf | 550 5.7.1 SPF check failed: 127.0.0.2 is not allowed to send mail from corp.test
         Spf | 550-[SPF] 127.0.0.2 is not allowed to send mail from corp.test
         Spf | 550 5.7.23 refused
         Spf | 550 SPF: 127.0.0.2 is not permitted to send for corp.test
         Spf | 554 5.7.5 Domain of sender does not designate 127.0.0.2 as permitted sender
         Spf | 550 5.7.23 ip=127.0.0.3 SPF fail
         Dkim | 550 5.7.20 No passing DKIM signature found
         Dkim | 550 5.7.1 DKIM verification failed
         Dkim | 554 5.7.1 missing DKIM signature
         Dmarc | 550 5.7.26 Unauthenticated email from corp.test is not accepted due to domain's DMARC policy.
         Dmarc | 550 5.7.509 Access denied, sending domain corp.test does not pass DMARC verification and has a DMARC policy of reject.
         Dmarc | 550 5.7.1 Email rejected per DMARC policy for corp.test
         Spf | 550 5.7.26 multiple authentication checks failed
         Clock | 550 5.7.1 signature timestamp in the future
         Clock | 554 5.7.1 DKIM signature timestamp is in the future: check your clock
         Clock | 550 5.7.1 Date is in the future
         Spf | 550 5.7.26 This mail has been blocked because the sender is unauthenticated. SPF [corp.test] with ip: [127.0.0.2] = did not pass",
    );
}

#[test]
fn block_lists() {
    table(
        "BlockList | 554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using zen.dnsbl.test; https://www.spamhaus.org/query/ip/127.0.0.2
         BlockList | 550 5.7.1 client [127.0.0.2] blocked using zen.dnsbl.test
         BlockList | 550 5.7.1 Service unavailable, Client host [127.0.0.2] blocked using Spamhaus. To request removal from this list see https://www.spamhaus.org/query/ip/127.0.0.2 AS(1430)
         BlockList | 550 5.7.606 Access denied, banned sending IP [127.0.0.2]. To request removal from this list please visit https://sender.office.com/
         BlockList | 550 5.7.1 Unfortunately, messages from [127.0.0.2] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).
         BlockList | 550 rejected because 127.0.0.2 is in a black list at zen.dnsbl.test
         BlockList | 550 5.7.1 Rejected: 127.0.0.2 listed at bl.lists.test
         BlockList | 550 host gw.corp.test [127.0.0.2] is listed on bl.lists.test
         BlockList | 554 Blocked - see https://ipcheck.proofpoint.com/?ip=127.0.0.2: IP blocked
         BlockList | 451 http://www.spamhaus.org/query/ip/127.0.0.2 found in dnsbl
         BlockList | 550 5.7.1 Your IP address is blacklisted by our internal RBL
         BlockList | 553 5.3.0 spam source blocked: dynamic IP range, 127.0.0.2",
    );
}

#[test]
fn limits_of_rate_connections_and_recipients() {
    table(
        "Rate | 421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your DKIM domain [corp.test 35]. To protect our users from spam, mail sent from your domain has been temporarily rate limited.
         Rate | 421 4.7.28 Our system has detected an unusual rate of email originating from your SPF domain corp.test.
         Rate | 451 4.7.650 The mail server [127.0.0.2] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775)
         Rate | 421 4.7.0 [TSS04] Messages from 127.0.0.2 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes
         Rate | 450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.
         Rate | 421 RP-001 The mail server IP connecting to Outlook.com server has exceeded the rate limit allowed on this server.
         Rate | 452 4.3.0 Too many messages from your host, slow down
         Rate | 550 5.7.1 Message rejected due to poor sender reputation
         Rate | 421 4.7.0 Too much mail from 127.0.0.2: Message rate exceeded
         Connections | 421 4.7.0 mx.shared.test Error: too many connections from 127.0.0.2
         Connections | 421 Too many concurrent SMTP connections; please try again later.
         Connections | 421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel
         Connections | 421 4.7.0 Connection limit exceeded for 127.0.0.2
         Connections | 421 too many concurrent connections from your IP
         Connections | 421 4.3.2 Too many open connections.
         Connections | 554 5.7.1 Maximum number of sessions reached for this host
         Connections | 421-127.0.0.2 Too many sessions opened
         Recipients | 452 4.5.3 Error: too many recipients
         Recipients | 552 5.5.3 Too many recipients
         Recipients | 452 4.5.3 Your message has too many recipients. For more information regarding Google's sending limits, visit https://support.google.test
         Recipients | 552 too many recipients
         Recipients | 451 4.5.3 Recipient limit reached
         Recipients | 452 only one recipient per transaction
         Recipients | 450 4.5.3 Please send to this domain in a separate transaction
         Recipients | 452 refused 4.5.3
         Recipients | 550 5.5.3 Number of recipients exceeds limit of 100",
    );
}

#[test]
fn mailbox_size_and_disk_are_three_things() {
    table(
        "Quota | 452 4.2.2 The email account that you tried to reach is over quota.
         Quota | 552 5.2.2 mailbox full
         Quota | 552 mailbox full
         Quota | 452 4.2.2 <a@dest.test>: Mailbox full
         Quota | 552 5.2.2 <a@dest.test>: user over quota
         Quota | 550 5.2.2 Quota exceeded (mailbox for user is full)
         Quota | 452 4.2.2 refused
         Quota | 552 Requested mail action aborted: exceeded storage allocation for this mailbox
         Quota | 450 4.2.2 The recipient's inbox is out of storage space
         Quota | 554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded
         MessageSize | 552 5.3.4 Message size exceeds fixed limit
         MessageSize | 552 Message size exceeds maximum permitted
         MessageSize | 552 5.3.4 Your message exceeded Google's message size limits
         MessageSize | 552 5.2.2 message size exceeds the maximum
         MessageSize | 523 the message is too large
         MessageSize | 552 5.2.3 message exceeds maximum fixed size (10485760)
         Storage | 452 4.3.1 Insufficient system storage
         Storage | 452 4.3.1 Insufficient system resources (UsedDiskSpace[C:])
         Storage | 452 4.3.1 refused
         Storage | 452 4.4.5 Insufficient disk space; try again later
         Storage | 452 space shortage, please try later: no space left on device
         Content | 552 5.7.0 This message was blocked because its content presents a potential security issue.
         Storage | 452 no
         Quota | 552 no",
    );
}

#[test]
fn recipients_and_relays() {
    table(
        "NoSuchUser | 550 5.1.1 <a@dest.test>: Recipient address rejected: User unknown in virtual mailbox table
         NoSuchUser | 550-5.1.1 The email account that you tried to reach does not exist.
         NoSuchUser | 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient a@dest.test not found by SMTP address lookup
         NoSuchUser | 550 Requested action not taken: mailbox unavailable
         NoSuchUser | 550 No such user here
         NoSuchUser | 550 Unknown user
         NoSuchUser | 550 sorry, no mailbox here by that name (#5.1.1 - chkuser)
         NoSuchUser | 550 5.4.1 Recipient address rejected: Access denied. AS(201806281)
         NoSuchUser | 550 5.2.1 The email account that you tried to reach is disabled.
         NoSuchUser | 554 delivery error: dd This user doesn't have a yahoo.com account (a@dest.test)
         NoSuchUser | 550 User a@dest.test does not exist
         NoSuchUser | 550 refused (#5.1.1)
         RelayDenied | 554 5.7.1 <a@dest.test>: Relay access denied
         RelayDenied | 550 relay not permitted
         RelayDenied | 550 5.7.1 Unable to relay
         RelayDenied | 550 5.7.1 Relaying denied. Proper authentication required.
         RelayDenied | 553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)
         RelayDenied | 550 5.7.64 TenantAttribution; Relay Access Denied
         RelayDenied | 550 5.7.1 we do not relay
         RelayDenied | 550 relaying denied",
    );
}

#[test]
fn senders() {
    table(
        "SenderDomain | 450 4.1.8 <www@web1.internal>: Sender address rejected: Domain not found
         SenderDomain | 553 5.1.8 Domain of sender address www@web1.internal does not exist
         SenderDomain | 550 5.1.8 refused
         SenderDomain | 550 Sender domain must resolve
         SenderDomain | 451 4.1.8 Domain of sender address b@em1.test does not resolve
         SenderNotAllowed | 553 5.7.1 <u@corp.test>: Sender address rejected: not owned by user relay@corp.test
         SenderNotAllowed | 550 5.7.60 SMTP; Client does not have permissions to send as this sender
         SenderNotAllowed | 554 5.2.252 SendAsDenied; relay@corp.test not allowed to send as u@corp.test
         SenderNotAllowed | 553 Mail from must equal authorized user
         SenderNotAllowed | 550 5.7.1 Sender mismatch
         SenderNotAllowed | 501 Mail from address must be same as authorization user
         Callout | 451 Could not complete sender verify callout
         Callout | 550 Sender verify failed
         Callout | 450 4.1.7 <me@corp.test>: Sender address rejected: unverified address: connect to mx timed out
         Callout | 450 4.7.1 unable to verify sender address
         NullSender | 550 5.7.1 null sender not accepted here
         NullSender | 550 5.7.1 MAIL FROM:<> is not allowed
         NullSender | 550 we do not accept bounces
         AuthRequired | 530 5.7.0 Authentication required
         AuthRequired | 530 5.7.1 Client was not authenticated
         AuthRequired | 530 5.7.57 Client not authenticated to send mail
         AuthRequired | 535 5.7.8 Error: authentication failed
         AuthRequired | 530 no
         AuthRequired | 550 SMTP AUTH is required for message submission on port 587
         AuthRequired | 503 5.5.4 Error: send AUTH command first
         TlsRequired | 530 5.7.0 Must issue a STARTTLS command first
         TlsRequired | 530 #5.7.0 Must issue a STARTTLS command first
         TlsRequired | 550 5.7.10 Encryption needed
         TlsRequired | 451 4.7.0 TLS required by this domain
         TlsRequired | 554 5.7.1 Session encryption is required",
    );
}

#[test]
fn content_and_form() {
    table(
        "Content | 554 5.7.1 Message rejected as spam by content filter
         Content | 550 5.7.1 This message looks like spam
         Content | 550 High probability of spam
         Content | 554 5.7.1 Spam message rejected
         Content | 550 5.7.0 Virus found: Eicar-Test-Signature
         Content | 554 5.7.1 attachment type not allowed: invoice.js
         Content | 550 5.7.1 [127.0.0.2 12] Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked.
         LineEnds | 550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds
         LineEnds | 521 5.5.2 mx.ms.test Error: bare <LF> received
         LineEnds | 550 5.5.2 message contains bare CR
         Nul | 554 5.6.0 message contains NUL bytes
         LineLength | 550 5.6.0 line too long
         LineLength | 500 5.5.2 Line length exceeded. See RFC 2821
         LineLength | 550 maximum allowed line length is 998 octets, got 1205
         Header | 550 5.7.1 Messages missing a valid Message-ID header are not accepted
         Header | 550 5.7.1 [127.0.0.2 11] This message is not RFC 5322 compliant. There are multiple Reply-To headers.
         Header | 550-5.7.1 message is not RFC 5322 compliant: duplicate headers. Visit https://support.google.test
         Hops | 554 5.4.14 Hop count exceeded - possible mail loop
         Hops | 554 5.4.0 Error: too many hops
         Loop | 554 5.4.6 mail loop detected
         Loop | 550 5.4.6 refused
         SmtpUtf8 | 550 5.6.7 refused
         SmtpUtf8 | 553 5.6.7 Address requires SMTPUTF8",
    );
}

#[test]
fn no_reason_at_all() {
    table(
        "Busy | 421 mx.dest.test Service not available, closing transmission channel
         Busy | 451 4.3.2 Please try again later
         Busy | 450 4.3.2 Service currently unavailable
         Busy | 421 4.4.2 closing
         - | 550 5.7.1 refused
         - | 550 5.7.1 Message refused by policy
         - | 550 5.7.1 see our policy at https://mx.dest.test/spf-dkim-spam.html
         - | 554 5.7.1 refused by mx.spamhaus-mirror.test
         - | 550 5.7.1 mx.spf.test does not like you
         - | 550 5.7.1 mailbox.full.test refused
         - | 451 4.7.1 greylist.mx.test: refused
         - | 554 No thanks",
    );
}

#[test]
fn a_limit_on_a_signing_domain_is_not_about_the_signature() {
    let found = topics(&reply("421 4.7.28 unusual rate of mail originating from your DKIM domain [corp.test 35]."));
    assert_eq!(found, [Topic::Rate]);
}

#[test]
fn what_is_quoted_is_a_whole_word() {
    let said = reply("550 5.7.1 client [127.0.0.2] at gw.corp.test.example, <me@corp.test>, [IPv6:2001:DB8:0::1] no");
    assert!(quotes(&said, "127.0.0.2") && quotes(&said, "2001:db8::1") && quotes(&said, "me@corp.test"));
    assert!(!quotes(&said, "127.0.0.21") && !quotes(&said, "7.0.0.2") && !quotes(&said, "gw.corp.test"));
    assert!(!quotes(&said, "corp.test") && !quotes(&said, "2001:db8::"));
    assert!(quotes(&reply("504 <25aea30808b2>: Helo command rejected"), "25aea30808b2"));
    assert!(quotes(&reply("450 cannot resolve gw.corp.test."), "gw.corp.test"));
    assert!(quotes(&reply("550 5.7.25 no PTR for ::1."), "::1"));
    assert!(quotes(&reply("550 5.7.23 SPF fail ip=127.0.0.3"), "127.0.0.3"));
}

#[test]
fn delays_are_read_in_all_notations() {
    for (text, seconds) in [
        ("450 Greylisting in action, please come back in 00:04:59", Some(299)),
        ("451 try again in 300 seconds", Some(300)),
        ("451 greylisted, wait 5 minutes", Some(300)),
        ("450 retry after 00:05:00", Some(300)),
        ("451 retry in 1 hour and 5 minutes", Some(3900)),
        ("451 Greylisted, seconds remaining: 287 s", Some(287)),
        ("451 try again later (120s)", Some(120)),
        ("450 limit of 100 messages per 60 minutes exceeded, try again later", None),
        ("421 idle timeout of 10 seconds", None),
        ("451 try again later", None),
        ("451 try again in 99999 days", None),
    ] {
        assert_eq!(delay(&reply(text)), seconds.map(Duration::from_secs), "{text}");
    }
}

#[test]
fn the_zone_of_a_block_list_is_found() {
    for (text, zone) in [
        ("550 5.7.1 client [127.0.0.2] blocked using zen.dnsbl.test", Some("zen.dnsbl.test")),
        (
            "554 5.7.1 Service unavailable; Client host [gw.corp.test] blocked using bl.x.test; see https://x.test",
            Some("bl.x.test"),
        ),
        ("550 rejected because 127.0.0.2 is in a black list at zen.dnsbl.test", Some("zen.dnsbl.test")),
        ("550 found in DNSBL: 2.0.0.127.dnsbl.lists.test", Some("dnsbl.lists.test")),
        ("550 5.7.1 Client host [127.0.0.2] blocked using Spamhaus", Some("zen.spamhaus.org")),
        ("550 5.7.1 127.0.0.2 is listed, contact postmaster", None),
        ("550 5.7.1 your ip is listed on our internal block list of mx.dest.test", None),
        ("550 5.7.1 user unknown at zen.dest.test", None),
    ] {
        assert_eq!(dnsbl_zone(&reply(text)).as_deref(), zone, "{text}");
    }
    let question = zone_question("127.0.0.2".parse().unwrap(), "zen.dnsbl.test", Kind::A);
    assert_eq!(question.name, "2.0.0.127.zen.dnsbl.test");
}

#[test]
fn a_rate_limit_names_its_identity_and_number() {
    let dkim = reply("421 4.7.28 unusual rate of mail originating from your DKIM domain [corp.test 35].");
    assert_eq!(identity(&dkim), Some(Identity::DkimDomain("corp.test".to_owned())));
    let spf = reply("421 4.7.28 rate limited: originating from your SPF domain corp.test");
    assert_eq!(identity(&spf), Some(Identity::SpfDomain("corp.test".to_owned())));
    let address = reply("451 4.7.650 The mail server [127.0.0.2] has been temporarily rate limited");
    assert_eq!(identity(&address), Some(Identity::Address("127.0.0.2".parse().unwrap())));
    assert_eq!(limit(&reply("421 too many connections, limit is 2")), Some(2));
    assert_eq!(limit(&reply("452 4.5.3 maximum of 100 recipients")), Some(100));
    assert_eq!(limit(&reply("452 4.5.3 too many recipients")), None);
}

#[test]
fn queue_ids_are_found() {
    for (text, id) in [
        ("250 2.0.0 Ok: queued as ABC123", Some("ABC123")),
        ("250 OK id=1rXyZ-0001ab-2c", Some("1rXyZ-0001ab-2c")),
        ("250 2.0.0 v1KX7a123 Message accepted for delivery", Some("v1KX7a123")),
        ("250 2.0.0 OK  1700000000 x-20020a17si123.45 - gsmtp", Some("x-20020a17si123.45")),
        ("250 2.6.0 <m@x.test> [InternalId=12345678, Hostname=a.test] Queued mail for delivery", Some("12345678")),
        ("250 ok 1700000000 qp 4711", Some("4711")),
        ("250 Message Queued (AB12-CD.1)", Some("AB12-CD.1")),
        ("250 ok:  Message 123456 accepted", Some("123456")),
        ("250 Ok", None),
        ("550 queued as ABC123", None),
    ] {
        assert_eq!(queue_id(&reply(text)).as_deref(), id, "{text}");
    }
}

#[test]
fn more_of_the_large_providers() {
    table(
        "Rate | 421 4.7.0 [TSS04] Messages from 127.0.0.2 temporarily deferred due to user complaints - 4.16.55.1
         BlockList | 553 5.7.1 [BL21] Connections will not be accepted from 127.0.0.2, because the ip is in Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html
         Rate | 421 4.7.1 [TS03] All messages from 127.0.0.2 will be permanently deferred; Retrying will NOT succeed.
         Rate | 451 4.7.500 Server busy. Please try again later from [127.0.0.2]. (AS77713551)
         Spf | 421 4.7.27 Your email has been rate limited because SPF authentication didn't pass for this message.
         Dkim | 421 4.7.30 Your email has been rate limited because DKIM authentication didn't pass for this message.
         TlsRequired | 421 4.7.29 Your email has been rate limited because this message wasn't sent over a TLS connection.
         ReverseDns | 421 4.7.23 Your email has been rate limited because the sending IP address doesn't have a PTR record, or the PTR record's forward DNS entry doesn't match the sending IP address.
         Dmarc | 550 5.7.26 Unauthenticated email from corp.test is not accepted due to domain's DMARC policy. Please contact the administrator of corp.test domain.
         Rate | 421 4.7.28 Gmail has detected an unusual rate of unsolicited email originating from your IP address. To protect our users from spam, email sent from your IP address has been temporarily rate limited.
         Rate | 550 5.7.1 [127.0.0.2 18] Our system has detected that this message is likely suspicious due to the very low reputation of the sending IP address.
         Rate | 550-5.7.1 Our system has detected that this message is likely suspicious due to the very low reputation of the sending domain.
         BlockList | 550 5.7.511 Access denied, banned sender[127.0.0.2]. To request removal from this list please forward this message to delist@messaging.microsoft.com
         Rate | 550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.
         NoSuchUser | 550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).
         Rate | 452 4.1.1 Requested action aborted: try again later; mail rate limit exceeded.
         BlockList | 554-gmx.net (mxgmx101) Nemesis ESMTP Service not available 554-No SMTP service 554-IP address is block listed.
         Rate | 421-gmx.net Service closing, too many messages from this IP
         Rate | 450 4.2.0 Requested mail action not taken: mailbox unavailable, Mail send limit exceeded. too many mails
         BlockList | 550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=x or report details, your IP 127.0.0.2 is blocked
         Rate | 451 Ratelimit exceeded for mailbox u@corp.test. Try again later.
         NoSuchUser | 550 Message was not accepted -- invalid mailbox.  Local mailbox a@mail.ru is unavailable: user not found
         Content | 554 DT:SPM 163 mx1,please see http://mail.163.com/help/help_spam_16.htm: message looks like spam
         Rate | 550 Domain frequency limited. Too many mails sent
         Connections | 421 Too many connections from this ip, wait 60 seconds
         NoSuchUser | 550 Mailbox not found or access denied. http://service.mail.qq.com/
         BlockList | 554 5.7.1 Service unavailable; Client host [127.0.0.2] blocked using Barracuda Reputation; http://www.barracudanetworks.com/reputation/
         BlockList | 550 Administrative prohibition - envelope blocked - http://kb.mimecast.com/: IP found in RBL
         Greylist | 451 Internal resource temporarily unavailable - http://www.mimecast.com/knowledgebase/KBID10473.htm#451 greylisted
         BlockList | 554 mx1.dest.test Your access to this mail system has been rejected due to the sending MTA's poor reputation; the IP is blacklisted
         Rate | 554 Your access to this mail system has been rejected due to the sending MTA's poor reputation. If you believe that this failure is in error, please contact the intended recipient via alternate means.
         Busy | 452 4.3.0 4.3.2 System overloaded, try later
         Busy | 421 4.3.2 System not accepting network messages
         Busy | 421 4.3.0 Temporary System Problem.  Try again later
         Connections | 421 4.7.0 Too many connections from your network
         Connections | 452 Too many concurrent messages/sessions from 127.0.0.2",
    );
}

#[test]
fn hosts_speak_other_languages() {
    table(
        "NoSuchUser | 550 5.1.1 <a@dest.test>: Empfängeradresse abgewiesen: Benutzer unbekannt
         NoSuchUser | 550 Unbekannter Empfaenger
         NoSuchUser | 550 Usuario desconocido
         NoSuchUser | 550 El buzón no existe
         NoSuchUser | 550 Utilisateur inconnu
         NoSuchUser | 550 L'adresse du destinataire n'existe pas
         NoSuchUser | 550 Utente sconosciuto
         NoSuchUser | 550 A caixa de correio não existe
         NoSuchUser | 550 Gebruiker onbekend
         NoSuchUser | 550 Unrouteable address
         Quota | 452 Das Postfach ist voll
         Quota | 552 Boîte aux lettres pleine
         Quota | 452 Buzón lleno
         Quota | 452 Casella piena
         Greylist | 451 Liste grise: veuillez réessayer dans 5 minutes
         Connections | 421 Trop de connexions, veuillez verifier votre configuration
         Connections | 421 Zu viele gleichzeitige Verbindungen von 127.0.0.2
         Rate | 421 Zu viele Nachrichten, bitte langsamer
         Rate | 450 Sender rate overlimit - 120.5 / 1h / 127.0.0.2
         BlockList | 554 Ihre IP-Adresse 127.0.0.2 ist gesperrt
         BlockList | 554 Su servidor está en una lista negra
         BlockList | 554 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=127.0.0.2
         MessageSize | 552 Die Nachricht ist zu groß
         RelayDenied | 554 Weiterleitung nicht erlaubt
         AuthRequired | 530 Anmeldung erforderlich
         TlsRequired | 530 Verschlüsselung erforderlich
         Recipients | 452 Zu viele Empfänger
         Content | 554 5.7.1 Die Nachricht wurde als Spam eingestuft",
    );
}
