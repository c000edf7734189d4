"""From an example to the text a model reads: worked examples, layout, cuts; and documents as training samples."""

from mibe.prompting.builder import PromptBuilder, Rendered
from mibe.prompting.layout import layout, plain_text, question, stop_strings, template_sha256
from mibe.prompting.shots import Shots, content_hash, shot_order

__all__ = [
    "PromptBuilder",
    "Rendered",
    "Shots",
    "content_hash",
    "layout",
    "plain_text",
    "question",
    "shot_order",
    "stop_strings",
    "template_sha256",
]
