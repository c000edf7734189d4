"""Requests for a model behind an API."""

from mibe.models.base import Message, Request, Sampling


def request(text, *, tokens=16, stop=()):
    messages = (Message(role="user", content=text),)
    return Request(messages, f"[user]\n{text}", Sampling(max_new_tokens=tokens, stop=stop))


def requests(count):
    return [request(f"question {number}") for number in range(count)]
