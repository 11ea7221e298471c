"""The book's pictures: what they show, where they lie, and that a chapter shows each of them."""
import shutil, subprocess

from world import WIDTHS, must

BYTES_MAX = 2_500_000  # all together
SIZE = (1280, 1100)
PHONE_PX = 1900
# Picture: the page that it shows; nothing: a check has taken it on its way.
PICTURES = {
    "first-start": "", "factor": "", "setup-name": "", "dashboard": "/", "queue": "", "queue-messages": "/queue?by=message", "order": "",
    "queue-phone": "/queue?by=message", "audit": "/audit", "message": "", "help-desk": "", "explain": "/explain?q=452+4.2.2+%5Bmx.full.example%5D+Mailbox+full",
    "destinations": "/destinations", "destination": "/destinations/full.example", "diagnose": "", "logs": "", "smtp": "/smtp?tab=listener.inbound",
    "domains": "/domains", "loop-refused": "", "aliases": "/aliases", "invalid-recipients": "/invalid-recipients?domain=corp.example",
    "configuration": "/configuration/gw.corp.example/smtp/advanced?tab=delivery", "settings-preview": "", "identity-preview": "",
    "settings-versions": "", "scanners": "/scanners", "identity": "/identity", "certificates": "/certificates", "alerts": "/alerts",
    "backup": "/backup", "administrators": "/administrators", "tokens": "/tokens", "acts": "/acts",
}


def write(world, folder):
    """Takes the pictures; small ones, if pngquant is at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in PICTURES.items():
        if path:
            width, height = (WIDTHS[1], PHONE_PX) if name.endswith("-phone") else SIZE
            world.browser.look(width)
            world.go(path)
            world.picture(f"book-{name}", height)
        file = folder / f"{name}.png"
        shutil.copy(world.shots[f"book-{name}" if path else name], file)
        if shutil.which("pngquant"):
            subprocess.run(["pngquant", "--force", "--skip-if-larger", "--ext", ".png", "48", str(file)], check=False, timeout=60)
    world.browser.look(WIDTHS[0])


def must_be_shown(book):
    """Each picture is there and in a chapter, with words for who cannot see it."""
    text = "".join(file.read_text() for file in book.glob("*.md"))
    missing = [name for name in PICTURES if not (book / f"images/{name}.png").exists()]
    must(not missing, f"pictures are missing (run.py --book): {' '.join(missing)}")
    unseen = [file.stem for file in (book / "images").glob("*.png") if f"](images/{file.name})" not in text or f"![](images/{file.name})" in text]
    must(not unseen, f"no chapter shows these, or without words: {' '.join(unseen)}")
    size = sum(file.stat().st_size for file in (book / "images").glob("*.png"))
    must(size <= BYTES_MAX, f"the pictures have {size} bytes together, more than {BYTES_MAX}")
