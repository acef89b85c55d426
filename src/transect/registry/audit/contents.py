"""Do the files of one run fit each other and the registry's entry: sizes, shards, configuration,
tokenizer.

A set of safetensors holds its weights and a short header, besides at most: an unembedding that is
tied (vocab_size x d_model), a pooler and its like (2 d_model^2), and causal masks that older
versions saved (n_layers x context_length^2, 4 bytes each at most).
So the bytes B contradict the entry when no b of 1, 2, 4 bytes gives  SHARE b params_total <= B <= (2 - SHARE) b params_total + the rest.
Revisions belong together when their sizes differ by less than 1 - SHARE; what most of them have is
what is expected of the others.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from transect.registry.audit.finding import Finding, Holding, listed
from transect.registry.audit.listing import CONFIGURATION, PICKLED, SAFE, TOKENIZER, File

SHARE = 0.97
BYTES = (1, 2, 4)
COMPARED = (
    "model_type",
    "n_layers",
    "d_model",
    "n_heads",
    "n_kv_heads",
    "d_ff",
    "vocab_size",
    "tied_embeddings",
    "n_experts",
    "n_experts_active",
)
# what a configuration says about the program that wrote it, not about the model
PASSING = {"_name_or_path", "_commit_hash", "transformers_version", "use_cache"}


def findings(holding: Holding) -> list[Finding]:
    """Everything that is odd about sizes, shards, configurations and tokenizers of one run."""
    return [
        *_sizes(holding),
        *_shards(holding),
        *_entry(holding),
        *_configurations(holding),
        *_tokenizers(holding),
    ]


def _sizes(holding: Holding) -> list[Finding]:
    whole = {r: sum(f.size for f in files) for r, files in _weights(holding).items()}
    if not whole:
        return []
    usual = Counter(whole.values()).most_common(1)[0][0]
    sizes: dict[int, list[str]] = {}
    for revision, size in whole.items():
        near = next((s for s in [usual, *sizes] if SHARE < size / max(s, 1) < 1 / SHARE), size)
        sizes.setdefault(near, []).append(revision)
    usual = max(sizes, key=lambda s: len(sizes[s]))
    found = []
    for size, revisions in sizes.items():
        if size != usual:
            expected = f"{_bytes(usual)}, as at {len(sizes[usual])} others"
            found += holding.each("sizes differ", revisions, (), _bytes(size), expected)
    total = holding.run.get("params_total")
    if isinstance(total, int) and not _quantised(holding) and not _fits(usual, total, holding):
        told = f"{_bytes(usual)} are {usual / total:.2f} bytes for each of {total:,} weights"
        found += holding.each(
            "size contradicts the entry", sizes[usual], (), told, "1, 2 or 4 bytes each"
        )
    return found


def _fits(size: int, total: int, holding: Holding) -> bool:
    fact = {
        name: value if isinstance(value := holding.run.get(name), int) else 0
        for name in ("vocab_size", "d_model", "n_layers", "context_length")
    }
    more = fact["vocab_size"] * fact["d_model"] + 2 * fact["d_model"] ** 2 + fact["vocab_size"]
    masks = 4 * fact["n_layers"] * fact["context_length"] ** 2
    return any(SHARE * b * total <= size <= b * ((2 - SHARE) * total + more) + masks for b in BYTES)


def _quantised(holding: Holding) -> bool:
    configurations = [
        f.content for files in holding.listed.values() for f in files if f.path == CONFIGURATION
    ]
    return any(content and "quantization_config" in content for content in configurations)


def _shards(holding: Holding) -> list[Finding]:
    numbers: dict[Hashable, list[str]] = {}
    for revision, files in _weights(holding).items():
        numbers.setdefault(len(files), []).append(revision)
    return _others(holding, "number of shards differs", numbers, (), lambda n: f"{n} files")


def _entry(holding: Holding) -> list[Finding]:
    """The facts of the entry that a configuration contradicts."""
    wrong: dict[tuple[str, str], list[str]] = {}
    for revision, file in _configs(holding).items():
        says = holding.configured.get(file.digest, {})
        off = [
            n
            for n in COMPARED
            if n in says and holding.run.get(n) not in (None, "unknown", says[n])
        ]
        if off:
            told = (
                ", ".join(f"{n} {says[n]}" for n in off),
                ", ".join(f"{n} {holding.run.get(n)}" for n in off),
            )
            wrong.setdefault(told, []).append(revision)
    return [
        finding
        for (found, expected), revisions in wrong.items()
        for finding in holding.each(
            "configuration contradicts the entry",
            revisions,
            (CONFIGURATION,),
            found,
            f"the entry: {expected}",
        )
    ]


def _configurations(holding: Holding) -> list[Finding]:
    """Groups of revisions whose config.json says something else about the model."""
    configs = _configs(holding)
    groups: dict[Hashable, list[str]] = {}
    for revision, file in configs.items():
        key = file.digest if file.content is None else repr(sorted(_lasting(file.content).items()))
        groups.setdefault(key, []).append(revision)
    of_group = {key: configs[revisions[0]] for key, revisions in groups.items()}
    usual = max(groups, key=lambda key: len(groups[key]), default=None)

    def told(key: Hashable) -> str:
        mine, theirs = of_group[key].content, of_group[usual].content
        if mine is None or theirs is None:
            return f"another content ({of_group[key].digest[:12]})"
        a, b = _lasting(mine), _lasting(theirs)
        names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
        return ", ".join(f"{name} {a.get(name)} (others: {b.get(name)})" for name in names)

    return _others(holding, "configuration changed", groups, (CONFIGURATION,), told)


def _tokenizers(holding: Holding) -> list[Finding]:
    held = {
        r: {f.path: f.digest for f in files if TOKENIZER.fullmatch(f.path)}
        for r, files in holding.listed.items()
    }
    held = {r: files for r, files in held.items() if r in _weights(holding)}
    none = [r for r, files in held.items() if not any(_makes_one(name) for name in files)]
    found = holding.each(
        "no tokenizer",
        none,
        (),
        "no file of a tokenizer",
        "tokenizer.json, a vocabulary or *.model",
    )
    groups: dict[Hashable, list[str]] = {}
    for revision, files in held.items():
        if revision not in none:
            groups.setdefault(tuple(sorted(files.items())), []).append(revision)
    usual = dict(max(groups, key=lambda key: len(groups[key]), default=()))  # type: ignore[call-overload]
    for key, revisions in groups.items():
        mine: dict[str, str] = dict(key)  # type: ignore[call-overload]
        changed = sorted(name for name in {*mine, *usual} if mine.get(name) != usual.get(name))
        if changed:
            told = ", ".join(
                f"{name} {'absent' if name not in mine else 'added' if name not in usual else 'changed'}"
                for name in changed
            )
            found += holding.each(
                "tokenizer changed",
                revisions,
                changed,
                told,
                f"as at {len(groups[tuple(sorted(usual.items()))])} others",
            )
    return found


def _others(
    holding: Holding,
    kind: str,
    groups: Mapping[Hashable, list[str]],
    files: tuple[str, ...],
    told: Any,
) -> list[Finding]:
    """One finding for each group of revisions but the largest."""
    usual = max(groups, key=lambda key: len(groups[key]), default=None)
    return [
        finding
        for key, revisions in groups.items()
        if key != usual
        for finding in holding.each(
            kind, revisions, files, told(key), f"as at {listed(groups[usual], 3)}"
        )
    ]


def _weights(holding: Holding) -> dict[str, list[File]]:
    """Revision -> its files of weights, of the safetensors where there are any."""
    found = {}
    for revision, files in holding.listed.items():
        safe = [f for f in files if SAFE.fullmatch(f.path)]
        if weights := safe or [f for f in files if PICKLED.fullmatch(f.path)]:
            found[revision] = weights
    return found


def _configs(holding: Holding) -> dict[str, File]:
    return {r: f for r, files in holding.listed.items() for f in files if f.path == CONFIGURATION}


def _lasting(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in PASSING}


def _makes_one(name: str) -> bool:
    return name == "tokenizer.json" or name.startswith("vocab.") or name.endswith(".model")


def _bytes(size: float) -> str:
    for unit, of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= of:
            return f"{size / of:.2f} {unit}"
    return f"{size:.0f} bytes"
