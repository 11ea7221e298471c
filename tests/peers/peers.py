"""The real mail programs that the gateway is tested with, each with a configuration and a spool of its own
below a temporary folder, run as processes of this test and ended by their process id."""
import json, os, shutil, signal, socket, subprocess, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / "target/peers"  # by tools/setup.sh
START_S, STOP_S = 30, 45  # the gateway lets mail under way take 30 s


class Failed(Exception):
    """A check's reason to fail, for people."""


def wait(condition, seconds, what):
    """What condition() gives as soon as it is true; Failed after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failed(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(0.05)
    return found


_next_port = 20000 + os.getpid() % 5000


def free_port(address):
    """A free port below the ephemeral range, so that no outgoing connection can take it meanwhile."""
    global _next_port
    while _next_port < 32000:
        _next_port += 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, _next_port))
                return _next_port
            except OSError:
                continue
    raise Failed("no free port")


def banner(address, port):
    try:
        with socket.create_connection((address, port), 2) as connection:
            connection.settimeout(5)
            line = connection.recv(500)
            connection.sendall(b"QUIT\r\n")
            connection.recv(500)
            return line.startswith(b"220")
    except OSError:
        return False


class Process:
    """One program in the foreground, in a process group of its own; its output goes to a file."""

    def __init__(self, name, folder, address, port):
        self.name, self.folder, self.address, self.port = name, Path(folder), address, port
        self.child, self.environment = None, None  # None: this process's own
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.folder / "output", "ab") as output:
            self.child = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          start_new_session=True, cwd=self.folder, env=self.environment)
        def ready():
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended at its start: {self.last_words()}")
            return banner(self.address, self.port)
        try:
            wait(ready, START_S, lambda: f"{self.name} greets on {self.address}:{self.port} ({self.last_words()})")
        except Failed:
            self.stop()
            raise
        return self

    def signal(self, number):
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass

    def stop(self):
        """Whether it ended by itself and well."""
        if self.child is None:
            return True
        self.signal(signal.SIGTERM)
        try:
            self.child.wait(STOP_S)
            stopped = True
        except subprocess.TimeoutExpired:
            stopped = False
        self.signal(signal.SIGKILL)  # and what it may have left behind
        status, self.child = self.child.wait(STOP_S), None
        return stopped and status == 0

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.wait(STOP_S)
        self.child = None

    def last_words(self):
        lines = (self.folder / "output").read_text(errors="replace").split("\n")
        return " / ".join(line for line in lines[-6:] if line)[-600:] or "it said nothing"


class Gatepost(Process):
    """The product: `inbound` takes mail for the local domains, `outbound` mail for everyone, `submission` from USER."""
    USER, PASSWORD = "alice", "pa55 wörd"

    def __init__(self, binary, folder, dns, certificate):
        address = "127.0.0.2"
        super().__init__("gatepost", folder, address, free_port(address))
        self.binary, self.inbound, self.outbound = binary, self.port, free_port(address)
        self.submission = free_port(address)
        self.control, self.dns, self.certificate = free_port("127.0.0.1"), dns, certificate
        (self.folder / "gatepost.toml").write_text(f"""
data = "{self.folder}/data"
settings_file = "{self.folder}/settings.toml"
[listen]
inbound = ["{address}:{self.inbound}"]
outbound = ["{address}:{self.outbound}"]
submission = ["{address}:{self.submission}"]
[control]
listen = "127.0.0.1:{self.control}"
""")

    def route(self, hops):
        """Writes the settings: mail for each domain goes to its next hop, all other mail by MX."""
        domains = "".join(f'[[domain]]\nname = "{name}"\nnext_hops = ["{hop}"]\n' for name, hop in hops.items())
        listeners = "".join(f"""
[listener.{name}]
connections = 500
connections_per_address = 200
recipients_per_message = 1024
messages_per_session = 0
message_size = 52428800
certificate = "{self.certificate}.pem"
key = "{self.certificate}.key"
""" for name in ("inbound", "outbound", "submission"))
        hash_ = subprocess.run([self.binary, "password"], input=self.PASSWORD + "\n", capture_output=True, text=True, timeout=20).stdout.strip()
        (self.folder / "settings.toml").write_text(f"""
hostname = "gw.corp.test"
postmaster = "postmaster@corp.test"
{listeners}
{domains}
[[user]]
name = "{self.USER}"
password = "{hash_}"
[route.other]
next_hops = "mx"
[delivery]
port = {SINK_PORT}
allow_private_addresses = true
[retry]
first = "1m"
[dns]
servers = ["{self.dns}"]
timeout = "2s"
""")

    def command(self):
        return [self.binary, "run", "--config", self.folder / "gatepost.toml"]

    def queued(self):
        said = subprocess.run([self.binary, "status", "--json", "--config", self.folder / "gatepost.toml"], capture_output=True, text=True, timeout=20)
        return json.loads(said.stdout)["queued"]

    def last_words(self):
        """Its own output, then the end of its mail log."""
        log = self.folder / "data/maillog"
        tail = " / ".join(log.read_text(errors="replace").split("\n")[-5:]) if log.exists() else ""
        return (super().last_words() + " | " + tail)[-900:]


class Postfix(Process):
    """Stores mail for its own domain in a maildir, hands all other mail to the gateway. Needs no system-wide
    configuration, but the `postfix` package's users and programs."""

    def __init__(self, folder, domain, gateway, certificate):
        address = "127.0.0.3"
        super().__init__("postfix", folder, address, free_port(address))
        self.domain, self.maildir = domain, self.folder / "mail/box"
        etc, spool, data = (self.folder / name for name in ("etc", "spool", "data"))
        for path in (etc, spool, data, self.folder / "mail"):
            path.mkdir(exist_ok=True)
        shutil.chown(data, "postfix")
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        for name in ("dynamicmaps.cf", "postfix-files"):
            if (source := Path("/etc/postfix") / name).exists():
                shutil.copy(source, etc)
        if not (main := Path("/etc/postfix/main.cf")).exists():  # postfix's own scripts read it, whatever -c says
            main.write_text("compatibility_level = 3.6\n")
        import pwd
        nobody = pwd.getpwnam("nobody")
        (etc / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {spool}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.peers.test
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [{gateway.address}]:{gateway.outbound}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
maillog_file = {self.folder}/mail.log
maillog_file_prefixes = {self.folder}
message_size_limit = 52428800
virtual_mailbox_limit = 0
mailbox_size_limit = 0
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {self.folder}/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
smtp_destination_recipient_limit = 1000
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_cert_file = {certificate}.pem
smtpd_tls_key_file = {certificate}.key
smtp_tls_security_level = may
minimal_backoff_time = 5s
queue_run_delay = 5s
""")
        services = []
        for line in Path("/usr/share/postfix/master.cf.dist").read_text().split("\n"):
            field = line.split()
            if len(field) >= 8 and not line[0].isspace() and field[0][0] != "#":
                if field[0] == "smtp" and field[1] == "inet":
                    field[0] = f"{address}:{self.port}"
                field[4] = "n"  # no chroot
                line = "\t".join(field)
            services.append(line)
        if not any(line.startswith("postlog") for line in services):
            services.append("postlog unix-dgram n - n - 1 postlogd")
        (etc / "master.cf").write_text("\n".join(services) + "\n")

    def command(self):
        # `postfix start-fg` is for process 1 only; master itself stays in the foreground.
        etc = self.folder / "etc"
        return ["sh", "-c", f"postfix -c {etc} check && exec /usr/lib/postfix/sbin/master -c {etc} -d"]

    def stored(self):
        return maildir(self.maildir)

    def last_words(self):
        log = self.folder / "mail.log"
        tail = " / ".join(log.read_text(errors="replace").split("\n")[-5:]) if log.exists() else ""
        return (super().last_words() + " | " + tail)[-900:]


class Exim(Process):
    """Stores mail for its own domain in a maildir, hands all other mail to the gateway. Runs as Debian-exim
    throughout (deliver_drop_privilege), so that its configuration may lie anywhere."""

    def __init__(self, folder, domain, gateway):
        address = "127.0.0.4"
        super().__init__("exim", folder, address, free_port(address))
        self.domain, self.maildir = domain, self.folder / "mail/box"
        for name in ("spool", "log", "mail"):
            (self.folder / name).mkdir(exist_ok=True)
            shutil.chown(self.folder / name, "Debian-exim", "Debian-exim")
        shutil.copy(UNPACKED / "exim/usr/sbin/exim4", self.folder / "exim4")
        (self.folder / "exim.conf").write_text(f"""
primary_hostname = exim.peers.test
exim_path = {self.folder}/exim4
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
pid_file_path = {self.folder}/spool/exim.pid
daemon_smtp_ports = {self.port}
local_interfaces = {address}
deliver_drop_privilege
tls_advertise_hosts =
message_size_limit = 50M
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
recipients_max = 0
keep_environment =
acl_smtp_rcpt = recipients
acl_smtp_data = accept
begin acl
recipients:
  deny local_parts = refused
       message = 5.1.1 nobody of this name
  accept
begin routers
stored:
  driver = accept
  domains = {domain}
  transport = box
gateway:
  driver = manualroute
  transport = out
  route_list = * {gateway.address}
  self = send
begin transports
box:
  driver = appendfile
  directory = {self.maildir}
  maildir_format
  create_directory
  envelope_to_add
  batch_max = 100
  user = Debian-exim
out:
  driver = smtp
  port = {gateway.outbound}
  hosts_avoid_tls = *
  max_rcpt = 1000
begin retry
* * F,1h,5s
""")

    def command(self):
        return [self.folder / "exim4", "-C", self.folder / "exim.conf", "-bdf", "-q5s"]

    def stored(self):
        return maildir(self.maildir)

    def last_words(self):
        tail = " / ".join(" / ".join(path.read_text(errors="replace").split("\n")[-4:])
                          for path in (self.folder / "log").glob("*log"))
        return (super().last_words() + " | " + tail)[-900:]


class OpenSmtpd(Process):
    """Hands all mail to the gateway. Its paths are compiled in, so it runs in a mount namespace of its own."""

    def __init__(self, folder, gateway):
        address = "127.0.0.5"
        super().__init__("opensmtpd", folder, address, free_port(address))
        spool = self.folder / "spool"
        for name, owner, group, mode in (("", "root", "root", 0o711), ("offline", "root", "opensmtpq", 0o770),
                                         ("purge", "opensmtpq", "root", 0o700), ("queue", "opensmtpq", "root", 0o700),
                                         ("corrupt", "opensmtpq", "root", 0o700), ("incoming", "opensmtpq", "root", 0o700),
                                         ("temporary", "opensmtpq", "root", 0o700)):
            path = spool / name
            path.mkdir(exist_ok=True)
            shutil.chown(path, owner, group)
            path.chmod(mode)
        (self.folder / "run").mkdir(exist_ok=True)
        (self.folder / "smtpd.conf").write_text(f"""
smtp max-message-size 50M
listen on {address} port {self.port} hostname opensmtpd.peers.test
action "gateway" relay host "smtp://{gateway.address}:{gateway.outbound}"
match from any for any action "gateway"
""")
        (self.folder / "start").write_text(f"""#!/bin/sh
set -e
mount --bind {UNPACKED}/opensmtpd/usr/libexec/opensmtpd /usr/libexec/opensmtpd
mount --bind {spool} /var/spool/smtpd
mount --bind {self.folder}/run /run
exec {UNPACKED}/opensmtpd/usr/sbin/smtpd -d -v -f {self.folder}/smtpd.conf
""")

    def command(self):
        return ["unshare", "-m", "sh", self.folder / "start"]


def maildir(path):
    """Every message in it, with the line ends of the wire."""
    messages = []
    for file in sorted((path / "new").glob("*")) if (path / "new").exists() else ():
        try:
            messages.append(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        except FileNotFoundError:
            pass
    return messages


SINK_PORT = free_port("127.0.0.6")
