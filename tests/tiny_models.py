"""Real architectures with few random weights, saved to disk, so that tests load as users do."""

import json
import string

CLIP_MEAN = (0.5, 0.4, 0.3)
CLIP_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
HF_TEXT_CONFIG = {
    "hf_model_name": "TEXT_DIR",
    "hf_tokenizer_name": "TEXT_DIR",
    "hf_model_pretrained": False,
    "hf_proj_type": "mlp",
    "hf_pooler_type": "mean_pooler",
    "context_length": 20,
    "vocab_size": 128,
}


def save_clip(folder, *, text="bpe", preprocess=None, half=False, nested=True, seed=0):
    """Save an open_clip model with a byte-pair or Hugging Face text tower; return the folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        **CLIP_CONFIG,
        "text_cfg": CLIP_CONFIG["text_cfg"] if text == "bpe" else HF_TEXT_CONFIG,
    }
    if text == "hf":
        save_bert_files(folder / "text")
    building = json.loads(json.dumps(config).replace("TEXT_DIR", str(folder / "text")))
    write_config(folder, {"model_cfg": building})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.create_model(
            f"local-dir:{folder}", load_weights=False, pretrained_text=False
        )
        scatter(model)
    state = model.state_dict()
    if half:
        state = {
            key: value.half() if value.is_floating_point() else value
            for key, value in state.items()
        }
    save_file(
        {key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors"
    )
    if preprocess is None:
        preprocess = {"mean": CLIP_MEAN, "interpolation": "bilinear"}
    write_config(folder, {"model_cfg": config, "preprocess_cfg": preprocess} if nested else config)
    return folder


def write_config(folder, content):
    (folder / "open_clip_config.json").write_text(json.dumps(content))


def scatter(model):
    """Give random weights enough size that unlike inputs get unlike vectors."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 * parameter.shape[-1] ** -0.5)


def save_bert_files(folder):
    """Save the config and the tokenizer of a tiny BERT that reads characters and a few words."""
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    signs = [c for c in string.printable if not c.isspace() and not c.isupper()]
    pieces = [f"##{c}" for c in string.ascii_lowercase + string.digits]
    words = ["the", "dog", "red", "car", "fox"]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *pieces, *words]
    (folder / "vocab.txt").write_text("\n".join(vocab))
    BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    ).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def save_sentence_transformer(folder, *, prompts=None, seed=0):
    """Save a sentence-transformers model that reads 20 tokens; return the folder."""
    import torch
    from transformers import AutoConfig, AutoModel

    save_bert_files(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
        scatter(model)
    model.save_pretrained(folder)
    package = "sentence_transformers.models"
    files = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{package}.Pooling"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {"prompts": prompts or {}},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder
