"""Arguments of other stores: the error names the one that is meant."""

import pytest

from diptych import ToyEncoder
from diptych.langchain import DiptychVectorStore


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("collection_name", "namespace"),
        ("embedding_function", "embedding"),
        ("persist_directory", "path"),
        ("collection_configuration", "kind"),
        ("retrieval_mode", "mode"),
        ("index_name", "namespace"),
    ],
)
@pytest.mark.parametrize("make", [DiptychVectorStore, DiptychVectorStore.from_texts])
def test_an_argument_of_another_store_is_refused_with_its_name_here(make, theirs, ours):
    given = {theirs: "x", "embedding": ToyEncoder()}
    if make is not DiptychVectorStore:
        given["texts"] = ["a"]
    with pytest.raises(TypeError, match=rf"no argument {theirs}=\. Use {ours}"):
        make(**given)


def test_an_unknown_argument_is_refused_with_the_list_of_those_there_are():
    with pytest.raises(
        TypeError, match=r"no argument nonsense=\. Its arguments are embedding, index"
    ):
        DiptychVectorStore(ToyEncoder(), nonsense=1)
