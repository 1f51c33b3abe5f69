"""A headless Chromium that a test walks pages with, by the protocol of its own developer tools."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 90
# What a person does with a field: its page hears of it.
_FILL = """(() => {
    const field = document.querySelector(%s);
    if (!field) return false;
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, %s);
    for (const each of ["input", "change"]) field.dispatchEvent(new Event(each, {bubbles: true}));
    return true;
})()"""
_REPLACE = """(() => {
    const field = [...document.querySelectorAll("input, textarea")].find(each => each.value === %s);
    if (!field) return false;
    field.scrollIntoView({block: "center"});
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, %s);
    for (const each of ["input", "change"]) field.dispatchEvent(new Event(each, {bubbles: true}));
    return true;
})()"""
# An image that has not come, or cannot be drawn, is nought pixels wide.
_DRAWN = "Math.max(0, ...[...document.querySelectorAll(%s)].map(each => each.naturalWidth))"
_PLACE = """(() => {
    const place = document.querySelector(%s)?.getBoundingClientRect();
    return place && place.width ? {x: place.x, y: place.y, width: place.width, height: place.height} : null;
})()"""
_CLICK = """(() => {
    const found = [...document.querySelectorAll(%s)].filter(each => each.innerText.trim() === %s && !each.disabled);
    if (!found.length) return false;
    found[found.length - 1].click();
    return true;
})()"""


class Page:
    """One page, and what a person would do with it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(await self._socket.recv())
            if said.get("id") == number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result

    async def open(self, url: str) -> None:
        await self.tell("Page.navigate", url=url)

    async def ask(self, script: str) -> Any:
        found = await self.tell("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    async def text(self) -> str:
        return str(await self.ask("document.body ? document.body.innerText : ''"))

    async def until(self, *shown: str) -> None:
        """Wait until all of that stands on the page."""
        seen = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while not all(each in seen for each in shown):
                    await asyncio.sleep(0.3)
                    seen = await self.text()
        except TimeoutError:
            raise AssertionError(f"not shown: {shown}; but:\n{seen}") from None

    async def fill(self, field: str, value: str) -> None:
        await self._until_done(_FILL % (json.dumps(field), json.dumps(value)))

    async def replace(self, value: str, other: str) -> None:
        """Put something else into the field that holds this."""
        await self._until_done(_REPLACE % (json.dumps(value), json.dumps(other)))

    async def until_drawn(self, image: str) -> int:
        """Wait for an image to be drawn, and give its own width."""
        await self._until_done(f"{_DRAWN % json.dumps(image)} > 0")
        return int(await self.ask(_DRAWN % json.dumps(image)))

    async def cut_out(self, part: str) -> Image.Image:
        """Give what is seen of a part of the page, such as a canvas."""
        await self._until_done(f"{_PLACE % json.dumps(part)} !== null")
        place = await self.ask(_PLACE % json.dumps(part))
        shot = await self.tell("Page.captureScreenshot", format="png", clip={**place, "scale": 1})
        return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")

    async def click(self, words: str, *, among: str = "button") -> None:
        await self._until_done(_CLICK % (json.dumps(among), json.dumps(words)))

    async def picture(self, file: Path) -> None:
        """Keep what is seen, once nothing moves any more."""
        await asyncio.sleep(1.5)
        shot = await self.tell("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    async def _until_done(self, script: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self.ask(script):
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"could not {script}; the page is:\n{await self.text()}") from None


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """Give an empty page of a browser with a profile of its own."""
    command = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run", "about:blank"),
    ]
    null = asyncio.subprocess.DEVNULL
    browser = await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null)
    try:
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client:
            while not (place := folder / "DevToolsActivePort").exists() or not place.read_text():
                await asyncio.sleep(0.2)
            tools = f"http://127.0.0.1:{place.read_text().split()[0]}"
            opened = (await client.put(f"{tools}/json/new?about:blank")).json()
        async with connect(opened["webSocketDebuggerUrl"], max_size=None) as socket:
            page = Page(socket)
            await page.tell("Page.enable")
            size = {"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
            await page.tell("Emulation.setDeviceMetricsOverride", **size)
            yield page
    finally:
        browser.terminate()
        await browser.wait()
