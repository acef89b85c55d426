"""A hub cache in which tiny random models stand under the ids and revisions of real ones.

    cache/models--EleutherAI--pythia-14m/refs/step1000              the commit (a digest of id and revision)
                                        /snapshots/<commit>/...     config.json, model.safetensors, tokenizer.json ...
                                        /blobs/<digest>             what the snapshot links to

Same model_type, same tying, same context length, other sizes: WIDTH wide, LAYERS layers deep. The
tokenizers are real ones of the right kind (byte-level BPE; unigram with the special tokens of
Goldfish), trained here on a few texts. The weights of every revision differ. With HF_HUB_OFFLINE=1
and HF_HUB_CACHE at the cache, a study runs through the code
that runs it on a connected machine:  python -m tests.workflow.hub_world CACHE [STUDY ...]
"""

import argparse
import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    Olmo2Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from transect.registry.run import Checkpoint, Run

WIDTH, LAYERS, HEADS, VOCABULARY = 32, 2, 2, 512
SPREAD = 0.2  # of the random weights: wide enough that probabilities differ between sentences
END = "<|endoftext|>"
LETTERS = sorted(set(map(chr, range(0x20, 0x7F))) | set("áéíóúüñÁÉÍÓÚÜÑ¿¡«»“”‘’–—…ºª"))
TEXTS = {
    "eng": [
        "The river runs slowly past the old mill, and the children of the village swim there in summer.",
        "Nobody knows who wrote the letters that were found behind the wall of the house.",
        "She has worked in the city for ten years, but her parents still live near the sea.",
    ],
    "spa": [
        "El río pasa despacio junto al viejo molino, y los niños del pueblo nadan allí en verano.",
        "Nadie sabe quién escribió las cartas que aparecieron detrás de la pared de la casa.",
        "Ella trabaja en la ciudad desde hace diez años, pero sus padres viven todavía cerca del mar.",
    ],
}


def build(
    cache: Path, checkpoints: Iterable[Checkpoint], texts: Mapping[str, Sequence[str]] = TEXTS
) -> int:
    """Write every checkpoint into the cache (trained ones are passed over); how many there are.

    texts: language -> what its tokenizers are trained on; a run of another language gets all of
    them.
    """
    by_run: dict[Run, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        if not checkpoint.run.trained_here:
            by_run.setdefault(checkpoint.run, []).append(checkpoint)
    for run, wanted in by_run.items():
        _repository(cache / ("models--" + run.get("hub_id").replace("/", "--")), run, wanted, texts)
    return sum(map(len, by_run.values()))


def commit(hub_id: str, revision: str) -> str:
    """Forty hexadecimal digits that stand for a revision."""
    return hashlib.sha1(f"{hub_id}@{revision}".encode()).hexdigest()


def tokenizer(model_type: str, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, or for gpt2 (Goldfish) a unigram one that opens texts with [CLS]."""
    if model_type == "gpt2":
        return _unigram(texts)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=END, eos_token=END, unk_token=END
    )


def _unigram(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    special = ["<unk>", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        unk_token="<unk>",
        initial_alphabet=[letter for letter in LETTERS if letter != " "],
        show_progress=False,
    )
    unigram.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=unigram,
        bos_token="[CLS]",
        eos_token="[SEP]",
        pad_token="[PAD]",
        unk_token="<unk>",
    )


def configuration(run: Run, words: PreTrainedTokenizerFast) -> PretrainedConfig:
    """The run's architecture at a tiny size."""
    tied, context = run.get("tied_embeddings"), run.get("context_length")
    special = {
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    if run.get("model_type") == "gpt2":
        return GPT2Config(
            n_layer=LAYERS,
            n_embd=WIDTH,
            n_head=HEADS,
            vocab_size=len(words),
            n_positions=context,
            tie_word_embeddings=tied,
            initializer_range=SPREAD,
            **special,
        )
    shared = {
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * WIDTH,
        "vocab_size": len(words),
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "initializer_range": SPREAD,
        **special,
    }
    if run.get("model_type") == "gpt_neox":
        return GPTNeoXConfig(use_parallel_residual=run.get("parallel_residual"), **shared)
    if run.get("model_type") == "olmo2":
        return Olmo2Config(num_key_value_heads=HEADS, **shared)
    raise ValueError(
        f"{run.id}: no tiny model of type {run.get('model_type')!r}; add its configuration here."
    )


def _repository(
    folder: Path, run: Run, checkpoints: Sequence[Checkpoint], texts: Mapping[str, Sequence[str]]
) -> None:
    known = texts.get(run.get("language"), [text for part in texts.values() for text in part])
    words = tokenizer(run.get("model_type"), known)
    torch.manual_seed(int(hashlib.sha1(run.id.encode()).hexdigest()[:8], 16))
    network = AutoModelForCausalLM.from_config(configuration(run, words))
    network.config.architectures = [type(network).__name__]
    files = {"config.json": network.config.to_json_string(use_diff=True).encode()} | _files(words)
    weights = dict(network.state_dict())
    if network.config.tie_word_embeddings:
        del weights["lm_head.weight"]  # as save_pretrained does
    for checkpoint in checkpoints:
        moved = {name: _moved(value, checkpoint.revision) for name, value in weights.items()}
        content = files | {"model.safetensors": save(moved, metadata={"format": "pt"})}
        _snapshot(
            folder, commit(run.get("hub_id"), checkpoint.revision), checkpoint.revision, content
        )


def _moved(weights: torch.Tensor, revision: str) -> torch.Tensor:
    """The weights at a revision: the run's own, moved at random by half their spread."""
    generator = torch.Generator().manual_seed(
        int(hashlib.sha1(revision.encode()).hexdigest()[:8], 16)
    )
    return (weights + SPREAD / 2 * torch.randn(weights.shape, generator=generator)).contiguous()


def _files(words: PreTrainedTokenizerFast) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        words.save_pretrained(folder)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def _snapshot(folder: Path, commit: str, revision: str, files: Mapping[str, bytes]) -> None:
    snapshot, blobs, ref = (
        folder / "snapshots" / commit,
        folder / "blobs",
        folder / "refs" / revision,
    )
    for place in (snapshot, blobs, ref.parent):
        place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        blob = blobs / hashlib.sha256(content).hexdigest()
        if not blob.exists():
            blob.write_bytes(content)
        link = snapshot / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path("../../blobs") / blob.name)
    ref.write_text(commit)


def main() -> None:
    """Build the world of the studies that are named on the command line."""
    from transect.store.project import find_project
    from transect.study import study_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("studies", nargs="*", default=["suites"])
    given = parser.parse_args()
    cells = [cell for name in given.studies for cell in study_file.load(name, find_project()).cells]
    print(
        f"{build(given.cache, dict.fromkeys(cell.checkpoint for cell in cells))} checkpoints in {given.cache}"
    )


if __name__ == "__main__":
    main()
