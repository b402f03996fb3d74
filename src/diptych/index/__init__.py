"""The index over three kinds of vectors and the words of one corpus."""

from diptych.index.multimodal import MultimodalIndex
from diptych.index.views import IndexInfo, VectorView

__all__ = ["IndexInfo", "MultimodalIndex", "VectorView"]
