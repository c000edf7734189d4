"""Small models that are made on the spot: random weights with a real tokenizer."""

import shutil
from pathlib import Path

import torch
import transformers

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


def save_tiny_llama(folder: Path, tokenizer_from: Path, *, seed: int = 1) -> Path:
    """Write a random Llama into `folder`, its weights large enough that greedy text is varied, in float32."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_from)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    torch.manual_seed(seed)
    transformers.LlamaForCausalLM(config).float().save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            shutil.copy(tokenizer_from / name, folder)
    return folder


def save_adapter(folder: Path, base: Path, merged: Path) -> None:
    """Write a random LoRA adapter of the model in `base` into `folder`, and base and adapter in one into `merged`."""
    import peft

    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    adapted = peft.get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    adapted.save_pretrained(folder)
    adapted.merge_and_unload().save_pretrained(merged)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copy(base / name, merged)
