"""What a sample can tell: the shipped suites, and small registries with planted confounds."""

from pathlib import Path

import pytest

from transect.errors import InputError
from transect.registry import suites
from transect.registry.suite_file.reading import read
from transect.registry.suites import Registry
from transect.store.project import SHIPPED, Project
from transect.study.plan import text
from transect.study.plan.check import DesignCheck, check, defects, pairs, refusal
from transect.study.plan.factors import factor_table

OFFICIAL = "suite == 'pythia' and seed_varies == 'none' and params_total > 6e7"


def shipped(*names: str) -> Registry:
    """Some of the shipped suites (all of them take seconds to read)."""
    return Registry(tuple(read(SHIPPED / "model_registry" / f"{name}.yaml") for name in names))


@pytest.fixture(scope="module")
def pile() -> Registry:
    return shipped("pythia", "mamba", "rwkv4_pile")


def checked(loaded: Registry, where: str, **options: object) -> DesignCheck:
    runs = loaded.select(where)
    pool = [r for r in loaded.runs.values() if r not in runs and r.loadable]
    return check(runs, loaded, pool=pool, prices=[float(i) for i in range(len(pool))], **options)  # type: ignore[arg-type]


def said(found: DesignCheck) -> str:
    parts = (
        text.alias_sentences,
        text.beside_sentences,
        text.alone_sentences,
        text.remedy_sentences,
        text.cannot_show,
    )
    return "\n".join(line for part in parts for line in part(found))


def test_sixteen_pythias_cannot_judge_seed_order_and_architecture(pile: Registry) -> None:
    """Eight sizes, standard and deduplicated: seed, data order, architecture (and all else but size
    and corpus) do not vary.
    """
    found = checked(pile, OFFICIAL)
    assert len(found.runs) == 16
    assert {"init_seed", "order_seed", "architecture", "objective", "language", "amount"} <= set(
        found.unjudged
    )
    assert [(f.factor, f.level, f.n_units, f.n_levels) for f in found.factors if not f.reason][
        :2
    ] == [("size", "configuration", 16, 8), ("corpus", "configuration", 16, 2)]
    (sentence,) = [s for s in text.cannot_show(found) if s.startswith("Architecture")]
    assert (
        "seed of the initialisation, data order" in sentence
        and "cannot be judged: all 16 runs have one value" in sentence
    )
    assert "no difference between two single runs can be told from chance" in said(found)


def test_learning_rate_and_precision_go_with_size(pile: Registry) -> None:
    """In Pythia they have one value at each size: told from size by a straight line only."""
    found = checked(pile, OFFICIAL)
    assert ("training_details", "size") in found.by_form
    assert "Each size has one value of details of training" in said(found)


def test_data_order_alone_varies_at_160m_only(pile: Registry) -> None:
    """With PolyPythias: a few runs of one size, some of them with a known defect
    (EleutherAI/pythia#203).
    """
    found = checked(pile, "suite == 'pythia'")
    (sentence,) = [
        s for s in text.alone_sentences(found) if s.startswith("Data order varies alone")
    ]
    assert (
        "only at 160m" in sentence
        and "EleutherAI/pythia#203" in sentence
        and "pythia-160m-weight-seed1" in sentence
    )
    groups = found.alone["order_seed"]
    assert {i for g in groups for i in g["run"]} >= {
        "pythia-160m-data-seed1",
        "pythia-160m-data-seed2",
    }
    assert sum(len(g) for g in groups) <= 12 and not any(g["size"].nunique() > 1 for g in groups)


def test_pythia_against_mamba_names_what_else_differs(pile: Registry) -> None:
    """Besides the mixer: tying, positions, norm, MLP, and the padding of the vocabulary; and two
    families are too few.
    """
    found = checked(pile, "suite == 'mamba' or (suite == 'pythia' and seed_varies == 'none')")
    assert found.factor("architecture").reason.startswith("it varies over 2 families only")
    (sentence,) = [
        s for s in text.beside_sentences(found) if s.startswith("Levels of architecture")
    ]
    for field in ("mixer", "position", "norm", "mlp", "tied_embeddings", "vocab_size"):
        assert field in sentence
    assert "besides, in tokenizer (vocab_size)" in sentence
    remedy = next(r for r in found.remedies if r.factor == "architecture")
    assert pile.runs[remedy.runs[0]].suite == "rwkv4_pile" and "architecture" in said(found)


def test_bert_against_gpt_is_no_contrast_of_architectures() -> None:
    """A masked model on one side, a causal one on the other: refused, with the reason."""
    loaded = shipped("bert", "gpt2")
    found = checked(loaded, "suite in ['bert', 'gpt2'] and language == 'eng'")
    assert any("contrast of architectures across objectives is refused" in s for s in found.refused)
    assert "architecture" in found.unjudged
    left, right = ([r for r in loaded.runs.values() if r.suite == s] for s in ("bert", "gpt2"))
    assert "aliased with objective" in refusal("architecture", left, right) and "masked" in refusal(
        "architecture", left, right
    )
    assert refusal("architecture", right, right) == "" and refusal("size", left, right) == ""


DEMO = """
suite: demo
title: Demo
description: Planted confounds.
sources: {here: a test}
checkpoints: {main: {revision: main, steps: [null]}}
defaults:
  model_type: gpt2
  objective: causal
  mixer: attention
  architecture: gpt2
  checkpoints: main
  corpus: web
  language: eng
  train_tokens: 1000000000
  tokenizer: {key: t}
  stage: base
  params_total: 10000000
  params_non_embedding: 8000000
  sources: {all: [here]}
runs:
"""


def demo(tmp_path: Path, *runs: str) -> Registry:
    folder = tmp_path / "model_registry"
    folder.mkdir()
    (folder / "demo.yaml").write_text(
        DEMO + "\n".join(f"- {{hub_id: o/m, {run}}}" for run in runs) + "\n"
    )
    return Registry(tuple(s for s in suites.load(Project(tmp_path)).suites if s.name == "demo"))


def test_post_training_is_compared_between_parent_and_child(tmp_path: Path) -> None:
    """Pairs are the units; a chat model without its parent is named, and a contrast with a stranger
    refused.
    """
    lineage = [f"id: base{i}, seed: {i}, init_seed: {i}" for i in range(3)]
    lineage += [f"id: chat{i}, stage: chat, parent: base{i}" for i in range(3)] + [
        "id: lone, stage: chat, parent: elsewhere"
    ]
    loaded = demo(tmp_path, *lineage, "id: elsewhere, params_non_embedding: 9000000")
    found = checked(loaded, "run != 'elsewhere'")
    assert (
        len(pairs(found.runs)) == 3
        and found.factor("post_training").n_units == 3
        and not found.factor("post_training").reason
    )
    assert any("parent and child only (3 pairs here)" in s and "lone" in s for s in found.refused)
    base, chat = [loaded.runs["base0"]], [loaded.runs["chat1"]]
    assert "parent and child" in refusal("post_training", base, chat)
    assert refusal("post_training", base, [loaded.runs["chat0"]]) == ""
    alone = checked(loaded, "run == 'lone' or run == 'base1'")
    assert (
        "no run is sampled together with the run that it was trained from"
        in alone.factor("post_training").reason
    )
    assert next(r for r in alone.remedies if r.factor == "post_training").runs == ("chat1",)


def test_the_smallest_remedy_is_a_run_of_the_registry(tmp_path: Path) -> None:
    """Two corpora that go with two languages: the run that crosses them, not the one that is new in
    everything.
    """
    here = [
        f"id: s{i}-{lang}, language: {lang}, corpus: {corpus}, params_non_embedding: {8 + i}000000"
        for i in range(4)
        for lang, corpus in (("eng", "web"), ("spa", "books"))
    ]
    loaded = demo(
        tmp_path,
        *here,
        "id: new, language: deu, corpus: news",
        "id: dear, language: spa, corpus: web, tokenizer: {key: u}",
        "id: crossed, language: spa, corpus: web",
    )
    found = checked(loaded, "run not in ['new', 'crossed', 'dear']")
    assert {(a.factor, a.others, a.kind) for a in found.aliases} == {
        ("corpus", ("language",), "same"),
        ("language", ("corpus",), "same"),
    }
    (remedy,) = [r for r in found.remedies if r.others]
    assert remedy.runs == ("crossed",) and remedy.exact and remedy.brings == ()
    assert "Corpus and language always change together (over 8 units)" in said(found)


def test_unknown_is_said_and_nothing_is_concluded(tmp_path: Path) -> None:
    """An amount of training that half of the runs do not tell is partly unjudgeable; an unknown
    field is no difference.
    """
    runs = [
        f"id: a{i}, params_non_embedding: {8 + i}000000, train_tokens: {v}"
        for i, v in enumerate(["unknown", "unknown", 10**9, 10**10, 10**11])
    ]
    found = checked(demo(tmp_path, *runs), "suite == 'demo'")
    assert (found.factor("amount").unknown, found.factor("amount").n_units) == (2, 3)
    assert "Amount of training is unknown in 2 of 5 runs" in said(found)


def test_checkpoints_of_a_run_are_units_of_nothing(tmp_path: Path) -> None:
    """Tokens that vary within runs are tested by their slopes: as many units as runs, however many
    checkpoints.
    """
    loaded = demo(tmp_path, *(f"id: a{i}, seed: {i}" for i in range(4)))
    found = checked(loaded, "suite == 'demo'", within=["a0", "a1", "a2", "a3"])
    amount = found.factor("amount")
    assert (amount.level, amount.n_units, amount.reason) == ("checkpoint", 4, "")
    assert "its checkpoints" in str(text.table_rows(checked(loaded, "run == 'a0'", within=["a0"])))


def test_equal_amounts_are_one_amount(pile: Registry) -> None:
    """Pythia's 299.9 and Mamba's 300 billion tokens do not make the amount a factor that tells them
    apart.
    """
    runs = pile.select(
        "(suite == 'mamba' and corpus == 'pile') or (suite == 'pythia' and seed_varies == 'none')"
    )
    table = factor_table(runs, pile)
    assert table.frame["amount"].nunique() == 1 and table.frame["corpus"].nunique() == 2
    assert table.label("size", table.frame["size"].iloc[0]) == runs[0].get("label")


def test_shared_exclusions_are_no_special_defect(pile: Registry) -> None:
    """That steps 1 and 2 repeat step 0 holds of all Pythias, and tells no run from the others."""
    runs = pile.select("suite == 'pythia'")
    assert (
        "pythia-70m" not in defects(runs, runs)
        and "#203" in defects(runs, runs)["pythia-160m-weight-seed1"]
    )


def test_the_facts_are_json(pile: Registry) -> None:
    """All of the check, without numbers that JSON lacks."""
    import json

    told = json.loads(json.dumps(text.facts(checked(pile, OFFICIAL)), allow_nan=False))
    assert {"factors", "aliases", "remedies", "cannot_show", "besides", "varies_alone"} <= set(told)
    with pytest.raises(InputError):
        pile.select("no_such_field == 1")
