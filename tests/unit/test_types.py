"""Documents, queries, fused documents and metadata."""

import dataclasses
import io

import PIL.Image
import pytest

from diptych.errors import DocumentError, InvalidArgument, MediaError
from diptych.metadata import MAX_DEPTH, checked_metadata
from diptych.types import LISTS, Document, Evidence, FusedDocument, Hit, Image, Query


def picture(colour="red"):
    file = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return Image(file.getvalue(), name=f"{colour}.png")


# ---- Document ----


def test_document_has_what_it_was_given():
    both = Document("text", picture())
    assert (both.has_text, both.has_image) == (True, True)
    assert (Document("text").has_text, Document("text").has_image) == (True, False)
    assert (Document(image=picture()).has_text, Document(image=picture()).has_image) == (
        False,
        True,
    )
    assert not Document(" \n", picture()).has_text


def test_picture_of_a_document_is_converted():
    assert Document(image=picture().read()).image == picture()
    assert Document(image=PIL.Image.new("RGB", (4, 4), "red")).image.size == (4, 4)
    with pytest.raises(MediaError, match="is a URL"):
        Document(image="https://example.com/a.png")


@pytest.mark.parametrize("text", [None, "", " \t\n"])
def test_empty_document_is_refused(text):
    with pytest.raises(DocumentError, match="'x' has neither text nor an image"):
        Document(text, id="x")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"text": 3}, "text of type int; expected a string"),
        ({"text": b"a"}, "text of type bytes"),
        ({"text": "a", "id": 3}, "id of type int"),
        ({"text": "a", "metadata": [1]}, "metadata of type list; expected a mapping"),
    ],
)
def test_wrong_types_are_refused(arguments, match):
    with pytest.raises(DocumentError, match=match):
        Document(**arguments)


def test_id_is_made_of_the_content():
    assert Document("a").id == Document("a", metadata={"x": 1}, order=3).id
    assert Document("a").id == "ea6fde9e840d240a4f5df3d85b5ad618"  # sha256 of "a\\0\\0"
    documents = [
        Document("a"),
        Document("b"),
        Document("a", picture()),
        Document(image=picture()),
        Document(image=picture("blue")),
        Document("a", group="g"),
    ]
    assert len({document.id for document in documents}) == len(documents)
    assert Document("a", id="mine").id == "mine"


def test_id_does_not_depend_on_where_the_picture_is(tmp_path):
    (tmp_path / "a.png").write_bytes(picture().read())
    assert Document(image=tmp_path / "a.png").id == Document(image=picture()).id


def test_picture_is_not_read_when_the_id_is_given(tmp_path):
    document = Document(image=tmp_path / "missing.png", id="later")
    assert document.id == "later"
    with pytest.raises(MediaError, match="could not be opened"):
        Document(image=tmp_path / "missing.png")


def test_source_is_metadata_then_name_then_id():
    assert Document("a", picture(), metadata={"source": "s"}).source == "s"
    assert Document("a", picture(), metadata={"source": 3}).source == "red.png"
    assert Document("a", id="i").source == "i"


def test_document_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Document("a").text = "b"


# ---- metadata ----


def test_metadata_is_copied_deeply():
    given = {"a": {"b": [1, {"c": 2}]}, "t": (1, 2)}
    document = Document("x", metadata=given)
    given["a"]["b"][1]["c"] = 3
    given["new"] = 1
    assert document.metadata == {"a": {"b": [1, {"c": 2}]}, "t": [1, 2]}


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**70), 1.5, "ü\n", [], {}, {"lc": 1, "$": "."}]
)
def test_json_values_come_back_as_given(value):
    assert Document("x", metadata={"key": value}).metadata == {"key": value}


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (float("nan"), r"metadata\.key is nan, which JSON cannot hold"),
        (float("-inf"), "is -inf"),
        (b"x", "is of type bytes; expected JSON"),
        ({1, 2}, "is of type set"),
        (object(), "is of type object"),
        ({1: "a"}, "has the key 1; keys must be strings"),
        ([{"a": [b""]}], r"metadata\.key\[0\]\.a\[0\] is of type bytes"),
        ("\ud800", "half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_place(value, match):
    with pytest.raises(DocumentError, match=match):
        Document("x", id="d", metadata={"key": value})


def nested(depth):
    value = 0
    for _ in range(depth):
        value = {"a": value}
    return value


def test_metadata_may_be_as_deep_as_the_limit():
    assert checked_metadata(nested(MAX_DEPTH), "d") == nested(MAX_DEPTH)
    for value in (nested(MAX_DEPTH + 1), nested(5000)):
        with pytest.raises(DocumentError, match=f"deeper than {MAX_DEPTH} levels"):
            checked_metadata(value, "d")


def test_metadata_that_contains_itself_is_refused():
    loop = {}
    loop["again"] = loop
    with pytest.raises(DocumentError, match="or contains itself"):
        checked_metadata(loop, "d")


@pytest.mark.parametrize("field", ["text", "id", "group"])
def test_half_of_a_surrogate_pair_is_refused(field):
    with pytest.raises(DocumentError, match="half of a surrogate pair at position 1"):
        Document(**{"text": "a", field: "a\ud800"})


# ---- Query ----


def test_query_of_takes_what_people_have():
    query = Query("a", picture())
    assert Query.of(query) is query
    assert Query.of("a/b.png") == Query(text="a/b.png")
    assert Query.of(picture()).image == picture()
    assert Query.of(picture().read()) == Query(image=picture())


def test_query_of_a_path_is_a_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(picture().read())
    assert Query.of(tmp_path / "a.png") == Query(image=picture())


@pytest.mark.parametrize("text", [None, "", "  "])
def test_empty_query_is_refused(text):
    with pytest.raises(InvalidArgument, match="needs text, an image, or both"):
        Query(text)


def test_query_of_the_wrong_type_is_refused():
    with pytest.raises(InvalidArgument, match="text of type int"):
        Query(3)
    with pytest.raises(InvalidArgument, match="given as int"):
        Query.of(3)


def test_weights_name_lists_and_are_not_negative():
    assert Query("a", weights=dict.fromkeys(LISTS, 0.5)).weights["lexical"] == 0.5
    with pytest.raises(InvalidArgument, match="weights the list 'images'; the lists are text, im"):
        Query("a", weights={"images": 1})
    for weight in (-1, float("nan"), float("inf")):
        with pytest.raises(InvalidArgument, match="expected a number ≥ 0"):
            Query("a", weights={"image": weight})


# ---- FusedDocument ----

PARAGRAPH = Document("A paragraph.", id="p", metadata={"source": "book", "page": 3})
FIGURE = Document("A caption.", picture(), id="f")
PHOTO = Document(image=picture("blue"), id="i")


def fused(*documents, first):
    evidence = (Evidence(first, "text", 1, 0.5, 0.4),)
    return FusedDocument(documents, 0.7, evidence, first)


def test_fused_document_joins_its_parts_in_reading_order():
    whole = fused(PARAGRAPH, FIGURE, PHOTO, first="f")
    assert whole.text == "A paragraph.\n\nA caption."
    assert whole.images == (picture(), picture("blue"))
    assert (whole.source, whole.metadata) == ("red.png", {})


def test_fused_document_is_described_by_what_was_found_first():
    whole = fused(PARAGRAPH, FIGURE, first="p")
    assert whole.source == "book"
    assert whole.metadata == {"source": "book", "page": 3}


@pytest.mark.parametrize(
    ("documents", "kind"),
    [((PARAGRAPH,), "text"), ((PHOTO,), "image"), ((PARAGRAPH, PHOTO), "text+image")],
)
def test_kind_says_what_the_parts_hold_together(documents, kind):
    assert fused(*documents, first=documents[0].id).kind == kind


def test_hits_are_values():
    assert Hit("a", 0.5) == Hit("a", 0.5)
    assert Evidence("a", "image", 2, 0.1).contribution == 0.0


def test_metadata_beyond_its_limit_is_refused():
    with pytest.raises(DocumentError, match="bytes of metadata, at most 262,144 are kept"):
        Document("text", metadata={"page": "x" * 300_000})


def test_weight_that_is_no_number_is_refused():
    with pytest.raises(InvalidArgument, match="the weight 'much'; expected a number"):
        Query("text", weights={"text": "much"})
