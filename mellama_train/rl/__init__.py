"""Training by TRL, the engine of what is learned from rewards and from pairs.

`recipe`: what a recipe of `grpo` says. `tasks`: documents of tasks as prompts, mixed, without those of any test set.
`rewards`: mibe's rewards as TRL calls them. `grpo`: TRL's trainer of them. `trl`: any of TRL's trainers with this
package's schedule and settings. `watching`: what a run writes while it goes on, signals, checkpoints. `running`: from
the newest checkpoint to the model. `plan`: memory and time before anything starts.
"""
