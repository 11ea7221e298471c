//! Phrases: which words speak of which topic.
//!
//! A phrase is words in a row: `a|b` either, `word*` the beginning of one, `..` up to five others between, and `@address`,
//! `@name`, `@mailbox`, `@number`, `<>` for what is no word. Clear phrases are tried in order, and words that one has used
//! are not there for the next: "your SPF domain" is about a rate, not about SPF.

use super::tokens::Token;
use super::{Topic, Weight, foreign};

/// Words that lead to the reason and are none themselves: "has been rate limited because DKIM …" is about DKIM.
const NOISE: &[&str] = &["been rate limited because"];

/// Phrases with one meaning, the more special first.
const CLEAR: &[(Topic, &[&str])] = &[
    (Topic::Nul, &["nul|null byte*|octet*|character*|char|chars", "nuls", "ascii nul|null"]),
    (
        Topic::LineEnds,
        &[
            "bare lf|cr|crlf|linefeed*|newline*|nl",
            "bare line feed*",
            "bare carriage return*",
            "barelinefeed*",
            "lone|stray lf|cr|newline*|linefeed*",
            "lf|cr without cr|lf",
            "lf|cr not preceded|followed",
            "line ending*|endings",
            "end of line sequence|character*",
            "unescaped newline*",
            "smtp smuggling",
        ],
    ),
    (
        Topic::LineLength,
        &[
            "line|lines too long",
            "line|lines is|are|was too long",
            "line length",
            "line|lines .. exceed*|longer .. 998|1000|limit|maximum|characters|octets|than",
            "maximum line",
            "overlong line*",
            "overly long line*",
            "oversized line*",
        ],
    ),
    (
        Topic::Header,
        &[
            "rfc5322|rfc2822|rfc822 .. compliant|compliance|violat*|header*|conform*|specifications",
            "rfc 5322|2822|822 .. compliant|compliance|violat*|header*|conform*|specifications",
            "multiple|duplicate*|several|two from|date|subject|to|cc|sender|message|reply .. header*|field*|headers|addresses",
            "multiple .. headers",
            "missing|no|without|lacks|invalid|malformed|bad|empty from|date|subject|sender|to|message|messageid|valid .. header*|field*|line",
            "missing|malformed|duplicate*|invalid|bad|required|mandatory|singleton header*",
            "from|date|subject|messageid|sender|reply|id header|field|headers .. missing|required|invalid|absent|duplicat*|multiple|not",
            "header*|headers|field .. missing|malformed|duplicated",
            "header|headers syntax|validity|not",
            "no valid sender|from header",
        ],
    ),
    (
        Topic::Hops,
        &[
            "too many hops",
            "hop count*",
            "hopcount",
            "too many received",
            "hop limit",
            "maximum .. hops",
            "number of hops",
        ],
    ),
    (
        Topic::Loop,
        &[
            "mail|message|routing|forwarding|delivery|relay|email|possible|smtp loop*",
            "loop|loops|looping back|detected",
            "looping",
            "loop* back",
            "is .. in a loop",
        ],
    ),
    (
        Topic::SmtpUtf8,
        &[
            "smtputf8",
            "utf8smtp",
            "internationali*ed .. mail|email|address*|mailbox|sender|recipient|envelope|header*",
            "non ascii .. address*|local|mailbox|sender|recipient|header*",
            "nonascii .. address*|mailbox|sender|recipient|header*",
            "utf8|utf .. address* .. not",
            "utf 8 .. not supported",
        ],
    ),
    (
        Topic::TlsRequired,
        &[
            "starttls|tls|ssl|encryption|encrypt .. required|mandatory|needed|necessary|enforced",
            "starttls|tls first",
            "must|should|need*|please issue|use|do|start|send|upgrade .. starttls|tls|ssl|encryption",
            "require*|demand*|enforce* .. starttls|tls|ssl|encrypt*",
            "without starttls|tls|ssl|encryption",
            "wasn|not .. sent over .. tls",
            "unencrypted|cleartext|plaintext .. not|refused|rejected|prohibited|denied|disabled|disallowed",
            "not|never .. unencrypted|cleartext|plaintext",
            "only .. tls|encrypted|starttls|ssl .. connection*|session*|accept*|allow*|mail",
            "only over tls",
            "tls|starttls only",
        ],
    ),
    (
        Topic::RelayDenied,
        &[
            "relay*|relaying denied|prohibited|forbidden|refused|disallowed|not|access",
            "we do not relay",
            "unable to relay",
        ],
    ),
    (
        Topic::AuthRequired,
        &[
            "auth|authentication|login|authorization .. required|mandatory|needed",
            "require*|need* .. auth|authentication|authenticated|login|authorization",
            "must|have|please .. authenticate|authenticated|login|auth",
            "must|please log in|on",
            "not authenticated",
            "not logged in",
            "unauthenticated .. session|client|connection|user|relay*|submission|smtp",
            "without authentication|authenticating",
            "authenticate|login|log|auth .. first|before",
            "anonymous .. not|denied|refused|disabled|prohibited",
            "authentication|login|logon|auth failed|failure|unsuccessful|invalid|incorrect|rejected|denied|disabled",
            "invalid|bad|incorrect|wrong|expired credential*|password|login|username",
            "username and password",
            "pop before smtp",
            "only authenticated",
        ],
    ),
    (
        Topic::Greylist,
        &[
            "greylist*|graylist*",
            "grey|gray list*",
            "postgrey|sqlgrey|milter_greylist|greyd",
            "temporarily deferred .. new|unknown .. sender|client|triplet|source",
            "new|unknown|unseen .. triplet",
            "triplet .. new|unknown|seen|delayed",
            "first time .. sender|seen|mail .. try|retry|come|again|wait",
            "not seen .. before .. try|retry|come|again|later",
        ],
    ),
    (
        Topic::ReverseDns,
        &[
            "reverse dns|hostname|host|lookup|name|address|mapping|record*|pointer|ptr|resolution|entry|ip|zone",
            "reverse .. dns|lookup|resolution|hostname|resolve",
            "rdns|revdns|fcrdns|iprev",
            "ptr record*|resource|lookup|entry|rr|dns|name|check|does|is|not",
            "no|missing|without|invalid|generic|bad|valid|matching|proper|a|or ptr",
            "ip name lookup failed",
            "forward confirmed",
            "cannot|unable|not|failed|couldn .. resolve|find|determine .. client|your|connecting|sending|remote|server .. hostname|name|host",
            "cannot find your hostname",
            "unknown client|reverse|host hostname|name",
            "client host rejected cannot|could find|not",
            "no dns record*|entry|name .. for .. address|ip|host|client|you",
            "hostname .. does not resolve .. back|@address|address|ip",
            "ip .. has|have no .. hostname|name|dns|domain",
            "does not resolve .. to a|any .. hostname|name|domain",
            "generic|dynamic hostname|rdns|host",
        ],
    ),
    (
        Topic::Helo,
        &[
            "helo|ehlo command|name|argument|string|hostname|host|domain|parameter|identity|greeting|value .. rejected|refused|invalid|not|must|is|does|required|denied|syntax|fail*|unresolv*|error|mismatch|illegal|bad",
            "invalid|bad|bogus|forged|fake|illegal|malformed|unresolvable|unqualified|suspicious|impersonat*|nonfqdn helo|ehlo",
            "helo|ehlo .. rejected|refused|invalid|forged|mismatch|not|illegal|bogus|unresolv*|unacceptable|denied|dns|require*|fails|failed|fqdn",
            "rejected|refused|reject|denied|due|because .. helo|ehlo",
            "need|use|require*|expect*|must|not .. fully qualified|fqdn .. hostname|host .. helo|ehlo",
            "your helo|ehlo",
            "you|client|your .. pretend*|claim*|impersonat*|masquerad* .. be",
            "helo|ehlo .. fully|valid|resolv*",
            "fully|valid|resolv* .. helo|ehlo",
            "polite people say hello",
        ],
    ),
    (
        Topic::Rate,
        &[
            "originating|coming from your spf|dkim|url|ip .. domain|netblock|address|range|block",
            "your|the spf|dkim|url domain .. limit*|rate|unusual|suspicious|deferred|blocked|reputation",
            "rate limit*|limiting|control*|exceeded|quota|too",
            "unusual|high|excessive|abnormal|suspicious .. rate|volume|amount",
            "ratelimit*|throttl*|overlimit",
            "sending|message|mail|email|delivery|submission rate|quota",
            "sending|sent|send|receiving|delivering .. too fast|quickly|many|much|often|rapidly",
            "too fast|quickly|frequently",
            "too many|much messages|mails|mail|emails|message|email|deliveries|requests|commands|transactions|traffic|errors|complaints|junk|invalid|unknown|bad|failed|spam|e",
            "exceed*|reached|over .. hourly|daily|hour|day|minute",
            "messages|mails|emails|message per hour|minute|second|day|connection|session",
            "mail flood*",
            "flooding",
            "slow down",
            "user complaints",
            "unexpected volume",
            "exceed* permitted|allowed|your limit*",
            "receiving mail|email|messages at a rate",
            "tss0*|tss1*|ts01|ts02|ts03|ts04",
            "permanently|temporarily deferred .. from|due",
            "suspicious activity|traffic",
            "traffic not accepted",
            "rp 001|002|003",
        ],
    ),
    (Topic::Dmarc, &["dmarc", "domain|identifier|from alignment"]),
    (
        Topic::Clock,
        &[
            "in the future",
            "clock skew*|is|wrong|drift|ahead|behind|incorrect|out|of|appears|seems|not",
            "check|adjust|correct|fix|synchroni*e|set .. clock|clocks",
            "system|server|your clock|clocks",
            "timestamp|time|date .. future|skew*",
            "future date*|time*",
        ],
    ),
    (
        Topic::Dkim,
        &[
            "dkim|arc .. fail*|invalid|missing|required|bad|verif*|validat*|broken|error|unsigned|permerror|temperror|signed|reject*|pass",
            "fail*|invalid|missing|bad|no|without|broken|require*|valid|must|acceptable|passing|verif* dkim|domainkeys",
            "dkim signature*",
            "body hash .. verif*|match|mismatch",
        ],
    ),
    (
        Topic::Spf,
        &[
            "spf .. fail*|softfail|invalid|permerror|temperror|error|reject*|denied|violat*|mismatch|unauthori*|valid*|pass|forbid*|disallow*|unaligned|authori*|record|records|check*|policy|result|hardfail|blocked|none|neutral",
            "fail*|violat*|by|due|because|reject*|bad|forged|missing|no spf",
            "sender policy framework",
            "openspf",
            "spf @address .. not",
            "spf @name .. not",
            "domain .. not .. designate|permit|authori*e .. @address|ip|host|address|server|sender|client",
            "not .. designated|permitted|authori*ed .. sender|send .. mail|email|messages .. from|for|behalf .. domain|domains|@name",
            "not .. designated|permitted|authori*ed sender",
        ],
    ),
    (
        Topic::BlockList,
        &[
            "block|black|deny|bad list|lists|listed|listing|hole|holes",
            "blocklist*|blacklist*|denylist*|blackhole*",
            "listed at|in|on|by",
            "is|are|was|currently listed",
            "dnsbl*|rbl|rbls|drbl|rblsmtpd",
            "spamhaus|spamcop|sorbs|barracudacentral|uceprotect|psbl|backscatterer|mailspike|cloudmark|abusix|invaluement",
            "barracuda|proofpoint|senderbase dynamic|reputation",
            "block*|rejected|refused|denied|found|service using|via|at @name",
            "block*|blacklisted by @name",
            "found in|on @name",
            "banned sending",
            "sending|sender|your|client|source|connecting|originating ip|mta|host|server|network|address .. is|was|been|has .. blocked|banned|blacklisted|barred|blocking|prohibited|suspended",
            "ip|address|netblock|network|mta|server|host .. blocked|banned|barred",
            "@address .. blocked|banned|barred|blacklisted|prohibited|listed",
            "blocked|banned|blocking|rejected .. ip|@address|netblock",
            "connection* .. blocked|banned",
            "on our|their block|list|black",
            "s3140|s3150",
            "dynamic|residential|dialup|dial .. ip|address*|range*|pool|block",
            "delist*|unblock*",
            "removal|delisting .. list|request",
            "known spam source*",
        ],
    ),
    (Topic::Rate, &["reputation", "senderbase|senderscore"]),
    (
        Topic::Connections,
        &[
            "too many|much .. connection*|sessions|connects|connect|channels|threads|processes|simultaneous|concurrent|parallel|connections",
            "too many smtp sessions|session",
            "concurren*|simultaneous|parallel .. connection*|session*|deliver*|transactions|smtp|client*",
            "connection*|session|sessions|concurrency limit*|count|quota|exceeded|maximum|concurrency",
            "maximum|max|limit|number .. connection*|sessions",
            "connection* .. exceed* .. limit|maximum",
            "connection* rate",
            "fewer|less .. connection*|sessions",
            "already .. connection*|sessions .. open",
            "all .. connection*|slots|sessions .. in use|busy|taken",
        ],
    ),
    (
        Topic::Recipients,
        &[
            "too many|much .. recipient*|rcpt*|receivers|addressees",
            "recipient*|rcpt*|rcpts|recipients limit*|count|exceed*|maximum|number",
            "maximum|max|limit|number .. recipient*|rcpt*",
            "limit*|exceed* .. recipient*|rcpt* .. per|in|transaction|message",
            "recipient*|rcpt* per|at .. transaction|message|session|time|mail|connection|envelope",
            "only one|1|single|@number .. recipient*|rcpt*",
            "one|single|1 recipient*|rcpt* .. time|transaction|per|only|allowed|message|session",
            "separate|another|new|different|next transaction|message .. recipient*|rcpt*|domain|this",
            "recipient*|rcpt*|domain .. separate|another|new|different|next transaction|message",
            "separate transaction*",
            "remaining|more|further|additional recipient*|rcpt*",
        ],
    ),
    (
        Topic::Quota,
        &[
            "mailbox|inbox|box|user|account|recipient*|maildrop|maildir|folder|store is|are|s .. full|overquota|overfull",
            "mailbox|inbox|mail|maildrop|maildir|user|recipient full|overquota|overflow",
            "full mailbox|inbox",
            "quota .. exceed*|full|reached|over|limit|exhausted|used",
            "exceed*|over|out|beyond|above|hit|reached|full|insufficient .. quota|allotment",
            "quotaexceed*|overquota|quota",
            "mailbox|inbox|account|user|recipient* .. storage|space|quota|allocation|limit .. exceed*|exhausted|full|reached|limit|used",
            "mailbox|inbox|maildir|account|user|recipient* .. exceed*|over|out|insufficient|no|not .. quota|storage|space|allotted|allowed|room|limit|allocation",
            "out of storage .. space|email",
            "insufficient|not|no .. space|storage|room .. mailbox|account|inbox|user|recipient*",
            "mailbox size",
        ],
    ),
    (
        Topic::MessageSize,
        &[
            "message|messages|mail|email|content|data|msg|body|attachment*|e|it .. too big|large|huge|long",
            "message|mail|email|msg|content|data|body|attachment* size|length",
            "message|mail|email|msg|content|data|body|attachment* .. exceed*|over|larger|bigger|greater .. size|maximum|limit|mb|kb|bytes|octets|maxsize|than|fixed",
            "size .. exceed*|too|larger|greater|bigger|over|above .. limit*|maximum|size|large|big|than|allowed|fixed",
            "exceed* .. size|maxsize",
            "maximum|max|allowed|permitted .. message|mail|file|email|msg|data .. size|length",
            "size limit*|restriction*",
            "too large|big",
            "oversize*",
        ],
    ),
    (
        Topic::Storage,
        &[
            "insufficient|enough|no|low|lack|out .. system|disk|spool|storage .. resource*|storage|space|memory|full|left",
            "insufficient .. storage|space|resource*|memory",
            "disk|filesystem|spool|queue|partition|drive|device .. full|space|low",
            "out|low|short of|on memory|disk|resource*|space",
            "no|enough|low free|disk|memory space",
            "no|enough space",
            "back pressure",
            "backpressure",
            "resource* .. shortage|low|exhausted|insufficient|pressure|constrained",
            "system resources",
            "memory pressure|low|shortage|usage|utili*ation",
            "watermark",
        ],
    ),
    (
        Topic::Callout,
        &[
            "callout*|callback*|callahead",
            "call out|back .. verif*|sender|failed|timed",
            "sender|return|envelope|reverse|originator|from .. address|path|verif* verif*|failed|probe",
            "sender|return verif* .. fail*|could|not|unable|complete|error|timed|temporar*",
            "sender verif*",
            "unverified|unverifiable address|sender",
            "cannot|could|unable|can|fail*|not|while|when .. verify|validate|verifying|verified|confirm .. sender|envelope|return|your|from|@mailbox",
            "sender|return|@mailbox .. cannot|could|not|can .. verified|validated|confirmed",
            "sender address rejected undeliverable|unverified",
            "sender address .. probe|undeliverable",
        ],
    ),
    (
        Topic::NullSender,
        &[
            "null|empty|blank sender*|return|reverse|from|envelope|path|reversepath|mailfrom",
            "<> .. not|refused|rejected|denied|disallowed|prohibited|forbidden|blocked|unacceptable|never|invalid|no",
            "not|no|refus*|reject*|never|accept|denied|invalid .. <>",
            "bounce*|bounces|dsn|dsns|ndr|ndrs|backscatter .. not|refused|rejected|denied|blocked|unwanted|disallowed",
            "not|refus*|reject*|no|block* .. bounce|bounces|dsn|dsns|ndr|ndrs|backscatter",
            "<> sender",
        ],
    ),
    (
        Topic::SenderDomain,
        &[
            "sender address rejected domain|host|malformed|need .. not|dns|mx|found|fully",
            "sender address rejected need fully",
            "domain of sender .. not|exist|resolve",
            "sender*|return|envelope|reverse|mailfrom|originat*|from .. domain|host .. not|must|doesn|cannot|couldn|has|unresolv*|invalid|nonexistent|lacks|no|unknown|without .. exist*|resolve*|found|mx|dns|verified|record*|valid|address",
            "unresolvable|nonexistent|invalid|unknown|unroutable|unrouteable|nonresolv* .. sender*|return|envelope|from .. domain|host|address",
            "invalid|unresolvable|nonexistent|unknown sender domain|host|dns|mx",
            "sender*|return|envelope unrouteable|unroutable",
            "domain .. not|doesn|cannot|couldn .. exist|resolve*|found .. sender*|return|envelope|from",
            "domain name required|error .. sender|for",
            "domain @name .. not|doesn|no|cannot|couldn .. exist|resolve*|found|mx|valid|verified",
            "@mailbox .. domain|sender .. not|doesn|must|cannot .. exist|resolve|found|resolved|mx",
            "no .. mx|a|dns .. record* .. sender*|return|envelope|from",
            "unqualified sender",
            "no mx .. sender|for|record*",
            "null mx",
            "dns .. mail|mailfrom|sender* domain",
        ],
    ),
    (
        Topic::SenderNotAllowed,
        &[
            "not owned by",
            "send on behalf",
            "sendasdenied",
            "permission* to send as|from|on",
            "sender*|from|@mailbox .. not|isn .. owned|allowed|permitted|authori*ed|permission*|registered|belong*|verified|accepted|allow",
            "not .. allowed|permitted|authori*ed|permission*|entitled .. send|use|as .. from|as|sender|address|behalf|this",
            "sender*|from|address mismatch|spoof*|forged|forgery",
            "sender*|from|envelope .. must|should|does .. match|same|equal|belong|own .. login|user|account|authenticat*|credentials|logged|auth|authori*|username",
            "sender* .. does not match",
            "sender address rejected not|access|denied|blocked|policy|forbidden|prohibited",
            "sender*|envelope|from denied|rejected|refused|blocked|unauthori*ed|banned|disallowed",
            "sender*|from .. is|was|been|has .. blocked|denied|rejected|banned|disabled|suspended",
            "unauthori*ed|disallowed|forbidden|blocked|bad|prohibited|invalid sender*|from",
            "not .. own|owner .. sender|address|@mailbox",
            "email|sender address is not verified",
            "spoof*",
        ],
    ),
    (
        Topic::RelayDenied,
        &[
            "relay*|relaying .. denied|not|prohibited|forbidden|refused|rejected|disallowed|blocked|disabled|access|illegal",
            "not|unable|cannot|deny|no|will|don|unauthori*ed|attempt*|illegal|open .. relay*",
            "relaying",
            "rcpthosts",
            "domain|host|recipient .. not|isn .. local|hosted|ours|served|handled|here|configured|accept*|responsible|allowed|served|serviced",
            "not .. accept|handle|responsible|host|serve|deliver|configured .. domain|domains|@name",
            "not .. local|hosted|accepted|our .. domain|domains|host",
            "no such domain",
            "unknown|nonlocal|foreign|invalid recipient|destination|rcpt domain",
            "unknown domain",
            "not a local|gateway|valid domain|host",
            "tenantattribution",
        ],
    ),
    (
        Topic::NoSuchUser,
        &[
            // Exim's word for a local part that no router takes.
            "unrouteable|unroutable address",
            "no|unknown|invalid|nonexistent|bad|wrong|inactive|disabled|not .. such|valid|known|local|existing|active|a user|mailbox|recipient|address|account|person|alias|addressee|users|recipients|customer",
            "no such user|mailbox|recipient|person|account|address|alias|addressee|here|local|mail",
            "unknown|invalid|nonexistent|inactive|disabled|obsolete user|users|recipient|recipients|mailbox|account|address|alias|addressee|local|rcpt|destination",
            "user*|recipient*|mailbox|account|address|addressee|inbox|alias|customer|email unknown|inactive|suspended|nonexistent|closed|deactivated|terminated|disabled|discontinued|expired|unavailable|invalid",
            "user*|recipient*|mailbox|account|address|addressee|inbox|alias|customer|@mailbox .. not|doesn|isn|no|does|has|is|was .. exist*|found|known|here|listed|valid|longer|unknown|inactive|disabled|suspended|closed|deactivated|such|hosted",
            "recipientnotfound",
            "recipient*|address rejected user|unknown|undeliverable|unverified|no|access",
            "does|doesn|did .. not|t exist",
            "does|doesn not|t have .. account|mailbox",
            "not our customer",
            "no mailbox|account|user .. here|by|with|name|that",
            "account .. tried .. reach",
            "no longer valid|exists|active|available|accepts|in|with|employed|works",
        ],
    ),
    (
        Topic::Content,
        &[
            "spam .. detected|content|message|score|suspected|like|found|filter*|probability|probably|refused|threshold|classif*|rule|rules|signature",
            "as|like|likely|be|contain*|considered|suspected|possible|possibly|probable|looks|appears|identified|detected|suspicious|this|is|for|to spam|phish*|junk|malware|virus|uce|unsolicited",
            "virus|viruses|malware|trojan|phish*|infected|malicious|ransomware|worm",
            "attachment*|executable*|filetype*|macro|macros|archive .. not|blocked|banned|forbidden|prohibited|denied|rejected|illegal|disallowed|refused|unacceptable|allowed|policy",
            "banned|blocked|forbidden|prohibited|dangerous|illegal|unacceptable|disallowed|restricted|suspicious|unsafe|bad .. file*|content|attachment*|extension*|contents|mime",
            "content|contents .. reject*|block*|filter*|policy|not|violat*|refused|unacceptable|denied|scan*|restriction*|prohibited|issue",
            "message|mail|email|it .. contain* .. spam|virus|attachment*|url|link|suspicious|file*|content",
            "rejected|blocked|refused|denied|due|because|by .. content|antispam|spam|antivirus|virus",
            "unsolicited",
            "security issue*|risk|threat",
            "antispam|spamassassin|rspamd|clamav|gtube|amavis",
            "url|uri|link|links .. listed|malicious|blacklist*|blocklist*|suspicious|reputation",
            "spam message|content",
            "message guidelines",
        ],
    ),
];

/// Phrases that are used for several things; the first in order wins among equals.
const VAGUE: &[(Topic, &[&str])] = &[
    (Topic::BlockList, &["access denied .. ip|@address", "client host rejected|denied|blocked", "spammer*", "@list"]),
    (Topic::Spf, &["spf"]),
    (Topic::Dkim, &["dkim", "unauthenticated .. mail|email|message"]),
    (Topic::Helo, &["helo|ehlo", "fully qualified hostname"]),
    (Topic::Callout, &["could not complete .. verif*", "verif* failed"]),
    (Topic::TlsRequired, &["starttls"]),
    (Topic::Content, &["spam"]),
    (Topic::Quota, &["storage allocation", "full"]),
    (Topic::NoSuchUser, &["recipient rejected", "unknown user", "invalid address", "undeliverable address"]),
    (
        Topic::Busy,
        &[
            "busy|overload*|congest*",
            "high|heavy load",
            "load .. high|average",
            "server|service|system|host .. unavailable|down|not .. available|accepting|temporarily",
            "service|temporarily unavailable|closing|shutting",
            "try|retry .. later|again",
            "come back .. later",
            "maintenance",
        ],
    ),
];

/// Pages on which those who block tell whom they block.
const LIST_PAGES: &[&str] = &[
    "ipcheck.proofpoint.com",
    "spamhaus.org",
    "spamcop.net",
    "sorbs.net",
    "barracudacentral.org",
    "barracudanetworks.com/reputation",
    "uceprotect.net",
    "talosintelligence.com",
    "senderbase.org",
    "senderscore.org",
    "sender.office.com",
    "csi.cloudmark.com",
    "abusix.com",
    "abusix.org",
    "mailspike.",
    "dnsbl",
    "/rbl",
];

/// Words that a gap may hold.
const GAP_MAX: usize = 5;

/// Topics of the phrases found, in the order of the tables.
pub(super) fn topics(tokens: &mut [Token]) -> Vec<(Topic, Weight)> {
    NOISE.iter().for_each(|phrase| {
        take(phrase, tokens);
    });
    let mut found = Vec::new();
    for (topic, phrases) in CLEAR.iter().chain(foreign::CLEAR) {
        for phrase in *phrases {
            if take(phrase, tokens) {
                found.push((*topic, Weight::Clear));
            }
        }
    }
    for (topic, phrases) in VAGUE.iter().chain(foreign::VAGUE) {
        let has = phrases.iter().any(|phrase| {
            let elements: Vec<&str> = phrase.split(' ').collect();
            (0..tokens.len()).any(|from| matches(&elements, tokens, from, &mut Vec::new()))
        });
        if has {
            found.push((*topic, Weight::Vague));
        }
    }
    found
}

/// Whether the phrase is there; its words are used up wherever it is.
fn take(phrase: &str, tokens: &mut [Token]) -> bool {
    let elements: Vec<&str> = phrase.split(' ').collect();
    let mut is_there = false;
    for from in 0..tokens.len() {
        let mut used = Vec::new();
        if matches(&elements, tokens, from, &mut used) {
            is_there = true;
            for at in used {
                if matches!(tokens[at], Token::Word(_)) {
                    tokens[at] = Token::Used;
                }
            }
        }
    }
    is_there
}

/// Whether the elements stand from here on; `used`: where.
fn matches(elements: &[&str], tokens: &[Token], at: usize, used: &mut Vec<usize>) -> bool {
    let Some((first, rest)) = elements.split_first() else { return true };
    if *first == ".." {
        return (at..=at + GAP_MAX).any(|next| {
            let before = used.len();
            let is_there = next < tokens.len() && matches(rest, tokens, next, used);
            if !is_there {
                used.truncate(before);
            }
            is_there
        });
    }
    if !tokens.get(at).is_some_and(|token| first.split('|').any(|one| is(token, one))) {
        return false;
    }
    used.push(at);
    matches(rest, tokens, at + 1, used)
}

fn is(token: &Token, one: &str) -> bool {
    match token {
        Token::Word(word) => match one.split_once('*') {
            Some((start, "")) => word.starts_with(start),
            Some((start, end)) => {
                word.len() >= start.len() + end.len() && word.starts_with(start) && word.ends_with(end)
            }
            None => word == one,
        },
        Token::Number(number) => one == "@number" || number.to_string() == one,
        Token::Address(_) => one == "@address",
        Token::Name(_) => one == "@name",
        Token::Mailbox(_) => one == "@mailbox",
        Token::Null => one == "<>",
        Token::Link(link) => one == "@list" && LIST_PAGES.iter().any(|page| link.contains(page)),
        Token::Code(_) | Token::Used => false,
    }
}
