"""Table 4 of the preprint of December 2024: open models fine-tuned on each of the twelve data sets."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_4_v2",
    title="The supervised fine-tuning performance of various open source LLMs on six tasks.",
    version="v2",
    table="4",
    suite="supervised",
    models=(
        "LLaMA2-13B",
        "PMC-LLaMA-13B",
        "Me-LLaMA-13B",
        "LLaMA2-70B",
        "Meditron-70B",
        "Me-LLaMA-70B",
    ),
    # One checkpoint a model and data set: --weights LLaMA2-13B=checkpoints/llama2-13b/{task}
    fine_tuned=True,
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
