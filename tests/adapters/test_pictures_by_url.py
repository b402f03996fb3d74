"""Pictures by URL through both adapters: only where they are allowed, and one failure each."""

import io
import pickle
from http.server import BaseHTTPRequestHandler

import PIL.Image
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")

from llama_index.core.schema import ImageNode, MediaResource, Node, TextNode

from diptych.encoders import ToyEncoder
from diptych.errors import DocumentError, MediaError
from diptych.langchain import DiptychVectorStore, image_document
from diptych.llama_index import DiptychMultiModalIndex
from diptych.llama_index import DiptychVectorStore as NodeStore
from diptych.remote import RemotePictures
from serving import serving

FILE = io.BytesIO()
PIL.Image.new("RGB", (9, 7), "green").save(FILE, "PNG")
PNG = FILE.getvalue()
TOY = ToyEncoder()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        is_there = self.path.startswith("/green")
        self.send_response(200 if is_there else 404)
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with serving(Answers) as server:
        server.asked = []
        yield server


@pytest.fixture
def at(server):
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def remote(at):
    return RemotePictures([at.removeprefix("http://")], https_only=False, allow_private=True)


def test_langchain_stores_the_bytes_and_the_url(server, at, remote):
    store = DiptychVectorStore(TOY, remote=remote)
    urls = [f"{at}/green.png", f"{at}/missing.png", "https://example.org/a.png"]
    assert store.add_images(urls, ids=["a", "b", "c"]) == ["a", "b", "c"]
    assert [failure.id for failure in store.failed] == ["b", "c"]
    assert "404" in store.failed[0].reason
    assert "'example.org' at port 443, which is not allowed" in store.failed[1].reason
    (stored,) = store.index.get()
    assert (stored.image.read(), stored.metadata["image_url"]) == (PNG, urls[0])
    (found,) = store.similarity_search_by_image(urls[0], k=1)
    assert found.id == "a"
    assert server.asked == ["/green.png", "/missing.png", "/green.png"]


async def aadd(store, *args, **options):
    return await store.aadd_images(*args, **options)


def test_langchain_takes_the_hosts_for_one_call(server, at, remote):
    import asyncio

    store = DiptychVectorStore(TOY)
    url = f"{at}/green.png?a=1"
    store.add_images([url], ids=["one"], remote=remote, metadatas=[{"image_url": "said"}])
    asyncio.run(aadd(store, [url], ids=["two"], remote=remote))
    store.add_documents([image_document(url, "a green field", remote=remote, id="three")])
    DiptychVectorStore.from_images([url], TOY, remote=remote)
    urls = {d.id: d.metadata["image_url"] for d in store.index.get()}
    assert urls == {"one": "said", "two": url, "three": url}
    assert {d.image.read() for d in store.index.get()} == {PNG}
    assert len(server.asked) == 4


def test_langchain_adds_a_picture_by_url_with_its_vector(server, at, remote):
    store = DiptychVectorStore(TOY, remote=remote)
    vector = [1.0] + [0.0] * (TOY.dim - 1)
    store.add_embeddings(image_embeddings=[(f"{at}/green.png", vector)], ids=["a"])
    (stored,) = store.index.get()
    assert (stored.image.read(), stored.metadata["image_url"]) == (PNG, f"{at}/green.png")


def test_nothing_is_fetched_without_being_asked_for(server, at):
    url = f"{at}/green.png"
    with pytest.raises(MediaError, match=r"never fetches one by itself.*remote=RemotePictures"):
        DiptychVectorStore(TOY).add_images([url])
    with pytest.raises(MediaError, match="never fetches one by itself"):
        image_document(url)
    with pytest.raises(DocumentError, match="never fetches a URL.*remote=RemotePictures"):
        NodeStore(embed_model=TOY).add([ImageNode(image_url=url)])
    assert server.asked == []


def test_nodes_with_a_url_are_stored_with_the_bytes(server, at, remote):
    store = NodeStore(embed_model=TOY, image_encoder=TOY, remote=remote)
    url = f"{at}/green.png"
    nodes = [
        ImageNode(id_="image", image_url=url, text="a green field"),
        Node(id_="node", image_resource=MediaResource(url=url)),
        ImageNode(id_="missing", image_url=f"{at}/missing.png"),
        ImageNode(id_="other", image_url="https://example.org/a.png", text="words"),
        TextNode(id_="text", text="no picture"),
        ImageNode(id_="path", image_path="nowhere.png", image_url=url, image=None),
    ]
    assert store.add(nodes) == [node.node_id for node in nodes]
    assert [failure.id for failure in store.failed] == ["missing", "other", "path"]
    stored = {d.id: d for d in store.index.get()}
    assert stored.keys() == {"image", "node", "text"}
    for name in ("image", "node"):
        assert (stored[name].image.read(), stored[name].metadata["image_url"]) == (PNG, url)
    assert server.asked == ["/green.png", "/green.png", "/missing.png"]


def test_index_of_llama_index_takes_the_hosts(server, at, remote):
    url = f"{at}/green.png"
    nodes = [ImageNode(id_="a", image_url=url), ImageNode(id_="b", image_url=f"{at}/missing.png")]
    index = DiptychMultiModalIndex(nodes, embed_model=TOY, remote=remote)
    (stored,) = index.vector_store.index.get()
    assert (stored.id, stored.image.read(), stored.metadata["image_url"]) == ("a", PNG, url)
    assert [failure.id for failure in index.failed] == ["b"]


def test_hosts_survive_a_pickle(tmp_path, remote):
    store = NodeStore(embed_model=TOY, path=tmp_path, remote=remote)
    store.add([TextNode(text="words", embedding=TOY.encode_document(["words"])[0].tolist())])
    assert pickle.loads(pickle.dumps(store))._remote == remote
    store.close()


def test_node_whose_vector_finds_it_is_kept_without_a_picture_that_is_not_there(at, remote):
    store = NodeStore(embed_model=TOY, image_encoder=TOY, remote=remote)
    vector = TOY.encode_document(["a green field"])[0].tolist()
    store.add([ImageNode(id_="a", image_url=f"{at}/missing.png", embedding=vector, text="words")])
    (stored,) = store.index.get()
    assert (stored.image, stored.metadata["image_url"]) == (None, f"{at}/missing.png")
    assert "404" in store.failed[0].reason


@pytest.mark.parametrize("form", ["data:", "DATA:"])
def test_data_and_file_uris_of_nodes(tmp_path, form):
    import base64

    path = tmp_path / "a b.png"
    path.write_bytes(PNG)
    text = base64.b64encode(PNG).decode()
    data = f"{form}image/png;base64,{text}"
    store = NodeStore(embed_model=TOY, image_encoder=TOY)
    store.add(
        [
            ImageNode(id_="0", image_url=data),
            ImageNode(id_="1", image_url=path.as_uri()),
            ImageNode(id_="2", image_path=path.as_uri()),
            ImageNode(id_="3", image=data),
            ImageNode(id_="4", image=base64.encodebytes(PNG).decode()),
            ImageNode(id_="5", image_path=data),
            Node(id_="6", image_resource=MediaResource(url=path.as_uri())),
        ]
    )
    assert store.failed == ()
    assert {d.id: d.image.read() for d in store.index.get()} == dict.fromkeys("0123456", PNG)
