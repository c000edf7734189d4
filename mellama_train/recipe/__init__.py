"""What a YAML file may say of a run, and how such a file is read.

`config`: what every recipe may say. `stages`: what each stage of training says beside it. `ranges`: the values that
numbers may have. `yaml_schema`: any YAML file into a dataclass, with a line for every mistake, by `yaml_nodes`.
`problems`: what mistakes are told by.
"""
