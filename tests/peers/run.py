#!/usr/bin/env python3
"""Gatepost among real mail programs: swaks, Postfix, Exim and OpenSMTPD send through it, Postfix and Exim
receive from it, each with its own configuration and spool in a temporary folder.

  run.py [GATEPOST] [--only NAME] [--list] [--keep]

GATEPOST is the program to test (default: target/debug/gatepost). Needs root and tools/setup.sh. Every check
prints one line, `ok NAME` or `FAIL NAME reason`; the last line counts them. A name given to --only also picks all checks
whose name begins with it. --keep leaves the temporary folder with all logs.
"""
import argparse, base64, collections, email, json, os, random, shutil, signal, smtplib, socket, struct, subprocess, sys, tempfile, time
from pathlib import Path

import peers, stubs
from peers import Failed, ROOT, wait

CHECKS = []
ARRIVAL_S = 30
LONGEST_S = 900  # the whole run


def check(function):
    CHECKS.append((function.__name__.replace("_", "-"), function))
    return function


class Keeper(stubs.Sink):
    """A next hop that keeps all it is given: `stored()` are its contents, `envelopes` what came with each."""
    offers = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0")

    def __init__(self, address, port):
        self.envelopes, self.contents = [], []
        super().__init__(address, port)

    async def content(self, session, content):
        self.envelopes.append((session.sender, session.recipients))
        self.contents.append(b"\r\n".join(line[1:] if line[:1] == b"." else line for line in content[:-3].split(b"\r\n")))
        return "250 2.0.0 kept"

    def stored(self):
        return list(self.contents)


class World:
    """The gateway and its neighbours, each started when a check first asks for it."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.started = binary, folder, {}
        self.certificate = folder / "certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=gw.corp.test",
                        "-addext", "subjectAltName=DNS:gw.corp.test", "-keyout", f"{self.certificate}.key",
                        "-out", f"{self.certificate}.pem"], check=True, capture_output=True)
        self.sink = Keeper("127.0.0.6", peers.SINK_PORT)
        self.dns = stubs.Dns("127.0.0.7", peers.free_port("127.0.0.7"), {
            ("by-mx.test", stubs.MX): [stubs.mx(10, "mx.by-mx.test")], ("mx.by-mx.test", stubs.A): [socket.inet_aton(self.sink.address)]})
        self.bsink = ("127.0.0.8", peers.free_port("127.0.0.8"))
        # The neighbours are told the gateway's ports and the other way round: made first, started later.
        hop = lambda peer: f"{peer.address}:{peer.port}"
        self.gatepost = peers.Gatepost(binary, folder / "gatepost", hop(self.dns), self.certificate)
        self.peers = {"gatepost": self.gatepost,
                      "postfix": peers.Postfix(folder / "postfix", "postfix.test", self.gatepost, self.certificate),
                      "exim": peers.Exim(folder / "exim", "exim.test", self.gatepost),
                      "opensmtpd": peers.OpenSmtpd(folder / "opensmtpd", self.gatepost)}
        self.gatepost.route({"sink.test": hop(self.sink), "bsink.test": "%s:%s" % self.bsink,
                             "postfix.test": hop(self.peers["postfix"]), "exim.test": hop(self.peers["exim"])})

    def __getitem__(self, name):
        peer = self.peers[name]
        if peer.child is None:
            peer.start()
        return peer

    def stop(self):
        for peer in self.peers.values():
            peer.stop()


def message(kind="plain", to="user@sink.test", lines=3):
    """(token that is in no other message, content as it goes over the wire)."""
    token = f"{kind}-{random.getrandbits(64):016x}"
    text = "".join(f"line {n} of {token}\r\n.dot\r\n..dots\r\nFrom here on\r\n" for n in range(lines))
    return token, (f"From: <sender@client.test>\r\nTo: <{to}>\r\nSubject: {token}\r\nMessage-ID: <{token}@client.test>\r\n"
                   f"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nX-Token: {token}\r\n\r\n{text}").encode()


def swaks(address, port, content, to, *more):
    """One message by swaks; Failed with the conversation's end unless it was accepted."""
    with tempfile.NamedTemporaryFile(suffix=".eml") as file:
        file.write(content.removesuffix(b"\r\n").replace(b"\r\n", b"\n"))  # swaks adds the last line end
        file.flush()
        run = subprocess.run(["swaks", "--server", address, "--port", str(port), "--from", "sender@client.test", "--to", to,
                              "--helo", "client.test", "--data", "@" + file.name, "--hide-informational", "--suppress-data", *more],
                             capture_output=True, text=True, timeout=120, errors="replace")
    if run.returncode:
        raise Failed(f"swaks ended with {run.returncode}: " + " / ".join((run.stdout + run.stderr).strip().split("\n")[-4:]))


def send(peer, content, recipients, options=(), port=None, sender="sender@client.test"):
    """One message into a peer, which passes it on."""
    try:
        with smtplib.SMTP(peer.address, port or peer.port, "client.test", timeout=120) as client:
            client.ehlo()
            refused = client.sendmail(sender, recipients, content, options)
    except (OSError, smtplib.SMTPException) as error:
        raise Failed(f"{peer.name} did not take it: {error!r:.300}") from None
    if refused:
        raise Failed(f"{peer.name} refused {len(refused)} recipients: {list(refused.items())[:2]}")


def arrived(where, token, seconds=ARRIVAL_S, copies=1, why=None):
    """The stored contents that carry the token, when there are so many copies; and still so many a moment later."""
    marker = f"X-Token: {token}\r\n".encode()
    mine = lambda: [content for content in where.stored() if marker in content[:20000]]
    explain = lambda: f"{token} at {type(where).__name__.lower()}, {len(mine())} of {copies}" + (f"; {why.last_words()}" if why else "")
    wait(lambda: len(mine()) >= copies, seconds, explain)
    time.sleep(0.2)
    if len(found := mine()) != copies:
        raise Failed(f"{token} arrived {len(found)} times, not {copies}")
    return found


def whole(content, original):
    """The body is the original's to the last byte, the original's headers are all there, a Received line was added."""
    head, _, body = content.partition(b"\r\n\r\n")
    original_head, _, original_body = original.partition(b"\r\n\r\n")
    if body != original_body:
        at = next((n for n, (a, b) in enumerate(zip(body, original_body)) if a != b), min(len(body), len(original_body)))
        raise Failed(f"the body differs at byte {at}: {body[at:at + 40]!r}, sent {original_body[at:at + 40]!r} (length {len(body)}, sent {len(original_body)})")
    for line in original_head.split(b"\r\n"):
        if line not in head:
            raise Failed(f"header lost or changed: {line!r}")
    if b"gw.corp.test" not in head:
        raise Failed("no Received line of the gateway")


def through(world, source, target, kind="plain", content=None, token=None, options=(), to=None, seconds=ARRIVAL_S, sender="sender@client.test"):
    """source → gateway → target, the content whole; what arrived."""
    gatepost, source, where = world["gatepost"], world[source], world.sink if target == "sink" else world[target]
    to = to or f"user@{target}.test"
    if content is None:
        token, content = message(kind, to)
    send(source, content, [to], options, sender=sender)
    [stored] = arrived(where, token, seconds, why=gatepost)
    whole(stored, content)
    return stored


# In: each of them hands mail to the gateway.

@check
def swaks_in(world):
    gatepost = world["gatepost"]
    token, content = message()
    swaks(gatepost.address, gatepost.inbound, content, "user@sink.test")
    [stored] = arrived(world.sink, token, why=gatepost)
    whole(stored, content)


@check
def swaks_in_no_relay(world):
    """The inbound listener takes mail for local domains only."""
    gatepost = world["gatepost"]
    try:
        swaks(gatepost.address, gatepost.inbound, message()[1], "user@elsewhere.test")
    except Failed as refused:
        if "55" in str(refused):
            return
        raise
    raise Failed("it relayed for a stranger")


@check
def swaks_submission(world):
    """After STARTTLS and AUTH, to anyone."""
    gatepost = world["gatepost"]
    for kind in ("PLAIN", "LOGIN"):
        token, content = message("submission", "user@by-mx.test")
        swaks(gatepost.address, gatepost.submission, content, "user@by-mx.test", "--tls", "--auth", kind, "--auth-user", gatepost.USER, "--auth-password", gatepost.PASSWORD)
        [stored] = arrived(world.sink, token, why=gatepost)
        whole(stored, content)


@check
def swaks_submission_refused(world):
    """Not without AUTH and not with a wrong password. (From loopback, as here, a password in clear text is taken.)"""
    gatepost = world["gatepost"]
    user = ("--auth-user", gatepost.USER, "--auth-password")
    for what, options, code in (("without AUTH", ("--tls",), "530"), ("with a wrong password", ("--tls", "--auth", "PLAIN", *user, "wrong"), "535")):
        try:
            swaks(gatepost.address, gatepost.submission, message()[1], "user@sink.test", *options)
        except Failed as refused:
            if code not in str(refused).lower():
                raise Failed(f"{what}, not {code} but: {refused}") from None
        else:
            raise Failed(f"it took mail {what}")


@check
def postfix_in(world):
    through(world, "postfix", "sink")


@check
def exim_in(world):
    through(world, "exim", "sink")


@check
def opensmtpd_in(world):
    through(world, "opensmtpd", "sink")


@check
def postfix_in_starttls(world):
    """Postfix, which takes TLS where it is offered, comes by ESMTPS."""
    stored = through(world, "postfix", "sink", "tls")
    gateways = [field for field in unfolded(stored) if b"by gw.corp.test" in field]
    if not gateways or b"ESMTPS" not in gateways[0]:
        raise Failed(f"not by ESMTPS: {gateways[:1]}")


# Out: the gateway hands mail to each of them.

@check
def postfix_out(world):
    out(world, "postfix")


@check
def postfix_out_starttls(world):
    stored = out(world, "postfix")
    if b"TLSv1." not in stored.partition(b"by postfix.peers.test")[0]:
        raise Failed("Postfix offers STARTTLS; the gateway came without")


@check
def exim_out(world):
    out(world, "exim")


@check
def mx_out(world):
    """By MX record to the sink."""
    gatepost = world["gatepost"]
    token, content = message("mx", "user@by-mx.test")
    swaks(gatepost.address, gatepost.outbound, content, "user@by-mx.test")
    [stored] = arrived(world.sink, token, why=gatepost)
    whole(stored, content)


def out(world, target):
    gatepost, where = world["gatepost"], world[target]
    to = f"user@{target}.test"
    token, content = message("out", to)
    swaks(gatepost.address, gatepost.inbound, content, to)
    [stored] = arrived(where, token, why=gatepost)
    whole(stored, content)
    return stored


def unfolded(content):
    return content.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ").split(b"\r\n")


# Kinds of message, between two of them.

def unicode_(world, source, target):
    """RFC 6531: an address and headers in Unicode."""
    to = f"żółw.用户@{target}.test"
    token, content = message("unicode", to)
    content = content.replace(b"Subject: ", "Subject: Zażółć gęślą jaźń 你好 ".encode())
    stored = through(world, source, target, content=content, token=token, to=to, options=["SMTPUTF8", "BODY=8BITMIME"], sender="søren@client.test")
    if target == "sink":
        sender, recipients = world.sink.envelopes[world.sink.contents.index(stored)]
        if b"SMTPUTF8" not in sender or to.encode() not in recipients[0]:
            raise Failed(f"envelope changed: {sender!r} {recipients!r}")


def eight_bit(world, source, target):
    """RFC 6152: every octet of ISO 8859-1 but the controls."""
    token, content = message("eight-bit", f"user@{target}.test")
    content = content.replace(b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", 1)
    content += bytes(range(0xA0, 0x100)) * 8 + b"\r\n"
    through(world, source, target, content=content, token=token, options=["BODY=8BITMIME"])


def large(world, source, target):
    """25 MB."""
    token, content = message("large", f"user@{target}.test")
    body = base64.encodebytes(random.randbytes(25_000_000 * 3 // 4 - 400_000)).replace(b"\n", b"\r\n")
    through(world, source, target, content=content + body, token=token, seconds=90)


def thousand(world, source, target):
    """1,000 recipients in one transaction, each served exactly once."""
    gatepost, peer, where = world["gatepost"], world[source], world.sink if target == "sink" else world[target]
    recipients = [f"user{n}@{target}.test" for n in range(1000)]
    token, content = message("thousand", recipients[0])
    send(peer, content, recipients)
    marker = f"X-Token: {token}\r\n".encode()
    served = collections.Counter()
    def all_there():
        served.clear()
        for n, stored in enumerate(where.stored()):
            if marker in stored[:200_000]:
                if target == "sink":
                    served.update(line.split(b"<")[1].split(b">")[0].decode() for line in world.sink.envelopes[n][1])
                else:
                    for field in unfolded(stored):
                        if field.lower().startswith((b"envelope-to:", b"delivered-to:")):
                            served.update(address.strip().decode() for address in field.split(b":", 1)[1].split(b","))
        return len(served) >= 1000
    wait(all_there, 90, lambda: f"{len(served)} of 1000 recipients; {gatepost.last_words()}")
    time.sleep(0.5)
    all_there()
    if set(served) != set(recipients) or max(served.values()) != 1:
        raise Failed(f"not each exactly once: {served.most_common(2)}")


for _kind, _label, _pairs in ((unicode_, "unicode", "postfix-sink postfix-exim exim-postfix"),
                              (eight_bit, "eight-bit", "postfix-exim exim-postfix opensmtpd-sink"),
                              (large, "large", "postfix-exim exim-postfix opensmtpd-sink"),
                              (thousand, "thousand", "postfix-exim exim-postfix postfix-sink")):
    for _pair in _pairs.split():
        _source, _target = _pair.split("-")
        CHECKS.append((f"{_label}-{_source}-to-{_target}",
                       lambda world, kind=_kind, source=_source, target=_target: kind(world, source, target)))


# Back: what cannot be delivered is reported to the sender, who sits at Postfix.

def bounce(world, to, options=(), seconds=ARRIVAL_S):
    """The delivery report (RFC 3464) about a message to `to`: its fields about the recipient."""
    gatepost, postfix = world["gatepost"], world["postfix"]
    token, content = message("bounce", to)
    send(gatepost, content, [to], options, port=gatepost.inbound, sender=f"{token}@postfix.test")
    mine = lambda: [stored for stored in postfix.stored() if f"{token}@postfix.test".encode() in stored]
    [report] = wait(mine, seconds, lambda: f"no report in Postfix's mailbox; {gatepost.last_words()}")
    report = email.message_from_bytes(report)
    if report.get_content_type() != "multipart/report" or report.get_param("report-type") != "delivery-status":
        raise Failed(f"not a delivery report: {report['content-type']}")
    if report["Return-Path"] not in ("<>", None):
        raise Failed(f"a report must have the null sender: {report['Return-Path']}")
    parts = [part.get_content_type() for part in report.get_payload()]
    if parts[0] != "text/plain" or "delivery-status" not in parts[1]:
        raise Failed(f"a report of {parts}")
    if token not in report.as_string():
        raise Failed("the report does not hold the message's headers")
    # Its blocks: the part's own headers, about the message, about the recipient. (email does not know the "global" kind of RFC 6533.)
    status = report.get_payload()[1].as_bytes()
    if not status.isascii() and b"8bit" not in status.partition(b"\n\n")[0]:
        raise Failed("8-bit text in the delivery-status part, which does not say Content-Transfer-Encoding: 8bit (RFC 2045 6.1)")
    return email.message_from_bytes(status.split(b"\n\n")[2])


@check
def bounce_of_a_refused_recipient(world):
    world["exim"]
    fields = bounce(world, "refused@exim.test")
    if fields["Action"] != "failed" or not fields["Status"].startswith("5.1.1") or "nobody of this name" not in str(fields["Diagnostic-Code"]):
        raise Failed(f"the report says: {dict(fields)}")


@check
def bounce_of_unicode(world):
    """RFC 6531 3.5: a message that needs SMTPUTF8 does not go to a server that has none."""
    sink = CountingSink(world, "ascii")
    try:
        fields = bounce(world, "żółw@bsink.test", ["SMTPUTF8", "BODY=8BITMIME"])
    finally:
        sink.stop()
    if fields["Action"] != "failed" or not fields["Status"].startswith("5.6.7"):
        raise Failed(f"the report says: {dict(fields)}")


# Smuggling: what ends a message for one server and not for another carries a second message past the first one's checks.

ENDINGS = (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r.\n", b"\r\n.\r", b"\r\n.\n", b"\n.\r", b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\r\n.\r\r\n",
           b"\r\n.\r\r\n", b"\n\n.\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\x0b.\x0b", b"\r\n.\x1a\r\n")


def smuggle(world, target):
    """Each ending, by DATA and by BDAT, with a second message's commands behind it: what arrives is what got a 250, no more."""
    gatepost, where = world["gatepost"], world.sink if target == "sink" else world[target]
    accepted, run = 0, random.randrange(10 ** 9)
    for number, ending in enumerate(ENDINGS):
        for chunked in (False, True):
            second = f"MAIL FROM:<ceo@{target}.test>\r\nRCPT TO:<user@{target}.test>\r\nDATA\r\nX-Smuggled: {run}\r\n\r\nx".encode()
            content = f"X-Token: {run}\r\nSubject: {number}\r\n\r\nfirst".encode() + ending + second + (b"\r\n" if chunked else b"\r\n.\r\n")
            with socket.create_connection((gatepost.address, gatepost.inbound), 30) as client:
                answers = client.makefile("rb")
                def say(octets):
                    client.sendall(octets)
                    while (line := answers.readline())[3:4] == b"-":
                        pass
                    return line
                say(b"")
                for line in (b"EHLO client.test", b"MAIL FROM:<sender@client.test>", b"RCPT TO:<user@%s.test>" % target.encode()):
                    if not say(line + b"\r\n").startswith(b"250"):
                        raise Failed(f"{line} was refused")
                if not chunked and not say(b"DATA\r\n").startswith(b"354"):
                    raise Failed("no 354")
                answer = say(b"BDAT %d LAST\r\n" % len(content) + content if chunked else content)
                accepted += answer.startswith(b"250")
                client.shutdown(socket.SHUT_WR)
                # Whatever the client sent behind the end was no transaction: nothing more is acknowledged.
                more = answers.read()
                if b"accepted as" in more:
                    raise Failed(f"{ending!r}{' by BDAT' if chunked else ''}: a second message was taken: {more!r:.300}")
    token, content = message("plain", f"user@{target}.test")
    send(gatepost, content, [f"user@{target}.test"], port=gatepost.inbound)  # behind them all: when it is there, they are
    arrived(where, token, why=gatepost)
    arrived_all = [content for content in where.stored() if f"X-Token: {run}".encode() in content]
    smuggled = [content for content in where.stored() if content.partition(b"\r\n\r\n")[0].count(f"X-Smuggled: {run}".encode())]
    if len(arrived_all) != accepted or smuggled:
        raise Failed(f"{accepted} were accepted, {len(arrived_all)} arrived, {len(smuggled)} of them smuggled")


@check
def smuggling_to_postfix(world):
    smuggle(world, "postfix")


@check
def smuggling_to_exim(world):
    smuggle(world, "exim")


@check
def smuggling_to_the_sink(world):
    smuggle(world, "sink")


# Many.

def tool(name):
    """One of the C tools of bench/."""
    program, source = ROOT / "target/bench" / name, ROOT / "bench" / (name + ".c")
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
    return program


class CountingSink:
    """bsink: writes a line for each message, with its id."""

    def __init__(self, world, name):
        self.log, self.counters = world.folder / f"{name}.log", world.folder / f"{name}.counters"
        self.child = subprocess.Popen([tool("bsink"), "%s:%s" % world.bsink, self.counters, self.log], start_new_session=True)
        wait(lambda: peers.banner(*world.bsink), 10, "bsink greets")

    def count(self):
        return struct.unpack("Q", self.counters.read_bytes()[:8])[0]

    def ids(self):
        """Complete only once nothing has come for a moment: the log is written when the sink is idle."""
        return collections.Counter(line.split()[0] for line in self.log.read_text().split("\n") if line)

    def stop(self):
        self.child.send_signal(signal.SIGCONT)
        self.child.terminate()
        self.child.wait(10)


def source(gatepost, count, prefix, acks, sessions=20, seconds=150):
    return subprocess.Popen([tool("bsrc"), "-a", gatepost.address, "-p", str(gatepost.inbound), "-d", "bsink.test", "-n", str(count),
                             "-s", str(sessions), "-k", "50", "-l", "2000", "-T", str(seconds), "-i", prefix, "-o", acks],
                            stdout=subprocess.PIPE, text=True)


def acknowledged(acks):
    return {line.split()[0] for line in acks.read_text().split("\n") if line.endswith(" 250")}


@check
def ten_thousand(world):
    """10,000 messages, every one exactly once."""
    gatepost, sink = world["gatepost"], CountingSink(world, "many")
    try:
        acks = world.folder / "many.acks"
        sent = json.loads(source(gatepost, 10_000, "many", acks).communicate(timeout=180)[0])
        if sent["acked"] != 10_000:
            raise Failed(f"only {sent['acked']} of 10000 accepted: {sent['codes']}, {sent['connfail']} connections failed")
        wait(lambda: len(sink.ids()) >= 10_000, 120, lambda: f"{len(sink.ids())} of 10000 arrived; {gatepost.last_words()}")
        time.sleep(1)
        ids = sink.ids()
        twice = [token for token, times in ids.items() if times > 1]
        if twice or set(ids) != acknowledged(acks):
            raise Failed(f"{len(twice)} arrived twice, {len(acknowledged(acks) - set(ids))} never")
    finally:
        sink.stop()


def restarted(world, name, end, asleep):
    """10,000 messages while `end(gatepost)` ends the program three times, each time with hundreds of messages
    acknowledged and not yet delivered, because the sink sleeps; how often each arrived. asleep: it sleeps on until then."""
    gatepost, sink = world["gatepost"], CountingSink(world, name)
    try:
        acks = world.folder / f"{name}.acks"
        sender = source(gatepost, 10_000, name, acks, seconds=90)
        for part in (500, 1_500, 3_000):
            wait(lambda: sink.count() >= part, 60, lambda: f"{sink.count()} of the first {part} arrived")
            if sender.poll() is not None:
                raise Failed("all was sent before the program ended: the check proved nothing")
            sink.child.send_signal(signal.SIGSTOP)
            wait(lambda: gatepost.queued() >= 300, 30, lambda: f"{gatepost.queued()} of 300 messages wait")
            if not asleep:
                sink.child.send_signal(signal.SIGCONT)
            end(gatepost)
            sink.child.send_signal(signal.SIGCONT)
            gatepost.start()
        sender.communicate(timeout=120)
        promised = acknowledged(acks)
        wait(lambda: promised <= set(sink.ids()), 60, lambda: f"{len(promised - set(sink.ids()))} of {len(promised)} acknowledged messages did not arrive")
        time.sleep(1)
        return sink.ids()
    finally:
        sink.stop()


@check
def killed(world):
    """Killed three times in the middle of it and started again: whatever it acknowledged arrives."""
    restarted(world, "killed", lambda gatepost: gatepost.kill(), asleep=True)


@check
def stopped(world):
    """Stopped three times in the middle of it and started again: whatever it acknowledged arrives, and nothing twice."""
    def stop(gatepost):
        if not gatepost.stop():
            raise Failed(f"it did not stop by itself and well: {gatepost.last_words()}")
    twice = [token for token, times in restarted(world, "stopped", stop, asleep=False).items() if times > 1]
    if twice:
        raise Failed(f"{len(twice)} messages arrived twice: {twice[:3]}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("gatepost", nargs="?", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/gatepost")
    options.add_argument("--only", action="append", default=[], metavar="NAME")
    options.add_argument("--list", action="store_true")
    options.add_argument("--keep", action="store_true")
    given = options.parse_args()
    if given.list:
        return print(*(name for name, _ in CHECKS), sep="\n")
    chosen = [pair for pair in CHECKS if not given.only or any(pair[0].startswith(only) for only in given.only)]
    if not chosen:
        sys.exit(f"run.py: no check is called {given.only}; --list shows them")
    if os.geteuid():
        sys.exit("run.py: needs root: the mail programs change users and one of them mounts its folders")
    if not os.access(given.gatepost, os.X_OK):
        sys.exit(f"run.py: there is no program {given.gatepost}: `cargo build -p gateway` makes it")
    def stopped(number, _):
        sys.exit("run.py: stopped" if number == signal.SIGTERM else f"run.py: not through after {LONGEST_S} s")
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, stopped)
    signal.alarm(LONGEST_S)
    folder = Path(tempfile.mkdtemp(prefix="gatepost-peers-"))
    folder.chmod(0o755)
    world, passed, failed = World(given.gatepost.resolve(), folder), 0, 0
    try:
        for name, function in chosen:
            try:
                function(world)
                passed += 1
                print("ok", name, flush=True)
            except Exception as error:  # whatever it was, the next check goes on
                failed += 1
                reason = str(error) if isinstance(error, Failed) else repr(error)
                print("FAIL", name, " ".join(reason.split()), flush=True)
    finally:
        world.stop()
        if given.keep or failed:
            print("logs:", folder)
        else:
            shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
