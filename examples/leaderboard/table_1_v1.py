"""Table 1 of the first version (arXiv, February 2024): models without worked examples, on the twelve data sets."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_1_v1",
    title="The zero-shot performance of various large language models.",
    version="v1",
    table="1",
    suite="zero_shot",
    models=(
        "LLaMA2-13B-chat",
        "PMC-LLaMA-13B-chat",
        "Medalpaca-13B",
        "AlpaCare-13B",
        "Me-LLaMA-13B-chat",
        "LLaMA2-70B-chat",
        "Meditron-70B",
        "Me-LLaMA-70B-chat",
    ),
    notes=(
        "Me-LLaMA-70B-chat is a checkpoint of half an epoch here, which was not published",
        "i2b2 is the corpus of 2012 here: mibe data prepare i2b2 --variant 2012",
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
