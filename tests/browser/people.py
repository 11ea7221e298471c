"""What people do on the pages, from the first start to the last sign-out. Each check goes on from where the one before ended."""
import base64, hashlib, hmac, struct, time, urllib.error, urllib.request

from webdriver import ENTER, ESCAPE, SHIFT, SPACE, TAB, wait
from world import OURS, PASSWORD, WIDTHS, Peer, check, must


BOOK_PX = 1150  # the highest picture of the book


def code_of(secret):
    """RFC 6238: the six digits of this moment."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    tag = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = tag[-1] & 15
    return f"{(struct.unpack('>I', tag[at:at + 4])[0] & 0x7fffffff) % 1000000:06}"


@check
def strangers_are_led_to_the_first_start(world):
    world.go("/")
    must("gatepost admin first-start" in world.browser.text(), world.browser.text)
    said = world.run("admin", "first-start")
    world.link = said.stdout.strip()
    must(world.link.startswith(world.base + "/first-start?key="), said.stdout + said.stderr)
    must(world.link in world.words(), "the link is printed at the start")


@check
def the_first_administrator_is_made_in_the_browser(world):
    browser = world.browser
    browser.go(world.link)
    world.picture("first-start", BOOK_PX)
    browser.type("#name", "ann")
    browser.type("#password", "short")
    browser.type("#again", "short")
    browser.button("Go on")
    must("12 characters" in browser.text(), browser.text)
    must(browser.js("return document.querySelector('#name').value") == "ann", "the name stays")
    browser.type("#password", PASSWORD)
    browser.type("#again", PASSWORD)
    browser.button("Go on")
    must("first-start" not in browser.url() and browser.has("nav.menu, form"), browser.url)
    browser.go(world.link)
    must("made already" in browser.text(), browser.text)


@check
def the_second_step_is_asked_for_once_it_is_on(world):
    browser = world.browser
    world.go("/account/factor")
    world.picture("factor", BOOK_PX)
    secret = browser.js("return document.querySelector('.secret').textContent")
    must(browser.has("svg.qr path"), "the QR code is drawn")
    browser.type("#code", "000000")
    browser.button("Turn on")
    must("not the code of this moment" in browser.text(), browser.text)
    must(browser.js("return document.querySelector('.secret').textContent") == secret, "the secret stays after a wrong code")
    browser.type("#code", code_of(secret))
    browser.button("Turn on")
    codes = browser.js("return [...document.querySelectorAll('.codes code')].map(one => one.textContent)")
    must(len(codes) == 10, browser.text)
    world.sign_in("ann", "wrong " + PASSWORD)
    must("did not fit" in browser.text() and browser.js("return document.querySelector('#name').value") == "ann", browser.text)
    world.sign_in("ann")
    must(browser.has("#code") and "authenticator" in browser.text(), browser.text)
    browser.type("#code", "123456")
    browser.button("Go on")
    must("did not fit" in browser.text(), browser.text)
    world.sign_in("ann")
    browser.type("#code", codes[0])
    browser.button("Go on")
    must(browser.has("nav.menu"), browser.text)
    world.sign_in("ann")
    browser.type("#code", codes[0])
    browser.button("Go on")
    must("did not fit" in browser.text(), "a recovery code works once")
    world.sign_in("ann")
    browser.type("#code", codes[1])
    browser.button("Go on")
    must(browser.has("nav.menu"), browser.text)


@check
def the_setup_looks_before_it_saves_and_keeps_what_was_typed(world):
    browser = world.browser
    world.ann = world.cookie()
    world.go("/setup")
    browser.type("#hostname", "mail..corp.example")
    browser.button("Save and go on")
    must(browser.has("#hostname-error"), browser.text)
    must(browser.js("return document.querySelector('#hostname').value") == "mail..corp.example", "what was typed stays")
    browser.type("#hostname", "nowhere.corp.example")
    browser.button("Look at it from outside")
    must("has no A or AAAA record" in browser.text(), browser.text)
    world.picture("setup-name", BOOK_PX)
    browser.type("#hostname", "gw.corp.example")
    browser.button("Save and go on")
    must(browser.url().endswith("/setup/domain"), browser.text)
    browser.type("#name", "loop.example")
    browser.type("#hops", f"127.0.0.1:{world.inbound}")
    browser.button("Add this domain")
    must(browser.has("#name-error") and "this gateway" in browser.text(), f"a loop is refused: {browser.text()}")
    must(browser.js("return document.querySelector('#hops').value") == f"127.0.0.1:{world.inbound}", "what was typed stays")
    browser.type("#name", "second.example")
    browser.type("#hops", f"127.0.0.1:{world.behind}")
    browser.button("Look at the way")
    must("127.0.0.1" in browser.text(), browser.text)
    browser.button("Add this domain")
    must("second.example" in browser.text(), browser.text)
    world.picture("setup-domain", BOOK_PX)
    world.go("/setup/test")
    browser.type("#to", "someone@second.example")
    browser.button("Send")
    must("on its way" in browser.text(), browser.text)


@check
def mail_that_is_stuck_is_found_by_its_cause_and_sent_on_its_way(world):
    browser = world.browser
    for number in range(3):
        world.mail(f"user{number}@corp.example", f"Invoice {number}", f"invoice.{number}@out.example")
    # Those behind the first wait for its destination to be tried again.
    wait(lambda: len(world.queue()) == 4 and any(row["finding"] for row in world.queue()), lambda: f"the mail is tried and waits: {world.queue()}")
    world.go("/queue?by=cause")
    text = browser.text()
    must("refused" in text or "corp.example" in text, text)
    world.go("/audit?q=Invoice+1")
    must("user1@corp.example" in browser.text() and "user2@corp.example" not in browser.text(), browser.text)
    browser.click("main a[href^='/message/']")
    must("user1@corp.example" in browser.text(), browser.text)
    world.sink = Peer(("127.0.0.1", world.behind), "mail.corp.example")
    world.go("/queue?by=message")
    browser.js("document.querySelector('#scope').value = 'all'")
    browser.click("button[name=order][value=retry]")
    must("is this right" in browser.text(), browser.text)
    browser.click("form.row button[type=submit]")
    wait(lambda: not world.queue(), lambda: f"all is delivered: {world.queue()} left", 30)
    must(len(world.sink.taken) == 4, f"{len(world.sink.taken)} arrived")


@check
def mail_to_a_bad_world_waits_or_comes_back_with_its_causes(world):
    """What the pages are looked at with: each of the small Internet's domains gets some."""
    for at, domain in enumerate(("grey", "picky", "strict", "full", "full", "typo", "down", "down", "down", "friend")):
        world.mail_out(f"customer{at}@{domain}.example", f"Offer {at} for {domain}")
    world.mail_out("quality-management.international@full.example", "Minutes of the meeting on the 25th, with the corrected table of all deliveries ÄÖÜ")
    waits = {"grey", "full", "down"}
    tried = lambda: {row["domain"].split(".")[0] for row in world.queue() if row["finding"]}
    wait(lambda: tried() == waits and len(world.sink.taken) == 7, lambda: f"{tried()} {len(world.sink.taken)} {world.queue()}", 40)
    world.go("/queue?by=cause")
    text = world.browser.text()
    must(all(f"{domain}.example" in text for domain in waits), text)
    world.picture("queue", BOOK_PX)


@check
def mail_is_found_by_whatever_is_known_of_it(world):
    browser = world.browser
    for words, leads_to in (("user2@corp.example", "Invoice 2"), ("invoice.0@out.example", "Invoice 0"), ("Offer 1 picky", "Offer 1 for picky"),
                            ("blocked using zen.spamhaus.org", "Offer 2 for strict"), ("zen.spamhaus.org", "Offer 2 for strict")):
        world.go("/")
        browser.press("/")
        browser.press(*words)
        browser.press_to_go(ENTER)
        must(world.path().startswith("/audit?q="), browser.url)
        found = browser.js("return [...new Set([...document.querySelectorAll('main a[href^=\"/message/\"]')].map(a => a.getAttribute('href')))]")
        must(found, lambda: f"{words!r} finds nothing: {browser.text()}")
        subjects = []
        for link in found:
            world.go(link)
            subjects.append(browser.js("return (document.querySelector('dl.facts').innerText)"))
        must(any(leads_to in subject for subject in subjects), f"{words!r} leads to {subjects}, not to {leads_to!r}")
    world.go("/audit?q=never-seen@nowhere.example")
    must(not browser.has("main a[href^='/message/']") and "never-seen@nowhere.example" in browser.js("return document.querySelector('#q').value"), browser.text)
    world.go("/audit?outcome=refused&from=tomorrow")
    must(browser.has("#from-error") and browser.js("return document.querySelector('#from').value") == "tomorrow", browser.text)


@check
def an_incident_leads_to_its_message_and_a_retry_sends_it(world):
    browser = world.browser
    world.go("/")
    must("grey.example" in browser.text(), browser.text)
    world.go("/queue?by=cause")
    card = "//article[contains(., 'grey.example')]"
    browser.click_path(f"{card}//a[contains(@class, 'amount')]")
    must("customer0@grey.example" in browser.text() and "full.example" not in browser.text(), browser.text)
    browser.click("main a[href^='/message/']")
    must("Greylisted, come back in 300 seconds" in browser.text() and "Attempt 1" in browser.text(), browser.text)
    world.message = world.path()
    world.picture("message", BOOK_PX)
    world.peers["grey.example"].refusal.clear()
    browser.button("Retry now")
    must("is this right" in browser.text() and "customer0@grey.example" in browser.text(), browser.text)
    world.picture("order", BOOK_PX)
    browser.click("form.row button[type=submit]")
    wait(lambda: not world.queued("grey.example"), "the greylisted message is delivered")
    must(any(b"Offer 0" in content for content in world.peers["grey.example"].taken), "it arrived")
    world.go(world.message)
    must("Attempt 2" in browser.text(), browser.text)
    # The same from the card, for all of one cause.
    world.go("/queue?by=cause")
    world.peers["full.example"].refusal.clear()
    browser.click_path("//article[contains(., 'full.example')]//button[@value='retry']")
    must("deliveries will be tried now" in browser.text() and "about “mx.full.example”" in browser.text(), browser.text)
    browser.click("form.row button[type=submit]")
    wait(lambda: not world.queued("Mailbox full"), "the mail to the full mailbox is delivered")
    world.go("/queue?by=cause")
    must(not browser.has_path("//article[contains(., 'full.example')]//button[@value='retry']"), browser.text)


@check
def what_is_held_is_released_by_undo(world):
    browser = world.browser
    world.go("/queue?by=message&domain=down.example")
    rows = browser.js("return document.querySelectorAll('tbody input[type=checkbox]').length")
    must(rows == 3, browser.text)
    browser.click("[data-all]")
    must(browser.js("return document.querySelectorAll('tbody input:checked').length") == rows, "one tick ticks all")
    browser.type("#why", "their server moves")
    browser.click("button[name=order][value=hold]")
    must("with the reason “their server moves”" in browser.text() and not world.queued('"held"'), browser.text)
    browser.button("Hold 3 deliveries")
    must("3 deliveries are held" in browser.text(), browser.text)
    must(len(world.queued('"held"')) == 3, world.queue)
    browser.button("Undo: release them; they are tried at once")
    must("3 deliveries are released" in browser.text(), browser.text)
    wait(lambda: not world.queued('"held"'), world.queue)
    world.go("/queue?by=message&domain=down.example")
    browser.click("button[name=order][value=delete]")
    must("no message is ticked" in browser.text(), browser.text)


@check
def each_role_sees_and_does_what_it_may(world):
    browser = world.browser
    for name, role in (("olga", "operator"), ("rita", "read-only"), ("hugo", "help-desk")):
        world.go("/administrators")
        browser.type("#name", name)
        browser.js("document.querySelector('#role').value = arguments[0]", role)
        browser.type("#password", PASSWORD)
        browser.button("Add")
        must(f"{name} is an administrator now" in browser.text(), browser.text)
    world.sign_in("rita")
    must(world.http("/administrators/change", world.cookie(), "name=ann&act=remove")[0] == 403, "a reader removes nobody")
    world.go("/queue?by=message")
    must("down.example" in browser.text() and not browser.has("main form[method=post]"), "a reader sees the queue and no orders")
    world.back()


@check
def the_help_desk_sees_where_mail_is_and_cannot_touch_it(world):
    browser = world.browser
    world.sign_in("hugo")
    menu = world.menu()
    must(menu and "/administrators" not in menu and "/settings" not in menu and "/queue" not in menu, f"the help desk's menu: {menu}")
    world.go("/audit?q=down.example")
    browser.click("main a[href^='/message/']")
    text = browser.text()
    must("down.example" in text and "In the queue" in text, text)
    must("Offer" not in text, f"no subject for the help desk: {text}")
    must(not browser.has("main form[method=post], main button.danger, main [name=order]"), "no button that acts")
    world.picture("help-desk", BOOK_PX)
    hugo, waiting = world.cookie(), len(world.queue())
    message = world.path().removeprefix("/message/")
    orders = [("/queue/orders", f"scope=all&id={message}&order=delete"), ("/queue/orders", "scope=all&order=hold&why=x"),
              ("/administrators/change", "name=ann&act=remove"), ("/settings/apply", "version=1&wish=%7B%22Version%22%3A1%7D"),
              ("/settings/rollback", "version=1&base=2"), ("/diagnose", "q=a@down.example"), ("/tokens", "name=mine&role=full")]
    for path, form in orders:
        must(world.http(path, hugo, form)[0] == 403, lambda: f"{path} for the help desk: {world.http(path, hugo, form)}")
    for path in ("/administrators", "/acts", "/tokens", "/queue", "/settings", "/logs", "/backup"):
        must(world.http(path, hugo)[0] == 403, f"{path} for the help desk")
    must(len(world.queue()) == waiting, "the queue is as it was")
    # What another site makes the browser send, with the cookie of a full administrator.
    forged = urllib.request.Request(world.base + "/queue/orders", b"scope=all&order=delete",
                                    {"Cookie": f"gatepost={world.ann}", "Sec-Fetch-Site": "cross-site"})
    try:
        code = urllib.request.urlopen(forged, timeout=10).status
    except urllib.error.HTTPError as error:
        code = error.code
    must(code == 403, f"a forged order: {code}")
    world.back()


@check
def a_token_is_shown_once_and_opens_the_api(world):
    browser = world.browser
    world.go("/tokens")
    browser.type("#name", "monitoring")
    browser.button("Make")
    token = browser.js("return document.querySelector('#token').textContent")
    request = urllib.request.Request(world.base + "/metrics", headers={"Authorization": f"Bearer {token}"})
    must(urllib.request.urlopen(request, timeout=10).status == 200, "metrics by token")
    world.go("/tokens")
    must(token not in browser.text() and "monitoring" in browser.text(), browser.text)


@check
def what_was_done_is_on_the_list(world):
    world.go("/acts?q=olga")
    text = world.browser.text()
    must("added an administrator" in text and "127.0.0.1" in text and PASSWORD not in text, text)


def settings_of_delivery(world, host):
    world.go(f"/configuration/{host}/smtp/advanced?tab=delivery")


@check
def a_host_name_that_fails_from_outside_is_seen_before_it_is_saved(world):
    browser = world.browser
    name = "return document.querySelector('[id=hostname]').value"
    settings_of_delivery(world, "gw.corp.example")
    must(browser.js(name) == "gw.corp.example", browser.text)
    browser.type("[id=hostname]", "bad_name..corp.example")
    browser.button("Preview the change")
    must(browser.has("[id=hostname-error]") and browser.js(name) == "bad_name..corp.example", browser.text)
    browser.type("[id=hostname]", "crooked.corp.example")
    browser.button("Preview the change")
    text = browser.text()
    must("Nothing is changed yet" in text and "crooked.corp.example has no A or AAAA record" in text and "problem" in text, text)
    world.picture("identity-preview", BOOK_PX)
    must(world.banner(world.inbound).startswith("220 gw.corp.example "), "nothing is saved by a preview")
    settings_of_delivery(world, "gw.corp.example")
    browser.type("[id=hostname]", "post.corp.example")
    browser.button("Preview the change")
    text = browser.text()
    must(f"post.corp.example resolves to {OURS}" in text and "has no A" not in text, text)
    browser.type("#comment", "the new name")
    browser.button("Apply now")
    must("is in force" in browser.text() and "post.corp.example" in browser.text(), browser.text)
    must(world.banner(world.inbound).startswith("220 post.corp.example "), lambda: world.banner(world.inbound))
    browser.button(f"Put version {world.version() - 1} back")
    must(world.banner(world.inbound).startswith("220 gw.corp.example "), lambda: world.banner(world.inbound))


@check
def a_loop_is_refused_when_a_route_is_saved(world):
    browser, ourselves = world.browser, f"127.0.0.1:{world.inbound}"
    before = world.version()
    world.go("/domains?entry=new")
    browser.type("[id=name]", "ring.example")
    browser.type("[id=next_hops]", ourselves)
    browser.button("Preview the change")
    text = browser.text()
    must("this gateway" in text and browser.js("return document.querySelector('[id=next_hops]').value") == ourselves, text)
    must(browser.has(".error, .notice.bad") and not browser.has_path("//button[.='Apply now']"), text)
    world.picture("loop-refused", BOOK_PX)
    world.go("/domains/routes")
    field = "[id='route.other.next_hops']"
    browser.type(field, ourselves)
    browser.button("Preview the change")
    text = browser.text()
    must("this gateway" in text and ourselves in browser.js("return document.querySelector(arguments[0]).value", field), text)
    must(not browser.has_path("//button[.='Apply now']"), text)
    must(world.version() == before, "no version was made")


@check
def a_change_of_settings_is_shown_applied_and_taken_back(world):
    browser, before = world.browser, world.version()
    settings_of_delivery(world, "gw.corp.example")
    browser.type("[id='retry.first']", "soon")
    browser.button("Preview the change")
    must(browser.has("[id='retry.first-error']") and browser.js("return document.querySelector('[id=\"retry.first\"]').value") == "soon", browser.text)
    browser.type("[id='retry.first']", "20m")
    browser.button("Preview the change")
    row = browser.js("return [...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
    must(any("retry.first" in one and "1h" in one and "20m" in one for one in row), row)
    world.picture("settings-preview", BOOK_PX)
    browser.type("#comment", "try again sooner")
    browser.button("Apply now")
    must(f"Settings version {before + 1} is in force" in browser.text(), browser.text)
    must(browser.js("return document.querySelector('[id=\"retry.first\"]').value") == "20m", browser.text)
    world.go("/settings")
    history = browser.js("return [...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
    must("ann" in history[0] and "try again sooner" in history[0] and "in force" in history[0], history)
    browser.click_path(f"//tr[contains(., 'in force')]/following-sibling::tr[1]//a[contains(., 'Compare')]")
    must("retry.first" in browser.text(), browser.text)
    browser.button(f"Preview putting version {before} back")
    browser.button("Apply now")
    must(world.version() == before + 2, browser.text)
    world.go("/settings")
    world.picture("settings-versions", BOOK_PX)
    settings_of_delivery(world, "gw.corp.example")
    must(browser.js("return document.querySelector('[id=\"retry.first\"]').value") == "1h", "it is as before")


@check
def new_log_lines_and_steps_of_a_diagnosis_arrive_by_themselves(world):
    browser = world.browser
    world.go("/logs?text=log-tail")
    must("log-tail@corp.example" not in browser.js("return document.querySelector('#lines').innerText"), "not yet")
    world.mail("log-tail@corp.example", "To be seen at once")
    wait(lambda: "log-tail@corp.example" in browser.js("return document.querySelector('#lines').innerText"), browser.text)
    world.go("/logs")
    world.picture("logs", BOOK_PX)
    world.go("/diagnose")
    browser.type("#q", "not an address")
    browser.button("Diagnose")
    must(browser.has("#q-error") and browser.js("return document.querySelector('#q').value") == "not an address", browser.text)
    browser.type("#q", "someone@picky.example")
    browser.button("Diagnose")
    wait(lambda: "550 5.1.1 No such user here" in browser.text() and "Looking" not in browser.text(), browser.text)
    must("RCPT TO" in browser.text(), browser.text)
    world.picture("diagnose", BOOK_PX)


@check
def an_expired_session_leads_back_to_the_page_asked_for(world):
    browser = world.browser
    world.sign_in("olga")
    world.go("/queue?by=domain")
    must("down.example" in browser.text(), browser.text)
    world.expire("olga")
    world.go("/queue?by=message&domain=down.example")
    must(world.path().startswith("/sign-in") and "down.example" not in browser.text(), browser.url)
    browser.type("#name", "olga")
    browser.type("#password", PASSWORD)
    browser.button("Sign in")
    must(world.path() == "/queue?by=message&domain=down.example" and "customer6@down.example" in browser.text(), browser.url)
    world.back()


@check
def everything_can_be_done_with_the_keyboard_alone(world):
    browser = world.browser
    browser.do("DELETE", "/cookie")
    world.go("/queue?by=message&domain=down.example")
    must(browser.js("return document.activeElement.id") == "name", "the sign-in begins with the name")
    browser.press(*"olga", TAB)
    browser.press(*PASSWORD)
    browser.press_to_go(ENTER)
    must(world.path() == "/queue?by=message&domain=down.example", browser.url)
    browser.press(TAB)
    must(browser.js("return document.activeElement.className") == "skip", "the first stop skips to the content")
    must(browser.js("const at = document.activeElement.getBoundingClientRect(); return at.width > 20 && at.left >= 0 && at.top >= 0"), "it is seen")
    browser.press(ENTER)
    must(browser.js("return document.activeElement.id") == "main", "it leads to the content")
    browser.tab_to("tbody input[type=checkbox]")
    browser.press(SPACE)
    must(browser.js("return document.querySelectorAll('tbody input:checked').length") == 1, "Space ticks a row")
    browser.press(*[(SHIFT, TAB)] * 2)
    must(browser.js("return !!document.activeElement.closest('main')"), "Shift and Tab lead back")
    browser.js("document.activeElement.blur(); document.querySelector('main').focus()")
    browser.tab_to("button[name=order][value=delete]")
    browser.press_to_go(ENTER)
    must("Delete: is this right?" in browser.text() and "cannot be undone" in browser.text(), browser.text)
    browser.js("document.querySelector('main').focus()")
    browser.tab_to("main a.button")
    browser.press_to_go(ENTER)
    must(world.path().startswith("/queue"), "Do nothing leads back")
    must(len(world.queued("down.example")) == 3, "nothing was deleted")
    # Who is signed in: a menu that opens with Enter and closes with Escape.
    browser.tab_to(".who summary")
    browser.press(ENTER)
    must(browser.js("return document.querySelector('.who').open"), "Enter opens it")
    browser.press(ESCAPE)
    must(browser.js("return !document.querySelector('.who').open && document.activeElement.matches('.who summary')"), "Escape closes it")
    world.back()


@check
def everything_can_be_done_without_script(world):
    browser = world.browser
    browser.look(WIDTHS[0], scripts=False)
    world.sign_in("olga")
    must(browser.has("nav.menu"), browser.text)
    world.go("/queue?by=message&domain=down.example")
    browser.click("tbody input[type=checkbox]")
    browser.click("button[name=order][value=delete]")
    browser.button("Delete 1 delivery")
    must("1 delivery is deleted" in browser.text(), browser.text)
    must(len(world.queued("down.example")) == 2, world.queue)
    world.go("/diagnose")
    browser.type("#q", "someone@picky.example")
    browser.button("Diagnose")
    wait(lambda: "550 5.1.1 No such user here" in browser.text(), browser.text)
    browser.click(".who summary")
    browser.click(".who form button")
    must("/sign-in" in browser.url(), browser.url)
    world.back()
    before = world.version()
    settings_of_delivery(world, "gw.corp.example")
    browser.type("[id='retry.first']", "30m")
    browser.button("Preview the change")
    browser.button("Apply now")
    must(world.version() == before + 1, browser.text)
    browser.button(f"Put version {before} back")
    must(world.version() == before + 2, browser.text)
    world.go("/logs?text=log-tail")
    must("log-tail@corp.example" in browser.text(), browser.text)
    world.go("/audit")
    browser.type("#q", "Invoice 2")
    browser.click("form.audit button")
    must("user2@corp.example" in browser.text(), browser.text)
    browser.look(WIDTHS[0])


def signing_out_ends_it(world):
    browser = world.browser
    world.go("/account")
    browser.click(".who summary")
    browser.click(".who form button")
    must("/sign-in" in browser.url(), browser.url)
    must(world.http("/account", world.ann)[0] == 303, "the session is of no use any more")
    world.go("/queue")
    must(world.path().startswith("/sign-in"), "the browser is out, too")
