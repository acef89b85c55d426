"""The rows that a masked model reads for a pseudo-log-likelihood: one per scored token, that token
masked.

variant "original": the token alone; "within_word": it and the later tokens of its word.
Sources: Salazar et al. (2020), "Masked language model scoring", ACL; Kauf & Ivanova (2023), "A
better way to do masked language model scoring", ACL. The values are those of lm/network.py, whose
VERSION is raised when they change.
"""

from collections.abc import Sequence

VARIANTS = ("within_word", "original")


def masked_rows(
    sequences: Sequence[Sequence[int]], words: Sequence[Sequence[int]], mask: int, variant: str
) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """The rows, and of each the (sequence, position) that it scores. words: see NetworkModel.pll;
    mask: the mask's id.
    """
    rows, owners = [], []
    for index, (ids, numbers) in enumerate(zip(sequences, words, strict=True)):
        last = {word: t for t, word in enumerate(numbers)}  # of its tokens
        for t, word in enumerate(numbers):
            if word < 0:
                continue
            row, stop = list(ids), last[word] + 1 if variant == "within_word" else t + 1
            row[t:stop] = [
                mask if n == word else i for i, n in zip(ids[t:stop], numbers[t:stop], strict=True)
            ]
            rows.append(tuple(row))
            owners.append((index, t))
    return rows, owners
