"""A directory or a hub id becomes an entry of the registry; what it says is what the model is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForMultimodalLM, LlavaConfig, Qwen2VLConfig

from tests.architectures import directory_of
from tests.jobs.hub_project import hub_project, load_study, measure_all, publish
from tests.lm.hub_server import commit, serve
from tests.lm.test_loading import own_model
from tests.shelf import fill, tiny_model, word_tokenizer
from transect.cli import main
from transect.cli.registry import add as registry_add
from transect.cli.registry.add import Added, add
from transect.cli.registry.counts import recompute
from transect.errors import InputError, LoadError, NotApplicable
from transect.jobs.measure import locate
from transect.lm import load
from transect.registry import suites
from transect.store.cell_store import NOT_APPLICABLE, Store
from transect.store.project import Project, find_project

TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 66,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": None,
    "pad_token_id": 1,
}
VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
    "projection_dim": 16,
}
QWEN_VISION = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of its own, offline, with the study `small` of one run."""
    return hub_project(tmp_path, monkeypatch)


def entry(project: Project, added: Added) -> suites.Run:
    """The run as the registry reads it; its stated counts are those of its dimensions."""
    loaded = suites.load(project)
    own = suites.Registry(tuple(s for s in loaded.suites if s.path == added.path))
    assert not recompute(own).errors
    return own.runs[added.entry["id"]]


def vision_model(folder: Path, config: object) -> Path:
    """A model that reads images, too, with weights from a seed."""
    network = AutoModelForMultimodalLM.from_config(config)
    fill(network, 0)
    network.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        (
            "qwen3",
            {
                "objective": "causal",
                "mixer": "attention",
                "position": "rope",
                "norm": "rmsnorm",
                "mlp": "swiglu",
                "d_head": 16,
                "params_total": 25952,
            },
        ),
        (
            "bert",
            {
                "objective": "masked",
                "position": "learned",
                "norm": "layernorm",
                "mlp": "gelu",
                "tied_embeddings": True,
                "context_length": 64,
            },
        ),
        (
            "t5",
            {
                "objective": "denoising",
                "position": "relative-bucket",
                "norm": "rmsnorm",
                "mlp": "relu",
            },
        ),
        (
            "mamba2",
            {
                "mixer": "ssd",
                "position": "none",
                "mlp": "none",
                "attention_pattern": "none",
                "config": {"state_size": 8, "n_groups": 1},
            },
        ),
        (
            "mixtral",
            {"n_experts": 4, "n_experts_active": 2, "params_total": 53792, "params_active": 35360},
        ),
        ("gemma2", {"attention_pattern": "local-global", "mlp": "geglu", "tied_embeddings": True}),
        ("lstm", {"mixer": "recurrent", "position": "none"}),
    ],
)
def test_a_directory_becomes_an_entry(kind, facts, project, tmp_path):
    """Objective, design and sizes are those of the network that was saved; the counts can be
    recomputed from the entry.
    """
    added = add(str(directory_of(tmp_path, kind)), "mine", project, run="new")
    run = entry(project, added)
    assert {name: run.get(name) for name in facts} == facts
    assert (project.root / run.get("path")).resolve() == tmp_path / kind and run.get(
        "path"
    ) == f"../{kind}"
    assert run.get("language") == run.get("train_tokens") == "unknown"
    assert len(run.checkpoints) == 1 and "as many as the configuration has" in added.told[-1]


def test_a_table_of_counts(project, tmp_path):
    """An n-gram model of this project's own form; it is measured as any other."""
    path = tiny_model(tmp_path, "ngram")
    run = entry(
        project, add(str(path), "mine", project, given={"language": "svo-verb"}, run="bigram")
    )
    assert (run.get("mixer"), run.model_class, run.get("params_total")) == ("ngram", "n-gram", None)
    assert set(study_of(project, "bigram")["state"]) == {"measured"}


def test_a_directory_of_the_project_is_named_from_there(project):
    """So that the project can be moved."""
    added = add(str(tiny_model(project.root / "models", "gpt2")), "mine", project, run="b")
    assert entry(project, added).get("path") == "models/gpt2"


def test_the_suite_file_keeps_what_it_has(project, tmp_path):
    """A suite with comments and defaults is extended; what its defaults say is not asked again."""
    file = project.root / "model_registry/lab.yaml"
    before = file.read_text() + "# the last word\n"
    file.write_text(before)
    added = add(
        str(tiny_model(tmp_path, "llama")), "lab", project, given={"seed": 3, "corpus": "wiki"}
    )
    after = file.read_text()
    assert all(
        line in after
        for line in before.splitlines()
        if not line.startswith(("sources:", "checkpoints:"))
    )
    run = entry(project, added)
    assert (run.get("seed"), run.get("corpus"), run.get("language"), run.get("checkpoints")) == (
        3,
        "wiki",
        "svo-verb",
        "main",
    )
    assert "language" not in added.unknown and run.sources_of(
        suites.load(project).fields["corpus"]
    ) == ["person"]
    assert set(suites.load(project).runs) >= {"plain", "own", "llama"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"given": {"langauge": "eng"}},
            "--set langauge: there is no such factor; .* Did you mean 'language'?",
        ),
        (
            {"given": {"stage": "finetuned"}},
            "--set stage: is 'finetuned'; allowed are base, midtrain",
        ),
        ({"given": {"language": "xx"}}, "'xx' is no language of ISO 639-3"),
        ({"given": {"id": "x"}}, "--set id: give the run's id with --id"),
        (
            {"given": {"parent": "plane"}},
            "--set parent: there is no run 'plane'.* Did you mean 'plain'",
        ),
        ({"given": {"checkpoints": "steps"}, "suite": "new"}, "a new suite has no rule 'steps'"),
        ({"run": "../x"}, "the id '../x' is not made of letters"),
        ({"given": {"params_total": 0}}, "--set params_total: "),
        ({"given": {"params_total": 17}}, "states params_total 17, but its configuration has"),
        (
            {"given": {"checkpoints": "steps"}},
            "names the checkpoint rule 'steps'; there are: main.*was left as it was",
        ),
        ({"run": "plain"}, "There is a run 'plain' already"),
        ({"suite": "pythia"}, "that is a shipped suite"),
        ({"suite": "My suite"}, "lower-case letters"),
        ({"model": "nowhere"}, "'nowhere' is no directory and no hub id"),
    ],
)
def test_bad_input_changes_nothing(options, message, project, tmp_path):
    """One sentence that names what was given and what is allowed; no file is touched."""
    path = tiny_model(tmp_path, "llama")
    before = {p: p.read_bytes() for p in (project.root / "model_registry").iterdir()}
    given = {"model": str(path), "suite": "lab", **options}
    with pytest.raises(InputError, match=message):
        add(given.pop("model"), given.pop("suite"), project, **given)
    assert {p: p.read_bytes() for p in (project.root / "model_registry").iterdir()} == before


def test_openings_are_tried_and_named(project, tmp_path):
    """--try-openings tells the losses; --set opening is written, where the tokenizer has the token."""
    model = directory_of(tmp_path, "llama")
    added = add(
        str(model), "mine", project, given={"stage": "base", "opening": "<pad>"}, try_openings=True
    )
    assert entry(project, added).get("opening") == "<pad>"
    assert any("`bos: auto` takes <pad>" in sentence for sentence in added.told)
    with pytest.raises(
        InputError, match="--set opening: '<pat>' is no token .* Did you mean '<pad>'"
    ):
        add(str(model), "mine", project, given={"stage": "base", "opening": "<pat>"}, run="other")
    with pytest.raises(
        InputError, match="--try-openings: it needs the weights; lab/plain is no directory"
    ):
        add("lab/plain", "mine", project, given={"stage": "base"}, try_openings=True)


def test_a_hub_id_from_the_cache(project, tmp_path):
    """With its commit, offline; a tokenizer that cuts as another run's does has that run's key."""
    sha = publish(project, "lab/new-model", tiny_model(tmp_path, "gpt_neox"))
    add(str(tiny_model(tmp_path, "llama")), "mine", project)
    run = entry(project, add("lab/new-model", "mine", project))
    assert (run.id, run.get("hub_id"), run.get("commit")) == ("new-model", "lab/new-model", sha)
    assert run.get("tokenizer")["key"] == "llama" and run.checkpoints[0].revision == "main"


def test_a_hub_id_without_its_weights(project, tmp_path, monkeypatch):
    """Online, the sizes are read from the headers of the weights, which are not downloaded; another
    revision is its own rule.
    """
    files = {p.name: p.read_bytes() for p in tiny_model(tmp_path, "gpt2").iterdir()}
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with serve({"lab/far": {"main": files, "step5": files}}) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        added = add("lab/far", "mine", project, revision="step5")
    run = entry(project, added)
    assert run.checkpoints[0].revision == "step5" and run.get("commit") == commit(
        "lab/far", "step5"
    )
    assert "as many as the configuration has" in added.told[-1]
    assert not list((tmp_path / "hub").rglob("*.safetensors"))


def test_code_of_its_own(project, tmp_path):
    """It is not run: remote_code, the weights counted in their file (two matrices of 70 x 8), and
    the mixer that a person must tell.
    """
    path = own_model(tmp_path / "own")
    with pytest.raises(
        InputError, match=r"do not tell its mixer; add --set mixer=... \(attention,"
    ):
        add(str(path), "mine", project, run="own-sum")
    added = add(str(path), "mine", project, given={"mixer": "none"}, run="own-sum")
    run = entry(project, added)
    assert (
        run.get("remote_code") is True
        and run.get("params_total") == 2 * 70 * 8
        and run.get("objective") == "causal"
    )
    assert not (path / "ran").exists()


def test_weights_of_another_model_are_refused(project, tmp_path):
    """A layer more in the configuration than in the file: what is missing is named, and no entry is
    written.
    """
    path = tiny_model(tmp_path, "llama")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(LoadError, match="9 weights are missing, e.g. model.layers.2"):
        add(str(path), "mine", project)


def study_of(project: Project, run: str) -> pd.DataFrame:
    """The store's index after the study `small` has measured a run."""
    file = project.root / "studies/small.yaml"
    file.write_text(file.read_text().replace("run == 'plain'", f"run == '{run}'"))
    measure_all(load_study(project))
    return Store(project.store).index()


def test_a_vision_language_model_is_measured_by_its_text_path(project, tmp_path):
    """Llava: modalities and the text part's size are entered; its log-probabilities are those of
    the whole model without an image.
    """
    config = LlavaConfig(
        text_config={"model_type": "llama", **TEXT}, vision_config=VISION, image_token_id=5
    )
    path = vision_model(tmp_path / "llava", config)
    run = entry(project, add(str(path), "mine", project, given={"language": "svo-verb"}))
    assert (
        run.get("modalities") == ["text", "image"]
        and run.get("d_model") == 32
        and run.get("position") == "rope"
    )
    assert set(study_of(project, "llava")["state"]) == {"measured"}
    whole = AutoModelForMultimodalLM.from_pretrained(path).eval()
    ids = [0, *word_tokenizer().encode("the dog runs", add_special_tokens=False)]
    with torch.no_grad():
        logprobs = whole(input_ids=torch.tensor([ids])).logits.log_softmax(-1)[0]
    expected = [logprobs[t, token].item() for t, token in enumerate(ids[1:])]
    assert load(path).token_logprobs([ids])[0][1:] == pytest.approx(expected, abs=1e-5)


def test_a_vision_language_model_without_a_text_path_is_not_applicable(project, tmp_path):
    """Qwen2-VL: transformers has no class for its text alone; the cells say so and are not failed."""
    config = Qwen2VLConfig(
        text_config=TEXT, vision_config=QWEN_VISION, image_token_id=5, video_token_id=6
    )
    path = vision_model(tmp_path / "qwen2-vl", config)
    file = project.root / "model_registry/mine.yaml"
    with pytest.raises(NotApplicable, match="no causal class for its text alone"):
        add(str(path), "mine", project)
    file.write_text(
        yaml.safe_dump(
            {
                "suite": "mine",
                "title": "x",
                "description": "x",
                "sources": {"a": "b"},
                "checkpoints": {"main": {"revision": "main", "steps": [None]}},
                "runs": [
                    {
                        "id": "qwen2-vl",
                        "path": str(path),
                        "model_type": "qwen2_vl",
                        "objective": "causal",
                        "mixer": "attention",
                        "architecture": "qwen2_vl",
                        "checkpoints": "main",
                        "language": "svo-verb",
                        "modalities": ["text", "image"],
                    }
                ],
            }
        )
    )
    index = study_of(project, "qwen2-vl")
    assert set(index["state"]) == {NOT_APPLICABLE}
    assert "no causal class for its text alone (qwen2_vl_text)" in index["reason"].iloc[0]


def test_a_folder_that_is_not_there_is_tried_again(project, tmp_path):
    """An entry whose folder is on another disk: the cells fail with the path, and the next run
    tries again.
    """
    path = tiny_model(tmp_path, "gpt2")
    add(str(path), "mine", project, run="away", given={"language": "svo-verb"})
    path.rename(tmp_path / "elsewhere")
    index = study_of(project, "away")
    assert (
        set(index["kind"]) == {"resource"}
        and f"there is no folder {path}" in index["reason"].iloc[0]
    )
    (tmp_path / "elsewhere").rename(path)
    measure_all(load_study(project))
    assert set(Store(project.store).index()["state"]) == {"measured"}


def test_the_command_tells_what_it_found_and_what_not(project, tmp_path, capsys):
    """The file, the facts, what only a person can know, and what comes next."""
    path = tiny_model(tmp_path, "gpt2")
    assert (
        main.main(
            ["registry", "add", str(path), "--suite", "mine", "--set", "licence=MIT", "--id", "a"]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert (
        "run a" in told
        and "params_total            " in told
        and "licence                 MIT" in told
    )
    assert {"corpus", "train_tokens", "stage", "access"} <= set(
        told.split("unknown  ")[1].split(":")[0].split(", ")
    )
    assert (
        main.main(
            ["registry", "add", str(path), "--suite", "mine", "--set", "licens=MIT", "--id", "b"]
        )
        == 2
    )
    assert "Did you mean 'licence'?" in capsys.readouterr().err


@pytest.mark.slow
def test_three_new_architectures_come_into_the_figures_of_a_study(project):
    """Qwen3, Mistral and ModernBERT, which no suite of the registry has: `registry add` each, then
    `transect run`, and no more.
    """
    root = project.root
    kinds = ("qwen3", "mistral", "modernbert")
    known = {run.get("model_type") for run in suites.load(project).runs.values()}
    assert not known & set(kinds)

    study = (
        (root / "studies/small.yaml")
        .read_text()
        .replace("run == 'plain'", "suite == 'new'")
        .split("analyses:")[0]
    )
    outcomes = [
        {"measure": "minimal_pair", "metric": f"{part}difference_nats", "name": part or "sum"}
        for part in ("", "pll_")
    ]
    (root / "studies/small.yaml").write_text(
        f"{study}analyses: {[{'analysis': 'size_trend', 'outcomes': outcomes}]}\n"
    )
    for kind in kinds:
        directory_of(root / "models", kind)
        assert (
            main.main(
                ["registry", "add", f"models/{kind}", "--suite", "new", "--set", "language=eng"]
            )
            == 0
        )
    command = [sys.executable, "-m", "transect.cli.main", "run", "small", "-j", "1"]
    done = subprocess.run(
        command, cwd=root, env=os.environ, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    index = Store(find_project(root).store).index()
    assert set(index["run"]) == set(kinds) and set(index["state"]) == {"measured"}
    points = pd.read_parquet(next((root / "results/small").rglob("*points*.parquet")))
    assert set(points["configuration"]) == set(kinds)
    page = (root / "results/small/report.html").read_text()
    assert all(kind in page for kind in kinds) and "<svg" in page


def training(folder: Path, names: list[str]) -> Path:
    """A folder with a tiny model, of other weights each, in every folder of these names."""
    for seed, name in enumerate(names):
        tiny_model(folder / "made", "gpt2", seed=seed).rename(folder / name)
    (folder / "made").rmdir()
    return folder


def test_a_training_is_recognised_by_its_folders(project: Project) -> None:
    """step0, step100, step1000: one run of three checkpoints in order, its path beside the project,
    its tokens from the step; all load.
    """
    folder = training(project.root.parent / "mytraining", ["step0", "step1000", "step100"])
    added = add(str(folder), "mine", project, tokens_per_step=512)
    run = entry(project, added)
    assert [(c.revision, c.step, c.tokens_seen) for c in run.checkpoints] == [
        ("step0", 0, 0),
        ("step100", 100, 51200),
        ("step1000", 1000, 512000),
    ]
    assert run.get("path") == "../mytraining" and run.id == "mytraining"
    assert [locate(c, project).name for c in run.checkpoints] == ["step0", "step100", "step1000"]
    assert len({load(locate(c, project)).fingerprint["weights"] for c in run.checkpoints}) == 3


def test_checkpoints_are_named_by_a_template(project: Project, tmp_path: Path) -> None:
    """Beside a model of its own, with zeros before the number and something behind it; a second
    training of the same steps shares the rule.
    """
    for name in ("one", "two"):
        folder = training(tmp_path / name, ["it-007-ema", "it-050-ema"])
        (folder / "config.json").write_text((folder / "it-050-ema/config.json").read_text())
        added = add(str(folder), "mine", project, checkpoints="it-{step}-ema")
        assert [(c.revision, c.step) for c in entry(project, added).checkpoints] == [
            ("it-007-ema", 7),
            ("it-050-ema", 50),
        ]
    assert list(yaml.safe_load(added.path.read_text())["checkpoints"]) == ["curve"]


@pytest.mark.parametrize(
    ("names", "template", "told"),
    [
        (
            ["step0", "ckpt5"],
            None,
            r"add one of them, or say with --checkpoints that those named 'ckpt\{step\}' and 'step\{step\}' are of",
        ),
        (["step1", "step01"], None, "step01 and step1 are the same step"),
        (
            ["step1"],
            "stp{step}",
            "no folder in .* is called so and holds a config.json; there are step1",
        ),
        (
            ["llama3"],
            None,
            "holds no config.json; there are models in its folders llama3: add one of them, or say with",
        ),
        (["one", "two"], None, "there are models in its folders one, two: add one of them[.]$"),
        (["step1"], "step", "write the names of the folders with {step} for the number"),
    ],
)
def test_checkpoints_that_cannot_be_told_are_explained(
    names: list[str], template: str | None, told: str, project: Project, tmp_path: Path
) -> None:
    """Two kinds of names, one step twice, a model or some that are no checkpoints, a template that
    names none or has no number.
    """
    with pytest.raises(InputError, match=told):
        add(str(training(tmp_path / "training", names)), "mine", project, checkpoints=template)


def test_models_of_other_sizes_are_no_checkpoints(project: Project, tmp_path: Path) -> None:
    """model1 and model2 with other widths, found or named; a run never has checkpoints of two
    networks.
    """
    folder = training(tmp_path / "training", ["model1", "model2"])
    config = json.loads((folder / "model2/config.json").read_text())
    (folder / "model2/config.json").write_text(
        json.dumps({**config, "n_embd": 64, "use_cache": False})
    )
    for template in (None, "model{step}"):
        with pytest.raises(
            InputError,
            match="model1 and model2 are no checkpoints .* differ in n_embd; add each by",
        ):
            add(str(folder), "mine", project, checkpoints=template)


def test_a_taken_id_is_told_before_the_files_are_read(project: Project, tmp_path: Path) -> None:
    """A folder that holds nothing: its name is enough."""
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError, match="There is a run 'plain' already .*--id"):
        add(str(tmp_path / "plain"), "mine", project)


@pytest.mark.parametrize(
    ("field", "given", "guess"),
    [
        *(
            ("stage", "instruct", "sft"),
            ("stage", "Pretrained", "base"),
            ("objective", "mlm", "masked"),
        ),
        *(("position", "rotary", "rope"), ("mixer", "transformer", "attention")),
        *(("norm_placement", "pre_norm", "pre"), ("access", "opne", "open")),
    ],
)
def test_a_value_that_others_use_has_a_guess(
    field: str, given: str, guess: str, project: Project, tmp_path: Path
) -> None:
    """What model cards say, and a misspelt value."""
    with pytest.raises(InputError, match=f"--set {field}: .* Did you mean '{guess}'"):
        add(str(tiny_model(tmp_path, "gpt2")), "mine", project, given={field: given}, run="new")


@pytest.mark.parametrize("before", [True, False], ids=["to a suite", "new suite"])
def test_what_another_adds_meanwhile_is_not_lost(
    before: bool, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suite file is written by somebody else between reading and writing: it stays as that one
    left it, in one sentence.
    """
    file, model = project.root / "model_registry/lab.yaml", str(tiny_model(tmp_path, "llama"))
    given = {"seed": 1}
    if before:
        add(model, "lab", project, run="one", given=given)
    theirs = b"# somebody else's\n"
    check = registry_add._check_result

    def slowly(*of: object) -> None:
        check(*of)  # type: ignore[arg-type]
        file.write_bytes(theirs)

    monkeypatch.setattr(registry_add, "_check_result", slowly)
    with pytest.raises(
        InputError,
        match=r"lab.yaml was changed while the model was read, and was left as it is now",
    ):
        add(model, "lab", project, run="two", given=given)
    assert file.read_bytes() == theirs and not list(file.parent.glob(".lab*"))
