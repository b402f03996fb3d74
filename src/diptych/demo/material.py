"""Pages, photographs and questions to try the whole path on.

The pages are part of this package. The photographs are those that come within scikit-image; none
is fetched. One page has no picture, and one photograph has no words.
"""

from __future__ import annotations

import importlib.util
import shutil
from importlib import resources
from pathlib import Path

from PIL.Image import Transpose

from diptych.errors import MissingExtra
from diptych.image import Image
from diptych.optional import require
from diptych.types import Query

__all__ = ["PHOTOGRAPHS", "lay_out", "questions"]

PHOTOGRAPHS = {
    "astronaut.png": "NASA, public domain",
    "brick.png": "CC0 Textures, CC0",
    "camera.png": "Lav Varshney, CC0",
    "chelsea.png": "Stefan van der Walt, CC0",
    "clock_motion.png": "Stefan van der Walt, public domain",
    "coffee.png": "Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
    "grass.png": "linolafett, CC0",
    "gravel.png": "CC0 Textures, CC0",  # the one that no page shows
    "hubble_deep_field.jpg": "NASA, ESA and the XDF team, public domain",
    "retina.jpg": "Mikael Häggström, CC0",
    "rocket.jpg": "SpaceX, public domain",
}
"""The files of ``skimage/data`` that the pages show, with their authors and licences, as the
documentation of ``skimage.data`` states them."""


def lay_out(folder: Path) -> Path:
    """Write the pages and the photographs into a folder, and return it.

    The folder is made if need be; files of the same names are replaced.

    Raises:
        MissingExtra: scikit-image, whose wheel holds the photographs, is not installed.
    """
    photographs = _photographs()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for page in resources.files("diptych.demo").joinpath("pages").iterdir():
        if page.name.endswith(".md"):
            (folder / page.name).write_bytes(page.read_bytes())
    for name in PHOTOGRAPHS:
        shutil.copyfile(photographs / name, folder / "images" / name)
    return folder


def questions(folder: Path) -> list[Query]:
    """Return three questions about the material: two texts, and a text with a picture.

    The picture is a part of a photograph, mirrored and smaller, so it is not found by its bytes.
    What the text of that question asks about is only in the picture.

    Args:
        folder: Where :func:`lay_out` has put the material.
    """
    cup = Image(folder / "images" / "coffee.png").pil().crop((80, 0, 500, 330))
    cup = cup.transpose(Transpose.FLIP_LEFT_RIGHT).resize((210, 165))
    return [
        Query("Who was the first woman to command a Space Shuttle?"),
        Query("How can a doctor see blood vessels without cutting?"),
        Query("Where does the foam on top of this come from?", Image.of(cup)),
    ]


def _photographs() -> Path:
    """Return the folder of photographs within scikit-image, without importing it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        require("skimage", needed_by="diptych demo")
        raise MissingExtra("scikit-image is installed, but not as a folder of files.")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    missing = [name for name in PHOTOGRAPHS if not (folder / name).is_file()]
    if missing:
        raise MissingExtra(
            f"The installed scikit-image lacks the photographs {', '.join(missing)}; expected "
            'version 0.24 or later. Install it with: pip install -U "diptych[demo]"',
            name="skimage",
        )
    return folder
