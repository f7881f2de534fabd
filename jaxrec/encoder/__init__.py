"""Language models as encoders of item texts."""

from jaxrec.encoder.embed import embed_texts, encode
from jaxrec.encoder.load import Encoder, load_encoder, open_encoder
from jaxrec.encoder.save import save_encoder

__all__ = ["Encoder", "embed_texts", "encode", "load_encoder", "open_encoder", "save_encoder"]
