"""Table 2 of the first version (arXiv, February 2024): open models fine-tuned on each of the twelve data sets."""

from mibe.reproduction import Reproduction, main

TABLE = Reproduction(
    name="table_2_v1",
    title="The supervised fine-tuning performance of various large language models.",
    version="v1",
    table="2",
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
    notes=("i2b2 is the corpus of 2012 here: mibe data prepare i2b2 --variant 2012",),
)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
