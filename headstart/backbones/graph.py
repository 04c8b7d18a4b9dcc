"""A network as a graph of names, and where it can be parted. Plain Python: knows no Keras, no weights, no files."""

from typing import NamedTuple

from headstart.stage import UserError


class Graph(NamedTuple):
    """A network with one input and one output.

    name: of the network, for messages.
    reads: each operation's name -> names of those that it reads from, in topological order.
    weighted: names of the layers that hold weights, in the same order.
    """

    name: str
    reads: dict[str, list[str]]
    weighted: list[str]


def in_topological_order(reads: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same operations, each behind all that it reads from; otherwise in the order given."""
    ordered: dict[str, list[str]] = {}
    waiting = dict(reads)
    while waiting:
        ready = [name for name, parents in waiting.items() if all(parent in ordered for parent in parents)]
        if not ready:
            raise ValueError(f"these operations read from one another: {', '.join(waiting)}")
        for name in ready:
            ordered[name] = waiting.pop(name)
    return ordered


def separators(graph: Graph) -> list[str]:
    """Names of the operations whose output everything above passes through, from the input to the output.

    In a graph with one source and one sink every operation lies on a path between them, so in any topological
    order these are the ones past which no edge leads from an earlier operation to a later one.
    """
    position = {name: i for i, name in enumerate(graph.reads)}
    last_reader = list(range(len(graph.reads)))
    for name, parents in graph.reads.items():
        for parent in parents:
            last_reader[position[parent]] = max(last_reader[position[parent]], position[name])
    found, crossing = [], 0
    for name, i in position.items():
        if crossing <= i:
            found.append(name)
        crossing = max(crossing, last_reader[i])
    return found


def unfrozen(graph: Graph, trainable_layers: int | str) -> list[str]:
    """Names of the layers to unfreeze, from the input to the output.

    Args:
        graph: of the network.
        trainable_layers: number of layers with weights from the top (0: none), the name of the lowest layer, or "all".

    Raises:
        UserError: there are fewer layers, or none of that name.
    """
    names = graph.weighted
    if trainable_layers == "all":
        return list(names)
    if isinstance(trainable_layers, int):
        if trainable_layers > len(names):
            raise UserError(
                f"trainable_layers: {trainable_layers} is given, but {graph.name} has {len(names)} layers with "
                f'weights; give at most {len(names)}, or "all"'
            )
        return names[len(names) - trainable_layers :]
    order = list(graph.reads)
    if trainable_layers not in order:
        some = ", ".join(names[:: max(1, len(names) // 12)])
        raise UserError(
            f"trainable_layers: {graph.name} has no layer named {trainable_layers!r}; "
            f'give a number, "all", or a name such as {some}'
        )
    above = set(order[order.index(trainable_layers) :])
    return [name for name in names if name in above]


def cut(graph: Graph, trainable_layers: int | str) -> str:
    """Name of the operation to cut behind: the deepest one through which all below the unfrozen layers passes.

    It is the network's input if everything is unfrozen, though operations without weights may lie deeper: there is
    nothing to save then. It is the network's output if nothing is unfrozen.

    Raises:
        UserError: as `unfrozen`.
    """
    order = {name: i for i, name in enumerate(graph.reads)}
    names = unfrozen(graph, trainable_layers)
    if names == graph.weighted:
        return next(iter(order))
    lowest = min((order[name] for name in names), default=len(order))
    return [name for name in separators(graph) if order[name] < lowest][-1]
