use super::*;

const NOW: Time = Time(1_900_000_000_000);

fn key() -> Key {
    Key::new([7; 32])
}

fn addresses(text: &str) -> Vec<Address> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn id(pass: u8) -> AuditId {
    AuditId::new(NOW.ms() - 1000, 0, u16::from(pass))
}

fn listener(name: &str) -> Listener {
    match name {
        "inbound" => Listener::Inbound,
        "outbound" => Listener::Outbound,
        _ => Listener::Submission,
    }
}

/// Each line of `passes` is `LISTENER RECIPIENT…`, oldest first; lines that begin with `+` are fields put on top in
/// between. The last pass is the arrival; what comes again is expected. `sent` is whether the client is who it was sent to.
fn check_sent(passes: &str, sent: bool, expected: &str) {
    let mut header = "Subject: x\r\n".to_owned();
    let lines: Vec<&str> = passes.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (arrival, before) = lines.split_last().unwrap();
    let mut pass = 0;
    for line in before {
        match line.strip_prefix("+ ") {
            Some(field) => header = format!("{field}\r\n{header}"),
            None => {
                let (door, to) = line.split_once(' ').unwrap();
                pass += 1;
                let marks = key().marks(id(pass), listener(door), pass, &addresses(to));
                header = format!("{}Received: by gw (trace {})\r\n{header}", marks.field, marks.comment);
            }
        }
    }
    let (door, to) = arrival.split_once(' ').unwrap();
    let (to, from_filter) = to.strip_suffix(" filter").map_or((to, false), |to| (to, true));
    let recipients = addresses(to);
    for header in [header.clone(), without(&header, FIELD), without(&header, "Received")] {
        let found = Arrival {
            listener: listener(door),
            recipients: &recipients,
            header: header.as_bytes(),
            from_filter,
            at: NOW,
        };
        let again = returned(&key(), &key().traces(header.as_bytes()), &found, |_, _| sent);
        let again: Vec<String> =
            again.iter().map(|again| format!("{} pass {}", again.recipient, again.trace.pass)).collect();
        assert_eq!(again.join(", "), expected, "{passes}\n{header}");
    }
}

fn check(passes: &str, expected: &str) {
    check_sent(passes, false, expected);
}

fn without(header: &str, name: &str) -> String {
    let kept: Vec<String> = Headers::of(header.as_bytes())
        .filter(|field| !field.is(name))
        .map(|field| String::from_utf8(field.raw.to_vec()).unwrap())
        .collect();
    kept.concat()
}

#[test]
fn a_token_is_known_by_its_key_and_its_time() {
    let token = key().token(5, NOW);
    let greeting = format!("gw.corp.test ESMTP Gatepost {token}");
    assert_eq!(token.len(), 24);
    assert!(key().is_own_greeting(&greeting, NOW));
    assert!(key().is_own_greeting(&greeting, Time(NOW.ms() + TOKEN_MS)));
    assert!(key().is_own_greeting(&greeting, Time(NOW.ms() - TOKEN_MS)));
    assert!(!key().is_own_greeting(&greeting, Time(NOW.ms() + 2 * TOKEN_MS)));
    assert!(!Key::new([8; 32]).is_own_greeting(&greeting, NOW));
    assert!(!key().is_own_greeting("gw.corp.test ESMTP Gatepost", NOW));
    assert!(!key().is_own_greeting("mx ESMTP ééééééééééééé 012345678901234567890123", NOW));
}

#[test]
fn tokens_have_nothing_in_common() {
    let (one, other) = (key().token(5, NOW), key().token(6, NOW));
    assert_ne!(one[8..], other[8..]);
    assert_ne!(key().token(5, NOW), key().token(5, Time(NOW.ms() + TOKEN_MS)));
}

#[test]
fn the_first_return_is_a_loop() {
    check("inbound a@x.test\ninbound a@x.test", "a@x.test pass 1");
    check("inbound a@x.test\ninbound A@X.test", "A@x.test pass 1");
    check("outbound a@x.test\nsubmission a@x.test", "a@x.test pass 1");
    check("inbound a@x.test b@x.test\ninbound b@x.test c@x.test", "b@x.test pass 1");
    check("inbound a@x.test\noutbound b@y.test\ninbound a@x.test", "a@x.test pass 1");
}

#[test]
fn other_recipients_and_directions_are_no_loop() {
    check("inbound a@x.test\ninbound b@x.test", "");
    check("inbound a@x.test\noutbound a@x.test", "");
    check("outbound a@x.test\ninbound a@x.test", "");
    check("inbound list@x.test\noutbound b@y.test\ninbound c@x.test", "");
}

#[test]
fn what_the_next_hop_hands_straight_back_is_a_loop_in_any_direction() {
    check_sent("inbound a@x.test\noutbound a@x.test", true, "a@x.test pass 1");
    check_sent("inbound a@x.test\noutbound b@x.test", true, "");
}

#[test]
fn a_filter_may_return_each_message_once() {
    check("inbound a@x.test\ninbound a@x.test filter", "");
    check("inbound a@x.test\ninbound a@x.test\ninbound a@x.test filter", "a@x.test pass 2");
}

#[test]
fn a_person_may_resend_once() {
    check("inbound a@x.test\n+ Resent-Date: today\ninbound a@x.test", "");
    check(
        "inbound a@x.test\n+ Resent-Date: today\ninbound a@x.test\n+ Resent-Date: today\ninbound a@x.test",
        "a@x.test pass 2",
    );
    check("+ Resent-Date: today\ninbound a@x.test\ninbound a@x.test", "a@x.test pass 1");
}

#[test]
fn one_of_several_recipients_may_forward_to_another() {
    check("inbound a@x.test b@x.test\n+ Delivered-To: a@x.test\ninbound b@x.test", "");
    check("inbound a@x.test b@x.test\n+ Delivered-To: b@x.test\ninbound b@x.test", "b@x.test pass 1");
    check("inbound a@x.test b@x.test\n+ Delivered-To: elsewhere@z.test\ninbound b@x.test", "b@x.test pass 1");
    check(
        "inbound a@x.test b@x.test\n+ Delivered-To: a@x.test\ninbound b@x.test\n+ Delivered-To: b@x.test\ninbound b@x.test",
        "b@x.test pass 2",
    );
}

#[test]
fn a_trace_that_was_changed_or_is_not_ours_counts_for_nothing() {
    let to = addresses("a@x.test");
    let marks = key().marks(id(1), Listener::Inbound, 1, &to);
    for header in [
        marks.field.replace("inbound 1", "inbound 2"),
        marks.field.replace("inbound", "outbound"),
        marks.field.replace('=', ""),
        marks.field[..marks.field.len() - 4].to_owned(),
        Key::new([8; 32]).marks(id(1), Listener::Inbound, 1, &to).field,
        format!("{FIELD}: 1 é é é é\r\n"),
    ] {
        assert!(key().traces(header.as_bytes()).is_empty(), "{header}");
    }
    assert_eq!(key().traces(marks.field.as_bytes()).len(), 1);
}

#[test]
fn a_message_out_of_an_archive_is_new() {
    let to = addresses("a@x.test");
    let old = AuditId::new(NOW.ms() - RETURN_MAX_MS - 1, 0, 0);
    let header = key().marks(old, Listener::Inbound, 1, &to).field;
    let arrival = Arrival {
        listener: Listener::Inbound,
        recipients: &to,
        header: header.as_bytes(),
        from_filter: false,
        at: NOW,
    };
    assert!(returned(&key(), &key().traces(header.as_bytes()), &arrival, |_, _| true).is_empty());
}

#[test]
fn lines_stay_short_and_many_recipients_fit() {
    let to: Vec<Address> = (0..2000).map(|at| format!("u{at}@x.test").parse().unwrap()).collect();
    let marks = key().marks(id(1), Listener::Inbound, 1, &to);
    assert!(marks.field.lines().all(|line| line.len() <= 78));
    assert!(marks.comment.len() < 800);
    let trace = key().traces(marks.field.as_bytes()).remove(0);
    assert_eq!(trace.recipients.len(), RECIPIENTS_MAX);
}

#[test]
fn the_hosts_between_are_named_up_to_our_own_line() {
    let comment = key().marks(id(1), Listener::Inbound, 1, &addresses("a@x.test")).comment;
    let header = format!(
        "Received: from p1.test (p1.test [127.0.0.20])\r\n\tby p2.test with ESMTP id 2;\r\n\ttoday\r\n\
         Received: from gw.test ([127.0.0.2]) by p1.test (Postfix) id 1; today\r\n\
         Received: from out.test by gw.test (Gatepost) id 0 (trace {comment}); today\r\n\
         Received: by far.test; today\r\n"
    );
    assert_eq!(
        between(&key(), header.as_bytes()),
        ["p2.test (from p1.test (p1.test [127.0.0.20]))", "p1.test (from gw.test ([127.0.0.2]))"]
    );
}

#[test]
fn a_long_path_is_told_from_a_circle() {
    let path =
        |hosts: &[&str]| -> String { hosts.iter().map(|host| format!("Received: by {host}; today\r\n")).collect() };
    assert_eq!(repeats(path(&["a", "b", "c", "d", "a"]).as_bytes()), None);
    assert_eq!(repeats(path(&["a", "localhost", "a", "127.0.0.1", "a", "a"]).as_bytes()), None);
    assert_eq!(repeats(path(&["a", "b", "A", "b", "a", "c"]).as_bytes()), Some(("a".to_owned(), 3)));
}
