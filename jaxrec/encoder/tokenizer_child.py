"""Reads a tokenizer and tries it; a program that `jaxrec.encoder.trial` starts, since this may end a process.

Standard input is JSON: the file of a tokenizer, or a folder with arguments for transformers, and limits. Exit code 0
says that nothing worse happened than an ordinary exception, which the caller will meet as well. It imports nothing of
jaxrec, and so starts quickly.
"""

import contextlib
import json
import os
import sys
from typing import Any

PANIC, NO_LIBRARY = 4, 3  # exit codes
SAMPLES = (
    "",
    "a",
    "The quick brown fox, jumps! over 12.5 lazy dogs…",
    "größer 中文字 日本語 한국어 العربية हिन्दी \U0001f642\U0001f468‍\U0001f469‍\U0001f467 é",
    *(letter * 2_000 for letter in (" ", "a", "\n", "1", ".", "é", "中", "\U0001f642")),
    "a b " * 500 + "!",
    "".join(map(chr, (*range(1, 256), 0x200B, 0x202E, 0xFEFF, 0xFFFD, 0x10FFFF))),
)


def limit(seconds: int, most_bytes: int) -> None:
    """Limit the time and memory of this process, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def read(job: dict[str, Any]) -> Any:
    """Read the tokenizer as `jaxrec.encoder.tokenize` does."""
    if "file" in job:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(job["file"])
    from transformers import AutoTokenizer

    options = {**job["arguments"], "local_files_only": True, "trust_remote_code": False}
    return getattr(AutoTokenizer.from_pretrained(job["folder"], **options), "backend_tokenizer", None)


def attempt(job: dict[str, Any]) -> None:
    """Read the tokenizer, and use it on texts of all kinds."""
    tokenizer = read(job)
    if not hasattr(tokenizer, "encode_batch_fast"):
        return
    tokenizer.no_padding()
    tokenizer.encode("a")
    tokenizer.enable_truncation(16)
    tokenizer.encode_batch_fast(list(SAMPLES))
    tokenizer.to_str()
    tokenizer.get_vocab_size()


def main() -> int:
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    limit(job["seconds"], job["bytes"])
    try:
        attempt(job)
    except ImportError:
        return NO_LIBRARY
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # of Rust; it has no module to import it from
            return PANIC
    return 0


if __name__ == "__main__":
    os._exit(main())
