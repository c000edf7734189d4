"""Table 3 of the first version (arXiv, February 2024), the ablation: pretraining and instruction tuning."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_3_v1",
    title="The comparison of zero-shot performances among Me LLaMA models and LLaMA2 models.",
    version="v1",
    table="3",
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
    notes=(
        "Me-LLaMA-70B models are checkpoints of half an epoch here (note to table 1), which were not published",
        "i2b2 is the corpus of 2012 here: mibe data prepare i2b2 --variant 2012",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
