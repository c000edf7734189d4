"""Models of servers of the test, closed after it."""

from contextlib import contextmanager

from mibe.models import load_model


@contextmanager
def clients(**common):
    """Gives a function that makes a model for a server; arguments of the model are `common` ones and its own."""
    opened = []

    def make(server, **args):
        opened.append(load_model("openai", {"model": "m", "base_url": server.url, **common, **args}))
        return opened[-1]

    try:
        yield make
    finally:
        for model in opened:
            model.close()


def answers(model, wanted):
    """The responses in the order of the requests."""
    return [response for _, response in sorted(model.generate(wanted), key=lambda item: item[0])]
