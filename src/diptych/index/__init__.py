"""The index over three kinds of vectors and the words of one corpus."""

from diptych.index.multimodal import MultimodalIndex
from diptych.index.options import IndexOptions
from diptych.index.regroup import in_stored_groups
from diptych.index.views import IndexInfo, VectorView

__all__ = ["IndexInfo", "IndexOptions", "MultimodalIndex", "VectorView", "in_stored_groups"]
