"""The version of both packages, in the one place that everything may import."""

VERSION = "0.2.0"
