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
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

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
K = TypeVar("K", bound=Hashable)


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
    whole = {r: sum(file.size for file in files) for r, files in _weights(holding).items()}
    if not whole:
        return []
    sizes = _grouped_by_size(whole)
    usual = max(sizes, key=lambda size: len(sizes[size]))
    findings = []
    for size, revisions in sizes.items():
        if size != usual:
            expected = f"{_bytes(usual)}, as at {len(sizes[usual])} others"
            findings += holding.each("sizes differ", revisions, (), _bytes(size), expected)
    total = holding.run.get("params_total")
    if isinstance(total, int) and not _quantised(holding) and not _fits(usual, total, holding):
        sentence = f"{_bytes(usual)} are {usual / total:.2f} bytes for each of {total:,} weights"
        findings += holding.each(
            "size contradicts the entry", sizes[usual], (), sentence, "1, 2 or 4 bytes each"
        )
    return findings


def _grouped_by_size(whole: Mapping[str, int]) -> dict[int, list[str]]:
    """Size in bytes -> the revisions with that size or nearly so; from revision -> size."""
    commonest = Counter(whole.values()).most_common(1)[0][0]
    sizes: dict[int, list[str]] = {}
    for revision, size in whole.items():
        key = size
        for other in (commonest, *sizes):
            ratio = size / max(other, 1)
            if SHARE < ratio < 1 / SHARE:
                key = other
                break
        sizes.setdefault(key, []).append(revision)
    return sizes


def _fits(size: int, total: int, holding: Holding) -> bool:
    """Whether a size in bytes can be that of `total` weights; see the head of this file."""

    def fact(name: str) -> int:
        value = holding.run.get(name)
        return value if isinstance(value, int) else 0

    vocabulary, width = fact("vocab_size"), fact("d_model")
    rest = vocabulary * width + 2 * width**2 + vocabulary
    masks = 4 * fact("n_layers") * fact("context_length") ** 2
    for b in BYTES:
        least = SHARE * b * total
        most = b * ((2 - SHARE) * total + rest) + masks
        if least <= size <= most:
            return True
    return False


def _quantised(holding: Holding) -> bool:
    contents = [file.content for file in _configs(holding).values()]
    return any(content and "quantization_config" in content for content in contents)


def _shards(holding: Holding) -> list[Finding]:
    numbers: dict[Hashable, list[str]] = {}
    for revision, files in _weights(holding).items():
        numbers.setdefault(len(files), []).append(revision)
    return _others(holding, "number of shards differs", numbers, (), lambda n: f"{n} files")


def _entry(holding: Holding) -> list[Finding]:
    """The facts of the entry that a configuration contradicts."""
    contradictions: dict[tuple[str, str], list[str]] = {}
    for revision, file in _configs(holding).items():
        configured = holding.configured.get(file.digest, {})
        names = [name for name in COMPARED if _contradicts(name, configured, holding)]
        if names:
            both = (
                ", ".join(f"{name} {configured[name]}" for name in names),
                ", ".join(f"{name} {holding.run.get(name)}" for name in names),
            )
            contradictions.setdefault(both, []).append(revision)
    kind = "configuration contradicts the entry"
    findings = []
    for (configuration, entry), revisions in contradictions.items():
        findings += holding.each(
            kind, revisions, (CONFIGURATION,), configuration, f"the entry: {entry}"
        )
    return findings


def _contradicts(name: str, configured: Mapping[str, Any], holding: Holding) -> bool:
    if name not in configured:
        return False
    return holding.run.get(name) not in (None, "unknown", configured[name])


def _configurations(holding: Holding) -> list[Finding]:
    """Groups of revisions whose config.json says something else about the model."""
    configs = _configs(holding)
    if not configs:
        return []
    groups: dict[Hashable, list[str]] = {}
    for revision, file in configs.items():
        key = file.digest
        if file.content is not None:
            lasting = _lasting(file.content)
            key = repr(sorted(lasting.items()))
        groups.setdefault(key, []).append(revision)
    examples = {key: configs[revisions[0]] for key, revisions in groups.items()}
    usual = examples[_largest(groups)]

    def differences(key: Hashable) -> str:
        return _differences(examples[key], usual)

    return _others(holding, "configuration changed", groups, (CONFIGURATION,), differences)


def _differences(file: File, usual: File) -> str:
    """The values of a config.json that are not the usual ones."""
    if file.content is None or usual.content is None:
        return f"another content ({file.digest[:12]})"
    mine, theirs = _lasting(file.content), _lasting(usual.content)
    parts = []
    for name in sorted({*mine, *theirs}):
        value, other = mine.get(name), theirs.get(name)
        if value != other:
            parts.append(f"{name} {value} (others: {other})")
    return ", ".join(parts)


def _tokenizers(holding: Holding) -> list[Finding]:
    weights = _weights(holding)
    held = {
        revision: {file.path: file.digest for file in files if TOKENIZER.fullmatch(file.path)}
        for revision, files in holding.listed.items()
        if revision in weights
    }
    without = [revision for revision, files in held.items() if not any(map(_makes_one, files))]
    return [
        *holding.each(
            "no tokenizer",
            without,
            (),
            "no file of a tokenizer",
            "tokenizer.json, a vocabulary or *.model",
        ),
        *_changed_tokenizers(holding, {r: f for r, f in held.items() if r not in without}),
    ]


def _changed_tokenizers(holding: Holding, held: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Groups of revisions with other files than most; from revision -> path -> digest."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for revision, files in held.items():
        groups.setdefault(tuple(sorted(files.items())), []).append(revision)
    if not groups:
        return []
    usual = _largest(groups)
    findings = []
    for key, revisions in groups.items():
        if changes := _changes(dict(key), dict(usual)):
            sentence = ", ".join(f"{name} {change}" for name, change in changes.items())
            expected = f"as at {len(groups[usual])} others"
            findings += holding.each("tokenizer changed", revisions, changes, sentence, expected)
    return findings


def _changes(mine: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
    """Path -> absent, added or changed, of the files whose digest is not the usual one."""
    changes = {}
    for name in sorted({*mine, *usual}):
        if name not in mine:
            changes[name] = "absent"
        elif name not in usual:
            changes[name] = "added"
        elif mine[name] != usual[name]:
            changes[name] = "changed"
    return changes


def _others(
    holding: Holding,
    kind: str,
    groups: Mapping[Hashable, list[str]],
    files: tuple[str, ...],
    describe: Callable[[Hashable], str],
) -> list[Finding]:
    """One finding for each group of revisions but the largest; `describe` puts a key in words."""
    if not groups:
        return []
    usual = _largest(groups)
    findings = []
    for key, revisions in groups.items():
        if key != usual:
            expected = f"as at {listed(groups[usual], 3)}"
            findings += holding.each(kind, revisions, files, describe(key), expected)
    return findings


def _largest(groups: Mapping[K, list[str]]) -> K:
    """The key of the largest group, of equal ones the first."""
    return max(groups, key=lambda key: len(groups[key]))


def _weights(holding: Holding) -> dict[str, list[File]]:
    """Revision -> its files of weights, of the safetensors where there are any."""
    of_revision = {}
    for revision, files in holding.listed.items():
        safe = [file for file in files if SAFE.fullmatch(file.path)]
        pickled = [file for file in files if PICKLED.fullmatch(file.path)]
        if weights := safe or pickled:
            of_revision[revision] = weights
    return of_revision


def _configs(holding: Holding) -> dict[str, File]:
    return {r: f for r, files in holding.listed.items() for f in files if f.path == CONFIGURATION}


def _lasting(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in PASSING}


def _makes_one(name: str) -> bool:
    return name == "tokenizer.json" or name.startswith("vocab.") or name.endswith(".model")


def _bytes(size: float) -> str:
    for unit, bytes_per_unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_per_unit:
            return f"{size / bytes_per_unit:.2f} {unit}"
    return f"{size:.0f} bytes"
