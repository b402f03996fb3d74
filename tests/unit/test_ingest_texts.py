import codecs

import pytest

from diptych.errors import InvalidArgument
from diptych.ingest.texts import check_is_text, decode

TEXT = "Zoë said “naïve” – 日本"
LATIN = "Zoë said “naïve” – €"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (TEXT.encode(), TEXT),
        (codecs.BOM_UTF8 + TEXT.encode(), TEXT),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), TEXT),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), TEXT),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), TEXT),
        (LATIN.encode("cp1252"), LATIN),
        # One broken byte among much UTF-8 does not make nonsense of the rest.
        (TEXT.encode() + b"\xff" + TEXT.encode(), f"{TEXT}\ufffd{TEXT}"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        (b"a\0b", "a\ufffdb"),
        (b"", ""),
        (codecs.BOM_UTF16_LE + b"a\0b", "a\ufffd"),  # an odd number of bytes
        (codecs.BOM_UTF16_LE + b"\x00\xd8a\0", "\ufffda"),  # half of a surrogate pair
        (b"\x81\x8d", "\ufffd\ufffd"),  # undefined even in cp1252
    ],
)
def test_text_is_decoded_by_what_it_holds(data, text):
    assert decode(data) == text


@pytest.mark.parametrize(
    ("head", "charset"),
    [
        ('<meta charset="shift_jis">', "shift_jis"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=euc-jp">', "euc-jp"),
        ('<?xml version="1.0" encoding="gb18030"?>', "gb18030"),
    ],
)
def test_a_page_may_declare_its_charset(head, charset):
    assert decode((head + "日本").encode(charset), declared=True) == head + "日本"


@pytest.mark.parametrize(
    "charset", ["no-such", "unicode_escape", "idna", "base64", "utf-16", "x" * 99]
)
def test_a_charset_that_is_none_counts_for_nothing(charset):
    head = f"<meta charset={charset}>"
    assert decode(f"{head}café".encode("cp1252"), declared=True) == f"{head}café"


def test_latin_1_is_read_as_browsers_do():
    assert decode(b"<meta charset=iso-8859-1>\x80", declared=True).endswith("€")


def test_valid_utf_8_wins_over_a_declaration_and_text_declares_nothing():
    assert decode("<meta charset=cp1252>é".encode(), declared=True).endswith(">é")
    assert decode("charset=shift_jis ã“".encode("cp1252")) == "charset=shift_jis ã“"


def test_binary_data_is_refused():
    with pytest.raises(InvalidArgument, match=r"'a\.txt' holds binary data; expected text"):
        check_is_text("no mark".encode("utf-16-le"), "a.txt")
    check_is_text(b"one \0 in a text", "a.txt")
    check_is_text(codecs.BOM_UTF16_LE + "mark".encode("utf-16-le"), "a.txt")
    check_is_text(b"", "a.txt")
