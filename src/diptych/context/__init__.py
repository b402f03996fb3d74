"""From fused documents to what a model is shown: cited, fenced, within a budget."""

from diptych.context.build import (
    Citation,
    Context,
    ContextOptions,
    ImagePart,
    TextPart,
    build_context,
    check_options,
)
from diptych.context.displayed import displayed

__all__ = [
    "Citation",
    "Context",
    "ContextOptions",
    "ImagePart",
    "TextPart",
    "build_context",
    "check_options",
    "displayed",
]
