"""The dashboard in a real browser: Debian's Chromium, where it is installed."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
from attrs import define

from argo_mw import Argo
from argo_mw.plugin import Layer, Line, context_of, printable
from argo_mw.store import open_shared
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_dashboard import DashboardPlugin
from argo_mw_rollout import RolloutPlugin
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramps import Ramps
from tests.core.test_panels import Together

from .conftest import Memory, Showing, bars, open_argo, shown_by

playwright = pytest.importorskip("playwright.async_api", reason="needs `pip install playwright`")
HANGS = 60_000
"""Milliseconds after which the page hangs, on a busy machine."""
playwright.expect.set_options(timeout=HANGS)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

HOSTILE = [
    pattern.format(n)
    for n, pattern in enumerate(
        [
            "<script>window.owned={}</script>",
            "<img src=x onerror=window.owned={}>",
            '"><svg onload=window.owned={}>',
            "javascript:window.owned={}",
            "</td></tr></table><h1>owned {}</h1>",
            "<a href='http://evil.example/{}'>look</a>",
            "'-window.owned={}-'",
            "&lt;b&gt;{}&amp;",
            "<style>*{{display:none}}</style>{}",
            "\u202e{}gnidaelsim\u0000\x1b[31m",
        ]
        * 10
    )
]


FAINT_OR_NAMELESS = """() => {
  const shown = (node) => node.getClientRects().length > 0;
  const numbers = (text) => text.match(/[0-9.]+/g).map(Number);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v <= 10 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !shown(node)) continue;
    let opacity = 1;
    for (let at = node; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    const behind = ground(node);
    const colour = numbers(getComputedStyle(node).color).slice(0, 3);
    const seen = colour.map((v, i) => v * opacity + behind[i] * (1 - opacity));
    const [dark, bright] = [light(seen), light(behind)].sort((a, b) => a - b);
    if ((bright + 0.05) / (dark + 0.05) < 4.5) found.push(`faint: ${node.outerHTML}`);
  }
  for (const node of document.querySelectorAll("button, input, select")) {
    if (!shown(node)) continue;
    const name = node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length;
    if (!name) found.push(`nameless: ${node.outerHTML}`);
    const { width, height } = node.getBoundingClientRect();
    if (Math.min(width, height) < 24) found.push(`small: ${node.outerHTML}`);
  }
  return found;
}"""


@define
class Page:
    """A page of the browser, and what it did that a test may ask about."""

    page: playwright.Page
    requests: list[str]
    faults: list[str]

    async def open(self, argo: Argo, *, token: bool = True) -> None:
        """Open the dashboard of *argo*, with or without its token."""
        shown = shown_by(argo)
        await self.page.goto(shown.url if token else shown.address)

    def section(self, title: str) -> playwright.Locator:
        """Return the part of the page with *title* over it."""
        return self.page.get_by_role("region", name=title, exact=True).first

    async def seen(self, text: str | re.Pattern[str]) -> None:
        """Wait until *text* is shown."""
        await playwright.expect(self.page.get_by_text(text).first).to_be_visible()


@pytest.fixture
async def new_page() -> AsyncIterator[Callable[..., asyncio.Future[Page]]]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: `apt-get install chromium`")
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(playwright.async_playwright())
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        stack.push_async_callback(browser.close)

        async def make(**context: object) -> Page:
            made = await browser.new_context(**context)
            page = await made.new_page()
            page.set_default_timeout(HANGS)
            requests: list[str] = []
            faults: list[str] = []
            page.on("request", lambda one: requests.append(one.url))
            page.on("pageerror", lambda one: faults.append(str(one)))
            page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
            return Page(page, requests, faults)

        yield make


@pytest.fixture
async def page(new_page) -> Page:
    return await new_page()


async def advance(page: Page, clock: FakeClock, seconds: float = 2.0) -> None:
    """Let *seconds* pass for the program; return when the page shows what was read then."""
    state = page.page.locator("#state")
    before = await state.get_attribute("title")  # when that was read which the page shows now
    assert before
    await clock.advance(seconds)
    await playwright.expect(state).not_to_have_attribute("title", before)


async def test_what_happens_is_shown_without_reloading(page: Page, clock: FakeClock) -> None:
    async with open_argo(clock) as argo:
        await page.open(argo)
        await page.seen("live, 0 programs")
        for _ in range(1234):
            await argo.call("bars", symbol="AAPL")
        await advance(page, clock)
        row = page.page.locator("#operations tbody tr")
        await playwright.expect(row).to_contain_text("bars")
        await playwright.expect(row).to_contain_text("1,234")
        await page.seen("live, 1 program")
        await argo.call("bars", symbol="AAPL")
        await advance(page, clock)
        await playwright.expect(row).to_contain_text("1,235")
        assert page.requests.count(shown_by(argo).address) == 1
    assert page.faults == []


async def test_the_token_is_not_left_in_the_address_or_sent_in_one(
    page: Page, clock: FakeClock
) -> None:
    async with open_argo(clock) as argo:
        await page.open(argo)
        await page.seen(re.compile("live"))
        assert page.page.url == shown_by(argo).address
        token = shown_by(argo).url.partition("#token=")[2]
        assert not [url for url in page.requests if token in url.partition("#")[0]]
        await page.page.reload()
        await page.seen(re.compile("live"))


async def test_without_the_token_it_is_asked_for(page: Page, clock: FakeClock) -> None:
    async with open_argo(clock) as argo:
        await page.open(argo, token=False)
        field = page.page.get_by_label("Token")
        await playwright.expect(field).to_be_focused()
        await field.fill("wrong")
        await field.press("Enter")
        await page.seen(re.compile("the access token is wrong"))
        await field.fill(shown_by(argo).url.partition("#token=")[2])
        await field.press("Enter")
        await page.seen(re.compile("live"))


async def test_no_request_goes_elsewhere(page: Page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line((text, text), key=text) for text in HOSTILE])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.seen(re.compile("live"))
        for _ in range(3):
            await advance(page, clock)
    assert {urlsplit(url).hostname for url in page.requests} == {"127.0.0.1"}
    assert page.faults == []


async def test_a_hundred_hostile_names_and_values_are_shown_as_text(
    page: Page, clock: FakeClock
) -> None:
    showing = Showing(lines=[Line((text, text), key=text) for text in HOSTILE])
    async with open_argo(clock, showing=showing) as argo:
        for text in HOSTILE:
            await argo.call("bars", symbol=text)
            context_of(argo).report(text, text)
        await page.open(argo)
        await page.page.get_by_role("button", name="Show all 100").click()
        section = page.section("Shown")
        await playwright.expect(section.locator("tbody tr")).to_have_count(100)
        cells = await section.locator("tbody tr td:first-child").all_text_contents()
        assert cells == [printable(text) for text in HOSTILE]
        assert await page.page.evaluate("window.owned") is None
        for tag in ("img", "main script", "main style", "main a", "h1 + h1"):
            assert await page.page.locator(tag).count() == 0, tag
        button = section.get_by_role("button").first
        await button.click()
        question = page.page.locator("#question")
        await playwright.expect(question).to_have_text(f"Press {HOSTILE[0]}?")
    assert page.faults == []


async def test_a_button_asks_first_and_then_does_it(page: Page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        button = page.page.get_by_role("button", name="Press: AAPL")
        await button.click()
        await page.page.get_by_role("button", name="Cancel").click()
        assert showing.pressed == []
        await button.click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Press").click()
        await page.seen("AAPL was pressed")
        await advance(page, clock)
        await playwright.expect(page.page.locator("#journal tbody tr")).to_have_count(1)
    assert showing.pressed == ["AAPL"]
    assert page.faults == []


async def test_a_write_without_the_token_is_refused(page: Page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.seen(re.compile("live"))
        statuses = await page.page.evaluate(
            """async () => {
                const body = JSON.stringify({ panel: "showing", button: "press", key: "AAPL" });
                const found = [];
                for (const headers of [{}, { Authorization: "Bearer wrong" }]) {
                    const answer = await fetch("/api/press", { method: "POST", headers, body });
                    found.push(answer.status);
                }
                return found;
            }"""
        )
    assert statuses == [401, 401]
    assert showing.pressed == []


async def test_a_page_of_another_site_can_read_and_write_nothing(
    page: Page, clock: FakeClock
) -> None:
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo, open_argo(clock) as other:
        await page.open(other)
        await page.seen(re.compile("live"))
        target = shown_by(argo).address
        token = shown_by(argo).url.partition("#token=")[2]
        found = await page.page.evaluate(
            """async ([target, token]) => {
                const found = [];
                const body = JSON.stringify({ panel: "showing", button: "press", key: "AAPL" });
                const tries = [
                    ["api/press", { method: "POST", body, mode: "no-cors" }],
                    ["api/press", { method: "POST", body, headers: { Authorization: token } }],
                    ["api/snapshot", { headers: { Authorization: token } }],
                ];
                for (const [path, options] of tries) {
                    try {
                        const answer = await fetch(target + path, options);
                        found.push(answer.type + answer.status);
                    } catch {
                        found.push("refused");
                    }
                }
                return found;
            }""",
            [target, f"Bearer {token}"],
        )
    assert set(found) <= {"refused", "opaque0"}
    assert showing.pressed == []


async def test_everything_can_be_done_by_keyboard(page: Page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.seen(re.compile("live"))
        keyboard = page.page.keyboard
        await keyboard.press("Tab")
        assert await focused(page) == "To the content"
        reached = await tab_to(page, "Press: AAPL")
        assert "all programs" in " ".join(reached)
        await keyboard.press("Enter")
        await playwright.expect(page.page.get_by_role("dialog")).to_be_visible()
        assert await focused(page) == "Cancel"
        await keyboard.press("Escape")
        await playwright.expect(page.page.locator("dialog")).to_be_hidden()
        assert await focused(page) == "Press: AAPL"
        await advance(page, clock)
        assert await focused(page) == "Press: AAPL"
        await keyboard.press("Enter")
        await keyboard.press("Tab")
        assert await focused(page) == "Press"
        await keyboard.press("Enter")
        await page.seen("AAPL was pressed")
    assert showing.pressed == ["AAPL"]


async def focused(page: Page) -> str:
    """Return the name of what has the focus."""
    return await page.page.evaluate(
        "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent)"
    )


async def tab_to(page: Page, name: str) -> list[str]:
    """Press Tab until what is called *name* has the focus; return what had it before."""
    reached: list[str] = []
    for _ in range(60):
        await page.page.keyboard.press("Tab")
        reached.append(await focused(page))
        if reached[-1] == name:
            return reached
    pytest.fail(f"Tab never reaches {name!r}, only {reached}")


async def test_a_thousand_symbols_are_shown_and_searched(page: Page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line((f"S{n:04}", n), key=f"S{n}") for n in range(1_000)])
    async with open_argo(clock, showing=showing) as argo:
        for n in range(1_000):
            await argo.call("bars", symbol=f"S{n:04}")
        await page.open(argo)
        section = page.section("Shown")
        rows = section.locator("tbody tr")
        await playwright.expect(rows).to_have_count(20)
        await section.get_by_role("button", name="Show all 1000").click()
        await playwright.expect(rows).to_have_count(1_000)
        showing.lines = [Line((f"S{n:04}", n + 1), key=f"S{n}") for n in range(1_000)]
        await advance(page, clock)
        await playwright.expect(rows.nth(999)).to_contain_text("1,000")
        took = await page.page.evaluate(
            """() => {
                const section = document.querySelector('#panels [aria-labelledby="panel-showing"]');
                const took = [];
                for (let tries = 0; tries < 3; tries += 1) {
                    const began = performance.now();
                    section.querySelector(":scope > button").click();
                    section.querySelector(":scope > button").click();
                    took.push(performance.now() - began);
                }
                return Math.min(...took);
            }"""
        )
        await section.get_by_label("Filter Shown").fill("s0777")
        await playwright.expect(rows).to_have_count(1)
    assert took < 2_000
    assert page.faults == []


async def test_three_programs_are_shown_together_and_one_by_one(
    page: Page, clock: FakeClock
) -> None:
    together = Together(await open_shared("memory://", clock=clock, drivers={}))

    def join(name: str, *, shows: bool = False) -> Argo:
        return Argo.open(
            {
                "argo": {"shared": "together://"},
                "plugins": {"dashboard": {"port": 0} if shows else {}},
            },
            clock=clock,
            plugins={
                "asked": FakePlugin(operations=(bars,), upstreams=(Scripted("a", ["bars"]),)),
                "memory": FakePlugin(layer=Layer("memory", Memory(), slot="cache")),
                "together": together,
                "dashboard": DashboardPlugin(),
                "showing": Showing(lines=[Line((name, 1))]),
            },
            installed=False,
        )

    async with AsyncExitStack() as stack:
        programs = [await stack.enter_async_context(join(f"program {n}")) for n in range(3)]
        viewer = await stack.enter_async_context(join("viewer", shows=True))
        for times, argo in enumerate(programs, 1):
            for _ in range(times):
                await argo.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        await page.open(viewer)
        await page.seen("live, 3 programs")
        for _ in range(4):
            await advance(page, clock)
        section = page.section("Shown")
        await playwright.expect(section.locator("tbody tr")).to_have_count(3)
        for n in range(3):
            await playwright.expect(section).to_contain_text(f"program {n}")
        total = page.page.locator("#operations tbody tr td:last-child")
        await playwright.expect(total).to_have_text("6")
        name = context_of(programs[1]).counters.instance
        await page.page.get_by_role("combobox").select_option(name)
        await advance(page, clock)
        await playwright.expect(total).to_have_text("2")
        await playwright.expect(section.locator("tbody tr")).to_have_count(1)
    assert page.faults == []


async def test_a_ramp_is_rolled_back_by_its_button(page: Page, clock: FakeClock) -> None:
    async def untouched(call, call_next):  # type: ignore[no-untyped-def]
        return await call_next(call)

    argo = Argo.open(
        {
            "argo": {"shared": "memory://"},
            "flags": {"bold": "50%"},
            "plugins": {"dashboard": {"port": 0}, "rollout": {"judge": False}},
        },
        clock=clock,
        plugins={
            "asked": FakePlugin(operations=(bars,), upstreams=(Scripted("a", ["bars"]),)),
            "bold": FakePlugin(layer=Layer("bold", untouched, before=("coalesce",))),
            "dashboard": DashboardPlugin(),
            "rollout": RolloutPlugin(),
        },
        installed=False,
    )
    async with argo:
        context = context_of(argo)
        evidence = {
            "words": "requests for each call", "treatment": 0.5, "control": 1.0, "change": -0.5,
            "low": -0.6, "high": -0.4, "state": "better",
        }  # fmt: skip
        from argo_mw_rollout.plan import Plan

        ramp = Ramp(
            "bold", Plan(steps=("50%", "on")), started=clock.time(), since=clock.time(), place=0,
            before="off", verdict={"evidence": [evidence]},
        )  # fmt: skip
        await Ramps(context).change("bold", lambda _: ramp)
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        section = page.section("Ramps")
        for text in ("requests for each call", "-50.0 %", "-60.0 %", "-40.0 %", "better"):
            await playwright.expect(section).to_contain_text(text)
        await section.get_by_role("button", name="Roll back: bold").click()
        dialog = page.page.get_by_role("dialog")
        await playwright.expect(dialog).to_contain_text("Roll bold back")
        await dialog.get_by_role("button", name="Roll back").click()
        await page.seen("bold is rolled back")
        assert context.flags.all["bold"].rule.rolled_back == "a person pressed the button"
        await advance(page, clock)
        await playwright.expect(page.page.locator("#journal")).to_contain_text("roll back bold")
    assert page.faults == []


async def test_it_is_readable_on_a_phone_and_in_the_dark(new_page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line(("x" * 300, "y " * 200), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        grounds = []
        for scheme in ("light", "dark"):
            page = await new_page(color_scheme=scheme, viewport={"width": 320, "height": 640})
            await page.open(argo)
            await page.seen(re.compile("live, 1"))
            wide = await page.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 320
            grounds.append(
                await page.page.evaluate("getComputedStyle(document.body).backgroundColor")
            )
    assert grounds[0] != grounds[1]


async def test_a_screen_reader_finds_names_and_headings(page: Page, clock: FakeClock) -> None:
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.seen(re.compile("live"))
        tree = await page.page.locator("body").aria_snapshot()
    for part in (
        'heading "The chain" [level=2]',
        'heading "memory" [level=3]',
        'table "Shown"',
        'columnheader "operation"',
        'button "Press: AAPL"',
        'combobox "Show"',
        'img "calls a second:',
    ):
        assert part in tree, part


async def test_what_stands_still_is_said_to_be_old(page: Page, clock: FakeClock) -> None:
    async with open_argo(clock) as argo:
        await page.page.clock.install()
        await page.open(argo)
        await page.seen(re.compile("live"))
        await page.page.clock.fast_forward(30_000)
        await page.seen(re.compile("old: nothing new since"))
        await advance(page, clock)
        await page.seen(re.compile("live"))


async def test_numbers_go_on_when_the_clock_of_the_program_is_put_back(
    page: Page, clock: FakeClock
) -> None:
    async with open_argo(clock) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.seen(re.compile("live"))
        figure = page.page.locator("#figures figure").first
        await advance(page, clock)
        await advance(page, clock)
        await playwright.expect(figure.locator("strong")).to_have_text("0")
        clock.set_wall(clock.time() - 3_600)
        for _ in range(400):
            await argo.call("bars", symbol="AAPL")
        await advance(page, clock)
        await playwright.expect(figure.locator("strong")).not_to_have_text("0")
        curve = await figure.locator("svg").get_attribute("aria-label")
        assert "0 now" not in str(curve)


async def test_a_button_without_an_answer_is_not_said_to_have_done_nothing(
    page: Page, clock: FakeClock
) -> None:
    """It may have done all of it."""
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.page.route("**/api/press", lambda route: route.abort("connectionreset"))
        await page.page.get_by_role("button", name="Press: AAPL").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Press").click()
        await page.seen("No answer came: the journal says whether it was done")


async def test_an_average_since_the_start_is_in_no_curve(page: Page, clock: FakeClock) -> None:
    async with open_argo(clock) as argo:
        for _ in range(1_000):
            await argo.call("bars", symbol="AAPL")
        await clock.advance(100.0)
        await page.open(argo)
        figure = page.page.locator("#figures figure").first
        await playwright.expect(figure.locator("strong")).to_have_text("10")
        for _ in range(3):
            await advance(page, clock)
        curve = await figure.locator("svg").get_attribute("aria-label")
        assert curve == "calls a second: 0 now, from 0 to 0"


async def test_a_program_that_is_looked_at_alone_and_ends_is_said_to_be_gone(
    page: Page, clock: FakeClock
) -> None:
    async with open_argo(clock) as argo:
        await argo.call("bars", symbol="AAPL")
        await page.open(argo)
        await page.seen(re.compile("live, 1"))
        counters = context_of(argo).counters
        await page.page.get_by_label("Show").select_option(counters.instance)
        await page.seen(re.compile("live, 1"))
        counters.instance = "another"
        await advance(page, clock)
        chosen = page.page.locator("#instance option:checked")
        await playwright.expect(chosen).to_have_text(re.compile(r"\(not seen now\)"))


async def test_a_screen_reader_announces_silence_once(page: Page, clock: FakeClock) -> None:
    """A text that changes each second would be read aloud each second."""
    async with open_argo(clock) as argo:
        await page.page.clock.install()
        await page.open(argo)
        await page.seen(re.compile("live"))
        await page.page.clock.fast_forward(30_000)
        await page.seen(re.compile("old: nothing new since"))
        said = await page.page.locator("#state").text_content()
        await page.page.clock.fast_forward(60_000)
        assert said == await page.page.locator("#state").text_content()


async def test_texts_contrast_with_their_ground_and_controls_have_names(
    new_page, clock: FakeClock
) -> None:
    """By the measure of WCAG 2.2: a contrast of 4.5 to 1, and targets of 24 pixels."""
    showing = Showing(
        lines=[Line(("AAPL", 1), key="AAPL", tone=t) for t in ("good", "warn", "bad")]
    )
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        context_of(argo).report("here", "something")
        for scheme in ("light", "dark"):
            page = await new_page(color_scheme=scheme)
            await page.open(argo)
            await page.seen(re.compile("live, 1"))
            assert [] == await page.page.evaluate(FAINT_OR_NAMELESS)
