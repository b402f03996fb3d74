"""Models that turn texts and pictures into vectors. None is loaded before it is constructed."""

from diptych.encoders.function import FunctionEncoder
from diptych.encoders.offline import OfflineTextEncoder
from diptych.encoders.open_clip import OpenClipEncoder
from diptych.encoders.sentence_transformers import SentenceTransformerEncoder
from diptych.encoders.toy import ToyEncoder

__all__ = [
    "FunctionEncoder",
    "OfflineTextEncoder",
    "OpenClipEncoder",
    "SentenceTransformerEncoder",
    "ToyEncoder",
]
