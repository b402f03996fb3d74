"""From a question to what the full-text index is asked: any of its words that carry meaning."""

from __future__ import annotations

import re

__all__ = ["MAX_WORDS", "STOP_WORDS", "match_expression"]

MAX_WORDS = 64
"""How many different words of a query count; the first ones. BM25 of more is slow and blurred."""

STOP_WORDS = frozenset(
    "a about above after again all also am an and any are as at be because been before being below "
    "between both but by can could did do does doing down during each for from further had has have "
    "having he her here hers him his how i if in into is it its itself just me more most my no nor not "
    "of off on once only or other our out over own same she should so some such than that the their "
    "them then there these they this those through to too under until up very was we were what when "
    "where which while who whom why will with would you your".split()
)
"""English words that are in nearly every text. They are left out of a query only, and only while
something else is left of it."""

# Letters and digits of any script, with their combining accents; FTS5's unicode61 splits texts the
# same way. Characters of scripts without spaces (Chinese, Japanese, Thai) run together there as here.
_WORD = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+")


def match_expression(text: str) -> str | None:
    """Return an FTS5 expression that matches any word of ``text``, or None when there is none.

    Every word is quoted, so that nothing of the text is read as the syntax of FTS5.

    Args:
        text: A question in any script; may hold quotes, operators or control characters.

    Example:
        >>> match_expression('how to prime the "NEAR" pump?')
        '"prime" OR "near" OR "pump"'
    """
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    telling = [word for word in words if word not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:MAX_WORDS]) or None
