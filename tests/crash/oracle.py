"""Whether an index holds exactly what it should: documents, three lists, words, filters, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scenario import COLOURS, Model, document, open_index

from stubs import hashed_rows, png


def observe(index) -> Model:
    """Return what an index holds, as a model."""
    colours = {png(name): name for name in COLOURS}
    return {
        d.id: {
            "id": d.id,
            "text": d.text,
            "colour": colours[d.image.read()] if d.image else None,
            "meta": d.metadata,
            "group": d.group,
        }
        for d in index.get()
    }


def check(path: Path, allowed: list[Model]) -> Model:
    """Open an index, check it in full, and return what it holds, one of the allowed models."""
    if not (path / "store.sqlite3").exists():
        assert {} in allowed, f"nothing is stored, but {[sorted(m) for m in allowed]} may be"
        return {}
    with open_index(path) as index:
        model = observe(index)
        if model not in allowed:
            raise AssertionError(
                f"held {sorted(model)}, which is none of {[sorted(m) for m in allowed]}; differing: "
                + "; ".join(
                    f"{i}: {model.get(i)} / {allowed[-1].get(i)}"
                    for i in sorted({*model, *allowed[-1]})
                    if model.get(i) != allowed[-1].get(i)
                )
            )
        check_lists(index, model)
    return model


def check_lists(index, model: Model) -> None:
    """Compare the lists of an index with what the models of its documents say."""
    ids = sorted(model)
    texts = [i for i in ids if model[i]["text"]]
    images = [i for i in ids if model[i]["colour"]]
    text_rows = hashed_rows([model[i]["text"] for i in texts], 8, "stub-text")
    image_rows = hashed_rows([png(model[i]["colour"]) for i in images], 6, "stub-image")
    assert len(index.text_index) == len(texts)
    assert len(index.image_index) == len(images)
    if not index.info().spaces or not ids:
        return
    assert len(index.cross_modal_index) == len(ids)
    if texts:
        np.testing.assert_allclose(index.text_index.vectors(texts), text_rows, atol=1e-6)
    if images:
        np.testing.assert_allclose(index.image_index.vectors(images), image_rows, atol=1e-6)
    assert not np.isnan(index.cross_modal_index.vectors(ids)).any()
    for identity in ids[:: max(len(ids) // 8, 1)]:
        here = model[identity]
        assert identity in index.ids({"word": here["meta"]["word"]})
        assert {i for i in ids if model[i]["meta"]["n"] == here["meta"]["n"]} == set(
            index.ids({"n": here["meta"]["n"]})
        )
        if here["text"]:
            word = here["text"].split()[2]
            hits = {h.id for h in index.search(word, 500, modalities=["text"])["lexical"]}
            assert hits == {i for i in texts if model[i]["text"].split()[2] == word}


def check_goes_on(path: Path, model: Model) -> None:
    """Add and delete a document: the index works, and no left-overs stay."""
    extra = {
        "id": "extra",
        "text": "words of extra",
        "colour": "red",
        "meta": {"n": 1},
        "group": None,
    }
    with open_index(path) as index:
        index.upsert([document(extra)])
        index.delete(["extra"])
        assert observe(index) == model
    strays = [p.name for p in path.rglob("*") if p.name.startswith(".tmp-")]
    assert not strays, strays
