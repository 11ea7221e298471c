"""A machine of our own: this host's files with a layer above them that is thrown away, a network of its own (loopback), and systemd
as its first process. No container engine: namespaces and overlayfs, as root. The host's files and services are not touched."""
import os, signal, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
import stubs  # noqa: E402
from peers import Failed, wait  # noqa: E402

BOOT_S = 60
INSIDE = "GATEPOST_TEST_NAMESPACE"


class NextHop(stubs.Sink):
    """Keeps all that it is given."""

    def __init__(self):
        self.contents = []
        super().__init__("127.0.0.6", 2626)

    async def content(self, session, content):
        self.contents.append(content)
        return await super().content(session, content)

    def arrived(self, subject):
        """Waits for it."""
        line = f"Subject: {subject}\r\n".encode()
        wait(lambda: any(line in content for content in list(self.contents)), 60, f"{subject!r} at the next hop")


def enter():
    """Goes into namespaces of its own for mounts and network: nothing below changes the host."""
    if os.environ.get(INSIDE) != str(os.getpid()):
        if os.getuid() != 0:
            sys.exit("this test makes mounts and network namespaces: run it as root")
        os.environ[INSIDE] = str(os.getpid())  # exec keeps the process id
        os.execvp("unshare", ["unshare", "--mount", "--net", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Machine:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gatepost-machine-"))
        self.init = self.first = None
        mount("-t", "tmpfs", "machine", self.folder)
        self.root, self.changed = self.folder / "root", self.folder / "changed"
        for name in ("root", "changed", "work"):
            (self.folder / name).mkdir()
        mount("-t", "overlay", "machine", "-o", f"lowerdir=/,upperdir={self.changed},workdir={self.folder}/work", self.root)
        for name, kind in (("proc", "proc"), ("run", "tmpfs"), ("tmp", "tmpfs"), ("sys", "sysfs"), ("dev", "tmpfs")):
            mount("-t", kind, name, self.root / name)
        (self.root / "tmp").chmod(0o1777)
        for name in ("null", "zero", "full", "random", "urandom", "tty"):
            (self.root / "dev" / name).touch()
            mount("--bind", f"/dev/{name}", self.root / "dev" / name)
        for name in ("pts", "shm"):
            (self.root / "dev" / name).mkdir()
        mount("-t", "devpts", "devpts", "-o", "newinstance,ptmxmode=0666", self.root / "dev/pts")
        (self.root / "dev/ptmx").symlink_to("pts/ptmx")  # PrivateDevices= asks for it
        (self.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (self.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)  # containers have one that says: start and stop nothing
        # Nothing of the host's own that starts at boot.
        for wants in self.root.glob("etc/systemd/system/*.wants"):
            for unit in wants.iterdir():
                unit.unlink()

    def run(self, *words, ok=True, seconds=120, **more):
        """A command in the machine; its output. In its process namespace, once it is booted."""
        into = (["nsenter", f"--target={self.first}", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--root", "--wd"] if self.first
                else ["chroot", str(self.root)])
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        ran = subprocess.run(into + [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", timeout=seconds, env=environment, stdin=more.pop("stdin", subprocess.DEVNULL), **more)
        if ok and ran.returncode:
            raise Failed(f"{' '.join(map(str, words))} ended with {ran.returncode}: {ran.stdout.strip()[-1500:]}")
        return ran.stdout

    def boot(self):
        """systemd as the first process of a process namespace."""
        # pivot_root, not chroot: in a changed root, systemd could not make the name spaces that units ask for.
        script = f'cd {self.root} && mount -t proc proc proc && mount -t cgroup2 none sys/fs/cgroup && pivot_root . . && umount -l . && exec ' \
                 'env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target --log-target=journal --show-status=0'
        self.init = subprocess.Popen(["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child", "sh", "-c", script],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + BOOT_S
        while time.monotonic() < end:
            children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children")
            if children.exists() and (pids := children.read_text().split()):
                self.first = int(pids[0])
                try:
                    if self.run("systemctl", "is-system-running", ok=False, seconds=10).strip() in ("running", "degraded"):
                        return
                except subprocess.TimeoutExpired:
                    pass
            if self.init.poll() is not None:
                break
            time.sleep(0.2)
        self.stop()
        raise Failed(f"systemd did not come up within {BOOT_S} s in namespaces of its own")

    def path(self, name):
        """A file of the machine, seen from here."""
        return self.root / name.lstrip("/")

    def stop(self):
        if self.init:
            self.first = None
            self.init.send_signal(signal.SIGKILL)  # --kill-child: all of its processes with it
            self.init.wait(30)
            self.init = None

    def remove(self):
        self.stop()
        subprocess.run(["umount", "--recursive", "--lazy", self.folder], check=False)
        self.folder.rmdir()


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)
