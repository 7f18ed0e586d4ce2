#!/usr/bin/env python3
"""Take the pictures of the review page in docs/pictures.

usage: screenshots.py OUT

    heartmend phantom --output COHORT --count 6 --seed 11 --faults harsh
    heartmend run COHORT/labels_noisy --images COHORT/images --output OUT
    python docs/screenshots.py OUT

Needs `pip install '.[dev]'` and Chromium. The pictures have a palette, so that each is below 150 KB.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.browser import launched, served

PICTURES = Path(__file__).parent / "pictures"
LIMIT_BYTES = 150_000
DESKTOP, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def save(page: Any, name: str) -> None:
    """Take a picture of the page when all views are drawn."""
    page.wait_for_function("() => !window.page.viewer.solidsAreDue")
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = PICTURES / f"{name}.png"
    for colours in (256, 192, 128, 96):
        # A palette that has the rare colours of the changes too.
        small = picture.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        if path.stat().st_size <= LIMIT_BYTES:
            break
    Console().print(f"{path}: {path.stat().st_size / 1000:.0f} KB")


def draw_stroke(page: Any) -> None:
    """Correct the selected structure by one stroke of the brush in the axial plane, without saving it."""
    page.keyboard.press("x")
    page.wait_for_function("() => document.getElementById('edit-state').textContent.startsWith('0 steps')")
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
    page.mouse.move(x + 10, y + 20)
    page.mouse.down()
    page.mouse.move(x + 50, y + 45, steps=6)
    page.mouse.up()
    page.wait_for_function("() => document.getElementById('edit-state').textContent.startsWith('1 step')")
    page.mouse.move(x + 60, y + 30)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with served(out) as url, launched() as browser:
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(600_000)
        page.goto(url)
        page.wait_for_selector("body[data-shown]")
        page.wait_for_selector("#stage[data-ready]")
        page.evaluate("() => window.page.select('LV')")
        save(page, "review")
        draw_stroke(page)
        save(page, "review_edit")
        page.evaluate("() => window.page.edit.stop()")
        page.evaluate("() => window.page.display.setLayout('heart').then(() => window.page.select(null))")
        save(page, "review_heart")
        page.evaluate("() => window.page.display.setLayout('vessel').then(() => window.page.viewer.cuts.moveAlong(60))")
        save(page, "review_vessel")
        page.evaluate("() => window.page.display.setLayout('heart').then(() => window.page.viewer.cuts.reset())")
        page.evaluate("() => window.page.display.setLayout('solids')")
        for _ in range(2):
            page.keyboard.press("k")
        save(page, "review_cut")
        page.set_viewport_size(NARROW)
        page.evaluate("() => window.page.display.setLayout('heart')")
        save(page, "review_narrow")


if __name__ == "__main__":
    main()
