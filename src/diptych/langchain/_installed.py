"""Says which extra to install when LangChain is missing; imported before anything that needs it."""

from diptych.optional import require

require("langchain_core", needed_by="diptych.langchain")
