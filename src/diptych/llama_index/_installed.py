"""Says which extra to install when LlamaIndex is missing; imported before anything that needs it."""

from diptych.optional import require

require("llama_index.core", needed_by="diptych.llama_index")
