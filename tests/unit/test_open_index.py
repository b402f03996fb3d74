import pytest

import tiny_models
from diptych import (
    Document,
    MultimodalIndex,
    OpenClipEncoder,
    SentenceTransformerEncoder,
    ToyEncoder,
)
from diptych.encoders.named import load_encoders, name_of
from diptych.errors import EncoderMismatch, FormatError, InvalidArgument
from diptych.image import Image
from diptych.maintenance import reembed
from stubs import StubImage, StubText, png


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_models.save_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return tiny_models.save_sentence_transformer(tmp_path_factory.mktemp("st") / "tiny")


class TestNames:
    def test_encoders_of_diptych_are_loaded_again_by_their_name(self, clip, sentences, monkeypatch):
        monkeypatch.chdir(clip.parent)
        joint = OpenClipEncoder.from_folder("tiny", device="cpu")
        text = SentenceTransformerEncoder(sentences, device="cpu")
        monkeypatch.chdir(sentences)  # a relative folder is remembered by its whole path
        for pair in (
            (joint, joint),
            (text, joint),
            (text, None),
            (None, joint),
            (ToyEncoder(64), ToyEncoder()),
        ):
            loaded = load_encoders(name_of(*pair))
            prints = [[e and e.fingerprint for e in encoders] for encoders in (pair, loaded)]
            assert prints[0] == prints[1]
            assert (loaded[0] is loaded[1]) == (pair[0] is pair[1])

    def test_an_encoder_with_options_or_of_others_has_none(self, clip, sentences, tmp_path):
        odd = OpenClipEncoder.from_folder(clip, preprocess={"mean": (0.1, 0.2, 0.3)}, device="cpu")
        prompted = SentenceTransformerEncoder(sentences, query_prompt="q: ", device="cpu")
        plus = tiny_models.save_clip(tmp_path / "a+b")
        assert name_of(odd, odd) == ""
        assert name_of(prompted, ToyEncoder()) == ""
        assert name_of(StubText(), None) == ""
        assert name_of(None, None) == ""
        joint = OpenClipEncoder.from_folder(plus, device="cpu")
        assert name_of(joint, joint) == ""

    def test_an_unknown_name_is_refused(self):
        for name in ("", "none", "toy:x", "toy+", "elephant", "open-clip:", "toy+toy+toy"):
            with pytest.raises(InvalidArgument, match="Unknown model"):
                load_encoders(name)


class TestOpening:
    @pytest.mark.parametrize("namespace", [None, "one"])
    def test_the_path_alone_opens_an_index(self, tmp_path, namespace):
        documents = [Document("a red car", id="car"), Document(image=Image(png("red")), id="red")]
        with MultimodalIndex(
            ToyEncoder(), ToyEncoder(), path=tmp_path, namespace=namespace
        ) as index:
            index.add(documents)
            before = index.search("red")
        with MultimodalIndex.open(tmp_path, namespace=namespace) as index:
            assert index.search("red") == before
            assert index.add([Document("blue")]).added == 1

    def test_where_there_is_no_index_none_is_made(self, tmp_path):
        with pytest.raises(FormatError, match="There is no index at"):
            MultimodalIndex.open(tmp_path / "nothing")
        assert not (tmp_path / "nothing").exists()

    def test_encoders_that_are_not_remembered_are_asked_for(self, tmp_path):
        with MultimodalIndex(StubText(), StubImage(), path=tmp_path) as index:
            index.add([Document("words")])
        with pytest.raises(InvalidArgument, match="does not say how to load its models"):
            MultimodalIndex.open(tmp_path)

    def test_reembedding_changes_what_is_remembered(self, tmp_path):
        with MultimodalIndex(ToyEncoder(), path=tmp_path) as index:
            index.add([Document("a red car")])
        reembed(tmp_path, ToyEncoder(64), None)
        with MultimodalIndex.open(tmp_path) as index:
            assert index.text_encoder.dim == 64
        reembed(tmp_path, StubText(), None)
        with pytest.raises(InvalidArgument, match="does not say"):
            MultimodalIndex.open(tmp_path)

    def test_a_model_that_changed_behind_its_name_is_noticed(self, tmp_path):
        folder = tiny_models.save_clip(tmp_path / "model")
        encoder = OpenClipEncoder.from_folder(folder, device="cpu")
        with MultimodalIndex(encoder, encoder, path=tmp_path / "index") as index:
            index.add([Document("words")])
        tiny_models.save_clip(folder, seed=1)
        with pytest.raises(EncoderMismatch, match="was built with"):
            MultimodalIndex.open(tmp_path / "index")
