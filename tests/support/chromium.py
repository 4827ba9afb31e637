"""Debian's Chromium, driven with Playwright: fake cameras and microphones from files, no network but loopback."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext, Page, Playwright

FAKE_USER_INTERFACE: Final = "--use-fake-ui-for-media-stream"
"""Permission for camera and microphone is given, and stays so whatever a test does about it."""
BASE_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    FAKE_USER_INTERFACE,
    "--autoplay-policy=no-user-gesture-required",
    # Media stays on loopback: without it Chromium has no 127.0.0.1 candidate and sends from the host's address.
    "--allow-loopback-in-peer-connection",
)
"""A reason that is not plain from the name: no sandbox as root."""

NAVIGATION_TIMEOUT_MS: Final = 20_000
"""Two cores shared by several browsers: a page may be slow, but not this slow."""


class ChromiumTab:
    """A page in a context of its own: its storage, and so its identity, is shared with no other tab."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.errors: list[str] = []
        """Uncaught exceptions and console errors, in the order they came."""
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)

    async def navigate(self, url: str) -> None:
        await self.page.goto(url)

    async def evaluate(self, function: str, argument: object = None) -> Any:
        """Call a JavaScript function with one JSON argument and wait for what it returns or resolves to."""
        return await self.page.evaluate(function, argument)

    async def reload(self) -> None:
        await self.page.reload()

    async def click(self, selector: str) -> None:
        await self.page.click(selector)

    async def wait_for(self, selector: str, *, within: float) -> None:
        """Wait until an element matches, for at most `within` seconds; raises Playwright's TimeoutError."""
        await self.page.wait_for_selector(selector, state="attached", timeout=within * 1000)

    async def screenshot(self) -> bytes:
        """The visible part of the page, as PNG."""
        return await self.page.screenshot()

    async def close(self) -> None:
        await self.context.close()


class ChromiumBrowser:
    """One browser process: every tab in it has the same fake camera and microphone."""

    def __init__(self, browser: Browser, pid: int) -> None:
        self.browser = browser
        self.pid = pid

    async def new_tab(self, *, preload: str | None = None) -> ChromiumTab:
        """Open a tab; `preload` is a script that runs in each page before the page's own."""
        context = await self.browser.new_context(viewport={"width": 960, "height": 600})
        context.set_default_timeout(NAVIGATION_TIMEOUT_MS)
        if preload is not None:
            await context.add_init_script(preload)
        return ChromiumTab(context, await context.new_page())

    def kill(self) -> None:
        """End the browser as a crash or the user's task manager would: the server is told nothing."""
        os.kill(self.pid, signal.SIGKILL)


def executable() -> str:
    """Where Chromium is; it is a test's requirement, so its absence is an error that says what to do."""
    path = shutil.which("chromium")
    if path is None:
        raise RuntimeError("Chromium is missing: apt-get install chromium (make test does so for root on Debian)")
    return path


@asynccontextmanager
async def chromium(
    playwright: Playwright,
    *,
    video: Path | None = None,
    audio: Path | None = None,
    arguments: Sequence[str] = (),
    without: Sequence[str] = (),
) -> AsyncIterator[ChromiumBrowser]:
    """Start a browser whose camera plays `video` (.y4m or .mjpeg) and whose microphone plays `audio` (.wav).

    `arguments` are added to BASE_ARGUMENTS, those in `without` are left out.
    """
    more = [argument for argument in BASE_ARGUMENTS if argument not in without]
    more += arguments
    if video is not None:
        more.append(f"--use-file-for-fake-video-capture={video}")
    if audio is not None:
        more.append(f"--use-file-for-fake-audio-capture={audio}")
    browser = await playwright.chromium.launch(executable_path=executable(), headless=True, args=more)
    try:
        session = await browser.new_browser_cdp_session()
        info = await session.send("SystemInfo.getProcessInfo")
        pid = next(process["id"] for process in info["processInfo"] if process["type"] == "browser")
        yield ChromiumBrowser(browser, pid)
    finally:
        await browser.close()


@asynccontextmanager
async def playwright_driver() -> AsyncIterator[Playwright]:
    """The process through which Playwright talks to its browsers: one serves any number of them."""
    async with async_playwright() as playwright:
        yield playwright
