"""How much host memory does loading a checkpoint onto a mesh take beyond the arrays on the devices?

    python benchmarks/load_mesh.py [--hidden 1024] [--layers 24] [--devices 8]

This writes a random model of Llama's shape to a temporary folder and loads it in fresh processes: part by part onto a
mesh (`load_encoder(mesh=...)`), and for comparison whole onto the host, then from there onto the mesh. Devices are
virtual CPU devices, whose memory is the host's. The memory beyond them is the peak of anonymous memory (sampled every
millisecond) minus the memory at the end, when only the arrays on the devices remain. It prints one JSON line per way
and mesh.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

WAYS = ("part by part", "whole, then spread")


def main() -> None:
    """Measure all ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--child", nargs=3, metavar=("WAY", "DATA", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, data, folder = options.child
        print(json.dumps(measure(way, options.devices, int(data), folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), options.hidden, options.layers)
        for data in (options.devices // 2, 1):
            for way in WAYS:
                command = [
                    sys.executable,
                    __file__,
                    "--devices",
                    str(options.devices),
                    "--child",
                    way,
                    str(data),
                    folder,
                ]
                flags = f"--xla_force_host_platform_device_count={options.devices}"
                done = subprocess.run(
                    command, env=os.environ | {"XLA_FLAGS": flags}, stdout=subprocess.PIPE, check=True, text=True
                )
                print(done.stdout.splitlines()[-1], flush=True)


def write_model(folder: Path, hidden: int, layers: int) -> None:
    """Write config.json and model.safetensors of a random Llama."""
    import numpy as np
    from safetensors.numpy import save_file

    wide, words, heads = 4 * hidden, 32_000, hidden // 64
    sizes = {"hidden_size": hidden, "intermediate_size": wide, "num_hidden_layers": layers, "vocab_size": words}
    heads = {"num_attention_heads": heads, "num_key_value_heads": heads, "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **sizes, **heads}))
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (words, hidden), "norm.weight": (hidden,)}
    for layer in range(layers):
        for name in ("q", "k", "v", "o"):
            shapes[f"layers.{layer}.self_attn.{name}_proj.weight"] = (hidden, hidden)
        for name, shape in {"gate": (wide, hidden), "up": (wide, hidden), "down": (hidden, wide)}.items():
            shapes[f"layers.{layer}.mlp.{name}_proj.weight"] = shape
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"layers.{layer}.{name}.weight"] = (hidden,)
    rng = np.random.default_rng(0)
    save_file({n: rng.standard_normal(s, np.float32) for n, s in shapes.items()}, folder / "model.safetensors")


def measure(way: str, devices: int, data: int, folder: str) -> dict[str, Any]:
    """Load once and measure time and memory."""
    import jax
    from jax.sharding import AxisType

    from jaxrec.encoder import load_encoder
    from jaxrec.encoder.layout import lay_out
    from jaxrec.sharding.mesh import DATA, MODEL

    mesh = jax.make_mesh((data, devices // data), (DATA, MODEL), (AxisType.Auto,) * 2)
    jax.block_until_ready(jax.device_put(1.0))
    before, peak, stop = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.is_set():
            peak = max(peak, anonymous())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    if way == WAYS[0]:
        params = load_encoder(folder, mesh=mesh).params
    else:
        enc = load_encoder(folder)
        params = lay_out(enc.params, enc.config, mesh)
        del enc
    jax.block_until_ready(params)
    seconds = time.perf_counter() - started
    stop.set()
    watcher.join()
    left = anonymous()
    on_devices = sum(shard.data.nbytes for x in jax.tree.leaves(params) for shard in x.addressable_shards)
    return {
        "benchmark": "load_mesh",
        "way": way,
        "mesh": f"{data} data x {devices // data} model",
        "model_mb": round(sum(x.nbytes for x in jax.tree.leaves(params)) / 1e6),
        "on_devices_mb": round(on_devices / 1e6),
        "left_mb": round((left - before) / 1e6),
        "beyond_mb": round((max(peak, left) - left) / 1e6),
        "seconds": round(seconds, 2),
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores",
        "jax": jax.__version__,
    }


def anonymous() -> int:
    """Bytes of this process that are not backed by a file, so that mapped checkpoints do not count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon: this benchmark needs Linux")


if __name__ == "__main__":
    main()
