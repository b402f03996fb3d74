"""Where an open_clip model comes from: its config, weights, and preprocessing, found but not built.

Preprocessing is never guessed: loading a file of weights by path, open_clip falls back to the
preprocessing of OpenAI's models, whatever the weights were trained with (open_clip issue 1068).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych import optional
from diptych.errors import InvalidArgument

__all__ = ["NEEDED_BY", "Source", "find_source", "weights_in"]

NEEDED_BY = "OpenClipEncoder"
CONFIG_NAME = "open_clip_config.json"

_DEFAULT_TAGS = {"ViT-B-32": "laion2b_s34b_b79k"}
_HUB = "hf-hub:"
_PREFERRED = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
)
_PLACEHOLDER = "TEXT_DIR"
_UNSAFE_TORCH = (2, 10)  # older ones run code out of weights_only files: CVE-2026-24747
_PREPROCESSING = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}


@dataclass(frozen=True, slots=True)
class Source:
    """Everything that a model is built of.

    Attributes:
        name: What to call it.
        config: The architecture, as in open_clip's ``model_configs``.
        weights: A file.
        preprocess: Fields of open_clip's ``PreprocessCfg``; those left out have its defaults.
        quick_gelu: The weights were trained with the QuickGELU activation.
    """

    name: str
    config: dict[str, Any]
    weights: Path
    preprocess: dict[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False


def find_source(
    model_name: str,
    pretrained: str | os.PathLike[str] | None,
    *,
    config: str | os.PathLike[str] | None,
    preprocess: Mapping[str, Any] | None,
    cache_dir: str | os.PathLike[str] | None,
    allow_unsafe_weights: bool,
) -> Source:
    """Return the source of a model; downloads it when it is one of the hub and not cached.

    Raises:
        InvalidArgument: It is unknown, incomplete, ambiguous, unsafe or unreachable.
    """
    if config is not None:
        source = _of_config(model_name, pretrained, Path(config))
    elif model_name.startswith(_HUB):
        source = _of_hub(model_name.removeprefix(_HUB), pretrained, cache_dir, allow_unsafe_weights)
    else:
        source = _of_name(model_name, pretrained, preprocess, cache_dir, allow_unsafe_weights)
    _check_weights(source.weights, allow_unsafe_weights)
    chosen = {**source.preprocess, **(preprocess or {})}
    unknown = sorted(set(preprocess or {}) - _PREPROCESSING)
    if unknown:
        raise InvalidArgument(
            f"{NEEDED_BY} got preprocess with {', '.join(unknown)}; expected some of "
            f"{', '.join(sorted(_PREPROCESSING))}."
        )
    chosen = {key: value for key, value in chosen.items() if key in _PREPROCESSING}
    return Source(source.name, source.config, source.weights, chosen, source.quick_gelu)


def weights_in(folder: Path, *, allow_unsafe_weights: bool = False) -> Path:
    """Return the file of weights in a folder.

    Raises:
        InvalidArgument: There is none, or there are several and none has a usual name.
    """
    found = sorted(folder.glob("*.safetensors"))
    if not found and allow_unsafe_weights:
        found = sorted(p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth"))
    for name in _PREFERRED:
        if folder / name in found:
            return folder / name
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise InvalidArgument(
        f"{NEEDED_BY}: the folder {str(folder)!r} holds {len(found)} files of weights ({names}); "
        f"expected one *.safetensors, or one called {_PREFERRED[0]}. Add it, or pass the file as "
        "pretrained= and the config as config=."
    )


def _of_config(name: str, pretrained: str | os.PathLike[str] | None, config: Path) -> Source:
    if pretrained is None or not Path(pretrained).is_file():
        raise InvalidArgument(
            f"{NEEDED_BY} got config={str(config)!r} with pretrained={pretrained!r}; expected the "
            "path of a file of weights that fit it. OpenClipEncoder.from_folder finds both."
        )
    model, preprocess = _read_config(config)
    return Source(name, _resolved(model, config.parent), Path(pretrained), preprocess)


def _of_hub(
    repo: str,
    pretrained: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    allow_unsafe: bool,
) -> Source:
    if pretrained is not None:
        raise InvalidArgument(
            f"{NEEDED_BY} got pretrained={pretrained!r} with the model {_HUB + repo!r}, which "
            "brings its own weights. Leave pretrained out."
        )
    config = _download(repo, [CONFIG_NAME], cache_dir)
    model, preprocess = _read_config(config)
    weights = _download(repo, _file_names("", allow_unsafe), cache_dir)
    return Source(repo.rpartition("/")[2], model, weights, preprocess)


def _of_name(
    name: str,
    pretrained: str | os.PathLike[str] | None,
    preprocess: Mapping[str, Any] | None,
    cache_dir: str | os.PathLike[str] | None,
    allow_unsafe: bool,
) -> Source:
    open_clip: Any = optional.require("open_clip", needed_by=NEEDED_BY)
    config = open_clip.get_model_config(name)
    if config is None:
        raise InvalidArgument(
            f"{NEEDED_BY}: open_clip has no model {name!r}. Expected a name that "
            f"open_clip.list_models() gives, or '{_HUB}<owner>/<name>'. For a folder on disk use "
            "OpenClipEncoder.from_folder."
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    tag = _DEFAULT_TAGS.get(name) if pretrained is None else pretrained
    if isinstance(tag, str) and open_clip.is_pretrained_cfg(name, tag):
        known = open_clip.get_pretrained_cfg(name, tag)
        repo, _, file = known["hf_hub"].rpartition("/")
        weights = _download(repo, _file_names(file, allow_unsafe), cache_dir)
        return Source(f"{name}/{tag}", config, weights, known, bool(known.get("quick_gelu")))
    if tag is None or not Path(tag).is_file():
        raise InvalidArgument(
            f"{NEEDED_BY} got pretrained={pretrained!r} for {name!r}; expected the path of a file "
            f"of weights, or one of the tags {', '.join(tags) or '(it has none)'}."
        )
    found = _preprocessing_of_file(open_clip, name, Path(tag), tags, given=preprocess is not None)
    return Source(name, config, Path(tag), found)


def _preprocessing_of_file(
    open_clip: Any, name: str, weights: Path, tags: list[str], *, given: bool
) -> dict[str, Any]:
    """Return the preprocessing for weights of a known architecture that were given as a file."""
    beside = weights.parent / CONFIG_NAME
    if beside.is_file():
        return _read_config(beside)[1]
    candidates: list[dict[str, Any]] = []
    for tag in tags:
        known = open_clip.get_pretrained_cfg(name, tag)
        wanted = {key: value for key, value in known.items() if key in _PREPROCESSING}
        if wanted not in candidates:
            candidates.append(wanted)
    if len(candidates) > 1 and not given:
        raise InvalidArgument(
            f"{NEEDED_BY}: the weights of {name!r} come with {len(candidates)} different ways to "
            f"preprocess pictures, and {str(weights)!r} does not say which is right; a wrong one "
            f"gives wrong vectors. Put its {CONFIG_NAME} beside it, or pass preprocess="
            "{'mean': ..., 'std': ..., 'interpolation': ..., 'resize_mode': ...}."
        )
    return candidates[0] if candidates else {}


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``(model config, preprocessing)``, both of which a config file may hold."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"{NEEDED_BY}: the model config {str(path)!r} could not be read: {error}. Expected "
            "open_clip's JSON."
        ) from error
    nested = content.get("model_cfg", content) if isinstance(content, dict) else {}
    if not isinstance(nested, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= nested.keys():
        raise InvalidArgument(
            f"{NEEDED_BY}: {str(path)!r} is no config of an open_clip model; expected the keys "
            "embed_dim, vision_cfg and text_cfg, at the top or under model_cfg."
        )
    options = nested["text_cfg"].get("tokenizer_kwargs") or {}
    if options.get("trust_remote_code"):
        raise InvalidArgument(
            f"{NEEDED_BY}: {str(path)!r} asks to run code of its own (trust_remote_code), which is "
            "never done. Remove that key if the tokenizer works without it."
        )
    return nested, dict(content.get("preprocess_cfg") or {})


def _resolved(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the config with the text model and tokenizer that the folder itself holds."""
    text = dict(config["text_cfg"])
    for key in ("hf_model_name", "hf_tokenizer_name"):
        value = text.get(key)
        if not value:
            continue
        inside = (folder / ("text" if value == _PLACEHOLDER else value)).resolve()
        if inside.is_dir() and inside.is_relative_to(folder.resolve()):
            text[key] = str(inside)
        elif value == _PLACEHOLDER:
            raise InvalidArgument(
                f"{NEEDED_BY}: the config names the folder 'text' for its {key}, which is missing "
                f"in {str(folder)!r}. Copy the whole model."
            )
        elif key == "hf_tokenizer_name" and (folder / "tokenizer_config.json").is_file():
            text[key] = str(folder)
    return {**config, "text_cfg": text}


def _file_names(name: str, allow_unsafe: bool) -> list[str]:
    """Return under which names a repository of the hub may have weights, safe ones first."""
    if not name:
        return [*_PREFERRED[:2], *(["open_clip_pytorch_model.bin"] if allow_unsafe else [])]
    safe = str(Path(name).with_suffix(".safetensors"))
    return [safe, name] if allow_unsafe and name != safe else [safe]


def _download(repo: str, names: list[str], cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return the path of the first of some files of a repository, from the cache or the network."""
    hub: Any = optional.require("huggingface_hub", needed_by=NEEDED_BY, extra="open-clip")
    error: Exception | None = None
    for name in names:
        try:
            return Path(hub.hf_hub_download(repo, name, cache_dir=cache_dir))
        except (OSError, ValueError) as failure:  # of the hub client: not found, offline, no access
            error = error or failure
    raise InvalidArgument(
        f"{NEEDED_BY}: {' or '.join(names)} of {repo!r} is not in the local cache and could not be "
        f"downloaded: {error} Expected a network or a filled cache (HF_HUB_OFFLINE must not be set "
        "for the first use). Without a network, copy the model and use OpenClipEncoder.from_folder."
    ) from error


def _check_weights(path: Path, allow_unsafe: bool) -> None:
    if path.suffix == ".safetensors":
        return
    torch: Any = optional.require("torch", needed_by=NEEDED_BY)
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if not allow_unsafe or version < _UNSAFE_TORCH or path.suffix not in (".pt", ".pth", ".bin"):
        raise InvalidArgument(
            f"{NEEDED_BY}: the weights {str(path)!r} are not safetensors, and others can run code "
            "when they are loaded. Convert them, or, if you trust them, pass "
            f"allow_unsafe_weights=True (.pt, .pth or .bin, with torch 2.10 or newer; this is "
            f"{torch.__version__})."
        )
