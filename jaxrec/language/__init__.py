"""Language models as recommenders: likelihoods of titles after a history, and sentences about recommendations."""

from jaxrec.language.generate import Automaton, Decoding, Written, generate
from jaxrec.language.model import LanguageModel, load_language_model, logits

__all__ = ["Automaton", "Decoding", "LanguageModel", "Written", "generate", "load_language_model", "logits"]
