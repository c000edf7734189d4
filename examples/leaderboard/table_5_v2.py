"""Table 5 of the preprint of December 2024: open chat models without worked examples, on the twelve data sets."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_5_v2",
    title="The zero-shot performance of various open source LLMs with chat capability.",
    version="v2",
    table="5",
    suite="zero_shot",
    models=(
        "LLaMA2-13B-chat",
        "PMC-LLaMA-13B-chat",
        "Medalpaca-13B",
        "AlpaCare-13B",
        "Me-LLaMA-13B-chat",
        "LLaMA2-70B-chat",
        "Me-LLaMA-70B-chat",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
