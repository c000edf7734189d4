"""Table 6 of the preprint of December 2024, the ablation: backbone, continual pretraining, instruction tuning."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_6_v2",
    title="The comparison of zero-shot performances among Me-LLaMA models and their backbone models LLaMA2.",
    version="v2",
    table="6",
    suite="ablation",
    models=(
        "LLaMA2-13B",
        "Me-LLaMA-13B",
        "Me-LLaMA-13B-chat",
        "LLaMA2-70B",
        "Me-LLaMA-70B",
        "Me-LLaMA-70B-chat",
    ),
    # What continual pretraining did, and what instruction tuning did after it.
    changes=(
        ("Me-LLaMA-13B", "LLaMA2-13B"),
        ("Me-LLaMA-13B-chat", "Me-LLaMA-13B"),
        ("Me-LLaMA-70B", "LLaMA2-70B"),
        ("Me-LLaMA-70B-chat", "Me-LLaMA-70B"),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
