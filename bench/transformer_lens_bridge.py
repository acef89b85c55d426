"""A directory behind TransformerLens's names: the bridge of version 4, with the weights as they
are.
"""

from typing import Any


def bridge(path: str, device: str = "cpu") -> Any:
    """In TransformerLens's environment only. Eager attention, so that hook_pattern is there."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    network = (
        AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval().to(device)
    )
    model = TransformerBridge.boot_transformers(
        path, hf_model=network, tokenizer=tokenizer, device=device
    )
    model.enable_compatibility_mode(no_processing=True)
    return model
