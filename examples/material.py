"""The manual that the examples ask about: three lamps, drawn into a folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as Pil
from PIL import ImageDraw

SECTIONS = {
    "red": "A red lamp means that the water tank is empty. Fill it up to the line before you go on.",
    "blue": "A blue lamp means that the machine rinses itself. Wait until it goes out.",
    "green": "A green lamp means that the machine is ready and the cups are warm.",
}


def draw(colour: str) -> Pil.Image:
    """Return the figure of one lamp."""
    figure = Pil.new("RGB", (160, 120), "white")
    ImageDraw.Draw(figure).ellipse((50, 30, 110, 90), fill=colour, outline="black")
    return figure


def lay_out(folder: Path) -> Path:
    """Write the figures as PNG files and the paragraphs as text files; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour, text in SECTIONS.items():
        draw(colour).save(folder / f"{colour}-lamp.png")
        (folder / f"{colour}-lamp.txt").write_text(text)
    return folder
