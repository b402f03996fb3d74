"""Pictures by URL, for those who ask for it: from hosts that are named, within limits.

Nothing of diptych fetches a URL by itself. With ``remote=RemotePictures(allow=[...])`` the adapters fetch the
pictures that are given by their URL, once, when they are added; what is stored are the bytes.

A URL may come from a stranger, who would like to see what this machine can reach. So the host must be named,
the address that it has is checked and is the one that is connected to, and every redirect is checked anew.
"""

from diptych.remote.allowed import is_url
from diptych.remote.pictures import RemotePictures

__all__ = ["RemotePictures", "is_url"]
