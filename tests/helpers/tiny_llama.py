"""A tiny Llama with random weights and its tokenizer, made on the spot."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = ["A man of 54 has chest pain.", "Which drug?", "The patient was given 5 mg of warfarin and then bled", "No."]


def tiny_tokenizer():
    """Byte-level BPE with a beginning token, an end of turn and a chat template."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXTS * 5,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<s>", "</s>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>", extra_special_tokens=["<|im_end|>"]
    )
    made.chat_template = TEMPLATE
    return made


def tiny_llama(kind=transformers.LlamaForCausalLM, *, vocab_size=320, **settings):
    """A random Llama, with weights large enough that its greedy text is varied."""
    config = transformers.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        initializer_range=0.6,
        **settings,
    )
    torch.manual_seed(1)
    return kind(config).float().eval()


def save_tiny_llama(folder):
    """The folder, which is then a model folder like any other."""
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
