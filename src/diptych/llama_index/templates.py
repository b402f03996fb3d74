"""Templates that were written for texts, as ones that show pictures too."""

from __future__ import annotations

import string

from llama_index.core.prompts import (
    BasePromptTemplate,
    ChatPromptTemplate,
    PromptTemplate,
    RichPromptTemplate,
)

from diptych.errors import InvalidArgument

__all__ = ["with_blocks", "with_context"]

_FORMATTER = string.Formatter()
_CONTEXT = "context_str"

_BLOCKS = """{% for message in context_messages %}
{% for block in message.blocks %}
{% if block.block_type == 'text' %}
{{ block.text }}
{% elif block.block_type == 'image' %}
{{ block.inline_url() | image }}
{% endif %}
{% endfor %}
{% endfor %}"""


def with_blocks(template: BasePromptTemplate | None) -> BasePromptTemplate | None:
    """Return a template of ``{context_str}`` and ``{query_str}`` as one that takes pictures too.

    LlamaIndex's multimodal synthesizers ignore text templates; so what was written for texts would
    silently not count.

    Raises:
        InvalidArgument: A template of a class that cannot be rewritten.
    """
    if template is None or isinstance(template, RichPromptTemplate):
        return template
    return _rich(template, _messages(template))


def with_context(template: BasePromptTemplate, *, pictures: bool) -> BasePromptTemplate:
    """Return the template of a question about a picture, with the context where it names none.

    LlamaIndex fills ``{query_str}`` alone into an ``image_qa_template`` and puts the pictures before
    it; one with ``{context_str}`` fails there with a ``KeyError``. Here both work.

    Args:
        template: A prompt template.
        pictures: Whether pictures are shown, or words alone.

    Raises:
        InvalidArgument: A template of a class that cannot be rewritten.
    """
    if isinstance(template, RichPromptTemplate):
        return template
    messages = _messages(template)
    if not any(_CONTEXT in _names(text, template) for _, text in messages):
        at = next((i for i, (role, _) in enumerate(messages) if role == "user"), -1)
        role, text = messages[at]
        messages[at] = (role, f"{{{_name(_CONTEXT, template)}}}\n{text}")
    elif not pictures:
        return template
    if pictures:
        return _rich(template, messages)
    made = ChatPromptTemplate.from_messages(
        messages,
        template_var_mappings=template.template_var_mappings,
        function_mappings=template.function_mappings,
    )
    return made.partial_format(**template.kwargs) if template.kwargs else made


def _messages(template: BasePromptTemplate) -> list[tuple[str, str]]:
    """Return the role and the text of each message of a template."""
    if isinstance(template, PromptTemplate):
        return [("user", template.template)]
    if isinstance(template, ChatPromptTemplate):
        return [(m.role.value, m.content or "") for m in template.message_templates]
    raise InvalidArgument(
        f"A text_qa_template of class {type(template).__name__} cannot show pictures. Pass "
        "chat_content_qa_template=RichPromptTemplate(…), or multimodal=False."
    )


def _name(variable: str, template: BasePromptTemplate) -> str:
    """Return the name that a template has for a variable."""
    name: str = (template.template_var_mappings or {}).get(variable, variable)
    return name


def _names(text: str, template: BasePromptTemplate) -> set[str]:
    """Return the variables of a text, by LlamaIndex's names for them."""
    return {_variable(name, template) for _, name, _, _ in _FORMATTER.parse(text) if name}


def _variable(name: str, template: BasePromptTemplate) -> str:
    mappings = template.template_var_mappings or {}
    return next((variable for variable, own in mappings.items() if own == name), name)


def _rich(template: BasePromptTemplate, messages: list[tuple[str, str]]) -> RichPromptTemplate:
    made = RichPromptTemplate(
        "\n".join(
            f'{{% chat role="{role}" %}}\n{_rewritten(text, template)}\n{{% endchat %}}'
            for role, text in messages
        ),
        function_mappings=template.function_mappings,
    )
    if not template.kwargs:
        return made
    filled: RichPromptTemplate = made.partial_format(**template.kwargs)
    return filled


def _rewritten(text: str, template: BasePromptTemplate) -> str:
    """Return a text of Python's format language in that of Jinja."""
    pieces = []
    for literal, name, _, _ in _FORMATTER.parse(text):
        # Literal braces must not be read as Jinja's.
        pieces.append(literal.replace("{", "{{ '{' }}"))
        if name is None:
            continue
        variable = _variable(name, template)
        pieces.append(_BLOCKS if variable == _CONTEXT else f"{{{{ {variable} }}}}")
    return "".join(pieces)
