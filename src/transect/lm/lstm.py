"""A long short-term memory network as a transformers causal language model: model_type "lstm".

    x_0[t] = embedding[token_t],   x_l[t], state_l[t] = LSTM_l(x_{l-1}[t], state_l[t-1]),   logits[t] = W x_L[t]

LSTM_l is torch.nn.LSTM, of the same width in every layer; W is the embedding where they are tied.
There is no residual stream in the strict sense: a layer replaces what it reads. Its input and
output stand at the places residual_pre and residual_post (lm/anatomy/anatomy.py); attention, MLP and heads
do not exist. The state is the cache of generation: `state` = [h, c], each [batch, layer, width].
Source: Hochreiter & Schmidhuber (1997); dropout on the embedding and after each layer: Zaremba et
al. (2014); forget bias 1: Jozefowicz et al. (2015). Importing this file makes the architecture
known to transformers' Auto classes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import ModelOutput

ENGINE_PART = "lstm"  # its name in the keys of cells: it stays when the file moves
VERSION = 1  # raise it when values change
ONLY_RUNS = {"model_type": "lstm"}


class LstmConfig(PreTrainedConfig):
    """dropout: a share, in training only. initializer_range: standard deviation of embedding and
    unembedding.
    """

    model_type = "lstm"

    vocab_size: int = 50257
    hidden_size: int = 256
    num_hidden_layers: int = 2
    dropout: float = 0.0
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None


@dataclass
class LstmOutput(ModelOutput):
    """last_hidden_state [batch, position, width]; hidden_states: the embedding and every layer's
    output.
    """

    last_hidden_state: Tensor | None = None
    state: list[Tensor] | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class LstmCausalOutput(ModelOutput):
    """loss: of the labels, nats a token; logits [batch, position, vocabulary]."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: list[Tensor] | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class LstmPreTrainedModel(PreTrainedModel):
    config_class = LstmConfig
    base_model_prefix = "lstm"
    _is_stateful = True
    _no_split_modules = ["LSTM"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.LSTM):
            bias: Any = module.bias_ih_l0
            if not getattr(bias, "_is_hf_initialized", False):
                bias[module.hidden_size : 2 * module.hidden_size] = (
                    1.0  # gates: input, forget, cell, output
                )


class LstmModel(LstmPreTrainedModel):
    """The layers, without the unembedding."""

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embeddings = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(
            nn.LSTM(width, width, batch_first=True) for _ in range(config.num_hidden_layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        state: list[Tensor] | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> LstmOutput | tuple[Any, ...]:
        """input_ids [batch, position], after what `state` has read. attention_mask: zeros may stand
        at the end only.

        Raises ValueError for another mask: every position reads all the earlier ones.
        """
        _check_mask(attention_mask)
        hidden = self.dropout(
            self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        )
        seen, last_h, last_c = [hidden], [], []
        for layer, lstm in enumerate(self.layers):
            before = (
                None
                if state is None
                else tuple(part[:, layer][None].contiguous() for part in state)
            )
            hidden, (h, c) = lstm(hidden, before)
            hidden = self.dropout(hidden)
            seen.append(hidden)
            last_h.append(h[0])
            last_c.append(c[0])
        kept = self.config.use_cache if use_cache is None else use_cache
        shown = (
            self.config.output_hidden_states
            if output_hidden_states is None
            else output_hidden_states
        )
        output = LstmOutput(
            last_hidden_state=hidden,
            state=[torch.stack(last_h, 1), torch.stack(last_c, 1)] if kept else None,
            hidden_states=tuple(seen) if shown else None,
        )
        return output if return_dict is not False else output.to_tuple()


class LstmForCausalLM(LstmPreTrainedModel, GenerationMixin):
    """The layers and the unembedding."""

    _tied_weights_keys = {"lm_head.weight": "lstm.embeddings.weight"}

    def __init__(self, config: LstmConfig) -> None:
        super().__init__(config)
        self.lstm = LstmModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.lm_head = new_embeddings

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        state: list[Tensor] | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What transformers' own `generate` calls: with a state, only the last token is read."""
        return {
            "input_ids": input_ids if state is None else input_ids[:, -1:],
            "state": state,
            "use_cache": use_cache,
        }

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        state: list[Tensor] | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | Tensor = 0,
    ) -> LstmCausalOutput | tuple[Any, ...]:
        """See LstmModel. logits_to_keep: how many last positions, or which; 0: all. labels as
        transformers' own.
        """
        body: Any = self.lstm(
            input_ids, attention_mask, inputs_embeds, state, use_cache, output_hidden_states
        )
        chosen = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(body.last_hidden_state[:, chosen])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size
            )
        output = LstmCausalOutput(
            loss=loss, logits=logits, state=body.state, hidden_states=body.hidden_states
        )
        return output if return_dict is not False else output.to_tuple()


def _check_mask(mask: Tensor | None) -> None:
    if mask is None:
        return
    if mask.ndim != 2:
        raise ValueError(
            "An LSTM reads every earlier position; a mask between pairs of positions cannot be kept."
        )
    if bool((mask[:, 1:] > mask[:, :-1]).any()):
        raise ValueError(
            "An LSTM reads every earlier position; only the end of a row can be masked."
        )


AutoConfig.register("lstm", LstmConfig)
AutoModel.register(LstmConfig, LstmModel)
AutoModelForCausalLM.register(LstmConfig, LstmForCausalLM)
