"""The one place that reads, decodes and encodes pictures.

What counts is the content, never the name of the file. JPEG, PNG, WEBP, GIF, BMP and TIFF are
read, whatever the colour mode, and always become upright 8-bit RGB on a white ground. Size limits
are checked on the header, before anything is decoded. Metadata (ICC, XMP, text) is not parsed,
except for the EXIF orientation. Every failure is a :class:`~diptych.errors.MediaError`.

Safe to call from several threads; no setting of Pillow is changed.
"""

from diptych.media._decode import decode, from_pil
from diptych.media._file import MAX_BYTES, read_file
from diptych.media._fit import fit
from diptych.media._given import from_array, from_open_file, is_array, is_open_file
from diptych.media._header import MAX_FRAMES, MAX_PIXELS, MAX_SIDE, Header, read_header
from diptych.media._uri import parse_data_uri, source_of

__all__ = [
    "MAX_BYTES",
    "MAX_FRAMES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "Header",
    "decode",
    "fit",
    "from_array",
    "from_open_file",
    "from_pil",
    "is_array",
    "is_open_file",
    "parse_data_uri",
    "read_file",
    "read_header",
    "source_of",
]
