"""What the examples ask about: a manual of three lamps, drawn into a folder."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image as Pil
from PIL import ImageColor, ImageDraw

SECTIONS = {
    "red": "A red lamp means that the water tank is empty. Fill it up to the line before you go on.",
    "blue": "A blue lamp means that the machine rinses itself. Wait until it goes out.",
    "green": "A green lamp means that the machine is ready and the cups are warm.",
}


def draw(colour: str, size: tuple[int, int] = (160, 120)) -> Pil.Image:
    """Return the figure of one lamp, in the middle of a picture of a size in pixels."""
    width, height = size
    figure = Pil.new("RGB", size, "white")
    box = (width * 5 // 16, height // 4, width * 11 // 16, height * 3 // 4)
    ImageDraw.Draw(figure).ellipse(box, fill=colour, outline="black")
    return figure


def lay_out(folder: Path) -> Path:
    """Write each figure as a PNG file and its paragraph as a text of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour, text in SECTIONS.items():
        draw(colour).save(folder / f"{colour}-lamp.png")
        (folder / f"{colour}-lamp.txt").write_text(text)
    return folder


def mix(folder: Path) -> Path:
    """Write texts, and pictures with nothing but a number for a name, as notebooks download them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (colour, text) in enumerate(SECTIONS.items(), start=1):
        draw(colour).save(folder / f"{number}.png")
        draw(colour, (200, 120)).save(folder / f"{number + len(SECTIONS)}.png")
        (folder / f"{colour}.txt").write_text(text)
    return folder


def lamp_in(data: bytes) -> str:
    """Return the colour of the lamp that a picture shows, whatever its size and format."""
    with Pil.open(io.BytesIO(data)) as picture:
        middle = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    if not isinstance(middle, tuple):
        raise ValueError(f"Not a picture of this manual: its middle is {middle!r}.")
    return min(
        SECTIONS,
        key=lambda colour: sum(
            abs(a - b) for a, b in zip(ImageColor.getrgb(colour)[:3], middle, strict=True)
        ),
    )
