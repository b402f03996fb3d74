import numpy as np
import pytest

from diptych import Document, Image, MultimodalIndex, MultimodalRetriever, Query, ToyEncoder
from diptych.errors import FilterError, InvalidArgument
from diptych.rerank import FunctionReranker
from stubs import StubImage, StubJoint, StubText, hashed_rows, png

RED, BLUE, GREEN = png("red"), png("blue"), png("green")


def shown(results):
    return [[document.id for document in result.documents] for result in results]


def filled(*documents, **options):
    retriever = MultimodalRetriever(StubText(), StubJoint(), **options)
    retriever.index.add(documents)
    return retriever


PAGE = [
    Document("The pump lifts water.", id="p0", group="pumps", order=0, metadata={"public": True}),
    Document("Figure 1: the impeller", Image(RED), id="p1", group="pumps", order=1),
    Document("The valve closes by itself.", id="p2", group="valves", order=0),
    Document(None, Image(BLUE), id="p3", group="valves", order=1),
    Document("Nothing belongs to this sentence.", id="p4"),
    Document(None, Image(GREEN), id="p5"),
]


class TestFusedDocuments:
    def test_text_hit_brings_its_figure_in_reading_order(self):
        (best,) = filled(*PAGE).retrieve("The pump lifts water.", 1)
        assert [d.id for d in best.documents] == ["p0", "p1"]
        assert best.id == "p0"
        assert best.text == "The pump lifts water.\n\nFigure 1: the impeller"
        assert [image.read() for image in best.images] == [RED]
        assert best.kind == "text+image"

    def test_picture_hit_brings_its_paragraph(self):
        (best,) = filled(*PAGE).retrieve(Image(BLUE), 1)
        assert [d.id for d in best.documents] == ["p2", "p3"]
        assert best.id == "p3"

    def test_nothing_is_dropped_and_nothing_is_twice(self):
        retriever = filled(*PAGE)
        for query in ("The pump lifts water.", Image(GREEN), Query("valve", Image(RED))):
            ids = [i for result in shown(retriever.retrieve(query, 50)) for i in result]
            assert sorted(ids) == ["p0", "p1", "p2", "p3", "p4", "p5"]

    def test_hit_without_partner_stands_alone(self):
        retriever = filled(*PAGE)
        assert shown(retriever.retrieve("Nothing belongs to this sentence.", 1)) == [["p4"]]
        assert shown(retriever.retrieve(Image(GREEN), 1)) == [["p5"]]

    def test_partner_outside_the_filter_is_not_brought(self):
        results = filled(*PAGE).retrieve("The pump lifts water.", 5, where={"public": True})
        assert shown(results) == [["p0"]]

    def test_partner_that_no_list_found_has_no_evidence(self):
        retriever = filled(*PAGE, depth=1)
        (best,) = retriever.retrieve("The pump lifts water.", 1, modalities=["text"])
        assert {e.document_id for e in best.evidence} == {"p0"}
        assert [d.id for d in best.documents] == ["p0", "p1"]


class TestEvidence:
    def test_raw_scores_and_ranks_are_those_of_the_lists(self):
        retriever = filled(*PAGE)
        query = Query("The pump lifts water.", Image(BLUE))
        lists = retriever.index.search(query, 10)
        for result in retriever.retrieve(query, 10):
            for evidence in result.evidence:
                hits = lists[evidence.list]
                if evidence.rank:
                    hit = hits[evidence.rank - 1]
                    assert hit.id == evidence.document_id
                    assert evidence.score == pytest.approx(hit.score, abs=1e-5)
                else:
                    assert evidence.document_id not in [hit.id for hit in hits]

    def test_document_beyond_the_depth_of_a_list_is_scored_exactly(self):
        texts = [f"sentence number {i}" for i in range(40)]
        documents = [
            Document(t, Image(png((i, 0, 0))), id=f"d{i:02d}") for i, t in enumerate(texts)
        ]
        retriever = filled(*documents, depth=3)
        results = retriever.retrieve(Query("sentence number 3", Image(png((9, 0, 0)))), 3)
        by_id = {r.id: {e.list: e for e in r.evidence} for r in results}
        query = hashed_rows(["sentence number 3"], 16, "stub-text")[0]
        for document_id, evidence in by_id.items():
            expected = hashed_rows([texts[int(document_id[1:])]], 16, "stub-text")[0] @ query
            assert evidence["text"].score == pytest.approx(float(expected), abs=1e-5)
        assert any(evidence["text"].rank == 0 for evidence in by_id.values())


class TestRanking:
    def test_scores_descend_within_0_and_1_and_ties_go_by_id(self):
        same = [Document("the same words", id=name) for name in ("c", "a", "b")]
        results = filled(*same, *PAGE).retrieve("the same words", 3)
        assert [r.id for r in results] == ["a", "b", "c"]
        assert len({r.score for r in results}) == 1
        scores = [r.score for r in filled(*PAGE).retrieve("valve", 10)]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    def test_batch_gives_what_one_by_one_gives(self):
        retriever = filled(*PAGE)
        queries = ["pump", Image(BLUE), Query("valve", Image(RED)), "pump"]
        many = retriever.retrieve_many(queries, 3)
        single = [retriever.retrieve(query, 3) for query in queries]
        for batch, one in zip(many, single, strict=True):
            assert shown(batch) == shown(one)
            np.testing.assert_allclose([r.score for r in batch], [r.score for r in one], atol=1e-6)
        assert retriever.retrieve_many([]) == []

    def test_without_pictures_asked_for_ranking_is_that_of_the_texts(self):
        retriever = filled(*PAGE)
        results = retriever.retrieve("pump", 10, modalities=["text"])
        assert {e.list for r in results for e in r.evidence} <= {"text", "lexical"}
        assert "p5" not in [d.id for r in results for d in r.documents]

    def test_cross_modal_alone_ranks_as_its_list_does(self):
        retriever = filled(*PAGE[4:], PAGE[0], PAGE[2])
        query = "The valve closes by itself."
        hits = retriever.index.search(query, 10, modalities=["cross_modal"])["cross_modal"]
        results = retriever.retrieve(query, 10, modalities=["cross_modal"])
        assert [r.id for r in results] == [hit.id for hit in hits]
        assert results[0].id == "p2"
        assert results[0].score > results[1].score

    def test_weight_of_zero_silences_a_list(self):
        retriever = filled(*PAGE)
        query = Query("valve", Image(GREEN), weights={"image": 0, "cross_modal": 0})
        contributions = [
            e.contribution
            for r in retriever.retrieve(query, 10)
            for e in r.evidence
            if e.list == "image"
        ]
        assert contributions
        assert not any(contributions)

    def test_given_query_vectors_are_used(self):
        retriever = filled(*PAGE)
        vector = hashed_rows(["The valve closes by itself."], 16, "stub-text")[0]
        results = retriever.retrieve("zzz", 1, modalities=["text"], vectors={"text": vector})
        assert results[0].id == "p2"

    def test_meaning_crosses_over_in_a_joint_space(self):
        toy = ToyEncoder()
        retriever = MultimodalRetriever(toy, toy)
        retriever.index.add(
            [
                Document(None, Image(RED), id="red"),
                Document(None, Image(BLUE), id="blue"),
                Document("the green grass", id="grass"),
            ]
        )
        assert retriever.retrieve("something blue", 1)[0].id == "blue"
        assert retriever.retrieve(Image(GREEN), 1)[0].id == "grass"


class TestReranker:
    def test_reranker_chooses_among_more_than_top_k(self):
        wanted = "The valve closes by itself."
        reranker = FunctionReranker(lambda question, texts: [float(t == wanted) for t in texts])
        retriever = filled(*[d for d in PAGE if d.group is None or d.id == "p2"], reranker=reranker)
        results = retriever.retrieve("Nothing belongs to this sentence.", 1)
        assert results[0].id == "p2"
        assert results[0].score == 1.0
        assert results[0].evidence

    def test_scores_outside_0_and_1_are_refused(self):
        retriever = filled(*PAGE, reranker=FunctionReranker(lambda q, texts: [7.0] * len(texts)))
        with pytest.raises(InvalidArgument, match=r"expected one score in \[0, 1\] for each"):
            retriever.retrieve("pump")


class TestBadInput:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda r: r.retrieve("x", 0), "top_k=0 was given"),
            (lambda r: r.retrieve(""), "needs text, an image, or both"),
            (lambda r: r.retrieve("x", modalities=["smell"]), "expected some of"),
            (lambda r: r.retrieve_many("x"), "given one string; expected a list"),
            (lambda r: r.retrieve(3.5), r"query was given as float; expected a text \(str\)"),
            (lambda r: r.retrieve(None), "query was given as NoneType"),
            (lambda r: r.retrieve("x", "3"), r"top_k='3' \(str\) was given; expected an integer"),
            (lambda r: r.retrieve("x", 2.0), r"top_k=2.0 \(float\) was given; expected an integer"),
        ],
    )
    def test_meaningless_calls_are_refused(self, call, message):
        with pytest.raises(InvalidArgument, match=message):
            call(filled(*PAGE))

    def test_unknown_operator_is_refused(self):
        with pytest.raises(FilterError, match="Unknown operator"):
            filled(*PAGE).retrieve("x", where={"a": {"$near": 1}})

    def test_index_and_encoders_together_are_refused(self):
        with pytest.raises(InvalidArgument, match="given together"):
            MultimodalRetriever(StubText(), index=MultimodalIndex(StubText(), StubImage()))
        with pytest.raises(InvalidArgument, match="depth=0"):
            MultimodalRetriever(StubText(), depth=0)

    def test_empty_index_finds_nothing(self):
        assert MultimodalRetriever(StubText(), StubImage()).retrieve("pump") == []


class TestWordsAlone:
    def test_nothing_is_encoded(self, monkeypatch):
        retriever = filled(*PAGE)
        index = retriever.index

        def refuse(*_):
            raise AssertionError("an encoder ran")

        monkeypatch.setattr(index.text_encoder, "encode_query", refuse)
        monkeypatch.setattr(index.image_encoder, "encode_query", refuse, raising=False)
        found = retriever.retrieve("pump", 6, ("lexical",))
        assert shown(found) == [["p0", "p1"]]
        assert {evidence.list for evidence in found[0].evidence} == {"lexical"}
        assert list(index.search("pump valve", modalities=("lexical",))) == ["lexical"]

    def test_it_ranks_as_the_lexical_list_does(self):
        retriever = filled(*(Document(f"water {'pump ' * at}", id=f"d{at}") for at in range(6)))
        by_list = retriever.index.search("pump", 6, modalities=("lexical",))["lexical"]
        found = retriever.retrieve_documents("pump", 6, ("lexical",))
        assert [one.document.id for one in found] == [hit.id for hit in by_list]

    def test_a_picture_has_no_words(self):
        assert filled(*PAGE).retrieve(Image(RED), 5, ("lexical",)) == []


class TestOnlyWhatIsSearchedIsEncoded:
    @pytest.mark.parametrize(
        ("modality", "silent"), [("text", "image_encoder"), ("image", "text_encoder")]
    )
    def test_the_other_encoder_is_not_called(self, monkeypatch, modality, silent):
        retriever = filled(*PAGE)
        expected = shown(retriever.retrieve("the pump", 3, (modality,)))

        def refuse(*_):
            raise AssertionError("an encoder ran")

        monkeypatch.setattr(getattr(retriever.index, silent), "encode_query", refuse)
        assert shown(retriever.retrieve("the pump", 3, (modality,))) == expected


class TestDocumentsOneByOne:
    def test_the_document_found_comes_first_then_what_belongs_to_it(self):
        retriever = filled(*PAGE)
        units = retriever.retrieve(Image(BLUE), 6)
        found = retriever.retrieve_documents(Image(BLUE), 6)
        assert [one.document.id for one in found][:2] == ["p3", "p2"]
        assert found[0].score == found[1].score == units[0].score
        by_id = {part.id: unit.score for unit in units for part in unit.documents}
        assert all(one.score == by_id[one.document.id] for one in found)

    def test_k_is_a_number_of_documents(self):
        retriever = filled(*PAGE)
        assert len(retriever.retrieve_documents("The pump lifts water.", 3)) == 3
        assert len(retriever.retrieve_documents("The pump lifts water.", 50)) == 6
