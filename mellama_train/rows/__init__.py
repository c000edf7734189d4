"""From text to the rows of a step.

`samples`: prompts with responses, as tokens. `characters`: what no text may hold. `packing`: samples put together.
`packed`: the rows that come of it. `row`: what a row is. `steps`: which rows a step and a rank read. `batches`: those
rows as micro-batches.
"""
