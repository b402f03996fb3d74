"""Between a text encoder and an image encoder: alignment of two spaces, fusion of two vectors."""

from diptych.align.compressed_fusion import CompressedFusion
from diptych.align.cross_modal import CrossModalAligner
from diptych.align.fusion_model import ConcatFusion
from diptych.align.projector import Projector
from diptych.align.report import AlignReport, Candidate
from diptych.align.scores import Scores

__all__ = [
    "AlignReport",
    "Candidate",
    "CompressedFusion",
    "ConcatFusion",
    "CrossModalAligner",
    "Projector",
    "Scores",
]
