"""Edits made by plain hooks, one edit and one sequence at a time, on the whole model: what
interventions must equal.
"""

import torch

from transect.lm.anatomy.anatomy import PLACES
from transect.lm.anatomy.attention import watch
from transect.lm.intervene.activations import capture, has
from transect.lm.intervene.edits import Edit, ablate, add, patch

TOLERANCE = 1e-5
LENGTH = 9
READ = (-1, 5)


def two_texts(model, n=3):
    """Ids and other ids that differ at positions 3 and 6."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(6, model.vocab_size, (n, LENGTH), generator=generator)
    other = ids.clone()
    other[:, [3, 6]] = 6 + (ids[:, [3, 6]] - 6 + torch.tensor([5, 11])) % (model.vocab_size - 6)
    return ids, other


def hooked(model, ids, edits):
    """Logits [1, position, vocabulary] of one sequence under edits that are made together; value
    [position, ...].
    """
    handles, patterns = [], {}
    for edit, value in edits:
        block = model.anatomy.blocks[edit.layer]
        where = list(range(ids.shape[1])) if edit.positions is None else list(edit.positions)

        def change(x, edit=edit, value=value, where=where, block=block):
            old = x.reshape(
                1, LENGTH, *((block.n_heads, block.d_head) if edit.place == "head" else (-1,))
            )
            new = old.clone()
            at = (0, where) if edit.head is None else (0, where, edit.head)
            new[at] = new[at] + value if edit.how == "add" else value
            return new.reshape(x.shape)

        def into(module, args, kwargs, change=change):
            if args:
                return (change(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

        def outof(module, args, output, change=change):
            many = isinstance(output, tuple | list)
            return type(output)([change(output[0]), *output[1:]]) if many else change(output)

        if edit.place == "pattern":
            patterns[edit.layer] = (edit, value, where)
        elif edit.place in ("residual_pre", "head"):
            module = block.module if edit.place == "residual_pre" else block.projection
            handles.append(module.register_forward_pre_hook(into, with_kwargs=True))
        elif edit.place == "residual_mid" and block.writes_mid is None:
            handles += in_the_middle(block, edit, value, where)
        else:
            modules = {"residual_post": block.module, "residual_mid": block.writes_mid}
            module = modules.get(edit.place) or getattr(block, edit.place)
            handles.append(module.register_forward_hook(outof))

    def see(layer, pattern):
        if layer not in patterns:
            return None
        edit, value, where = patterns[layer]
        pattern = pattern.clone()
        if edit.head is None:
            pattern[0, :, where] = value.transpose(0, 1)
        else:
            pattern[0, edit.head, where] = value
        return pattern

    try:
        with torch.no_grad():
            if not patterns:
                return model.network(input_ids=ids).logits
            with watch(model.network, model.anatomy, see):
                return model.network(input_ids=ids).logits
    finally:
        for handle in handles:
            handle.remove()


def in_the_middle(block, edit, value, where):
    """residual_mid, a bare sum: the attention is given what is missing. (A mixer beside it is part
    of what there is.)
    """
    kept = {}

    def pre(module, args, kwargs):
        kept["pre"] = args[0] if args else kwargs["hidden_states"]

    def beside(module, args, output):
        kept["beside"] = output[0] if isinstance(output, tuple) else output

    def attention(module, args, output):
        old = output[0] if isinstance(output, tuple) else output
        base = kept["pre"] + kept.get("beside", 0)
        new, scale = old.clone(), block.attention_scale
        if edit.how == "add":
            new[0, where] += value / scale
        else:
            new[0, where] = (value - base[0, where]) / scale
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handles = [block.module.register_forward_pre_hook(pre, with_kwargs=True)]
    if block.form == "hybrid":
        handles.append(block.module.mamba.register_forward_hook(beside))
    return [*handles, block.attention.register_forward_hook(attention)]


def some_edits(model, other):
    """Edits at every place and layer: one position, two, all, one head, a direction, an ablation."""
    edits = []
    for place in PLACES:
        layers = [
            b.layer
            for b in model.anatomy.blocks
            if place not in model.anatomy.absent and has(b, place)
        ]
        if place == "residual_mid":  # the hooks of this test need an attention to set it by
            layers = [
                layer for layer in layers if model.anatomy.blocks[layer].attention is not None
            ]
        if not layers:
            continue
        for (_, layer), source in capture(model, other, [place], layers).items():
            edits += [
                patch(place, layer, source, positions=[3]),
                patch(place, layer, source, positions=[-3, 4]),
            ]
            edits += [patch(place, layer, source)]
            if place in ("head", "pattern"):
                edits += [
                    patch(place, layer, source, head=1),
                    ablate(place, layer, "mean", source, 2, [6]),
                ]
            else:
                direction = torch.linspace(-1, 1, source.shape[-1])
                edits += [
                    add(place, layer, direction, 0.3, positions=[2]),
                    ablate(place, layer, positions=[3]),
                ]
    return edits


def one_at_a_time(model, ids, edits):
    """What `run` must give, [edit, sequence, read, vocabulary]."""
    result: list[torch.Tensor] = []
    for group in edits:
        group = [group] if isinstance(group, Edit) else group
        rows = []
        for s in range(len(ids)):
            made = []
            for edit in group:
                value = torch.as_tensor(edit.value)
                value = value[min(s, len(value) - 1)] if value.dim() > 2 else value
                made.append((edit, value))
            rows.append(hooked(model, ids[s : s + 1], made)[0, list(READ)])
        result.append(torch.stack(rows))
    return torch.stack(result)
