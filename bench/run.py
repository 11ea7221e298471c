#!/usr/bin/env python3
"""Gatepost beside Postfix on one machine: `make bench`, or `make bench-quick`.

  run.py [--rounds 3] [--tests relay4,relay4d,relay64,relay1m,lat,mem,queue,diag] [--peers gatepost,postfix] [--quick]
  run.py --report bench/out/X.jsonl        only write BENCHMARKS.md from an earlier run

Everything happens in a network namespace that has nothing but `lo`, with a name server that answers at once. Only
the measured gateway runs; the two alternate, and the order turns from round to round. Both accept mail as they come
configured, synced to disk before the 250. CPU time is that of the gateway's cgroup, short-lived children included.

  relay4    4 KiB messages, a connection each, 20 at a time (smtp-source); relay4d: 20 long connections
  relay64   64 KiB; relay1m: 1 MiB
  lat       20 messages/s: from the final dot to the arrival at the next hop, and to the 250
  mem       memory idle, with 1,000 and with 10,000 connections held open
  queue     100,000 messages that cannot be delivered; then a restart with the next hop back: time to the first delivery
  diag      what explanations cost mail that goes through: two Gateposts, diagnosis.enabled true and false, in turn, 4 KiB messages
            over 20 long connections; bytes written for each; and the time from a failed attempt to its finding, without
            experiments, with experiments that are answered, and with some that hang (a server that never says a word)
"""
import argparse, datetime, json, mmap, os, platform, resource, select, shutil, signal, smtplib, socket, sqlite3, statistics, struct, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
TOOLS = TARGET / "bench"
TESTS = "relay4,relay4d,relay64,relay1m,lat,mem,queue,diag"
START_S = 180


def arguments():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peers", default="gatepost,postfix")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tests", default=TESTS)
    options.add_argument("--quick", action="store_true", help="one round, few messages, nothing written to BENCHMARKS.md")
    options.add_argument("--out", type=Path, default=ROOT / "bench/out" / time.strftime("%Y%m%d-%H%M%S.jsonl"))
    options.add_argument("--report", type=Path, nargs="+", metavar="FILE")
    options.add_argument("--gatepost", type=Path, help="measure this program instead of building one")
    given = options.parse_args()
    if given.quick:
        given.rounds = 1
    return given


def build(given):
    TOOLS.mkdir(parents=True, exist_ok=True)
    for tool in ("bsrc", "bsink", "dnsstub"):
        subprocess.run(["gcc", "-O2", "-o", TOOLS / tool, ROOT / "bench" / (tool + ".c")], check=True)
    if not given.gatepost and "gatepost" in given.peers:
        subprocess.run(["cargo", "build", "-q", "--locked", "--profile", "dist", "-p", "gateway"], cwd=ROOT, check=True)


def enter_namespace():
    """Starts this program again with only `lo`, and with resolv.conf pointing at dnsstub (which ends with us)."""
    os.environ["BENCH_INSIDE"] = "1"
    resolv = TOOLS / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    inside = f'ip link set lo up && mount --bind {resolv} /etc/resolv.conf && {{ setpriv --pdeathsig KILL {TOOLS}/dnsstub & exec "$@"; }}'
    os.execvp("unshare", ["unshare", "-n", "-m", "sh", "-c", inside, "sh", sys.executable] + sys.argv)


# CPU accounting: cgroup v1 cpuacct, or v2.

class Cgroup:
    V1 = Path("/sys/fs/cgroup/cpuacct")
    V2 = next((path for path in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")) if (path / "cgroup.procs").exists()), None)

    def __init__(self, name):
        self.v1 = (self.V1 / "cpuacct.usage").exists()
        if not self.v1 and not self.V2:
            sys.exit("run.py: needs a cgroup file system to count CPU time")
        self.path = (self.V1 if self.v1 else self.V2) / name
        self.path.mkdir(exist_ok=True)

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def pids(self):
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def cpu(self):
        if self.v1:
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        return int((self.path / "cpu.stat").read_text().split()[1]) / 1e6


# The gateways.

class Gateway:
    """Told by each kind: name, port, next_hop (its port), start command, stop, flush and what lies in the queue folder."""

    def __init__(self, folder):
        self.folder, self.child = folder / self.name, None
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.cgroup = Cgroup(f"bench_{self.name}_{os.getpid()}")
        self.configure()

    def run(self, command, wait=True):
        child = subprocess.Popen(command, preexec_fn=self.cgroup.enter, start_new_session=True, stdin=subprocess.DEVNULL,
                                 stdout=open(self.folder / "output", "a"), stderr=subprocess.STDOUT)
        if wait:
            child.wait()
        return child

    def start(self):
        began = time.monotonic()
        self.child = self.run(self.command(), wait=False)
        while time.monotonic() - began < START_S:
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start: {(self.folder / 'output').read_text()[-300:]}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                    connection.settimeout(60)
                    banner = connection.recv(200)
                    connection.sendall(b"QUIT\r\n")
                    connection.recv(200)
                if banner.startswith(b"220"):
                    return time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"{self.name}: not ready after {START_S} s")

    def stop(self):
        began = time.monotonic()
        for number, seconds in ((signal.SIGTERM, 60), (signal.SIGKILL, 10)):
            for pid in self.stop_pids() if number == signal.SIGTERM else self.cgroup.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if self.child:
                    self.child.poll()
                if not self.cgroup.pids():
                    return time.monotonic() - began
                time.sleep(0.02)
        return time.monotonic() - began

    def stop_pids(self):
        return self.cgroup.pids()

    def rest(self):
        """Until what it does behind the mail is done, too: its CPU time counts."""
        time.sleep(0.7)

    def memory(self):
        """MB, of all its processes; pss shares what they share."""
        rss = pss = processes = 0
        for pid in self.cgroup.pids():
            try:
                fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n")[1:] if ":" in line)
                rss, pss, processes = rss + int(fields["Rss"].split()[0]), pss + int(fields["Pss"].split()[0]), processes + 1
            except (OSError, KeyError):
                pass
        return dict(rss_mb=round(rss / 1024, 1), pss_mb=round(pss / 1024, 1), processes=processes)

    def disk(self):
        return int(subprocess.run(["du", "-s", "--block-size=1", self.queue], capture_output=True, text=True).stdout.split()[0])


class Gatepost(Gateway):
    name, port, next_hop, control, more = "gatepost", 2605, 2705, 8025, ""

    def configure(self):
        self.queue = self.folder / "data"
        (self.folder / "gatepost.toml").write_text(f"""
data = "data"
settings_file = "settings.toml"
[listen]
inbound = ["127.0.0.1:{self.port}"]
[control]
listen = "127.0.0.1:{self.control}"
""")
        # The limits that Postfix does not have by default are raised; all else is as it comes.
        (self.folder / "settings.toml").write_text(f"""
hostname = "gatepost.bench.test"
postmaster = "postmaster@bench.test"
[listener.inbound]
connections = 20000
connections_per_address = 20000
messages_per_session = 0
[[domain]]
name = "example.test"
next_hops = ["127.0.0.1:{self.next_hop}"]
[delivery]
allow_private_addresses = true
{self.more}
""")

    def command(self):
        return [self.binary, "run", "--config", self.folder / "gatepost.toml"]

    def flush(self):
        self.run([self.binary, "queue", "retry", "--all", "--config", self.folder / "gatepost.toml"])

    def rest(self):
        """The audit trail is written behind the mail, when the processors are free."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.7)
            with urllib.request.urlopen(f"http://127.0.0.1:{self.control}/metrics", timeout=10) as answer:
                figures = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line.startswith("gatepost_"))
            if figures.get("gatepost_queue_deliveries") == figures.get("gatepost_audit_behind") == "0":
                return time.sleep(0.7)
        raise RuntimeError(f"{self.name}: the audit trail is still behind after 60 s")

    def reset(self):
        shutil.rmtree(self.queue, ignore_errors=True)


class Explaining(Gatepost):
    """Failures of three kinds, each at an address of its own: budgets and pauses go by address."""
    name, port, next_hop, control = "explaining", 2606, 2706, 8026
    kinds = {"refused": 1, "answered": 2, "hanging": 3}
    more = 'banner_timeout = "1s"\n' + "".join(f'[[domain]]\nname = "{kind}{n}.test"\nnext_hops = ["127.0.{net}.{n + 1}:2708"]\n' for kind, net in kinds.items() for n in range(5))


class Silent(Gatepost):
    name, port, next_hop, control = "silent", 2607, 2707, 8027
    more = "[diagnosis]\nenabled = false\n"


class Postfix(Gateway):
    name, port, next_hop = "postfix", 2601, 2701

    def configure(self):
        etc, data, self.queue = (self.folder / name for name in ("etc", "data", "spool"))
        for path in (etc, data, self.queue):
            path.mkdir()
        shutil.chown(data, "postfix")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if (source := Path("/etc/postfix") / name).exists():
                shutil.copy(source, etc)
        (etc / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.bench.test
mydestination =
mynetworks = 127.0.0.0/8
relay_domains = example.test
relayhost = [127.0.0.1]:{self.next_hop}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
maillog_file = {self.folder}/mail.log
maillog_file_prefixes = {self.folder}
""")
        services = []
        for line in Path("/usr/share/postfix/master.cf.dist").read_text().split("\n"):
            field = line.split()
            if len(field) >= 8 and not line[0].isspace() and field[0][0] != "#":
                if field[0] == "smtp" and field[1] == "inet":
                    field[0] = f"127.0.0.1:{self.port}"
                field[4] = "n"  # no chroot
                line = "\t".join(field)
            services.append(line)
        if not any(line.startswith("postlog") for line in services):
            services.append("postlog unix-dgram n - n - 1 postlogd")
        (etc / "master.cf").write_text("\n".join(services) + "\n")
        if not (main := Path("/etc/postfix/main.cf")).exists():  # postfix's own scripts read it, whatever -c says
            main.write_text("compatibility_level = 3.6\n")

    def command(self):
        etc = self.folder / "etc"
        return ["sh", "-c", f"postfix -c {etc} check && exec /usr/lib/postfix/sbin/master -c {etc} -d"]

    def stop_pids(self):
        return [self.child.pid] if self.child else []  # master ends its own children

    def flush(self):
        self.run(["postqueue", "-c", self.folder / "etc", "-f"])

    def reset(self):
        for name in ("incoming", "active", "deferred", "defer", "maildrop", "hold", "corrupt"):
            subprocess.run(["find", self.queue / name, "-type", "f", "-delete"], stderr=subprocess.DEVNULL)
        (self.folder / "mail.log").unlink(missing_ok=True)


# The two ends.

class Sink:
    """bsink, the next hop; its counters are read from shared memory."""
    running = []

    def __init__(self, bench, port, log=None):
        file = bench.folder / f"sink{port}.counters"
        self.child = subprocess.Popen([TOOLS / "bsink", str(port), file] + ([log] if log else []), stdout=subprocess.DEVNULL)
        Sink.running.append(self)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        with open(file, "rb") as opened:
            self.map = mmap.mmap(opened.fileno(), 64, prot=mmap.PROT_READ)

    def count(self):
        return struct.unpack("8Q", self.map[:64])[0]

    def connections(self):
        return struct.unpack("8Q", self.map[:64])[1]

    def first(self):
        return struct.unpack("8Q", self.map[:64])[3] / 1e9

    def last(self):
        return struct.unpack("8Q", self.map[:64])[4] / 1e9

    def wait(self, messages, seconds, quiet):
        """Until so many have come, or the time is over, or none came for `quiet` seconds."""
        end, seen, since = time.monotonic() + seconds, self.count(), time.monotonic()
        while (count := self.count()) < messages and time.monotonic() < end:
            if count != seen:
                seen, since = count, time.monotonic()
            if time.monotonic() - since > quiet:
                break
            time.sleep(0.005)
        return self.count()

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            self.child.wait()


class Refusing:
    """A mail server that does not like our name, or one that `hangs`: it says nothing at all."""

    def __init__(self, address, hangs):
        self.hangs, self.taken, self.listener = hangs, [], socket.create_server((address, 2708))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(connection)
            if not self.hangs:
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        try:
            connection.sendall(b"220 relay.bench.test ESMTP\r\n")
            for line in connection.makefile("rb"):
                word = line[:4].upper()
                connection.sendall({b"EHLO": b"250 relay.bench.test\r\n", b"MAIL": b"450 4.7.1 Helo command rejected: Host not found\r\n",
                                    b"QUIT": b"221 bye\r\n"}.get(word, b"250 ok\r\n"))
        except OSError:
            pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.taken:
            connection.close()


def bsrc(gateway, *options):
    return subprocess.Popen([TOOLS / "bsrc", "-p", str(gateway.port), *map(str, options)], stdout=subprocess.PIPE, text=True)


def acknowledged(file):
    """id → (time of the final dot, time of the 250), both in ns."""
    found = {}
    for line in file.read_text().split("\n"):
        if line.endswith(" 250"):
            token, dot, ack, _ = line.split()
            found[token] = int(dot), int(ack)
    return found


def percentile(values, part):
    return round(sorted(values)[min(len(values) - 1, int(part * len(values)))], 2) if values else None


# The tests: each gives one line of results, or several.

class Bench:
    def __init__(self, given, folder):
        self.given, self.folder, self.quick = given, folder, given.quick
        self.harness = Cgroup(f"bench_harness_{os.getpid()}")
        self.harness.enter()
        kinds = {kind.name: kind for kind in (Gatepost, Postfix)}
        Gatepost.binary = (given.gatepost or TARGET / "dist/gatepost").resolve()
        self.gateways = [kinds[name](folder) for name in given.peers.split(",")]
        self.before = None
        given.out.parent.mkdir(parents=True, exist_ok=True)

    def usage(self):
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        ours = self.harness.cpu() + sum(gateway.cgroup.cpu() for gateway in self.gateways)
        return time.monotonic(), (sum(fields[:8]) - fields[3] - fields[4] - fields[7]) / os.sysconf("SC_CLK_TCK") - ours

    def note(self, **result):
        """One line of results, with the CPU cores that anything else used meanwhile (noise)."""
        now = self.usage()
        result["foreign_cores"] = round((now[1] - self.before[1]) / max(now[0] - self.before[0], 0.001), 2)
        self.before = now
        with open(self.given.out, "a") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)

    def relay(self, gateway, size, messages, *options):
        if self.quick:
            messages //= 4
        sink, cpu, began = Sink(self, gateway.next_hop), gateway.cgroup.cpu(), time.monotonic()
        subprocess.run(["timeout", "120", "/usr/sbin/smtp-source", *options, "-s", "20", "-m", str(messages), "-l", str(size), "-f", "bench@source.test",
                        "-t", "user@example.test", f"127.0.0.1:{gateway.port}"], stdout=subprocess.DEVNULL)
        accepted_s = time.monotonic() - began
        arrived = sink.wait(messages, 60, quiet=20)
        relayed_s = sink.last() - began
        gateway.rest()
        cpu, connections = gateway.cgroup.cpu() - cpu, sink.connections()
        sink.stop()
        return dict(messages=messages, arrived=arrived, accept_rate=round(messages / accepted_s, 1),
                    relay_rate=round(arrived / relayed_s, 1) if arrived else 0, cpu_s_per_1000=round(cpu / messages * 1000, 3), next_hop_connections=connections)

    def relay4(self, gateway):
        yield "", self.relay(gateway, 4096, 4000)

    def relay4d(self, gateway):
        yield "", self.relay(gateway, 4096, 4000, "-d")

    def relay64(self, gateway):
        yield "", self.relay(gateway, 65536, 1500)

    def relay1m(self, gateway):
        yield "", self.relay(gateway, 1048576, 200)

    def lat(self, gateway):
        rate, messages = 20, 100 if self.quick else 200
        log, acks = self.folder / "lat.sink", self.folder / "lat.acks"
        sink, cpu = Sink(self, gateway.next_hop, log), gateway.cgroup.cpu()
        bsrc(gateway, "-n", messages, "-r", rate, "-s", 20, "-T", messages / rate + 20, "-o", acks, "-i", "l").communicate()
        sink.wait(messages, 30, quiet=10)
        gateway.rest()
        cpu = gateway.cgroup.cpu() - cpu
        sink.stop()
        arrivals = dict(line.split() for line in reversed(log.read_text().split("\n")) if line)
        accepted = acknowledged(acks)
        relay = [(int(arrivals[token]) - dot) / 1e6 for token, (dot, _) in accepted.items() if token in arrivals]
        ack = [(at - dot) / 1e6 for dot, at in accepted.values()]
        yield "", dict(messages=messages, arrived=len(relay), relay_p50_ms=percentile(relay, .5), relay_p99_ms=percentile(relay, .99),
                       ack_p50_ms=percentile(ack, .5), ack_p99_ms=percentile(ack, .99), cpu_s_per_1000=round(cpu / messages * 1000, 3))

    def mem(self, gateway):
        gateway.stop()
        gateway.reset()
        gateway.start()
        time.sleep(2)
        yield "0", gateway.memory()
        for connections in (1000, 10000):
            source = bsrc(gateway, "-H", connections, "-T", 90)
            line = source.stdout.readline() if select.select([source.stdout], [], [], 60)[0] else ""
            held = json.loads(line or '{"held":-1,"failed":-1}')
            time.sleep(1)
            yield str(connections), dict(held=held["held"], failed=held["failed"]) | gateway.memory()
            source.terminate()
            source.wait()
            time.sleep(2)

    def queue(self, gateway):
        """Nothing listens at the next hop while the queue fills."""
        messages = 5_000 if self.quick else 100_000
        gateway.stop()
        gateway.reset()
        gateway.start()
        acks, log = self.folder / "queue.acks", self.folder / "queue.sink"
        disk, cpu = gateway.disk(), gateway.cgroup.cpu()
        sent = json.loads(bsrc(gateway, "-n", messages, "-s", 20, "-k", 50, "-T", 240, "-w", 10, "-o", acks, "-i", "q").communicate()[0])
        accepted = sent["acked"]
        memory = gateway.memory()
        result = dict(messages=messages, accepted=accepted, failed=sent["failed"], codes=sent["codes"], accept_rate=round(accepted / max(sent["last_s"], .001), 1),
                      cpu_s_per_1000=round((gateway.cgroup.cpu() - cpu) / max(accepted, 1) * 1000, 3), rss_mb=memory["rss_mb"], pss_mb=memory["pss_mb"],
                      disk_bytes_per_message=round((gateway.disk() - disk) / max(accepted, 1)), stop_s=round(gateway.stop(), 2))
        sink, began = Sink(self, gateway.next_hop, log), time.monotonic()
        result["ready_s"] = round(gateway.start(), 2)
        gateway.flush()
        result["flush_s"] = round(time.monotonic() - began - result["ready_s"], 2)
        sink.wait(1, 120, quiet=120)
        result["first_s"] = round(sink.first() - began, 2) if sink.count() else None
        arrived = sink.wait(accepted, 300, quiet=60)
        result["arrived"], result["drained_s"] = arrived, round(sink.last() - began, 2) if arrived else None
        result["drain_rate"] = round((arrived - 1) / max(sink.last() - sink.first(), 1e-9), 1) if arrived > 1 else 0
        sink.stop()
        ids = [line.split()[0] for line in log.read_text().split("\n") if line]
        result["missing"], result["twice"] = len(acknowledged(acks).keys() - set(ids)), len(ids) - len(set(ids))
        yield "", result

    def diag(self, gateway):
        """CPU time of the two in turn: each alone on a busy machine would say more about the others on it."""
        if gateway.name != "gatepost":
            return
        pairs, messages = (3, 1000) if self.quick else (15, 2000)
        folder = Path(tempfile.mkdtemp(prefix="diag-", dir=self.folder))
        folder.chmod(0o755)
        on, off = Explaining(folder), Silent(folder)
        costs, rates, cpu, disk = [], [], {on: [], off: []}, {}
        try:
            for one in (on, off):
                one.start()
                self.relay(one, 4096, 400, "-d")  # warm
                disk[one] = -one.disk()
            for pair in range(pairs):
                seen = {one: self.relay(one, 4096, messages, "-d") for one in ((on, off) if pair % 2 else (off, on))}
                for one, result in seen.items():
                    cpu[one].append(result["cpu_s_per_1000"])
                costs.append((seen[on]["cpu_s_per_1000"] / seen[off]["cpu_s_per_1000"] - 1) * 100)
                rates.append(seen[on]["relay_rate"] / seen[off]["relay_rate"])
            yield "", dict(pairs=pairs, messages=messages, cpu_on=statistics.median(cpu[on]), cpu_off=statistics.median(cpu[off]), cost_percent=round(statistics.median(costs), 2),
                           costs=[round(cost, 1) for cost in sorted(costs)], rate_ratio=round(statistics.median(rates), 3))
            with sqlite3.connect(f"file:{on.queue / 'records.db'}?mode=ro", uri=True) as records:
                size = records.execute("SELECT avg(length(fields)) FROM (SELECT fields FROM event WHERE kind = 'delivered' ORDER BY seq DESC LIMIT 1000)").fetchone()[0]
            lines = (on.queue / "events.json").read_text().split("\n")
            yield "_bytes", dict(delivered_in_trail=round(size), delivered_in_log=round(statistics.mean(len(line) for line in lines if '"delivered"' in line)))
            for kind in ("refused", "answered", "hanging"):
                found = [self.finding(on, kind, number) for number in range(3 if self.quick else 5)]
                yield "_finding_" + kind, dict(seconds_max=max(seconds for seconds, *_ in found), seconds=[seconds for seconds, *_ in found], cause=found[0][1], test_connections=found[0][2])
        finally:
            on.stop()
            off.stop()

    def finding(self, gateway, kind, number):
        """Seconds from the end of a failed attempt to its finding, by the times of its event; the cause; test connections."""
        recipient = f"u@{kind}{number}.test"
        relay = Refusing(f"127.0.{gateway.kinds[kind]}.{number + 1}", hangs=kind == "hanging") if kind != "refused" else None
        try:
            with smtplib.SMTP("127.0.0.1", gateway.port) as client:
                client.sendmail("bench@source.test", [recipient], "Subject: x\r\n\r\nx\r\n")
            end = time.monotonic() + 40
            while time.monotonic() < end:
                for line in (gateway.queue / "events.json").read_text().split("\n"):
                    if recipient in line and '"attempt"' in line:
                        event = json.loads(line)
                        at = datetime.datetime.fromisoformat(event["time"]).timestamp()
                        return round(at - event["attempt"]["ended"] / 1000, 3), (event.get("finding") or {}).get("cause"), len(relay.taken) - 1 if relay else 0
                time.sleep(0.1)
            raise RuntimeError(f"no event about {recipient} within 40 s")
        finally:
            if relay:
                relay.stop()

    def measure(self):
        for turn in range(self.given.rounds):
            first = turn % len(self.gateways)
            for gateway in self.gateways[first:] + self.gateways[:first]:
                try:
                    gateway.reset()
                    gateway.start()
                    time.sleep(1)
                    for test in self.given.tests.split(","):
                        self.before = self.usage()
                        for suffix, result in getattr(self, test)(gateway):
                            self.note(test=test + suffix, peer=gateway.name, round=turn + 1, **result)
                except (RuntimeError, OSError, ValueError) as error:
                    self.before = self.usage()
                    self.note(test="error", peer=gateway.name, round=turn + 1, error=repr(error)[:500])
                finally:
                    for sink in Sink.running:
                        sink.stop()
                    Sink.running.clear()
                    gateway.stop()
                    gateway.reset()


# The report.

FIELDS = {  # test → (field, unit and meaning, whether more is better)
    "relay": [("relay_rate", "messages/s relayed", True), ("accept_rate", "messages/s accepted", True), ("cpu_s_per_1000", "CPU s for 1,000", False)],
    "lat": [("relay_p50_ms", "delivery p50 ms", False), ("relay_p99_ms", "delivery p99 ms", False), ("ack_p50_ms", "250 p50 ms", False), ("ack_p99_ms", "250 p99 ms", False)],
    "mem": [("pss_mb", "PSS MB", False), ("rss_mb", "RSS MB", False), ("held", "connections held", True)],
    "queue": [("accept_rate", "messages/s accepted", True), ("first_s", "restart to first delivery s", False), ("drain_rate", "messages/s drained", True), ("pss_mb", "PSS MB with the queue full", False),
              ("disk_bytes_per_message", "disk bytes each", False), ("accepted", "accepted", True), ("missing", "lost", False), ("twice", "delivered twice", False)],
}
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"


def machine(folder):
    memory = int(next(line for line in Path("/proc/meminfo").read_text().split("\n") if line.startswith("MemTotal")).split()[1])
    system = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip().replace("ext2/ext3", "ext4")
    version = subprocess.run(["postconf", "-d", "-h", "mail_version"], capture_output=True, text=True).stdout.strip()
    return (f"{os.cpu_count()} cores shared by source, gateway and next hop, {memory / 1048576:.0f} GB of memory, "
            f"Linux {'.'.join(platform.release().split('.')[:2])}, {system}, Postfix {version}")


def figure(value):
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def report(files, where):
    rows = [json.loads(line) for file in files for line in file.read_text().split("\n") if line]
    rows, errors = [row for row in rows if row["test"] != "error"], [row for row in rows if row["test"] == "error"]
    text = [f"Measured {time.strftime('%Y-%m-%d')} with `make bench`: {where}. Median of {max((row['round'] for row in rows), default=0)} rounds, "
            "raw figures of the rounds in brackets. Ratio: Gatepost to Postfix; bold where Gatepost is better."]
    for test in dict.fromkeys(row["test"] for row in rows):
        text += ["", f"### {test}", "", "| | Gatepost | Postfix | ratio |", "|---|---|---|---|"]
        for field, label, more in next((fields for name, fields in FIELDS.items() if test.startswith(name)), []):
            cells, medians = [], []
            for peer in ("gatepost", "postfix"):
                values = [row[field] for row in rows if row["test"] == test and row["peer"] == peer and row.get(field) is not None]
                medians.append(statistics.median(values) if values else None)
                cells.append(f"{figure(medians[-1])} ({', '.join(map(figure, values))})" if values else "–")
            ours, theirs = medians
            ratio = ""
            if ours is not None and theirs:
                better = ours > theirs if more else ours < theirs
                ratio = f"**{ours / theirs:.2f}**" if better else f"{ours / theirs:.2f}"
            if any(cell != "–" for cell in cells):
                text.append(f"| {label} | {' | '.join(cells)} | {ratio} |")
        if test.startswith("diag"):
            text[-3:] = [""] + [f"Diagnosis, {test}: " + ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("test", "peer", "round", "foreign_cores")) + "."
                         for row in rows if row["test"] == test]
            continue
        incomplete = [f"{row['peer']} round {row['round']}: {row['arrived']} of {row.get('accepted', row['messages'])} arrived" for row in rows
                      if row["test"] == test and "arrived" in row and row["arrived"] < row.get("accepted", row["messages"])]
        if incomplete:
            text += ["", "Incomplete: " + "; ".join(incomplete) + "."]
    text += [f"\nFailed: {row['peer']} round {row['round']}: {row['error']}" for row in errors]
    return "\n".join(text) + "\n"


def write(section):
    file = ROOT / "BENCHMARKS.md"
    text = file.read_text() if file.exists() else ("# Benchmarks\n\nGatepost beside Postfix, on one machine, over loopback; `bench/run.py` says what each test does. Figures of\n"
                                                   f"other machines will differ; the ratios should not by much.\n\n{BEGIN}\n{END}\n")
    if BEGIN not in text:
        text += f"\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    file.write_text(f"{before}{BEGIN}\n{section}{END}{rest.partition(END)[2]}")


def main():
    given = arguments()
    if given.report:
        return write(report(given.report, machine(ROOT)))
    if os.geteuid():
        sys.exit("run.py: needs root, for a network namespace and cgroups")
    if "BENCH_INSIDE" not in os.environ:
        build(given)
        enter_namespace()
    for limit in (65536, 20000):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            break
        except ValueError:
            pass
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("run.py: stopped"))
    folder = Path(tempfile.mkdtemp(prefix="gatepost-bench-", dir="/var/tmp"))  # a disk, where /tmp may be memory
    folder.chmod(0o755)
    try:
        Bench(given, folder).measure()
        section = report([given.out], machine(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(section)
    if not given.quick:
        write(section)


if __name__ == "__main__":
    main()
