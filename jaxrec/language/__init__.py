"""Language models as recommenders: likelihoods of titles after a history."""

from jaxrec.language.model import LanguageModel, load_language_model, logits

__all__ = ["LanguageModel", "load_language_model", "logits"]
