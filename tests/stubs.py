"""Encoders without meaning, so that a test knows every vector: a hash of the input is the seed."""

import hashlib
import io

import numpy as np
from PIL import Image as Pil


def hashed_rows(items, dim, salt):
    rows = np.empty((len(items), dim), np.float32)
    for i, item in enumerate(items):
        seed = hashlib.sha256(
            salt.encode() + (item if isinstance(item, bytes) else item.encode())
        ).digest()
        rows[i] = np.random.default_rng(int.from_bytes(seed[:8], "little")).standard_normal(dim)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


class StubText:
    def __init__(self, dim=16, space="stub-text", fingerprint="text-1"):
        self.dim, self.space, self.fingerprint = dim, space, fingerprint
        self.calls = []

    def encode_query(self, texts):
        return hashed_rows(texts, self.dim, self.space)

    def encode_document(self, texts):
        self.calls.append(list(texts))
        return hashed_rows(texts, self.dim, self.space)


class StubImage:
    """Pictures by content; with ``joint`` also texts, in the same space."""

    def __init__(self, dim=12, space="stub-image", fingerprint="image-1"):
        self.dim, self.space, self.fingerprint = dim, space, fingerprint
        self.calls = []

    def encode_image(self, images):
        for image in images:
            image.pil()
        self.calls.append([image.sha256 for image in images])
        return hashed_rows([image.read() for image in images], self.dim, self.space)


class StubJoint(StubImage):
    """Texts of the form ``hex:…`` have the vector of the picture with those bytes."""

    def encode_query(self, texts):
        items = [bytes.fromhex(t[4:]) if t.startswith("hex:") else t for t in texts]
        return hashed_rows(items, self.dim, self.space)

    encode_document = encode_query


def png(colour, size=(8, 8)):
    buffer = io.BytesIO()
    Pil.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()
