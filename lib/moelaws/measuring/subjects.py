"""The models that the book measures: trained ones, kept where the corpus is, and random ones."""

from moelaws.available_memory import require_memory
from moelaws.config import ModelConfig, RunConfig
from moelaws.counting import count_parameters, tokens_for_budget
from moelaws.decoding.engine import AnyDecoder, Engine, make_decoder
from moelaws.files import cache_folder
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.text.corpus import load_corpus
from moelaws.training.recipe import recipe, tiny_model
from moelaws.training.train import train

COPIES = 3
"""Of the weights in memory at once: as the model has them, and laid out for decoding, matrix by matrix and together."""
EXPERTS, WIDTHS = (1, 8, 32), (32, 64, 128)
_BUDGET = 3e11
"""Training FLOPs of each of the book's models: some seconds of one core, and a router that knows its tokens."""


def trained_model(d_model: int, n_experts: int, top_k: int = 1) -> Transformer:
    """One of the book's models for measuring, trained on the default corpus the first time and kept in the cache.

    The same weights come out again on the same machine; on another one they differ in their last bits.
    """
    corpus = load_corpus()
    model = tiny_model(d_model, n_experts, top_k, vocab_size=corpus.vocab_size)
    run = RunConfig(model, recipe(model, _BUDGET, tokens_for_budget(model, _BUDGET)), corpus.name, corpus.sha256)
    folder = cache_folder() / f"checkpoint-{run.run_id}"
    if not (folder / "config.json").exists():
        save_checkpoint(train(run, corpus, device="cpu").model, folder, corpus.tokenizer_file)
    return load_checkpoint(folder)


def random_decoder(config: ModelConfig, device: str = "cpu", engine: Engine = "auto", threads: int = 1) -> AnyDecoder:
    """A model that was not trained; its router's choices are those of its first weights.

    Args:
        config: of the model.
        device: where it lies.
        engine, threads: what decodes, see ``make_decoder``.

    Raises:
        TooLargeError: it does not fit the memory.
        EngineError: see ``make_decoder``.
    """
    count = count_parameters(config).total
    require_memory(COPIES * 4 * count, f"decoding with {count:.3g} parameters")
    return make_decoder(Transformer(config).to(device), engine, threads)
