#!/usr/bin/env python3
"""The Debian package, from a program that is built already.

  deb.py PROGRAM FOLDER [--version VERSION] [--quick]

Writes FOLDER/gatepost_VERSION_ARCH.deb and prints its path. The same program and commit give the same octets (times are
SOURCE_DATE_EPOCH, or those of the last commit). --quick compresses little, for tests. Needs dpkg-deb and binutils.
"""
import argparse, gzip, hashlib, os, re, shutil, subprocess, sys, tempfile, textwrap, tomllib
from email.utils import formatdate
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
import dependencies  # noqa: E402

# Whoever gives packages to others names himself, as Debian's tools ask for it.
MAINTAINER = f"{os.environ.get('DEBFULLNAME', 'Gatepost maintainers')} <{os.environ.get('DEBEMAIL', 'packages@gatepost.invalid')}>"
UNITS = ["gatepost.service", *(f"gatepost-{name}.socket" for name in ("inbound", "outbound", "submission", "control"))]
CONTROL = """\
Package: gatepost
Version: {version}
Architecture: {arch}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {depends}, systemd | systemd-standalone-sysusers | systemd-sysusers, systemd | systemd-standalone-tmpfiles | systemd-tmpfiles
Recommends: ca-certificates
Suggests: logrotate
Section: mail
Priority: optional
Description: messaging gateway that explains itself
 Stands between an organisation's mail servers and the Internet, in both
 directions: accepts mail by SMTP, queues it safely and delivers it.
 .
 What it acknowledged is on disk. Each refusal, deferral and stuck message
 gets its cause with evidence and fix, on the command line and in the
 Control Center, pages for administrators.
"""


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def moment():
    """Seconds since 1970 that stand for this version."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    try:
        return int(run("git", "-C", ROOT, "log", "-1", "--format=%ct", stderr=subprocess.DEVNULL))
    except (OSError, subprocess.CalledProcessError):
        return int((ROOT / "CHANGELOG.md").stat().st_mtime)


def depends(program):
    """The C library by the newest of its versions that the program asks for, and GCC's unwinder."""
    needed = re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", program))
    known = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    if strangers := set(needed) - known:
        sys.exit(f"deb.py: the program needs {', '.join(strangers)}: say in depends() which package has it")
    asked = re.findall(r"GLIBC_(\d+)\.(\d+)", run("objdump", "-T", program))
    newest = max((int(major), int(minor)) for major, minor in asked)
    return f"libc6 (>= {newest[0]}.{newest[1]})" + (", libgcc-s1 (>= 4.2)" if "libgcc_s.so.1" in needed else "")


def put(root, place, content, mode=0o644):
    """Text, octets or a file, at an absolute place below root."""
    file = root / place.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        content = content.read_bytes()
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)


def packed(content):
    return gzip.compress(content if isinstance(content, bytes) else content.encode(), 9, mtime=0)


def changelog(version, when):
    """Debian's form; the changes for people stand in CHANGELOG.md, which is installed beside it."""
    return textwrap.dedent(f"""\
        gatepost ({version}) unstable; urgency=medium

          * What is new stands in CHANGELOG.md.gz beside this file.

         -- {MAINTAINER}  {formatdate(when)}
        """)


COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: gatepost
Comment: The program contains the packages that third-party-licences.gz
 lists, beside this file, with their licence texts; sbom.cdx.json.gz lists
 them for machines.

Files: *
Copyright: The Gatepost contributors
License: Apache-2.0 or Expat

License: Apache-2.0
 On Debian systems, the text of the licence is in
 /usr/share/common-licenses/Apache-2.0.

License: Expat
"""


def fill(root, program, version, when):
    """Every file that the package installs."""
    put(root, "/usr/bin/gatepost", program, 0o755)
    run("strip", "--strip-unneeded", "--remove-section=.comment", root / "usr/bin/gatepost")
    for unit in UNITS:
        put(root, f"/usr/lib/systemd/system/{unit}", HERE / unit)
    put(root, "/usr/lib/sysusers.d/gatepost.conf", HERE / "gatepost.sysusers")
    put(root, "/usr/lib/tmpfiles.d/gatepost.conf", HERE / "gatepost.tmpfiles")
    for name in ("gatepost.toml", "settings.toml"):
        put(root, f"/etc/gatepost/{name}", HERE / name)
    put(root, "/etc/logrotate.d/gatepost", HERE / "logrotate")
    says = lambda shell: run(root / "usr/bin/gatepost", "completions", shell)
    put(root, "/usr/share/bash-completion/completions/gatepost", says("bash"))
    put(root, "/usr/share/zsh/vendor-completions/_gatepost", says("zsh"))
    put(root, "/usr/share/fish/vendor_completions.d/gatepost.fish", says("fish"))
    with tempfile.TemporaryDirectory() as pages:
        run(root / "usr/bin/gatepost", "manual", pages)
        for page in sorted(Path(pages).iterdir()):
            put(root, f"/usr/share/man/man8/{page.name}.gz", packed(page.read_bytes()))
    doc = "/usr/share/doc/gatepost"
    mit = "".join(f" {line}".rstrip() + "\n" if line.strip() else " .\n" for line in (ROOT / "LICENSE-MIT").read_text().strip().splitlines())
    put(root, f"{doc}/copyright", COPYRIGHT + mit)
    put(root, f"{doc}/changelog.gz", packed(changelog(version, when)))
    put(root, f"{doc}/CHANGELOG.md.gz", packed((ROOT / "CHANGELOG.md").read_bytes()))
    put(root, f"{doc}/third-party-licences.gz", packed(dependencies.notices()))
    put(root, f"{doc}/sbom.cdx.json.gz", packed(dependencies.sbom()))


def describe(root, version, arch):
    """The package's own files: control, conffiles, checksums, scripts."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    size = sum((file.stat().st_size + 1023) // 1024 for file in files)
    put(root, "/DEBIAN/control", CONTROL.format(version=version, arch=arch, maintainer=MAINTAINER, size=size,
                                                depends=depends(root / "usr/bin/gatepost")))
    put(root, "/DEBIAN/conffiles", "".join(f"/{file.relative_to(root)}\n" for file in files if file.is_relative_to(root / "etc")))
    sums = (f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.relative_to(root)}\n" for file in files if not file.is_relative_to(root / "etc"))
    put(root, "/DEBIAN/md5sums", "".join(sums))
    for script in sorted((HERE / "debian").iterdir()):
        put(root, f"/DEBIAN/{script.name}", script, 0o755)


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def build(program, folder, version=version(), quick=False):
    arch, when = run("dpkg", "--print-architecture").strip(), moment()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"gatepost_{version}_{arch}.deb"
    with tempfile.TemporaryDirectory(prefix="gatepost-deb-") as root:
        root = Path(root) / "root"
        root.mkdir()
        fill(root, program, version, when)
        describe(root, version, arch)
        for path in [root, *root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (when, when))
        run("dpkg-deb", "--root-owner-group", *(["-Zgzip", "-z1"] if quick else ["-Zxz"]), "--build", root, target,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(when)})
    return target


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", default=version())
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    for tool in ("dpkg-deb", "objdump", "strip"):
        if not shutil.which(tool):
            sys.exit(f"deb.py: there is no {tool} here (Debian packages dpkg and binutils)")
    os.umask(0o022)
    print(build(asked.program, asked.folder, asked.version, asked.quick))


if __name__ == "__main__":
    main()
