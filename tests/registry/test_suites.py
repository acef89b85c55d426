"""Suite files -> runs and checkpoints."""

from pathlib import Path

import pytest

from transect.errors import InputError
from transect.registry import suites
from transect.registry.suite_file import reading
from transect.store.project import SHIPPED, Project

SUITE = """
suite: demo
title: Demo
description: A suite for tests.
sources: {here: a test}
checkpoints:
  steps: {revision: "stage1-step{step}-tokens{billions}B", billions: ceil, steps: [0, {from: 1000, to: 3000, by: 1000}], tokens_per_step: 2097152}
  main: {revision: main, steps: [null]}
defaults: {model_type: gpt2, objective: causal, mixer: attention, architecture: gpt2, checkpoints: steps}
tables:
- {by: [d_model], rows: [{d_model: 64, params_total: 1000}, {d_model: 128, params_total: 4000}]}
runs:
- {id: "demo-{d_model}-{seed}", hub_id: "org/demo-{d_model}-{seed}", each: {d_model: [64, 128], seed: [1, 2]}}
- {id: demo-main, hub_id: org/demo, checkpoints: main, train_tokens: 7, exclude_revisions: []}
- {id: demo-bad, hub_id: org/bad, exclude_revisions: [{revision: stage1-step1000-tokens3B, reason: wrong weights}]}
"""


def project(tmp_path: Path, text: str = SUITE, name: str = "demo") -> Project:
    folder = tmp_path / "model_registry"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return Project(tmp_path)


def demo(tmp_path: Path) -> suites.Registry:
    return suites.load(project(tmp_path))


def test_entries_expand(tmp_path: Path) -> None:
    """`each` gives the product of its lists; templates and joined tables are filled in."""
    run = demo(tmp_path).runs["demo-128-2"]
    assert (run.get("hub_id"), run.get("params_total"), run.get("seed")) == (
        "org/demo-128-2",
        4000,
        2,
    )


def test_checkpoints_follow_the_rule(tmp_path: Path) -> None:
    """Revisions and tokens come from the rule (2 097 152 tokens per step: 3000 steps are 6.29e9, so
    7B when rounded up).
    """
    points = demo(tmp_path).runs["demo-64-1"].checkpoints
    assert [p.step for p in points] == [0, 1000, 2000, 3000]
    assert points[-1].revision == "stage1-step3000-tokens7B"
    assert points[-1].tokens_seen == 6_291_456_000


def test_single_checkpoint_has_the_tokens_of_the_run(tmp_path: Path) -> None:
    """A run with one checkpoint has seen all its tokens there."""
    assert [p.tokens_seen for p in demo(tmp_path).runs["demo-main"].checkpoints] == [7]


def test_excluded_revisions_are_left_out(tmp_path: Path) -> None:
    """A revision with a known defect is no checkpoint."""
    run = demo(tmp_path).runs["demo-bad"]
    assert 1000 not in [p.step for p in run.checkpoints]
    assert run.excluded == {"stage1-step1000-tokens3B": "wrong weights"}


def test_configuration_joins_seeds(tmp_path: Path) -> None:
    """Runs that differ in the seed only are one configuration; another width is another."""
    found = demo(tmp_path).configurations
    assert found["demo-64-1"] == found["demo-64-2"] != found["demo-128-1"]


def test_selection_in_the_order_of_the_file(tmp_path: Path) -> None:
    """A query selects by property."""
    assert [r.id for r in demo(tmp_path).select("suite == 'demo' and d_model == 64")] == [
        "demo-64-1",
        "demo-64-2",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("objective: causal", "objective: casual"),
            r"demo.yaml, line 9: defaults.objective is 'casual'; allowed are causal, .*Did you mean 'causal'",
        ),
        (
            ("params_total: 1000", "params_total: 0"),
            r"line 11: tables.0.rows.0.params_total is not allowed: 0 is less than the minimum of 1",
        ),
        (
            ("checkpoints: main, train", "checkpoints: mian, train"),
            r"names the checkpoint rule 'mian'.*Did you mean 'main'",
        ),
        (("hub_id: org/demo, ", ""), r"'demo-main' has neither hub_id nor path nor trained_here"),
        (("mixer: attention, ", ""), r"line 13: run 'demo-64-1' lacks the field 'mixer'"),
        (("title: Demo", "titel: Demo"), r"lacks title|unknown field 'titel'"),
        (
            ("id: demo-main", "id: demo-64-1"),
            r"The run id 'demo-64-1' stands twice: .*demo.yaml, line 13 and .*demo.yaml, line 14",
        ),
        (
            ("org/demo-{d_model}-{seed}", "org/demo-{d_modle}"),
            r"names the field 'd_modle', which it lacks. Did you mean 'd_model'",
        ),
        (
            ("suite: demo", "suite: other"),
            r"field suite is 'other'; it must be the file's name, 'demo'",
        ),
        (("sources: {here: a test}", "sources: {here"), r"line \d+: this is not valid YAML"),
        (
            ("title: Demo", "title: Demo\nsuite: demo"),
            r"line 4: this is not valid YAML \(the key 'suite' stands twice",
        ),
        (
            ("from: 1000, to: 3000", "from: 4000, to: 3000"),
            r"line 7: the steps of the rule 'steps' do not rise",
        ),
        (("[0, {from", "[1000, {from"), r"the steps of the rule 'steps' do not rise"),
        (("step{step}-", "step{step-"), r"line 7: 'stage1-step\{step-tokens.*' is no template"),
        (("step{step}-", "step{step:q}-"), r"line 7: .* is no template"),
        (
            ('id: "demo-{d_model}-{seed}"', 'id: "demo-{d_model}-{seed"'),
            r"line 13: a text of run .* is no template",
        ),
        (
            ('id: "demo-{d_model}-{seed}"', 'id: "{seed:>3000000000}"'),
            r"line 13: a text of run .* is no template",
        ),
        (
            ('id: "demo-{d_model}-{seed}"', 'id: "demo-{d_model.__class__}-{seed}"'),
            r"line 13: a text of run .* is no template",
        ),
        (("step{step}-", "step{step:>3000000000}-"), r"line 7: .* is no template"),
        (
            ("revision: main,", 'revision: "step{step:03d}",'),
            r"line 8: 'step\{step:03d\}' is no template .*needs a whole number",
        ),
        (
            ("from: 1000, to: 3000, by: 1000", "from: 1000, to: 1000000000000, by: 1"),
            r"line 7: the rule 'steps' has more than 100,000 steps",
        ),
        (
            (
                "[64, 128]",
                "&a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], n_layers: *a, n_heads: *a, d_ff: *a, n_kv_heads: *a",
            ),
            r"the suite expands to more than 20,000 runs",
        ),
        (("id: demo-main", "id: ../demo"), r"line 14: the id '../demo' is not made of letters"),
        (
            ("d_model: [64, 128]", "d_model: [64, wide]"),
            r"line 13: d_model is 'wide'; allowed is a whole number from 1",
        ),
        (
            ("by: [d_model]", "by: [d_modle]"),
            r"line 11: unknown field 'd_modle'.*Did you mean 'd_model'",
        ),
        (
            ("hub_id: org/demo, ", "hub_id: org/demo, language: en, "),
            r"line 14: .*'en' is no language of ISO 639-3. Did you mean 'eng'",
        ),
        (
            ("hub_id: org/demo, ", "hub_id: org/demo, language: Spanish, "),
            r"line 14: .*'Spanish' is no language of ISO 639-3. Did you mean 'spa'",
        ),
        (
            ("sources: {here: a test}", "sources: {here: a test}\nfields: {n_layers: mine}"),
            r"line 6: 'n_layers' is a field of .*already",
        ),
        (
            ("tokens_per_step: 2097152", "tokens_per_step: 2097152, source: [there]"),
            r"there is no source 'there'; the file has here",
        ),
    ],
)
def test_a_fault_is_one_sentence(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    """File, line, field, what was given and what is allowed."""
    with pytest.raises(InputError, match=told) as error:
        suites.load(project(tmp_path, SUITE.replace(*change)))
    assert "\n" not in str(error.value)


def test_shipped_registry_is_valid() -> None:
    """Every shipped suite file keeps to the schema."""
    assert len(suites.load(Project(SHIPPED)).runs) > 80


def test_a_table_beside_the_file(tmp_path: Path) -> None:
    """One run per row of a CSV; an empty cell is an unknown fact; the language fills in the list of
    languages.
    """
    folder = project(
        tmp_path, SUITE + '- {table: demo.csv, id: "demo-{language}", hub_id: "org/{language}"}\n'
    )
    (tmp_path / "model_registry" / "demo.csv").write_text(
        "language,d_model,learning_rate,tied_embeddings\nnan,64,1e-4,true\nspa,,,\n"
    )
    runs = suites.load(folder).runs
    assert runs["demo-nan"].get("languages") == [{"iso": "nan"}]
    assert [runs["demo-nan"].get(f) for f in ("d_model", "learning_rate", "tied_embeddings")] == [
        64,
        1e-4,
        True,
    ]
    assert "d_model" not in runs["demo-spa"].facts


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            b"language,d_model\nspa,64\neng,64,3\n",
            r"demo.csv, line 3: 3 cells, where the header has 2",
        ),
        (
            b"language,d_model\nspa,64\n\neng,wide\n",
            r"demo.csv, line 4: d_model is 'wide'; allowed is a whole number",
        ),
        (b"language,d_model,d_model\nspa,64,64\n", r"line 1: the field 'd_model' stands twice"),
        (b"language,d_modle\nspa,64\n", r"line 1: unknown field 'd_modle'"),
        (b"language\n", r"the table has no row"),
        ("language\nespañol\n".encode("latin-1"), r"this is not UTF-8 text"),
        (b'language\n"spa\n', r"line 2: this is not CSV"),
    ],
)
def test_a_fault_of_a_table(tmp_path: Path, table: bytes, told: str) -> None:
    """File and line of the table, not of the suite file."""
    folder = project(
        tmp_path, SUITE + '- {table: demo.csv, id: "demo-{language}", hub_id: "org/{language}"}\n'
    )
    (tmp_path / "model_registry" / "demo.csv").write_bytes(table)
    with pytest.raises(InputError, match=told):
        suites.load(folder)


def test_a_table_as_other_programs_write_it(tmp_path: Path) -> None:
    """A byte order mark, line ends of two characters and empty lines are no facts."""
    folder = project(
        tmp_path, SUITE + '- {table: demo.csv, id: "demo-{language}", hub_id: "org/{language}"}\n'
    )
    (tmp_path / "model_registry" / "demo.csv").write_bytes(
        b"\xef\xbb\xbflanguage,d_model\r\nspa,64\r\n\r\n"
    )
    assert suites.load(folder).runs["demo-spa"].get("d_model") == 64


def test_a_table_wins_over_defaults_and_not_over_the_entry(tmp_path: Path) -> None:
    """The more particular fact holds."""
    text = (
        SUITE.replace("checkpoints: steps}", "checkpoints: steps, params_total: 5}")
        + "- {id: own, hub_id: org/own, d_model: 64, params_total: 7}\n"
    )
    runs = suites.load(project(tmp_path, text)).runs
    assert (runs["demo-64-1"].get("params_total"), runs["own"].get("params_total")) == (1000, 7)


def test_a_misspelt_field_is_named(tmp_path: Path) -> None:
    """A field that neither schema nor suite declares would be unknown in silence."""
    with pytest.raises(
        InputError,
        match=r"demo.yaml, line 11: unknown field 'params_totl'.*Did you mean 'params_total'",
    ):
        suites.load(project(tmp_path, SUITE.replace("params_total: 1000", "params_totl: 1000")))
    declared = SUITE.replace("sources:", "fields: {params_totl: a test}\nsources:").replace(
        "params_total: 1000", "params_totl: 1000"
    )
    assert suites.load(project(tmp_path, declared)).runs["demo-64-1"].get("params_totl") == 1000


def test_fields_of_the_run_in_revisions(tmp_path: Path) -> None:
    """A revision may name the seed; tokens may stand beside steps."""
    text = SUITE.replace(
        "  main:",
        '  named: {revision: "step{step}-{seed}", steps: [0, 10], tokens: [0, 999]}\n  main:',
    )
    text += "- {id: named, hub_id: org/named, checkpoints: named, seed: 4}\n"
    points = suites.load(project(tmp_path, text)).runs["named"].checkpoints
    assert [(p.revision, p.tokens_seen) for p in points] == [("step0-4", 0), ("step10-4", 999)]


def test_seeds_of_initialisation_and_order(tmp_path: Path) -> None:
    """Where seeds vary both, each follows from the seed; where only the order varies the file says
    what the other is.
    """
    text = SUITE.replace("defaults: {", "defaults: {seed_varies: init+order, ")
    text += (
        "- {id: half, hub_id: org/half, seed: 9, seed_varies: order, init_seed: 1, order_seed: 9}\n"
    )
    runs = suites.load(project(tmp_path, text)).runs
    assert [runs["demo-64-2"].get(f) for f in ("init_seed", "order_seed")] == [2, 2]
    assert [runs["half"].get(f) for f in ("init_seed", "order_seed")] == [1, 9]


def test_a_model_that_cannot_be_loaded_offers_nothing(tmp_path: Path) -> None:
    """Models behind an interface stand in the registry; they offer nothing to measure, and say why."""
    run = suites.load(project(tmp_path, SUITE + "- {id: api, access: api}\n")).runs["api"]
    assert (
        run.values()["checkpoints"] == 0
        and not run.capabilities
        and "offers text only" in run.lacks
    )


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ("access: api, endpoint: 'https://there.example/v1'", "and no api_model, its name there"),
        (
            "access: open, endpoint: 'https://there.example/v1', api_model: m",
            "so its access is api, not open",
        ),
        (
            "access: api, endpoint: 'https://there.example/v1', api_model: m, hub_id: org/m",
            "and hub_id, where its weights are",
        ),
        (
            "access: api, endpoint: there.example, api_model: m",
            "the endpoint of run 'asked' does not begin with https:// or http://",
        ),
        (
            "access: api, endpoint: 'https://h/a b', api_model: m",
            "the endpoint of run 'asked' holds ' ' at character 12",
        ),
        (
            "access: api, endpoint: 'https://a..b/', api_model: m",
            "the endpoint of run 'asked' names no host that can be called",
        ),
    ],
)
def test_an_endpoint_that_cannot_be_asked(tmp_path: Path, facts: str, told: str) -> None:
    """One sentence with file, line and what is lacking or too much."""
    with pytest.raises(InputError, match=told) as error:
        suites.load(project(tmp_path, SUITE + f"- {{id: asked, {facts}}}\n"))
    assert "demo.yaml, line 16" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        "endpoint: 'http://user:S3CRET@h.example/v1'",
        "endpoint: 'https://h.example/v1?api-key=S3CRET'",
        "endpoint: 'user:S3CRET@h.example/v1'",
        "endpoint: 'https://{api_model}@h.example/v1'",
        "api_model: S3CRET, endpoint: 'https://h.example/v1?{id}-key={api_model}'",
        "hub_id: 'https://user:S3CRET@h.example/org/m'",
        "path: 'https://h.example/m?token=S3CRET'",
        "notes: 'see https://h/?sig=S3CRET'",
        "hubb_id: 'https://user:S3CRET@h.example/org/m'",
        "commit: {a: 'https://user:S3CRET@h.example/'}",
        "# https://user:S3CRET@h/\n  ",
    ],
)
def test_a_secret_in_an_address_is_refused(tmp_path: Path, given: str) -> None:
    """In every field, in one that there is not, in a comment: one sentence that does not repeat it
    and says where a key is read.
    """
    entry = f"- {{id: asked, access: api, {given}}}\n"
    if "endpoint" in given and "api_model:" not in given:
        entry = entry.replace("access: api,", "access: api, api_model: S3CRET,")
    with pytest.raises(InputError, match="TRANSECT_API_KEY") as error:
        suites.load(project(tmp_path, SUITE + entry))
    assert (
        "demo.yaml, line 16" in str(error.value)
        and "\n" not in str(error.value)
        and "S3CRET" not in str(error.value)
    )


RULES = "  main: {revision: main, steps: [null]}\n"


def test_tokens_before_a_run_do_not_name_its_revisions(tmp_path: Path) -> None:
    """A run that goes on from another has seen the other's tokens; names count its own. A named
    step is not called by the template.
    """
    rule = (
        '  second: {revision: "stage2-step{step}-tokens{billions}B", steps: [1000, 1900], tokens_per_step: 2000000, '
        'tokens_before: 7, names: {1900: "stage2-step{step}-last-{seed}"}}\n'
    )
    entry = (
        "- {id: demo-second, hub_id: org/demo, checkpoints: second, seed: 3, parent: demo-main}\n"
    )
    found = (
        suites.load(project(tmp_path, SUITE.replace(RULES, RULES + rule) + entry))
        .runs["demo-second"]
        .checkpoints
    )
    assert [c.revision for c in found] == ["stage2-step1000-tokens2B", "stage2-step1900-last-3"]
    assert [c.tokens_seen for c in found] == [2_000_000_007, 3_800_000_007]


def test_a_name_for_no_step_is_a_fault(tmp_path: Path) -> None:
    """Rule, step and place are told."""
    rule = '  second: {revision: "step{step}", steps: [1, 2], names: {3: last}}\n'
    with pytest.raises(
        InputError, match="line .*the rule 'second' names step 3, which is none of its steps"
    ):
        suites.load(project(tmp_path, SUITE.replace(RULES, RULES + rule)))


def test_checkpoints_in_repositories_of_their_own(tmp_path: Path) -> None:
    """The rule's `hub_id` is filled in; main of that repository is read, and the revision is a
    label.
    """
    rule = '  apart: {revision: "step_{step}k", hub_id: "org/demo-{seed}-step_{step}k", steps: [20, 40]}\n'
    entry = "- {id: demo-apart, hub_id: org/demo-3, checkpoints: apart, seed: 3}\n"
    found = (
        suites.load(project(tmp_path, SUITE.replace(RULES, RULES + rule) + entry))
        .runs["demo-apart"]
        .checkpoints
    )
    assert [(c.revision, c.hub_id, c.hub_revision) for c in found] == [
        ("step_20k", "org/demo-3-step_20k", "main"),
        ("step_40k", "org/demo-3-step_40k", "main"),
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("revision: main", "revision: ../../../../../escaped"),
            r"demo.yaml, line 8: of run 'demo-main' the revision '\.\./.*' has the part '\.\.'",
        ),
        (
            ("revision: main", 'revision: "main\\n"'),
            r"line 8: .*the revision 'main\\n' is not made of",
        ),
        (("revision: main", "revision: /tmp/x"), r"line 8: .*the part '', which is no name"),
        (
            ("revision: main", "revision: a/NUL"),
            r"line 8: .*the part 'NUL', which is a device on Windows",
        ),
        (
            ("revision: main, steps: [null]", 'revision: "s{step}", names: {1: S2}, steps: [1, 2]'),
            r"line 8: .*'S2' and 's2' differ in capitals only",
        ),
        (
            ("id: demo-main", "id: " + "x" * 300),
            r"line 14: the id 'xxx.* has 300 characters; allowed are 100",
        ),
        (("id: demo-main", "id: ｄemo"), r"line 14: .*; perhaps 'demo'"),
        (
            ("id: demo-main", "id: demo-main, table: ../../../etc/passwd"),
            r"line 14: the table '.*passwd' is not made of .*; it lies beside this file",
        ),
        (("id: demo-main", "id: con"), r"line 14: the id 'con' is a device on Windows"),
    ],
)
def test_names_that_are_no_folder_are_refused(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    """Ids and revisions become folders: a suite file from somebody else cannot lead out of the
    store.
    """
    assert change[0] in SUITE
    with pytest.raises(InputError, match=told):
        reading.read(project(tmp_path, SUITE.replace(*change)).root / "model_registry/demo.yaml")


@pytest.mark.parametrize("suite", ["con", "a\n", "x" * 101])
def test_the_name_of_a_suite_is_a_name(tmp_path: Path, suite: str) -> None:
    """The file may be called so here, and not everywhere; `$` of a pattern is the end of the text."""
    with pytest.raises(InputError, match="suite"):
        reading.read(
            project(
                tmp_path, SUITE.replace("suite: demo", f"suite: {suite!r}".replace("'", '"')), suite
            ).root
            / f"model_registry/{suite}.yaml"
        )


def test_ids_that_differ_in_capitals_only_are_refused(tmp_path: Path) -> None:
    """Of whatever suites: the folder of a run's cells is called like the run alone."""
    with pytest.raises(
        InputError,
        match=r"'Demo-Bad' and 'demo-bad' \(.*line 14.*line 15\) differ in capitals only",
    ):
        suites.load(project(tmp_path, SUITE.replace("id: demo-main", "id: Demo-Bad")))
