import sqlite3

import pytest
from typer.testing import CliRunner

import tiny_models
from diptych import (
    Document,
    MultimodalIndex,
    OpenClipEncoder,
    SentenceTransformerEncoder,
    ToyEncoder,
)
from diptych.cli import app
from diptych.encoders.named import load_encoders, name_of
from diptych.errors import CorruptionError, EncoderMismatch, FormatError, InvalidArgument
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


class TestModelsOfSomebodyElse:
    """A name that an index remembers is followed only when this user has given it for this index."""

    @pytest.fixture
    def index(self, clip, tmp_path):
        encoder = OpenClipEncoder.from_folder(clip, device="cpu")
        with MultimodalIndex(encoder, encoder, path=tmp_path / "kb") as index:
            index.add([Document("a red car", id="car")])
        return tmp_path / "kb"

    @pytest.fixture
    def somebody(self, index, tmp_path, monkeypatch):
        """Be another user than the one who made the index."""
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "somebody"))

    def test_the_user_who_gave_a_folder_need_not_give_it_again(self, index):
        with MultimodalIndex.open(index) as opened:
            assert opened.ids() == ["car"]

    def test_another_user_is_asked_once(self, index, somebody, clip, monkeypatch):
        before = {p: p.read_bytes() for p in index.rglob("*") if p.is_file()}
        with pytest.raises(InvalidArgument, match=r"not named for this index.*models=…"):
            MultimodalIndex.open(index)
        assert CliRunner().invoke(app, ["search", "car", "--index", str(index)]).exit_code == 1
        named = ["search", "car", "--index", str(index), "--models", f"open-clip:{clip}"]
        assert CliRunner().invoke(app, named).exit_code == 0
        assert CliRunner().invoke(app, named[:-2]).exit_code == 0
        with MultimodalIndex.open(index) as opened:
            assert opened.ids() == ["car"]
        assert {p: p.read_bytes() for p in index.rglob("*") if p.is_file()} == before

    def test_other_models_for_the_same_index_are_not_trusted_by_that(self, index):
        change_models(index, "open-clip:../../x")
        with pytest.raises(InvalidArgument, match="not named for this index"):
            MultimodalIndex.open(index)

    @pytest.mark.parametrize(
        "name",
        [
            "open-clip:../../x", "open-clip:/tmp", "open-clip:~/x", "open-clip:file:///tmp",
            "open-clip:..\\x", "open-clip:hf-hub:owner/name", "open-clip:ViT-B-32/openai",
            "open-clip:ViT-B-32", "sentence-transformers:owner/name", "sentence-transformers:.",
            "sentence-transformers:/etc", "offline+open-clip:x", "toy+sentence-transformers:x",
            "toy:9999999", "toy\n", "none+open-clip:\0", "x" * 100_000, "open-clip:\ud800",
        ],
    )  # fmt: skip
    def test_nothing_outside_is_loaded_or_asked_for(self, tmp_path, monkeypatch, name):
        with MultimodalIndex(ToyEncoder(), ToyEncoder(), path=tmp_path) as index:
            index.add([Document("a red car")])
        change_models(tmp_path, name)

        def forbidden(*_, **__):
            raise AssertionError("a model was loaded")

        monkeypatch.setattr("diptych.encoders.named.OpenClipEncoder", forbidden)
        monkeypatch.setattr("diptych.encoders.named.SentenceTransformerEncoder", forbidden)
        monkeypatch.setattr("socket.socket.connect", forbidden)
        with pytest.raises((InvalidArgument, CorruptionError)) as caught:
            MultimodalIndex.open(tmp_path)
        assert len(str(caught.value)) < 2000
        assert CliRunner().invoke(app, ["search", "car", "--index", str(tmp_path)]).exit_code == 1

    def test_where_nothing_can_be_noted_the_models_are_named_each_time(
        self, clip, tmp_path, monkeypatch
    ):
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
        encoder = OpenClipEncoder.from_folder(clip, device="cpu")
        with MultimodalIndex(encoder, encoder, path=tmp_path / "kb") as index:
            index.add([Document("a red car")])
        with pytest.raises(InvalidArgument, match="not named for this index"):
            MultimodalIndex.open(tmp_path / "kb")
        with MultimodalIndex.open(tmp_path / "kb", models=f"open-clip:{clip}") as index:
            assert len(index) == 1


def change_models(path, name):
    (path / "store.seal").unlink()
    connection = sqlite3.connect(path / "store.sqlite3")
    value = name.encode("utf-8", "surrogatepass")
    connection.execute("UPDATE setting SET value = CAST(? AS TEXT) WHERE name = 'models'", [value])
    connection.commit()
    connection.close()
