"""What a YAML file may say of a run, and how such a file is read.

`config`: the dataclasses of recipes. `yaml_schema`: any YAML file into a dataclass, with a line for every mistake.
"""
