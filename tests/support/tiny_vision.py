"""A tiny random vision-language model on disk, and MM-NIAH questions for it."""

import json

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_vlm.models import gemma3
from PIL import Image

from worker.models import REFERENCE

IMAGE_TOKENS, SIDE = 16, 112
MARKS = {
    "boi_token": "<start_of_image>",
    "image_token": "<image_soft_token>",
    "eoi_token": "<end_of_image>",
}
TEMPLATE = (
    "{% for message in messages %}{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
)
TEXT = {
    "model_type": "gemma3_text",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "query_pre_attn_scalar": 64,
    "vocab_size": 1664,
    "sliding_window": 32,
    "sliding_window_pattern": 2,
    "mm_tokens_per_image": IMAGE_TOKENS,
}
VISION = {
    "model_type": "siglip_vision_model",
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "patch_size": 14,
    "image_size": SIDE,
}
PIXELS = {
    "image_processor_type": "Gemma3ImageProcessor",
    "size": {"height": SIDE, "width": SIDE},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def save(folder):
    """Write a random gemma in mlx-vlm's format, with the reference model's tokenizer."""
    folder.mkdir()
    image_token = _tokenizer(folder)
    config = {
        "model_type": "gemma3",
        "vocab_size": TEXT["vocab_size"],
        "image_token_index": image_token,
        "hidden_size": TEXT["hidden_size"],
        "eos_token_id": [1],
        "mm_tokens_per_image": IMAGE_TOKENS,
        "text_config": TEXT,
        "vision_config": VISION,
    }
    _write(folder / "config.json", config)
    _write(folder / "preprocessor_config.json", PIXELS)
    _write(folder / "processor_config.json", {"image_seq_length": IMAGE_TOKENS})
    settings = gemma3.ModelConfig.from_dict(config)
    settings.text_config = gemma3.TextConfig.from_dict(TEXT)
    settings.vision_config = gemma3.VisionConfig.from_dict(VISION)
    mx.random.seed(3)
    weights = dict(tree_flatten(gemma3.Model(settings).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    return folder


def _tokenizer(folder):
    """Write the tokenizer with marks for images; returns the id of an image's token."""
    tokenizer = json.loads((REFERENCE / "tokenizer.json").read_text())
    first = 1 + max(tokenizer["model"]["vocab"].values())
    form = tokenizer["added_tokens"][0]
    marks = [{**form, "id": first + i, "content": mark} for i, mark in enumerate(MARKS.values())]
    tokenizer["added_tokens"] += marks
    _write(folder / "tokenizer.json", tokenizer)
    config = json.loads((REFERENCE / "tokenizer_config.json").read_text())
    _write(
        folder / "tokenizer_config.json",
        {**config, "extra_special_tokens": MARKS, "chat_template": TEMPLATE},
    )
    return first + list(MARKS).index("image_token")


def haystack(folder, lengths=(900, 1100, 3000, 60000), words=60):
    """Write questions that claim these lengths in tokens; returns the file of the task."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for colour in ("red", "blue"):
        Image.new("RGB", (40, 30), colour).save(folder / "images" / f"{colour}.png")
    file = folder / "annotations" / "retrieval-text.jsonl"
    rows = [question(number, length, words) for number, length in enumerate(lengths)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def question(number=0, length=1000, words=60, **changes):
    """Return a line of MM-NIAH; ``changes`` are other values of it."""
    text = " ".join(["the river is long and the hill is high"] * (words // 9))
    row = {
        "id": number,
        "images_list": ["red.png", "blue.png"],
        "context": f"{text} <image> the secret fruit is a pear. {text} <image> {text}",
        "question": "Which fruit is secret?",
        "answer": "pear",
        "meta": {
            "placed_depth": 0.5,
            "context_length": length,
            "context_length_text": length - 2 * IMAGE_TOKENS,
            "context_length_image": 2 * IMAGE_TOKENS,
            "num_images": 2,
            "needles": ["the secret fruit is a pear."],
            "choices": None,
            "choices_image_path": None,
        },
    }
    return row | changes


def _write(path, document):
    path.write_text(json.dumps(document))
