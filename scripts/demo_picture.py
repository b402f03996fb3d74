"""Makes ``docs/images/demo.png``: the page that ``diptych demo`` writes, as a browser shows it.

    python scripts/demo_picture.py

needs Chromium, and fonts for all scripts (Debian: ``chromium fonts-noto-cjk``). The picture is written
only if it looks different from the one that is there; the long tier (``tests/crash/run.py``) runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "demo.png"

SIZE, SCALE = (1100, 1190), 0.8
"""Width and height of the window: the first question whole, the second begun; and pixels for each of its."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

DIFFERENT = 32
"""By how many of 255 levels a pixel must change to count: text is smoothed a little differently elsewhere."""

SHARE = 0.002
"""The share of such pixels from which on a picture looks different: one more line of text is more."""


def main() -> int:
    """Make the picture, say what came of it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="say it for a program")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where it is, or is to be")
    arguments = parser.parse_args()
    said = draw(arguments.picture)
    print(json.dumps(said) if arguments.json else said.get("skipped") or said["outcome"])
    return 0


def draw(picture: Path) -> dict[str, str]:
    """Make the picture and return ``{"outcome": …}``, or ``{"skipped": reason}`` without a browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return {"skipped": f"none of {', '.join(BROWSERS)} is installed"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run([sys.executable, "-m", "diptych", "demo", folder / "demo"])
        shot = folder / "shot.png"
        run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--disable-breakpad", "--disable-crash-reporter", "--disable-dev-shm-usage",
                f"--force-device-scale-factor={SCALE}", "--force-color-profile=srgb",
                f"--user-data-dir={folder / 'profile'}", f"--window-size={SIZE[0]},{SIZE[1]}",
                f"--screenshot={shot}", (folder / "demo" / "results.html").as_uri(),
            ]
        )  # fmt: skip
        # 256 colours: a fifth of the size, and no difference that can be seen.
        new = Image.open(shot).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    return {"outcome": replace(picture, new)}


def run(command: list[str | Path]) -> None:
    """Run a command to its end.

    Raises:
        SystemExit: It fails; with what it said.
    """
    source = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": source, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=140, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def replace(picture: Path, new: Image.Image) -> str:
    """Write a picture unless the one that is there looks the same; return in words which it was."""
    what = "written: there was none"
    if picture.exists():
        changed = difference(Image.open(picture), new)
        if changed <= SHARE:
            return "unchanged"
        what = f"changed: {changed:.1%} of its pixels; commit the new one"
    temporary = picture.with_name(f".{picture.name}.{os.getpid()}")
    new.save(temporary, format="PNG", optimize=True)
    os.replace(temporary, picture)
    return what


def difference(old: Image.Image, new: Image.Image) -> float:
    """Return the share of pixels that look different, 1 for pictures of different sizes."""
    if old.size != new.size:
        return 1.0
    one, other = (np.asarray(image.convert("RGB"), np.int16) for image in (old, new))
    return float((np.abs(one - other).max(axis=2) > DIFFERENT).mean())


if __name__ == "__main__":
    raise SystemExit(main())
