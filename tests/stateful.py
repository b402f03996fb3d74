"""A model of the index: a dict of documents, and numpy and loops for every list."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from diptych import Document, MultimodalIndex, Query
from diptych.errors import DocumentError
from diptych.image import Image
from diptych.maintenance import backup, reembed, verify
from filter_reference import FILTERS, METADATA, matches
from stubs import StubJoint, StubText, hashed_rows, png

IDS = st.sampled_from([str(i) for i in range(12)])
TEXTS = st.one_of(
    st.none(), st.sampled_from(["red pump", "blue wall", "a red wall", "pump pump", "é", " "])
)
COLOURS = st.one_of(st.none(), st.sampled_from(["red", "green", "blue", "white"]))
GROUPS = st.one_of(st.none(), st.sampled_from(["g", "h"]))


@st.composite
def documents(draw):
    text, colour = draw(TEXTS), draw(COLOURS)
    if colour is None and not (text or "").strip():
        text = "only words"
    return Document(
        text,
        Image(png(colour)) if colour else None,
        id=draw(IDS),
        metadata=draw(METADATA),
        group=draw(GROUPS),
        order=draw(st.integers(0, 3)),
    )


BATCHES = st.lists(documents(), min_size=1, max_size=6, unique_by=lambda d: d.id)


def facts(document):
    return (
        document.text if document.has_text else None,
        document.image.sha256 if document.image else None,
        document.metadata,
        document.group,
        document.order,
    )


class IndexMachine(RuleBasedStateMachine):
    """Runs the index and the model side by side."""

    kind = "flat"
    steps = 0

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model = {}
        self.text_dim = 8

    @initialize(persistent=st.booleans())
    def open(self, persistent):
        self.path = self.folder / "index" if persistent else None
        self.index, self.other = self.opened(), None

    def opened(self):
        return MultimodalIndex(
            StubText(self.text_dim), StubJoint(6), path=self.path, kind=self.kind
        )

    def teardown(self):
        if hasattr(self, "index"):
            self.index.close()
            self.let_go_of_the_other()
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(batch=BATCHES, size=st.sampled_from([1, 2, 64]))
    def upsert(self, batch, size):
        self.index.upsert(batch, batch_size=size)
        self.model.update({d.id: d for d in batch})

    @rule(batch=BATCHES)
    def add(self, batch):
        changed = [d for d in batch if d.id in self.model and facts(d) != facts(self.model[d.id])]
        try:
            self.index.add(batch)
        except DocumentError:
            assert changed
            return
        assert not changed
        self.model.update({d.id: d for d in batch})

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids):
        gone = {i for i in ids if i in self.model}
        assert self.index.delete(ids) == len(gone)
        for identity in gone:
            del self.model[identity]

    @rule(where=FILTERS)
    def delete_where(self, where):
        gone = self.admitted(where)
        assert self.index.delete(where=where) == len(gone)
        for identity in gone:
            del self.model[identity]

    @rule()
    def reopen(self):
        if self.path is None:
            return
        query = StubText(self.text_dim).encode_query(["a red wall"])
        before = self.index.text_index.search(query, 20)
        self.index.close()
        self.index = self.opened()
        assert self.index.text_index.search(query, 20) == before

    @rule()
    def go_on_with_another_object(self):
        """Both stay open, and each changes the index in its turn."""
        if self.path is not None:
            self.index, self.other = self.other or self.opened(), self.index

    @rule()
    def let_go_of_the_other(self):
        if self.other is not None:
            self.other.close()
            self.other = None

    @rule()
    def compact(self):
        self.index.compact()

    @rule()
    def check_files(self):
        if self.path is not None and self.path.exists():
            assert verify(self.path, deep=True).problems == ()

    @rule()
    def change_model(self):
        if self.path is None or not (self.path / "store.sqlite3").exists():
            return
        self.let_go_of_the_other()
        self.index.close()
        self.text_dim = 8 + (self.text_dim + 1) % 3
        reembed(self.path, StubText(self.text_dim), StubJoint(6), batch_size=3)
        self.index = self.opened()

    @rule()
    def go_on_with_a_backup(self):
        if self.path is None or not (self.path / "store.sqlite3").exists():
            return
        copy = self.folder / f"{self.path.name}+"
        backup(self.path, copy)
        self.let_go_of_the_other()
        self.index.close()
        self.path = copy
        self.index = self.opened()

    @rule(text=TEXTS, colour=COLOURS, where=st.one_of(st.none(), FILTERS), k=st.integers(1, 15))
    def search(self, text, colour, where, k):
        if colour is None and not (text or "").strip():
            return
        query = Query(text, Image(png(colour)) if colour else None)
        found = self.index.search(query, k, where=where)
        admitted = self.admitted(where or {})
        vectors = {}
        if query.has_text:
            vectors["text"] = StubText(self.text_dim).encode_query([text])[0]
            vectors["image"] = StubJoint(6).encode_query([text])[0]
        if colour:
            vectors["image"] = hashed_rows([png(colour)], 6, "stub-image")[0]
        for name, vector in vectors.items():
            self.compare(found.get(name, []), self.scores(name, vector, admitted), k)
        if "cross_modal" in found:
            assert {h.id for h in found["cross_modal"]} <= admitted
            assert len(found["cross_modal"]) == min(k, len(admitted))
        if query.has_text:
            words = set(text.split())
            expected = {i for i in admitted if words & set((self.model[i].text or "").split())}
            lexical = {h.id for h in found.get("lexical", [])}
            assert lexical <= expected
            assert len(lexical) == min(k, len(expected))

    @invariant()
    def same_documents(self):
        if not hasattr(self, "index"):
            return
        IndexMachine.steps += 1
        held = {d.id: facts(d) for d in self.index.get()}
        assert held == {i: facts(d) for i, d in self.model.items()}
        assert len(self.index) == len(self.model)
        assert len(self.index.text_index) == sum(d.has_text for d in self.model.values())
        assert len(self.index.image_index) == sum(d.has_image for d in self.model.values())
        assert len(self.index.cross_modal_index) == len(self.model)

    def admitted(self, where):
        return {
            i
            for i, d in self.model.items()
            if matches(where, d.metadata, i, d.text if d.has_text else None)
        }

    def scores(self, name, vector, admitted):
        """Return the brute-force score of every document that has a vector in a list."""
        there = [i for i in admitted if getattr(self.model[i], f"has_{name}")]
        if name == "text":
            rows = hashed_rows([self.model[i].text for i in there], self.text_dim, "stub-text")
        else:
            rows = hashed_rows([self.model[i].image.read() for i in there], 6, "stub-image")
        return dict(zip(there, (rows @ vector).tolist(), strict=True))

    def compare(self, hits, expected, k):
        """The hits are the best k by brute force; equal scores may come in any order."""
        assert len(hits) == min(k, len(expected))
        for hit in hits:
            assert abs(hit.score - expected[hit.id]) < 1e-5
        best = sorted(expected.values(), reverse=True)[:k]
        np.testing.assert_allclose([h.score for h in hits], best, atol=1e-5)
