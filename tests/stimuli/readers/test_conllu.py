"""transect.stimuli.readers.conllu: reading treebank sentences and joining a repository's source files."""

import io
import struct
import zipfile

import pytest

from transect.errors import InputError
from transect.stimuli.readers.conllu import join_sources, read_conllu

# "Vamos al mar." with a multiword token (a + el), an empty node, and a word without a space after
# it.
MAR = """# sent_id = s1
# text = Vamos al mar.
1\tVamos\tir\tVERB\t_\tNumber=Plur|VerbForm=Fin\t0\troot\t_\t_
1.1\t_\t_\tPRON\t_\t_\t_\t_\t_\t_
2-3\tal\t_\t_\t_\t_\t_\t_\t_\t_
2\ta\ta\tADP\t_\t_\t4\tcase\t_\t_
3\tel\tel\tDET\t_\tNumber=Sing\t4\tdet\t_\t_
4\tmar\tmar\tNOUN\t_\tNumber=Sing\t1\tobl\t_\tSpaceAfter=No
5\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_
"""


def test_words_are_found_in_the_text():
    """Start and end of each word; words inside a multiword token have no start of their own."""
    (sentence,) = read_conllu(MAR + "\n")
    places = [(w.form, w.start, w.end) for w in sentence.words]
    assert places == [
        ("Vamos", 0, 5),
        ("a", None, 8),
        ("el", None, 8),
        ("mar", 9, 12),
        (".", 12, 13),
    ]
    assert sentence.words[0].features == {"Number": "Plur", "VerbForm": "Fin"}
    assert [w.form for w in sentence.children[4]] == ["a", "el"]


def test_sentence_that_does_not_match_its_text_is_left_out():
    """Words that the text does not have in this order cannot be exchanged in it."""
    assert list(read_conllu(MAR.replace("text = Vamos al", "text = Vamos todos al"))) == []


def test_sources_are_joined_by_sentence_id_without_the_released_ones():
    """Sentences of the source files, sorted, without those of the named files and without the
    enhanced copies.
    """
    files = {
        "R/dev.conllu": "# sent_id = b-1\n1\tB\n\n",
        "R/not-to-release/sources/x/b.conllu": "# sent_id = b-2\n1\tB2\n\n# sent_id = b-1\n1\tB\n\n",
        "R/not-to-release/sources/x/b.enhanced.conllu": "# sent_id = b-3\n1\tno\n\n",
        "R/not-to-release/sources/a.conllu": "# newdoc\n# sent_id = a-1\n1\tA\n",
        "R/README.md": "",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    joined = join_sources(packed.getvalue(), without=("dev.conllu",))
    assert joined == b"# newdoc\n# sent_id = a-1\n1\tA\n\n# sent_id = b-2\n1\tB2\n\n"


def test_an_archive_that_is_none_or_too_large() -> None:
    """One sentence; the size of what it holds is read from its list, here a list that says 3 GB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as files:
        files.writestr("x/not-to-release/sources/a.conllu", "")
    packed = bytearray(file.getvalue())
    struct.pack_into("<I", packed, packed.index(b"PK\x01\x02") + 24, 3 * 10**9)
    for archive, told in (
        (b"no archive", "not a zip file"),
        (bytes(packed), "3,000,000,000 bytes; at most 1,000,000,000"),
    ):
        with pytest.raises(
            InputError, match=f"The archive of the treebank cannot be read .*{told}"
        ):
            join_sources(archive, ())
