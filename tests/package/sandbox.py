#!/usr/bin/env python3
"""The running gateway writes below its data folder and nowhere else: every call that could write is recorded by strace while all that
an administrator does is done. And its sandbox is in nobody's way: no call is refused meanwhile.

  sandbox.py [PROGRAM]

PROGRAM is the gateway (default: target/debug/gatepost). Needs tools/setup.sh.
"""
import json, os, re, signal, smtplib, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/peers"))
import machine  # noqa: E402
import peers  # noqa: E402
from peers import Failed  # noqa: E402

# Calls that make, change or remove a file by its name; of open and openat only those that may write.
OPEN = ["open", "openat", "creat"]
NAME = ["mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat",
        "truncate", "chmod", "fchmodat", "mknod", "mknodat", "bind", "utimensat"]
NEVER = ["execve", "execveat", "fork", "vfork", "clone", "ptrace", "mount", "unshare", "setns", "socket", "mprotect", "prctl", "seccomp"]
CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)(?:<[^>]*>)?(?: (E\w+))?")


class World:
    def __init__(self, program, folder):
        self.program, self.folder, self.data, self.sink = program, folder, folder / "data", machine.NextHop()
        self.port, self.control, self.trace = peers.free_port("127.0.0.1"), peers.free_port("127.0.0.1"), folder / "trace"
        (folder / "gatepost.toml").write_text(f'data = "data"\n[listen]\ninbound = ["127.0.0.1:{self.port}"]\n[control]\nlisten = "127.0.0.1:{self.control}"\n')
        self.settings = f'hostname = "gw.corp.test"\n[[domain]]\nname = "corp.test"\nnext_hops = ["{self.sink.address}:{self.sink.port}"]\n'
        self.child = None

    def gatepost(self, *words, ok=True, text=""):
        ran = subprocess.run([self.program, *map(str, words)], cwd=self.folder, capture_output=True, text=True, timeout=120, input=text)
        if ok and ran.returncode:
            raise Failed(f"gatepost {words}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def apply(self, text):
        (self.folder / "new.toml").write_text(text)
        self.gatepost("settings", "apply", "new.toml")

    def start(self):
        # -f: all threads; -y: descriptors with their files; -A: the second start adds to the file.
        words = ["strace", "-f", "-y", "-qq", "-A", "-o", self.trace, "-e", "trace=" + ",".join(OPEN + NAME + NEVER), self.program, "run"]
        self.child = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        peers.wait(lambda: peers.banner("127.0.0.1", self.port), 60, "the greeting")

    def stop(self):
        """SIGTERM to the program, which is strace's child."""
        pid = int(Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)
        if self.child.wait(60):
            raise Failed("the gateway did not end well")

    def send(self, subject, octets=10):
        body = ("x" * 70 + "\r\n") * (octets // 72 + 1)
        with smtplib.SMTP("127.0.0.1", self.port, "client.test", timeout=60) as client:
            client.sendmail("you@client.test", ["user@corp.test"], f"Subject: {subject}\r\n\r\n{body}")

    def page(self, path, token, form=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", headers={"Authorization": f"Bearer {token}"}, data=form)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


def use_it_all(world):
    """What the gateway is asked in its life."""
    world.start()
    world.apply(world.settings)
    world.send("small")
    world.send("large", 3_000_000)
    for subject in ("small", "large"):
        world.sink.arrived(subject)
    world.apply('mode = "pause-delivery"\n' + world.settings)
    for subject in ("held", "deleted"):
        world.send(subject)
    world.gatepost("queue", "hold", "--all")
    world.gatepost("queue", "list")
    world.gatepost("queue", "release", "--all")
    newest = json.loads(world.gatepost("queue", "list", "--json"))[-1]
    world.gatepost("queue", "delete", newest.get("id") or newest["audit_id"])
    world.gatepost("settings", "rollback", "1")
    world.sink.arrived("held")
    world.gatepost("send", "--to", "user@corp.test", "--from", "me@corp.test", "--subject", "by-command")
    world.sink.arrived("by-command")
    world.gatepost("identity", ok=False)
    world.gatepost("diagnose", "user@corp.test", ok=False)
    world.gatepost("audit", "search", "user@corp.test")
    world.gatepost("admin", "add", "root", text="a long passphrase of many words\n")
    made = json.loads(world.gatepost("admin", "token", "test", "--role", "full", "--json"))
    token = max(re.findall(r'"([^"]{20,})"', json.dumps(made)), key=len)
    for path in ("/healthz", "/metrics", *(f"/api/v1/{name}" for name in (
            "overview", "queue/messages", "queue/causes", "audit", "logs", "settings", "settings/versions", "identity", "certificates", "alerts", "acts"))):
        world.page(path, token)
    if b"settings.db" not in world.page("/backup/download", token, b""):
        raise Failed("no backup from the Control Center")
    os.kill(int(Path(f"/proc/{world.child.pid}/task/{world.child.pid}/children").read_text().split()[0]), signal.SIGHUP)
    world.gatepost("backup", "create", world.folder / "backup.tar", "--records")
    world.stop()
    world.gatepost("backup", "restore", world.folder / "backup.tar")
    world.start()
    world.send("after-restore")
    world.sink.arrived("after-restore")
    if "in force: files, system calls" not in world.gatepost("status"):
        raise Failed(world.gatepost("status"))
    world.stop()


def targets(name, arguments, folder):
    """Absolute paths that a call writes at; none if it only reads."""
    if name in OPEN and name != "creat" and not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments):
        return []
    if name == "bind":
        return [os.path.normpath(os.path.join(folder, path)) for path in re.findall(r'sun_path="([^"]*)"', arguments)]
    found = []
    for descriptor, path in re.findall(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', arguments):
        found.append(os.path.normpath(os.path.join(descriptor or folder, path)))
    return found


def judge(world):
    """(what was written outside, what was refused, how many calls wrote)."""
    outside, refused, wrote = set(), set(), 0
    for line in world.trace.read_text(errors="replace").splitlines():
        match = CALL.match(line)
        if not match:
            continue
        name, arguments, result, error = match.groups()
        if error in ("EPERM", "EACCES"):
            refused.add(line)
        elif name in OPEN + NAME and int(result) >= 0:
            for path in targets(name, arguments, str(world.folder)):
                wrote += 1
                if path != "/dev/null" and not path.startswith(str(world.data) + "/") and path != str(world.data):
                    outside.add(line)
    return outside, refused, wrote


def main():
    program = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/gatepost").resolve()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gatepost-sandbox-") as folder:
        world = World(program, Path(folder).resolve())
        try:
            use_it_all(world)
            print("ok everything-works-in-the-sandbox")
            outside, refused, wrote = judge(world)
            if wrote < 30:
                raise Failed(f"only {wrote} calls that wrote were seen")
            if outside:
                raise Failed("written outside the data folder:\n" + "\n".join(sorted(outside)))
            print("ok nothing-is-written-outside-the-data-folder")
            if refused:
                raise Failed("refused by the sandbox:\n" + "\n".join(sorted(refused)))
            print("ok nothing-that-is-needed-is-refused")
        except (Failed, OSError, smtplib.SMTPException, subprocess.SubprocessError) as error:
            sys.exit(f"FAIL sandbox: {error}")
        finally:
            if world.child and world.child.poll() is None:
                world.child.kill()
    print(f"3 checks, 0 failed, {wrote} calls that wrote, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
