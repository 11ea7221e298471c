#!/usr/bin/env python3
"""What is built into the program: as a bill of materials (CycloneDX 1.5), or with every licence text.

  dependencies.py sbom | notices

Offline, from Cargo.lock and the sources that `cargo fetch` brought; the same commit gives the same octets. C libraries that come
inside a crate (SQLite, AWS-LC, mimalloc) are listed by their own names and versions: advisories speak of those.
"""
import hashlib, json, re, subprocess, sys, tomllib, uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# crate: (library, licence, file below the crate's folder, pattern of its version there, name by which advisories know it)
INSIDE = {
    "libsqlite3-sys": ("sqlite", "blessing", "sqlite3/sqlite3.h", r'#define SQLITE_VERSION\s+"([\d.]+)"', "cpe:2.3:a:sqlite:sqlite:{}:*:*:*:*:*:*:*"),
    "aws-lc-sys": ("aws-lc", "Apache-2.0 AND ISC AND OpenSSL", "aws-lc/include/openssl/base.h", r'#define AWSLC_VERSION_NUMBER_STRING\s+"([\d.]+)"', None),
    "libmimalloc-sys": ("mimalloc", "MIT", "c_src/mimalloc/v3/include/mimalloc.h", r"#define MI_MALLOC_VERSION\s+(\d+)", None),
}
TEXTS = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.I)


def cargo(*words):
    ran = subprocess.run(["cargo", *words, "--locked", "--offline"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        sys.exit(f"dependencies.py: cargo {words[0]} failed; `cargo fetch --locked` brings what it lacks")
    return ran.stdout


def read():
    """({(name, version): package}, {(name, version): set of what it uses}): what is compiled for this machine's kind, no more."""
    # Not from `cargo metadata` alone: that also lists optional crates that no build here ever compiles.
    tree = cargo("tree", "-p", "gateway", "-e", "normal,build", "--prefix", "depth", "--format", " {p}")
    uses, above = {}, []
    for line in tree.splitlines():
        if not line:
            continue
        depth, name, version = re.match(r"(\d+) (\S+) v(\S+)", line).groups()
        key = name, version
        del above[int(depth):]
        uses.setdefault(key, set())
        if above:
            uses[above[-1]].add(key)
        above.append(key)
    packages = {(p["name"], p["version"]): p for p in json.loads(cargo("metadata", "--format-version", "1"))["packages"]}
    return {key: packages[key] for key in sorted(uses)}, uses


def inside(package):
    """The C library in a crate, with its version there; None: there is none."""
    if package["name"] not in INSIDE:
        return None
    name, licence, place, pattern, cpe = INSIDE[package["name"]]
    files = sorted(Path(package["manifest_path"]).parent.glob(place))
    found = [match[1] for file in files if (match := re.search(pattern, file.read_text(errors="replace")))]
    if not found:
        sys.exit(f"dependencies.py: no version of {name} in {package['name']} {package['version']} ({place}): mend INSIDE")
    version = found[-1]
    if name == "mimalloc":  # 30302 is 3.3.2
        version = f"{int(version) // 10000}.{int(version) // 100 % 100}.{int(version) % 100}"
    return {"type": "library", "bom-ref": f"{package['name']}/{name}", "name": name, "version": version,
            "licenses": [{"expression": licence}], **({"cpe": cpe.format(version)} if cpe else {})}


def sbom():
    packages, uses = read()
    lock = (ROOT / "Cargo.lock").read_bytes()
    sums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.loads(lock.decode())["package"]}
    ref = lambda key: f"pkg:cargo/{key[0]}@{key[1]}"
    main, components, relations = None, [], []
    for key, package in packages.items():
        licence = (package["license"] or "").replace("/", " OR ")
        component = {"type": "library", "bom-ref": ref(key), "name": key[0], "version": key[1], "purl": ref(key),
                     "licenses": [{"expression": re.sub(r"\s+", " ", licence)}]}
        if sums.get(key):
            component["hashes"] = [{"alg": "SHA-256", "content": sums[key]}]
        if package["repository"]:
            component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        library = inside(package)
        if key[0] == "gateway":
            main = {**component, "type": "application", "name": "gatepost"}
        else:
            components.append(component)
        on = sorted(ref(used) for used in uses[key])
        if library:
            components.append(library)
            on.append(library["bom-ref"])
            relations.append({"ref": library["bom-ref"], "dependsOn": []})
        relations.append({"ref": ref(key), "dependsOn": on})
    number = uuid.UUID(bytes=hashlib.sha256(json.dumps(components).encode()).digest()[:16], version=4)
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{number}", "version": 1,
                       "metadata": {"component": main}, "components": components, "dependencies": relations}, indent=1) + "\n"


def notices():
    packages, _ = read()
    out = ["Gatepost is built from these packages of the public crate registry; each licence text stands below, once.\n"]
    texts = {}
    for key, package in packages.items():
        if package["source"] is None:
            continue
        name = " ".join(key)
        library = inside(package)
        holders = f" ({', '.join(package['authors'])})" if package["authors"] else ""
        out.append(f"{name}: {package['license']}{holders}" + (f"; with {library['name']} {library['version']}: {library['licenses'][0]['expression']}" if library else ""))
        folder = Path(package["manifest_path"]).parent
        depths = ["*", "*/*", "*/*/*"] if library else ["*"]
        files = {file for depth in depths for file in folder.glob(depth) if file.is_file() and TEXTS.match(file.name)
                 and file.suffix not in (".rs", ".c", ".h", ".py", ".json", ".html")}
        if package["license_file"]:
            files.add(folder / package["license_file"])
        for file in sorted(files):
            text = "\n".join(line.rstrip() for line in file.read_text(errors="replace").strip().splitlines())
            texts.setdefault(text, []).append(f"{name} ({file.relative_to(folder)})")
    for text, names in texts.items():
        out.append("\n" + "=" * 80 + "\n" + "\n".join(sorted(names)) + "\n" + "-" * 80 + "\n\n" + text)
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] not in (["sbom"], ["notices"]):
        sys.exit(__doc__)
    sys.stdout.write({"sbom": sbom, "notices": notices}[sys.argv[1]]())
