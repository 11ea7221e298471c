"""How the pages look: each one in two widths, light and dark, without script, in forced colours, on paper, for screen readers."""
import os, queue, threading
from pathlib import Path

from webdriver import Browser, Failed
from world import WIDTHS, check, free_port, must, name_of

AXE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gatepost-tests/node_modules/axe-core/axe.min.js"
BROWSERS = 2
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@check
def every_link_leads_to_a_page(world):
    world.all = world.pages()
    lost = [f"{path} ({code})" for path in world.all if (code := world.http(path, world.ann)[0]) != 200]
    must(not lost, f"links lead nowhere: {' '.join(lost)}")


@check
def every_page_is_whole_wide_and_narrow_in_light_and_dark(world):
    """Looks at every page once, in several browsers; the checks below tell of what was seen."""
    must(AXE.exists(), f"{AXE} is missing: tools/setup.sh")
    world.wrong, todo = {}, queue.SimpleQueue()
    for path in [*world.all, "/nowhere"]:
        todo.put(path)
    threads = [threading.Thread(target=look_at_all, args=(world, todo)) for _ in range(BROWSERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(world, "failed")
    tell(world, "width")
    tell(world, "head")


def look_at_all(world, todo):
    browser = Browser(free_port())
    try:
        world.enter(browser)
        while True:
            try:
                path = todo.get_nowait()
            except queue.Empty:
                return
            try:
                for kind, what in look_at(world, browser, path):
                    world.wrong.setdefault(kind, []).append(f"{path}: {what}")
            except Failed as error:
                world.wrong.setdefault("failed", []).append(f"{path}: {error}")
    finally:
        browser.stop()


def look_at(world, browser, path):
    """Yields what is wrong with a page: its kind and words."""
    browser.look(WIDTHS[0])
    browser.complaints()
    browser.go(world.base + path)
    yield from head(browser)
    # The policy keeps foreign scripts out of the page; the debugger may put one in.
    browser.cdp("Runtime.evaluate", expression=AXE.read_text())
    yield from axe(browser, RULES)
    for width, dark in ((WIDTHS[0], False), (WIDTHS[0], True), (WIDTHS[1], False)):
        browser.look(width, dark)
        if dark:
            yield from axe(browser, ["color-contrast"])
        else:
            yield from overflow(browser, width)
        browser.picture(world.shot(f"{name_of(path)}-{width}{'-dark' if dark else ''}"))
    yield from (("console", line) for line in browser.complaints() if "404" not in line)
    browser.look(WIDTHS[0], scripts=False)
    browser.go(world.base + path)
    text = browser.js("return document.querySelector('main').innerText")
    if len(text) < 20:
        yield "script", repr(text)
    dead = browser.js("return [...document.forms].filter(form => !form.querySelector('button:not([type=button])') && form.querySelectorAll('input:not([type=hidden]), select, textarea').length !== 1).map(form => form.outerHTML.slice(0, 100))")
    yield from (("script", f"a form without a button: {one}") for one in dead)


def head(browser):
    """Title, one heading, what a telephone needs to know."""
    found = browser.js("""const meta = name => (document.querySelector(`meta[name=${name}]`) || {}).content;
        return [document.title, document.querySelectorAll('h1').length, meta('viewport'), meta('color-scheme'), !!document.querySelector('link[rel=icon]'), document.documentElement.lang]""")
    if not found[0].endswith(" · Gatepost") or found[1:] != [1, "width=device-width, initial-scale=1", "light dark", True, "en"]:
        yield "head", str(found)


def overflow(browser, width):
    wide = browser.js("return document.documentElement.scrollWidth")
    if wide > width:
        culprit = browser.js("""const all = [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
            const one = all.pop(); return one ? one.tagName + '.' + one.className + ' ' + one.textContent.trim().slice(0, 40) : '?'""")
        yield "width", f"{wide} wide at {width} ({culprit})"


def axe(browser, rules):
    """`rules`: tags of axe-core's, or one rule by its name."""
    found = browser.js_async("""const done = arguments[arguments.length - 1];
        axe.run({ runOnly: arguments[0].length > 1 ? arguments[0] : { type: 'rule', values: arguments[0] } }).then(r => done(r.violations
            .filter(v => ['serious', 'critical'].includes(v.impact))
            .map(v => `${v.id} (${v.nodes.length}): ${v.nodes[0].html.slice(0, 120)} ${(v.nodes[0].any[0] || {}).message || ''}`)))""", rules)
    return [("axe", one) for one in found]


def tell(world, kind):
    must(not world.wrong.get(kind), lambda: "\n  ".join(world.wrong[kind]))


@check
def every_page_can_be_used_without_script(world):
    tell(world, "script")


@check
def no_page_complains_in_the_console(world):
    tell(world, "console")


@check
def no_page_shuts_anybody_out(world):
    """axe-core's rules of WCAG 2.2 A and AA."""
    tell(world, "axe")


@check
def forced_colours_and_reduced_motion_are_respected(world):
    browser = world.browser
    browser.look(WIDTHS[0], forced_colors="active")
    world.go("/queue?by=message")
    # Colour alone must not carry it: in forced colours a button keeps its border, a badge its edge.
    edges = browser.js("""return ['main button', '.badge', '.menu a[aria-current]'].map(css => [css, document.querySelector(css)])
        .filter(([, one]) => one).map(([css, one]) => { const s = getComputedStyle(one); return [css, s.borderStyle, s.outlineStyle, s.boxShadow, s.textDecorationLine, s.fontWeight]; })""")
    for css, border, outline, _, line, weight in edges:
        must(border != "none" or outline != "none" or "underline" in line or int(weight) >= 600, f"{css} has no edge in forced colours")
    world.picture("forced-colours")
    motion = "return [...document.querySelectorAll('a, button')].some(one => parseFloat(getComputedStyle(one).transitionDuration) > 0)"
    must(not browser.js(motion), "nothing moves when motion is reduced")
    browser.look(WIDTHS[0], prefers_reduced_motion="no-preference")
    must(browser.js(motion), "the check above can fail")
    browser.look(WIDTHS[0])


@check
def a_message_can_be_printed(world):
    browser = world.browser
    world.go(world.message)
    browser.look(WIDTHS[0])
    browser.cdp("Emulation.setEmulatedMedia", media="print")
    hidden = browser.js("return ['.top', 'nav.menu', 'main button'].filter(css => [...document.querySelectorAll(css)].some(one => one.offsetParent))")
    must(not hidden, f"on paper are of no use: {hidden}")
    must(browser.js("return document.querySelector('main').getBoundingClientRect().left") < 40, "the page has its whole width")
    world.picture("print")
    browser.look(WIDTHS[0])
