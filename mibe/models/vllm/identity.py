"""What a model of this engine is known by: all that bears on its outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mibe.models.identity import Identify, source_identity

PLACEMENT = frozenset(
    {
        "async_scheduling",
        "block_size",
        "cpu_offload_gb",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "load_format",
        "master_addr",
        "master_port",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_parallel_loading_workers",
        "nnodes",
        "node_rank",
        "pipeline_parallel_size",
        "ray_workers_use_nsight",
        "swap_space",
        "tensor_parallel_size",
    }
)
"""Engine arguments that say where and how fast a model runs and not what it is: no part of its identity. Those that
begin with `data_parallel` are none either."""


def sources(values: Mapping[str, Any], engine_args: Mapping[str, str]) -> dict[str, str]:
    """The arguments that name a folder or a hub's repository, each with what it names."""
    named = {"pretrained": values["pretrained"], "tokenizer": engine_args.get("tokenizer"), "lora": values.get("lora")}
    return {argument: source for argument, source in named.items() if source is not None}


def identity(
    config: Any,
    values: Mapping[str, Any],
    engine_args: Mapping[str, str],
    template: str | None,
    identify: Identify = source_identity,
) -> dict[str, Any] | None:
    """Content of weights, tokenizer and adapter, precision, chat template and every argument that bears on outputs.

    None, and so no caching, when the commit of something from a hub is not known.
    """
    revision = engine_args.get("revision")
    known = {argument: identify(source, revision) for argument, source in sources(values, engine_args).items()}
    if None in known.values():
        return None
    named = {"revision", "dtype", "quantization", *PLACEMENT, *known}
    others = {k: v for k, v in engine_args.items() if k not in named and not k.startswith("data_parallel")}
    return {
        "model": "vllm",
        **known,
        "dtype": str(config.dtype).removeprefix("torch."),
        "quantization": config.quantization,
        "chat_template": template and hashlib.sha256(template.encode()).hexdigest(),
        **others,
    }
