"""A browser by WebDriver (W3C) over plain HTTP: chromedriver as a process of this test, no library needed."""
import base64, http.client, json, shutil, subprocess, tempfile, time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
TAB, ENTER, SPACE, ESCAPE, SHIFT = "\ue004", "\ue007", " ", "\ue00c", "\ue008"


class Failed(Exception):
    """A check's reason to fail, for people."""


def wait(condition, what, seconds=20):
    """What condition() gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failed(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(0.02)
    return found


class Browser:
    """One chromium with a fresh profile. `width` and `height` are those of the page."""

    def __init__(self, port):
        self.profile = tempfile.mkdtemp(prefix="gatepost-browser-")
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}", "--log-level=OFF"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        # One connection for all: a new one for each question costs more than the answer.
        self.line, self.session = http.client.HTTPConnection("127.0.0.1", port, timeout=60), None
        wait(self.is_ready, "chromedriver answers")
        options = {"binary": "/usr/bin/chromium", "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={self.profile}"]}
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "acceptInsecureCerts": True, "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.session = made["sessionId"]
        self.pid = int(made["capabilities"].get("goog:processID", 0))

    def is_ready(self):
        try:
            return self.ask("GET", "/status")["ready"]
        except (OSError, http.client.HTTPException, Failed):
            return False

    def ask(self, method, path, body=None):
        try:
            self.line.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = self.line.getresponse()
            code, value = answer.status, json.loads(answer.read())["value"]
        except (OSError, http.client.HTTPException):
            self.line.close()
            raise
        if code >= 400:
            raise Failed(f"{value.get('error')}: {value.get('message', '').splitlines()[0]}")
        return value

    def do(self, method, path, body=None):
        return self.ask(method, f"/session/{self.session}{path}", body)

    def cdp(self, command, **params):
        return self.do("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def go(self, url):
        self.do("POST", "/url", {"url": url})

    def url(self):
        return self.do("GET", "/url")

    def js(self, script, *arguments):
        return self.do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def js_async(self, script, *arguments):
        return self.do("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def text(self):
        """What the page says, without the menu."""
        return self.js("return (document.querySelector('main') || document.body).innerText")

    def find(self, css):
        return self.do("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def has(self, css):
        return bool(self.do("POST", "/elements", {"using": "css selector", "value": css}))

    def type(self, css, text):
        element = self.find(css)
        self.do("POST", f"/element/{element}/clear", {})
        self.do("POST", f"/element/{element}/value", {"text": text})

    def press(self, *keys):
        """The keys one after another; a tuple of keys at once."""
        strokes = []
        for key in keys:
            chord = key if isinstance(key, tuple) else (key,)
            strokes += [{"type": "keyDown", "value": one} for one in chord] + [{"type": "keyUp", "value": one} for one in reversed(chord)]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def press_to_go(self, key):
        """Presses a key that leads to another page, and is there when this returns."""
        self.js("document.documentElement.dataset.old = '1'")
        self.press(key)
        self.wait_for_the_next()

    def tab_to(self, css, most=120):
        """Goes on with Tab until the focus is there, as people without a mouse do; how often Tab was pressed."""
        for count in range(most):
            if self.js("return document.activeElement.matches(arguments[0])", css):
                return count
            self.press(TAB)
            self.must_show_focus()
        raise Failed(f"Tab does not lead to {css} on {self.url()}")

    def must_show_focus(self):
        seen = self.js("""const s = getComputedStyle(document.activeElement);
            return [document.activeElement.outerHTML.slice(0, 80), s.outlineStyle, parseFloat(s.outlineWidth), document.activeElement === document.body]""")
        if not seen[3] and (seen[1] == "none" or seen[2] < 2):
            raise Failed(f"no outline on {seen[0]}")

    def click(self, css):
        self.press_on({ELEMENT: self.find(css)})

    def has_path(self, xpath):
        return bool(self.do("POST", "/elements", {"using": "xpath", "value": xpath}))

    def click_path(self, xpath):
        self.press_on(self.do("POST", "/element", {"using": "xpath", "value": xpath}))

    def button(self, words):
        """Clicks the visible button or link with these words."""
        xpath = f"//main//*[self::button or self::a or self::summary][normalize-space()='{words}']"
        for element in self.do("POST", "/elements", {"using": "xpath", "value": xpath}):
            if self.do("GET", f"/element/{element[ELEMENT]}/displayed"):
                return self.press_on(element)
        raise Failed(f"no button {words!r} on {self.url()}: {self.text()[:300]!r}")

    def press_on(self, element):
        """Clicks; the page that it leads to is there when this returns."""
        leads = self.js("""arguments[0].scrollIntoView({block: 'center'}); document.documentElement.dataset.old = '1';
            return arguments[0].matches('a[href], button[type=submit], button:not([type])') && !arguments[0].closest('[data-dialog]')""", element)
        self.do("POST", f"/element/{element[ELEMENT]}/click", {})
        if leads:
            self.wait_for_the_next()

    def wait_for_the_next(self):
        wait(lambda: self.js("return !document.documentElement.dataset.old && document.readyState === 'complete'"), "the next page")

    def look(self, width, dark=False, scripts=True, **media):
        """How the page is shown from now on; `media` such as forced_colors="active"."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce", "forced-colors": "none"}
        features |= {name.replace("_", "-"): value for name, value in media.items()}
        self.cdp("Emulation.setEmulatedMedia", media="", features=[{"name": name, "value": value} for name, value in features.items()])
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)

    def picture(self, path, height=4000):
        """The page from its top, at most so high."""
        size = self.cdp("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height), "scale": 1}
        made = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(made["data"]))

    def complaints(self):
        """What the page's console said of errors since this was asked last."""
        return [entry["message"] for entry in self.do("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def stop(self):
        try:
            if self.session:
                self.do("DELETE", "")
        except (OSError, http.client.HTTPException, Failed):
            pass
        self.line.close()
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait(10)
        shutil.rmtree(self.profile, ignore_errors=True)
