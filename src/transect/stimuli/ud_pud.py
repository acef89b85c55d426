"""Parallel text: the same 1,000 sentences of news and Wikipedia in every language (Parallel
Universal Dependencies).

Bits per byte compares models within a language; across languages compare bits per sentence of this
text, whose content is the same, and their ratio to one language. 750 sentences are English
originals, 250 German, French, Italian or Spanish ones that came into the other languages by way of
English: `original` tells them apart. The text is the line `# text =` as it stands; an item is a
sentence, its name the sentence's id, equal in all languages. Chinese and Arabic are left out:
registries call them by macrolanguage or by script, and these files are one of each. Source: Zeman
et al. (2017), CoNLL 2017 Shared Task; UD_*-PUD, development versions of 2026.
"""

import pandas as pd

from transect.errors import InputError, nearest
from transect.store.sources import fetch

VERSION = 1
BY = ["language"]
APPLIES = {
    "language": [
        "eng",
        "spa",
        "ces",
        "deu",
        "fra",
        "ind",
        "ita",
        "kor",
        "pol",
        "por",
        "rus",
        "swe",
        "tur",
    ],
}
COLUMNS = {  # column -> meaning [unit]
    "item": "id of the item",
    "text": "the text",
    "genre": "news or wikipedia",
    "original": "language that the sentence was first written in",
}
SENTENCES = 1000
SOURCE = [
    {
        "language": "eng",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_English-PUD/f16eba4ae7/en_pud-ud-test.conllu",
        "sha256": "c80584f2bc2b31d5bada78a1136f9feec7ac49e5e18898db02dea434b5b8f0aa",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/en_pud-ud-test.conllu.xz",
    },
    {
        "language": "spa",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Spanish-PUD/818a82b862/es_pud-ud-test.conllu",
        "sha256": "48a7b5c7f409100b24eba90c7397e01f6fecaaf3207315a9a1bda029f77e98d3",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/es_pud-ud-test.conllu.xz",
    },
    {
        "language": "ces",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Czech-PUD/f68c66ccd8/cs_pud-ud-test.conllu",
        "sha256": "af365749e569cc9daeeebee916dd33161e5c23b278077553f6ffbf4f82c5b652",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/cs_pud-ud-test.conllu.xz",
    },
    {
        "language": "deu",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_German-PUD/ff80846ae6/de_pud-ud-test.conllu",
        "sha256": "a530bdb50349bbd7c13706b6a759a9d73e8f514fff41fbf27149e914b0c3e723",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/de_pud-ud-test.conllu.xz",
    },
    {
        "language": "fra",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_French-PUD/c245786cfb/fr_pud-ud-test.conllu",
        "sha256": "793540702db111d2bfe04f846edddb23e7a2a432294fe17cb612dd795fb0301f",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/fr_pud-ud-test.conllu.xz",
    },
    {
        "language": "ind",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Indonesian-PUD/765fb3fe48/id_pud-ud-test.conllu",
        "sha256": "07efad4d64863ab442aef820afdb34c269f80366c6efb583225f943e5baf88b2",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/id_pud-ud-test.conllu.xz",
    },
    {
        "language": "ita",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Italian-PUD/71d932aa09/it_pud-ud-test.conllu",
        "sha256": "ad5d302bdfd05194155d9ad43dc54c3cb915076d66b3eb6ef33eca9a11f1372a",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/it_pud-ud-test.conllu.xz",
    },
    {
        "language": "kor",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Korean-PUD/9bc99c21a0/ko_pud-ud-test.conllu",
        "sha256": "662fcdaf236a223699b410c812ca66e3e69c380c078ae552a88f207ba240981c",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/ko_pud-ud-test.conllu.xz",
    },
    {
        "language": "pol",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Polish-PUD/a726e5866e/pl_pud-ud-test.conllu",
        "sha256": "6dccca751cf1b701196d238b8f2a259afbddc07f45322839feb4acd99b7e90fb",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/pl_pud-ud-test.conllu.xz",
    },
    {
        "language": "por",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Portuguese-PUD/be08a756d7/pt_pud-ud-test.conllu",
        "sha256": "6fb673563b068c0693144aba16c9406f8672ef9d6a7703d8ccf71a44a07df937",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/pt_pud-ud-test.conllu.xz",
    },
    {
        "language": "rus",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Russian-PUD/da5b3816ee/ru_pud-ud-test.conllu",
        "sha256": "a37e076d24f0c3cfd5d48a11bbfec36026da5dc46180b7a12dc991dc372de1ea",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/ru_pud-ud-test.conllu.xz",
    },
    {
        "language": "swe",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Swedish-PUD/1290a67471/sv_pud-ud-test.conllu",
        "sha256": "4f978396f363c85a9c7ece193327529e4cdbe9ce0f6ad807eb8846e865043fff",
        "licence": "CC BY-SA 4.0",
        "mirror": "ud_treebanks/dev/sv_pud-ud-test.conllu.xz",
    },
    {
        "language": "tur",
        "url": "https://raw.githubusercontent.com/UniversalDependencies/UD_Turkish-PUD/63a134a087/tr_pud-ud-test.conllu",
        "sha256": "7c1b6fe01662a7617758fbecdda6af6fc3914ace46b1809d6514af0a1c1df88c",
        "licence": "CC BY-SA 3.0",
        "mirror": "ud_treebanks/dev/tr_pud-ud-test.conllu.xz",
    },
]
GENRE = {"n": "news", "w": "wikipedia"}
ORIGINAL = {"01": "eng", "02": "deu", "03": "fra", "04": "ita", "05": "spa"}


def items(*, seed: int, language: str, sentences: int = SENTENCES) -> pd.DataFrame:
    """One row per sentence: item (its id), text, genre (news, wikipedia), original (language it was
    written in).

    `sentences` takes that many at equal distances through the set, the same in every language;
    `seed` changes nothing. Raises InputError for a language without a file, or a number of
    sentences that is not 1 to 1000.
    """
    sources = {source["language"]: source for source in SOURCE}
    if language not in sources:
        raise InputError(
            f"ud_pud has no language {language!r}; it has {', '.join(sources)}.{nearest(language, sources)}"
        )
    if not 1 <= sentences <= SENTENCES:
        raise InputError(f"ud_pud: sentences is {sentences}; allowed are 1 to {SENTENCES}.")
    rows = _sentences(fetch(sources[language]).read_text(encoding="utf-8"))
    return pd.DataFrame(
        [rows[i * SENTENCES // sentences] for i in range(sentences)], columns=list(COLUMNS)
    )


def _sentences(conllu: str) -> list[tuple[str, str, str, str]]:
    """Identifier, text, genre and original language of every sentence of a CoNLL-U file, in its
    order.
    """
    rows = []
    name = ""
    for line in conllu.splitlines():
        if line.startswith("# sent_id = "):
            name = line.removeprefix("# sent_id = ").strip()
        elif line.startswith("# text = "):
            rows.append(
                (name, line.removeprefix("# text = ").strip(), GENRE[name[0]], ORIGINAL[name[1:3]])
            )
    return rows
