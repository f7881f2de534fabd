"""How many texts per second does an encoder read, compared with sentence-transformers (torch) and onnxruntime?

    python benchmarks/encode.py --titles TITLES.tsv [--column title] [--model all-MiniLM-L6-v2] [--rounds 3]
        [--engines jaxrec torch onnx] [--other-python PYTHON]

Every engine runs in its own process, one after the other, `--rounds` times in turn, on the same cores and with the same
settings of the memory allocator. `--other-python` is an interpreter with torch, sentence-transformers, onnx and
onnxruntime, none of which jaxrec needs. A process first does the work once without a clock (jaxrec all of it, so that
every shape is compiled; the others 512 texts), then:

    titles    all texts of the file from strings to vectors on the host, tokenising included, texts/s
    64, 128   256 texts of exactly this many tokens through the model and its pooling, texts/s; batches as each engine
              takes them: 32 texts, jaxrec on CPU at most 2,048 tokens

It prints one JSON line per task: medians and spread of each engine, and jaxrec's median over each rival's. The vectors
of all engines are compared, because a fast wrong answer is worth nothing.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LENGTHS, BATCH, BATCHES, WARM = (64, 128), 32, 8, 512
# By default glibc gives freed memory back and faults it in again. The same for all engines.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TOP_PAD_": "67108864"}


def token_ids(length: int):
    """[256, length] ids that every BERT vocabulary has, [CLS] and [SEP] at their ends."""
    import numpy as np

    ids = np.random.default_rng(length).integers(2000, 20000, (BATCH * BATCHES, length))
    ids[:, 0], ids[:, -1] = 101, 102
    return ids


def with_jaxrec(model: str) -> tuple[Callable, Callable]:
    """Make two functions of jaxrec: strings to vectors, and ids [B, T] to vectors."""
    from jaxrec.config.schema import EncoderConfig
    from jaxrec.encoder import embed_texts, load_encoder
    from jaxrec.encoder.encode_ids import encode_ids

    enc = load_encoder(model, max_length=128)  # as the others here
    tokens = EncoderConfig().batch_tokens
    return lambda texts: embed_texts(enc, texts, tokens), lambda ids: encode_ids(enc, ids, tokens, lambda *_: None)


def with_torch(model: str) -> tuple[Callable, Callable]:
    """Make the same two functions of sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer

    whole = SentenceTransformer(model, device="cuda" if torch.cuda.is_available() else "cpu")
    whole.max_seq_length = 128

    def batch(ids):
        features = {"input_ids": torch.tensor(ids, device=whole.device)}
        features["attention_mask"] = torch.ones_like(features["input_ids"])
        with torch.inference_mode():
            return whole(features)["sentence_embedding"].cpu().numpy()

    def forward(ids):
        return [batch(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]

    return lambda texts: whole.encode(texts, batch_size=BATCH), forward


def with_onnx(model: str) -> tuple[Callable, Callable]:
    """Make the same of onnxruntime: exported once; texts are sorted by length and padded to the longest of a batch."""
    import numpy as np
    import onnxruntime
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    class Hidden(torch.nn.Module):
        """The model with positional arguments, as tracing needs it."""

        def __init__(self):
            super().__init__()
            self.inner = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        def forward(self, ids, mask):
            return self.inner(input_ids=ids, attention_mask=mask).last_hidden_state

    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"encode-{os.getpid()}.onnx"
    example = torch.ones(2, 8, dtype=torch.long)
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        Hidden(),
        (example, example),
        str(path),
        input_names=["ids", "mask"],
        output_names=["hidden"],
        dynamic_axes={"ids": axes, "mask": axes, "hidden": axes},
        dynamo=False,
    )
    session = onnxruntime.InferenceSession(str(path))
    path.unlink()
    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)

    def pooled(ids, mask):
        hidden = session.run(["hidden"], {"ids": ids, "mask": mask})[0]
        vectors = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode(texts):
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        order, vectors = sorted(range(len(rows)), key=lambda n: -len(rows[n])), {}
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            ids = np.zeros((len(chosen), len(rows[chosen[0]])), np.int64)
            mask = np.zeros_like(ids)
            for line, n in enumerate(chosen):
                ids[line, : len(rows[n])], mask[line, : len(rows[n])] = rows[n], 1
            vectors |= dict(zip(chosen, pooled(ids, mask), strict=True))
        return np.stack([vectors[n] for n in range(len(rows))])

    def forward(ids):
        parts = (ids[start : start + BATCH].astype(np.int64) for start in range(0, len(ids), BATCH))
        return [pooled(part, np.ones_like(part)) for part in parts]

    return encode, forward


ENGINES = {"jaxrec": with_jaxrec, "torch": with_torch, "onnx": with_onnx}


def measure(engine: str, model: str, texts: Sequence[str]) -> dict[str, Any]:
    """Measure texts per second of every task, after each was done once; a few vectors too."""
    encode, forward = ENGINES[engine](model)
    encode(texts if engine == "jaxrec" else texts[:WARM])  # jaxrec compiles one program per shape
    started = time.perf_counter()
    vectors = encode(texts)
    rates = {"titles": len(texts) / (time.perf_counter() - started)}
    for length in LENGTHS:
        ids = token_ids(length)
        forward(ids[: 2 * BATCH])
        started = time.perf_counter()
        forward(ids)
        rates[str(length)] = len(ids) / (time.perf_counter() - started)
    return {"rates": rates, "vectors": [row.tolist() for row in vectors[:: max(len(texts) // 16, 1)]]}


def run(engine: str, python: str, options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Measure an engine in its own process."""
    words = [
        "--titles",
        options.titles,
        "--column",
        options.column,
        "--model",
        folder,
        "--child",
        engine,
        "--most",
        str(options.most),
    ]
    command = [python if engine != "jaxrec" else sys.executable, __file__, *words]
    done = subprocess.run(command, env=os.environ | MALLOC, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def read_titles(path: str, column: str) -> list[str]:
    """Read one column of a tab-separated file, the same for every engine."""
    lines = Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    place = lines[0].split("\t").index(column)
    return [line.split("\t")[place] for line in lines[1:]]


def main() -> None:
    """Measure all engines in turn and print one JSON line per task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", required=True)
    parser.add_argument("--column", default="title")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=0, help="titles at most, drawn at random; 0: all")
    parser.add_argument("--engines", nargs="+", default=["jaxrec"], choices=ENGINES)
    parser.add_argument("--other-python", default=sys.executable)
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = read_titles(options.titles, options.column)
    if options.most:
        texts = random.Random(0).sample(texts, options.most)
    if options.child:
        print(json.dumps(measure(options.child, options.model, texts)))
        return
    report(options, texts)


def report(options: argparse.Namespace, texts: Sequence[str]) -> None:
    """Run the rounds and print their results."""
    import jax
    import numpy as np

    from jaxrec.encoder.folder import find_model

    folder, seen = str(find_model(options.model)), {engine: [] for engine in options.engines}
    for _ in range(options.rounds):
        for engine in options.engines:
            seen[engine].append(run(engine, options.other_python, options, folder))
    vectors = {engine: np.array(rounds[0]["vectors"]) for engine, rounds in seen.items()}
    first = vectors[options.engines[0]]
    for task in ("titles", *map(str, LENGTHS)):
        rates = {engine: [one["rates"][task] for one in rounds] for engine, rounds in seen.items()}
        medians = {engine: statistics.median(values) for engine, values in rates.items()}
        line = {
            "benchmark": "encode",
            "task": task,
            "model": options.model,
            "texts": len(texts) if task == "titles" else BATCH * BATCHES,
            "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores",
            "texts_per_s": {engine: round(value, 1) for engine, value in medians.items()},
            "lowest": {engine: round(min(values), 1) for engine, values in rates.items()},
            "highest": {engine: round(max(values), 1) for engine, values in rates.items()},
            "jaxrec_over": {e: round(medians["jaxrec"] / m, 3) for e, m in medians.items() if e != "jaxrec"},
            "largest_difference": {engine: float(np.abs(v - first).max()) for engine, v in vectors.items()},
            "rounds": options.rounds,
            "jax": jax.__version__,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
