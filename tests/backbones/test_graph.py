"""Where a network can be parted, on generated graphs against the slow and obvious way to find out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.backbones.graph import Graph, cut, in_topological_order, separators, unfrozen
from headstart.stage import UserError


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A network of up to twelve operations with one input and one output; some operations have weights."""
    n = draw(st.integers(2, 12))
    names = [f"op{i}" for i in range(n)]
    reads: dict[str, list[str]] = {names[0]: []}
    for i in range(1, n):
        reads[names[i]] = sorted(draw(st.sets(st.sampled_from(names[:i]), min_size=1, max_size=3)))
    unread = [name for name in names[:-1] if not any(name in parents for parents in reads.values())]
    reads[names[-1]] = sorted({*reads[names[-1]], *unread})
    weighted = [name for name in names[1:] if draw(st.booleans())]
    return Graph("net", reads, weighted)


def reaches_output_without(graph: Graph, left_out: set[str]) -> bool:
    """Whether a path from the input to the output avoids these operations."""
    first, *_, last = graph.reads
    reached = {first} - left_out
    for name, parents in graph.reads.items():
        if name not in left_out and reached & set(parents):
            reached.add(name)
    return last in reached


def below(graph: Graph, name: str) -> set[str]:
    """All operations that an operation's output depends on, itself included."""
    found = {name}
    for parent in graph.reads[name]:
        found |= below(graph, parent)
    return found


@given(graphs())
def test_separators_are_the_operations_that_no_path_avoids(graph: Graph) -> None:
    assert separators(graph) == [name for name in graph.reads if not reaches_output_without(graph, {name})]


@given(graphs(), st.data())
def test_a_number_unfreezes_the_uppermost_layers_with_weights(graph: Graph, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(graph.weighted)))
    names = unfrozen(graph, n)
    assert names == graph.weighted[len(graph.weighted) - n :]
    assert len(names) == n
    assert unfrozen(graph, "all") == graph.weighted


@given(graphs(), st.data())
def test_a_name_unfreezes_its_layer_and_those_behind_it(graph: Graph, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(graph.reads)))
    order = list(graph.reads)
    assert unfrozen(graph, name) == [n for n in order if n in graph.weighted and order.index(n) >= order.index(name)]


@given(graphs(), st.data())
def test_the_cut_is_the_deepest_separator_below_everything_unfrozen(graph: Graph, data: st.DataObject) -> None:
    given = data.draw(st.integers(0, len(graph.weighted)) | st.sampled_from(list(graph.reads)) | st.just("all"))
    at, names = cut(graph, given), set(unfrozen(graph, given))
    assert not below(graph, at) & names
    if names == set(graph.weighted):
        assert at == next(iter(graph.reads))  # nothing frozen is computed, so there is nothing to keep
        return
    deeper = separators(graph)[separators(graph).index(at) + 1 :]
    assert all(below(graph, name) & names for name in deeper)


@given(graphs(), st.randoms(use_true_random=False))
def test_any_order_is_brought_into_one_that_can_be_computed(graph: Graph, random: object) -> None:
    names = list(graph.reads)
    random.shuffle(names)
    ordered = in_topological_order({name: graph.reads[name] for name in names})
    assert ordered == graph.reads  # as mappings: nothing lost
    seen: set[str] = set()
    for name, parents in ordered.items():
        assert seen.issuperset(parents)
        seen.add(name)


def test_a_circle_is_no_network() -> None:
    with pytest.raises(ValueError, match="a, b"):
        in_topological_order({"in": [], "a": ["b"], "b": ["a"]})


RESIDUAL = Graph(
    "tiny",
    {"in": [], "conv1": ["in"], "conv2": ["conv1"], "add": ["conv1", "conv2"], "dense": ["add"]},
    ["conv1", "conv2", "dense"],
)


@pytest.mark.parametrize(
    ("trainable_layers", "at"),
    # "add" holds no weights: what is unfrozen from there on begins at dense.
    [(0, "dense"), (1, "add"), (2, "conv1"), (3, "in"), ("all", "in"), ("dense", "add"), ("add", "add"), ("in", "in")],
)
def test_a_shortcut_is_not_cut_in_two(trainable_layers: int | str, at: str) -> None:
    assert cut(RESIDUAL, trainable_layers) == at


def test_preprocessing_alone_is_not_worth_keeping() -> None:
    graph = Graph(
        "net", {"in": [], "scale": ["in"], "pad": ["scale"], "conv": ["pad"], "top": ["conv"]}, ["conv", "top"]
    )
    assert [cut(graph, n) for n in (0, 1, 2, "all")] == ["top", "conv", "in", "in"]


def test_more_layers_than_there_are_says_how_many_there_are() -> None:
    with pytest.raises(
        UserError, match=r'^trainable_layers: 4 is given, but tiny has 3 layers with weights; give at most 3, or "all"$'
    ):
        cut(RESIDUAL, 4)


def test_a_layer_that_there_is_not_names_some_that_there_are() -> None:
    with pytest.raises(
        UserError, match=r"^trainable_layers: tiny has no layer named 'conv9'; .* such as conv1, conv2, dense$"
    ):
        unfrozen(RESIDUAL, "conv9")
