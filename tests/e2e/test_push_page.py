"""The push server's page in a real browser."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from e2e.cli_helpers import Server, free_ports
from e2e.devtools import Browser, Page

PHONE: dict[str, Any] = {"width": 390, "height": 844, "touch": True}
EVIL = '<img src="x" onerror="document.title=`taken`"><script>document.title="taken"</script>'
CONNECTED = "document.getElementById('state').textContent === 'Connected'"


class Push:
    """`c1m serve push --page` on a port that it comes back to when it is started again."""

    def __init__(self, directory: Path, *options: object) -> None:
        self._directory = directory
        self._options = ("--page", "--quiet", *options)
        self._port = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def __enter__(self) -> Push:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def start(self) -> None:
        listen = [f"tcp://127.0.0.1:{self._port}"]
        self._server = Server(self._directory, *self._options, app="push", listen=listen)

    def stop(self) -> None:
        assert self._server.stop() == 0

    def publish(self, text: str, channel: str = "news") -> str:
        """The id of what is published."""
        url = f"{self.url}/publish?channel={channel}"
        with urllib.request.urlopen(url, data=text.encode(), timeout=60) as answer:
            said: str = json.loads(answer.read())["id"]
            return said


@pytest.fixture
def push(tmp_path: Path) -> Iterator[Push]:
    with Push(tmp_path) as made:
        yield made
        made.stop()


def opened(browser: Browser, push: Push, channel: str = "news", **device: Any) -> Page:
    """The page, connected, with the number of subscribers shown."""
    page = browser.open(f"{push.url}/?channel={channel}", **device)
    page.wait_for(CONNECTED)
    page.wait_for(f"{shown('subscribers')} !== '-'")
    return page


def shown(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


def messages(page: Page) -> list[str]:
    """The texts in the list, the oldest first."""
    made: list[str] = page.value(
        "[...document.querySelectorAll('#messages .text')].map((each) => each.textContent)"
    )
    return made[::-1]


def wait_for_message(page: Page, text: str) -> None:
    page.wait_for(f"{shown('messages')}.includes({json.dumps(text)})")


def test_what_others_publish_is_shown(browser: Browser, push: Push) -> None:
    with opened(browser, push) as page:
        assert page.value(shown("subscribers")) == "1"
        for number in range(5):
            push.publish(f"message {number}")
        wait_for_message(page, "message 4")
        assert messages(page) == [f"message {number}" for number in range(5)]
        page.wait_for(f"{shown('messages')}.split('to 1 subscriber in').length === 6")
        assert page.complaints() == []
        assert {url.split("?")[0] for url in page.requested()} == {push.url + "/"}


def test_it_publishes_and_tells_both_times(browser: Browser, push: Push) -> None:
    with opened(browser, push) as page, opened(browser, push) as other:
        page.wait_for(f"{shown('subscribers')} === '2'")
        page.value("document.getElementById('text').value = 'from a page'; publish()")
        for each in (page, other):
            wait_for_message(each, "from a page")
            each.wait_for(f"{shown('last')} !== '-' && {shown('reached')} === '2 subscribers'")
        page.wait_for(f"{shown('back')} !== '-'")
        assert other.value(shown("back")) == "-"  # it was not the one that published
        assert page.value(shown("said")) == "Published."
        assert page.complaints() == other.complaints() == []


def test_after_a_restart_nothing_is_missed_and_it_says_so(browser: Browser, push: Push) -> None:
    with opened(browser, push) as page:
        push.publish("before")
        wait_for_message(page, "before")
        push.stop()
        page.wait_for(f"{shown('state')}.includes('again')")
        push.start()
        for number in range(20):
            push.publish(f"meanwhile {number}")
        page.wait_for(f"{shown('again')}.includes('Connected again')")
        assert "The server has been started anew" in page.value(shown("again"))
        push.publish("after")
        wait_for_message(page, "after")
        came = ["before", *(f"meanwhile {number}" for number in range(20)), "after"]
        assert messages(page) == came


def test_what_is_published_while_it_is_away_comes_first(browser: Browser, push: Push) -> None:
    """The server stays: only what is new since the last message comes, and is marked."""
    with opened(browser, push) as page:
        push.publish("before")
        wait_for_message(page, "before")
        # The page's own end of the connection breaks, and it is held from coming back.
        page.value("WAITED = connect; connect = () => {}; socket.close(); true")
        page.wait_for("socket === null")
        push.publish("first of two")
        push.publish("second of two")
        page.value("connect = WAITED; connectNow(); true")
        page.wait_for(f"{shown('again')}.includes('2 messages that came meanwhile')")
        assert messages(page) == ["before", "first of two", "second of two"]
        assert page.value("document.querySelectorAll('#messages .mark').length") == 2
        assert page.complaints() == []


def test_what_was_kept_is_there_when_it_is_opened(browser: Browser, push: Push) -> None:
    push.publish("early")
    with opened(browser, push) as page:
        wait_for_message(page, "early")
        assert "published before" in page.value(shown("messages"))


def test_what_is_kept_no_longer_is_not_passed_over(browser: Browser, tmp_path: Path) -> None:
    with Push(tmp_path, "--history", "5") as push, opened(browser, push) as page:
        page.value("WAITED = connect; connect = () => {}; socket.close(); true")
        page.wait_for("socket === null")
        for number in range(9):
            push.publish(f"message {number}")
        page.value("connect = WAITED; connectNow(); true")
        page.wait_for(f"{shown('again')}.includes('5 messages that came meanwhile')")
        assert "some is missing" in page.value(shown("again"))
        assert messages(page) == [f"message {number}" for number in range(4, 9)]


def test_who_needs_a_token_is_asked_for_it(browser: Browser, tmp_path: Path) -> None:
    secret = "a secret that is long enough for it"
    path = tmp_path / "secret"
    path.write_text(secret)
    path.chmod(0o600)
    token = jwt.encode({"channels": ["news"], "publish": ["news"]}, secret, "HS256")
    with (
        Push(tmp_path, "--secret-file", path) as push,
        browser.open(f"{push.url}/") as page,
    ):
        page.wait_for(f"{shown('said')}.includes('token')")
        page.wait_for("document.getElementById('access').open")
        page.value(f"document.getElementById('token').value = {token!r}; join(); true")
        page.wait_for(CONNECTED)
        page.value("document.getElementById('text').value = 'allowed'; publish(); true")
        wait_for_message(page, "allowed")
        assert token not in page.value("document.body.innerText + location.href")


def test_a_message_is_text_whatever_it_says(browser: Browser, push: Push) -> None:
    with opened(browser, push) as page:
        push.publish(EVIL)
        push.publish("end")
        wait_for_message(page, "end")
        assert messages(page)[0] == EVIL
        assert page.value("document.title") == "news - c1m push"
        assert (
            page.value("document.querySelectorAll('#messages img, #messages script').length") == 0
        )
        # and if it did run, the policy would not let it
        page.value(f"document.getElementById('none').innerHTML = {json.dumps(EVIL)}; true")
        page.value("new Promise((done) => setTimeout(() => done(true), 100))")
        assert page.value("document.title") == "news - c1m push"
        assert "Content Security Policy" in " ".join(page.complaints())


def test_by_keyboard_alone(browser: Browser, push: Push) -> None:
    focus = "(document.activeElement.id || document.activeElement.textContent.trim())"
    with opened(browser, push) as page:
        page.press("Tab")
        assert page.value(focus) == "text"
        page.write("typed")
        page.press("Enter")
        wait_for_message(page, "typed")
        stops = []
        for _ in range(4):
            page.press("Tab")
            stops.append(page.value(focus))
        assert stops == ["Publish", "channel", "Join", "Access token"]
        page.press("Enter")
        page.press("Tab")
        assert page.value(focus) == "token"
        for _ in range(3):
            page.press("Tab", shift=True)
        assert page.value(focus) == "channel"
        page.value("document.getElementById('channel').select(); true")
        page.write("sport")
        page.press("Enter")
        page.wait_for(f"{shown('named')} === 'sport' && {CONNECTED}")
        page.wait_for(f"{shown('subscribers')} === '1'")
        push.publish("goal", channel="sport")
        wait_for_message(page, "goal")
        assert messages(page) == ["goal"]
        assert page.complaints() == []


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_on_a_phone(browser: Browser, push: Push, tmp_path: Path, is_dark: bool) -> None:
    with opened(browser, push, **PHONE, dark=is_dark) as page:
        for text in ("short", "long " * 60, "unbroken" * 40, '{"price": 12.5}'):
            push.publish(text)
        wait_for_message(page, '{"price": 12.5}')
        assert page.value("document.documentElement.scrollWidth") <= PHONE["width"]
        small = """[...document.querySelectorAll("button, input, textarea")]
          .filter((each) => each.getClientRects().length)
          .filter((each) => each.getBoundingClientRect().height < 44).map((each) => each.id)"""
        assert page.value(small) == []  # a finger hits it
        paper = page.value("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 23, 27)" if is_dark else "rgb(255, 255, 255)")
        page.screenshot(tmp_path / "phone.png")
        assert (tmp_path / "phone.png").stat().st_size > 10_000


def test_a_screen_reader_gets_names_and_news(browser: Browser, push: Push) -> None:
    with opened(browser, push) as page:
        tree = page.call("Accessibility.getFullAXTree")["nodes"]
        named = {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node.get("ignored")
        }
        roles = {role for role, _ in named}
        assert {"log", "status", "heading", "main"} <= roles
        for role, name in named:
            assert name or role not in ("button", "textbox", "log"), (role, name)
        assert ("log", "Messages") in named and ("button", "Publish") in named
        # So many at once are counted, not read.
        page.value(
            """for (let i = 0; i < 50; i += 1) {
                 take({ channel: "news", id: `many-${i}`, data: `many ${i}` });
               }"""
        )
        wait_for_message(page, "many 49")
        page.wait_for(f"{shown('heard')} === '50 messages came.'")


def test_without_page_there_is_none(tmp_path: Path) -> None:
    with (
        Server(tmp_path, "--quiet", app="push") as server,
        pytest.raises(urllib.error.HTTPError) as told,
    ):
        urllib.request.urlopen(server.url.replace("tcp", "http"), timeout=60)
    assert told.value.code == 404
    told.value.close()
