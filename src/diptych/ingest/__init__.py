"""Readers: files to documents with stable ids, groups and a reading order.

:func:`read` takes a file or a folder and yields documents lazily. The id of a document is made of
the path of its file, relative to the folder that is read, and its place in the file:

==========================  =====================================================================
``guide/pumps.md#3``        the third chunk of text of a page or a text file
``guide/pumps.md#figure-2`` the second picture of a page, with its caption and alternative text
``faq.jsonl#17``            the record in line 17, unless it has an ``id`` of its own
``photos/a.jpg``            a picture by itself, with the caption that lies beside it
==========================  =====================================================================

Ids do not depend on where the folder lies, on the machine, or on other files. When a page changes,
only its own ids can change: a paragraph that is put in moves the numbers of the chunks after it.
``MultimodalIndex.upsert`` and ``sync`` replace a page as a whole, also when it has become shorter.

Two folders with files of one name need different prefixes; ``MultimodalIndex.prefixes_for`` chooses them.

The documents of a section of a page are one ``group``; ``order`` is their place in the page. So a
text that is found brings the picture nearest to it, and a picture its text.
"""

from diptych.ingest.chunk import MAX_CHARS, split
from diptych.ingest.reading import Reading, read

__all__ = ["MAX_CHARS", "Reading", "read", "split"]
