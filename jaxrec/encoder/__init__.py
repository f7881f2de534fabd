"""Language models as encoders of item texts."""

from jaxrec.encoder.auto_tokenizer import chat_text
from jaxrec.encoder.embed import embed_texts, encode
from jaxrec.encoder.load import Encoder, load_encoder, open_encoder
from jaxrec.encoder.save import save_encoder

__all__ = ["Encoder", "chat_text", "embed_texts", "encode", "load_encoder", "open_encoder", "save_encoder"]
