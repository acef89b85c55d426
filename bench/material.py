"""What is measured: five BLiMP paradigms, a tokenizer trained on them, and random models of the
shape of Pythia-70m.

make(folder) writes, once, folder/<kind> in hub layout for gpt_neox (6 layers, 512 wide, 8 heads,
50,304 tokens in the unembedding: 70,426,624 parameters, as Pythia-70m) and, of the same width and
depth, bloom (alibi) and mamba2 (recurrent). Weights are random: times do not depend on them, and
results are compared between programs. Tokenizer: byte-level BPE trained on the sentences
themselves, so that most words are one token.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from transect.store.sources import fetch

BLIMP = "https://raw.githubusercontent.com/alexwarstadt/blimp/3e56b06fcabca9b30822fc66435fca6b1aa40bb1/data/"
PARADIGMS = {  # name -> sha256 of the file
    "anaphor_gender_agreement": "fd7d6e47196fa1310a251d3aa88ae9a62bb64d3cec35fc02617229d5799767e1",
    "regular_plural_subject_verb_agreement_1": "1a18d94062c8e792c0a200a3b00dff0e051a92bb084c05e9b5e5c73bee32a620",
    "npi_present_1": "9aa85dc5c2b0d85ea51f21db50d6d327ab5b45d1669e386d54b1360d3ac954af",
    "wh_vs_that_no_gap": "6a25d0d1499e9f522696a62ce9dba8c49f58c5446fddc6d852bf562d1016163c",
    "passive_2": "4d49e438185bed4122a252dd9ee69bc8eccb2fe6c1b09ccc78198fd925fed8c5",
}
SOURCE = [
    {
        "url": f"{BLIMP}{name}.jsonl",
        "sha256": sha,
        "licence": "CC BY 4.0",
        "mirror": f"blimp/dev/{name}.jsonl.xz",
    }
    for name, sha in PARADIGMS.items()
]
END = "<|endoftext|>"
SHAPES: dict[str, dict[str, Any]] = {
    "gpt_neox": {
        **{
            "hidden_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "intermediate_size": 2048,
        },
        **{
            "max_position_embeddings": 2048,
            "use_parallel_residual": True,
            "tie_word_embeddings": False,
        },
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
        },
    },
    "bloom": {"hidden_size": 512, "n_layer": 6, "n_head": 8},
    "mamba2": {
        "hidden_size": 512,
        "num_hidden_layers": 6,
        "num_heads": 16,
        "head_dim": 64,
        "n_groups": 1,
    },
}
# standard deviation of the weights; twice the usual one, so that probabilities are not all alike
SPREAD = 0.04


def pairs(n: int) -> list[tuple[str, str]]:
    """(good, bad) of the first n pairs of every paradigm."""
    lines = [
        line
        for source in SOURCE
        for line in fetch(source).read_text(encoding="utf-8").splitlines()[:n]
    ]
    return [(pair["sentence_good"], pair["sentence_bad"]) for pair in map(json.loads, lines)]


def make(folder: Path) -> Path:
    """The folder, with every model in it."""
    tokenizer = _tokenizer()
    for kind, shape in SHAPES.items():
        path = folder / kind
        wanted = json.dumps([shape, PARADIGMS, SPREAD, torch.__version__])
        if (path / "made").is_file() and (path / "made").read_text() == wanted:
            continue
        torch.manual_seed(0)
        common: dict[str, Any] = {
            "vocab_size": 50304,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "initializer_range": SPREAD,
        }
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **common, **shape))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith("bias") and "dt_" not in name:
                    parameter.normal_(
                        0, 0.02
                    )  # biases and norms too, so that nothing is zero or one by chance
                elif "norm" in name or ".ln_" in name:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        network.save_pretrained(path)
        tokenizer.save_pretrained(path)
        (path / "made").write_text(wanted)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=50277, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator([sentence for pair in pairs(1000) for sentence in pair], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces, bos_token=END, eos_token=END, unk_token=END, model_max_length=2048
    )
