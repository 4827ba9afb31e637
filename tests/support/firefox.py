"""Debian's Firefox, driven over WebDriver BiDi: no driver program, one WebSocket to the browser itself."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import signal
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFERENCES: Final[dict[str, bool | int | str]] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    # Without these two a call on this machine alone cannot connect: .local names that nobody resolves, and
    # loopback candidates of the other side ignored.
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.peerconnection.ice.loopback": True,
    # Nothing here is to reach for the network.
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
START_TIMEOUT_S: Final = 60
"""The first start makes a profile; on two busy cores this has taken some 10 s."""
COMMAND_TIMEOUT_S: Final = 60
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Screenshots come as base64 in one message."""
_LISTENING: Final = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class FirefoxError(RuntimeError):
    """Firefox did not start, refused a command, or a script in a page failed."""


class FirefoxTab:
    """A page in a user context of its own: its storage is shared with no other tab."""

    def __init__(self, browser: FirefoxBrowser, context: str, user_context: str) -> None:
        self.browser = browser
        self.context = context
        self.user_context = user_context
        self.errors: list[str] = []
        """Uncaught exceptions and console errors, in the order they came."""

    async def navigate(self, url: str) -> None:
        await self.browser.command("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def evaluate(self, function: str, argument: object = None) -> Any:
        """Call a JavaScript function with one JSON argument and wait for what it returns or resolves to."""
        # JSON both ways: BiDi's own value encoding is of no use to a test.
        declaration = f"async (text) => JSON.stringify((await ({function})(JSON.parse(text))) ?? null)"
        answer = await self.browser.command(
            "script.callFunction",
            functionDeclaration=declaration,
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise FirefoxError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def reload(self) -> None:
        await self.browser.command("browsingContext.reload", context=self.context, wait="complete")

    async def click(self, selector: str) -> None:
        await self.evaluate("(selector) => document.querySelector(selector).click()", selector)

    async def screenshot(self) -> bytes:
        """The visible part of the page, as PNG."""
        answer = await self.browser.command("browsingContext.captureScreenshot", context=self.context)
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        await self.browser.command("browser.removeUserContext", userContext=self.user_context)


class FirefoxBrowser:
    """One Firefox process and the WebSocket that commands it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, pid: int) -> None:
        self.pid = pid
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tabs: dict[str, FirefoxTab] = {}

    async def command(self, method: str, **params: object) -> dict[str, Any]:
        """Send one BiDi command and return its result; raises FirefoxError with what Firefox says."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                answer = await self._waiting[number]
        finally:
            del self._waiting[number]
        if answer["type"] == "error":
            raise FirefoxError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def new_tab(self, *, preload: str | None = None) -> FirefoxTab:
        """Open a tab; `preload` is a script that runs in each page before the page's own."""
        user_context = (await self.command("browser.createUserContext"))["userContext"]
        if preload is not None:
            await self.command(
                "script.addPreloadScript",
                functionDeclaration=f"() => {{ {preload} }}",
                userContexts=[user_context],
            )
        answer = await self.command("browsingContext.create", type="tab", userContext=user_context)
        tab = FirefoxTab(self, answer["context"], user_context)
        self._tabs[tab.context] = tab
        return tab

    def kill(self) -> None:
        """End the browser as a crash would: the server is told nothing."""
        os.kill(self.pid, signal.SIGKILL)

    async def listen(self) -> None:
        """Hand answers to who waits for them and log entries to their tabs, until the connection ends."""
        async for frame in self._socket:
            message = json.loads(frame.data)
            if message["type"] == "event":
                self._on_event(message["method"], message["params"])
            elif message["id"] in self._waiting:
                self._waiting[message["id"]].set_result(message)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(FirefoxError("Firefox closed the connection"))

    def _on_event(self, method: str, params: dict[str, Any]) -> None:
        tab = self._tabs.get(params.get("source", {}).get("context"))
        if method == "log.entryAdded" and params["level"] == "error" and tab is not None:
            tab.errors.append(params["text"] or "")


@asynccontextmanager
async def firefox() -> AsyncIterator[FirefoxBrowser]:
    """Start a browser with a new profile; it and the profile are gone at the end."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        raise FirefoxError("Firefox is missing: apt-get install firefox-esr (make test does so for root on Debian)")
    with tempfile.TemporaryDirectory(prefix="zvonim-firefox-", ignore_cleanup_errors=True) as home:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (Path(home) / "user.js").write_text("\n".join(lines) + "\n")
        process = await asyncio.create_subprocess_exec(
            path,
            *("--headless", "--no-remote", "--profile", home, "--remote-debugging-port", "0", "about:blank"),
            env={**os.environ, "HOME": home},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with _connected(process) as browser:
                yield browser
        finally:
            await _end(process)


@asynccontextmanager
async def _connected(process: asyncio.subprocess.Process) -> AsyncIterator[FirefoxBrowser]:
    assert process.stderr is not None
    address = await _address(process.stderr)
    drain = asyncio.create_task(_drain(process.stderr))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{address}/session", max_msg_size=MAX_MESSAGE_BYTES) as socket,
    ):
        browser = FirefoxBrowser(socket, process.pid)
        listener = asyncio.create_task(browser.listen())
        try:
            await browser.command("session.new", capabilities={})
            await browser.command("session.subscribe", events=["log.entryAdded"])
            yield browser
            if process.returncode is None:
                await browser.command("browser.close")
        finally:
            for task in (listener, drain):
                task.cancel()
            await asyncio.gather(listener, drain, return_exceptions=True)


async def _address(stderr: asyncio.StreamReader) -> str:
    """Read Firefox's messages until it says where it listens."""
    said: list[str] = []
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while line := (await stderr.readline()).decode(errors="replace"):
                said.append(line)
                if found := _LISTENING.search(line):
                    return found[1]
    except TimeoutError:
        said.append(f"(nothing more in {START_TIMEOUT_S} s)\n")
    raise FirefoxError("Firefox did not start:\n" + "".join(said[-20:]))


async def _drain(stderr: asyncio.StreamReader) -> None:
    """Keep the pipe from filling: a browser that cannot write its warnings stands still."""
    while await stderr.read(65536):
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a clean end, then end the process and its children (its own session) by force."""
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        await process.wait()
