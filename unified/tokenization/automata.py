"""The grammars of targets: one builder for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from unified.tokenization.grammar import Grammar, Ids
from unified.tokenization.text import TextTokenizer
from unified.tokenization.vocabulary import Vocabulary


class _Automaton:
    """Collects edges and compiles them. State `done` is reached by the end token."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._edges: list[tuple[int, Ids, int]] = []
        self._states = 0
        self.start = self.state()
        self.done = self.state()
        self.edge(self.done, [vocabulary.pad_id, vocabulary.eos_id], self.done)

    def state(self) -> int:
        self._states += 1
        return self._states - 1

    def edge(self, source: int, ids: Sequence[int] | Ids, target: int) -> None:
        """`ids` are legal in `source` and lead to `target`; a later edge wins over an earlier one."""
        self._edges.append((source, np.asarray(ids, dtype=np.int64), target))

    def end(self, source: int) -> None:
        self.edge(source, [self._vocabulary.eos_id], self.done)

    def chain(self, source: int, steps: Sequence[Sequence[int] | Ids], target: int | None = None) -> int:
        """Edges through fresh states, the last one to `target` if given; the state reached."""
        for i, ids in enumerate(steps):
            last = target is not None and i == len(steps) - 1
            following = target if last and target is not None else self.state()
            self.edge(source, ids, following)
            source = following
        return source

    def compile(self) -> Grammar:
        random = np.random.default_rng(0).integers(1, 2**63, size=len(self._edges), dtype=np.uint64)
        signature = np.zeros(self._vocabulary.total, dtype=np.uint64)
        for (_, ids, _), mark in zip(self._edges, random, strict=True):
            signature[ids] += mark  # wraps; ids of equal edges get equal sums
        kinds, classes = np.unique(signature, return_inverse=True)
        transitions = np.full((self._states, len(kinds)), self.done, dtype=np.int64)
        legal = np.zeros((self._states, len(kinds)), dtype=bool)
        for source, ids, target in self._edges:
            transitions[source, classes[ids]] = target
            legal[source, classes[ids]] = True
        return Grammar(classes.astype(np.int64), transitions, legal)


def image_grammar(vocabulary: Vocabulary, codes: int) -> Grammar:
    """The image start, exactly `codes` image ids, then nothing but the end token."""
    automaton = _Automaton(vocabulary)
    image = np.arange(vocabulary.image.start, vocabulary.image.stop)
    state = automaton.chain(automaton.start, [[vocabulary.image_start_id], *[image] * codes])
    automaton.end(state)
    return automaton.compile()


def choice_grammar(vocabulary: Vocabulary, choices: Iterable[Sequence[int]]) -> Grammar:
    """One of `choices` (ids without end token), then the end token."""
    automaton = _Automaton(vocabulary)
    trie: dict[tuple[int, ...], int] = {(): automaton.start}
    for choice in choices:
        for i, token in enumerate(choice):
            head, whole = tuple(choice[:i]), tuple(choice[: i + 1])
            if whole not in trie:
                trie[whole] = automaton.chain(trie[head], [[token]])
        automaton.end(trie[tuple(choice)])
    return automaton.compile()


def text_grammar(vocabulary: Vocabulary, *, group: int = 0) -> Grammar:
    """Any text. `group`: locations may stand in it too, always `group` in a row (boxes: 4, points: 2)."""
    automaton = _Automaton(vocabulary)
    start = automaton.start
    automaton.edge(start, _pieces(vocabulary), start)
    automaton.end(start)
    if group:
        automaton.chain(start, [_locations(vocabulary)] * group, start)
    return automaton.compile()


def grounded_grammar(vocabulary: Vocabulary, text: TextTokenizer) -> Grammar:
    """Text in which boxes, four locations each, follow a closing bracket."""
    automaton = _Automaton(vocabulary)
    plain, closed = automaton.start, automaton.state()
    pieces, locations = _pieces(vocabulary), _locations(vocabulary)
    closing = np.array([i for i in pieces if text.piece(i).endswith("]")], dtype=np.int64)
    for state in (plain, closed):
        automaton.edge(state, pieces, plain)
        automaton.edge(state, closing, closed)
        automaton.end(state)
    automaton.chain(closed, [locations] * 4, closed)
    return automaton.compile()


def location_grammar(
    vocabulary: Vocabulary, *, group: int, labelled: bool, at_least: int, at_most: int | None
) -> Grammar:
    """Items of `group` locations (boxes 4, points 2), each followed by a label if `labelled`."""
    automaton = _Automaton(vocabulary)
    pieces, locations = _pieces(vocabulary), _locations(vocabulary)
    state = automaton.start
    distinct = max(at_least, 1) if at_most is None else at_most
    for item in range(distinct):
        if item >= at_least:
            automaton.end(state)
        inside = automaton.chain(state, [locations] * group)
        if labelled:
            label = automaton.chain(inside, [pieces])
            automaton.edge(label, pieces, label)
            inside = label
        state = inside
    automaton.end(state)
    if at_most is None:  # the last item repeats
        back = automaton.chain(state, [locations] * group, None if labelled else state)
        if labelled:
            automaton.edge(back, pieces, state)
    return automaton.compile()


def open_location_grammar(vocabulary: Vocabulary, *, group: int) -> Grammar:
    """One or more items of `group` locations, each of which a label may follow."""
    automaton = _Automaton(vocabulary)
    locations = _locations(vocabulary)
    state = automaton.chain(automaton.start, [locations] * group)
    automaton.edge(state, _pieces(vocabulary), state)
    automaton.chain(state, [locations] * group, state)
    automaton.end(state)
    return automaton.compile()


def keypoint_grammar(
    vocabulary: Vocabulary, joints: int, marks: Sequence[Sequence[int]], at_most: int | None
) -> Grammar:
    """Figures of `joints` joints, each two locations and one of `marks` (its visibility as ids)."""
    automaton = _Automaton(vocabulary)
    locations = _locations(vocabulary)
    state = automaton.start
    for figure in range(at_most or 1):
        if figure:
            automaton.end(state)
        state = _figure(automaton, state, joints, marks, locations)
    automaton.end(state)
    if at_most is None:
        begun = automaton.chain(state, [locations])
        _figure(automaton, begun, joints, marks, locations, begun=1, end_in=state)
    return automaton.compile()


def _figure(
    automaton: _Automaton,
    state: int,
    joints: int,
    marks: Sequence[Sequence[int]],
    locations: Ids,
    *,
    begun: int = 0,
    end_in: int | None = None,
) -> int:
    """One figure from `state` on, of whose first joint `begun` locations stand already."""
    for joint in range(joints):
        state = automaton.chain(state, [locations] * (2 - (begun if joint == 0 else 0)))
        following = end_in if end_in is not None and joint == joints - 1 else automaton.state()
        _marks(automaton, state, marks, following)
        state = following
    return state


def _marks(automaton: _Automaton, state: int, marks: Sequence[Sequence[int]], target: int) -> None:
    """A trie of `marks`, none the beginning of another, all of whose ends are `target`."""
    trie: dict[tuple[int, ...], int] = {(): state}
    for mark in marks:
        for i in range(len(mark)):
            head, whole = tuple(mark[:i]), tuple(mark[: i + 1])
            if whole not in trie:
                trie[whole] = target if i == len(mark) - 1 else automaton.state()
                automaton.edge(trie[head], [mark[i]], trie[whole])


def number_grammar(
    vocabulary: Vocabulary, text: TextTokenizer, *, decimals: int, negative: bool, digits: int = 6
) -> Grammar:
    """A decimal number of at most `digits` digits before the point and `decimals` after it.

    Pieces may hold several characters: each leads where its characters do, one after another.
    """
    automaton = _Automaton(vocabulary)
    # character states: 0 start, 1 space, 2 sign, 3.. the nth whole digit, then the point, then fractions
    point = 3 + digits
    places = point + decimals + 1

    def after(state: int, char: str) -> int | None:
        if char == "▁":
            return 1 if state == 0 else None
        if char == "-":
            return 2 if state < 2 and negative else None
        if char == ".":
            return point if decimals and 3 <= state < point else None
        if not ("0" <= char <= "9"):
            return None
        if state < point:
            following = 3 if state < 3 else state + 1
            return following if following < point else None
        return state + 1 if state + 1 < places else None

    states = [automaton.start, *(automaton.state() for _ in range(places - 1))]
    usable = [(i, text.piece(i)) for i in _pieces(vocabulary).tolist()]
    usable = [(i, p) for i, p in usable if p and set(p) <= set("▁-.0123456789")]
    for source in range(places):
        leads: dict[int, list[int]] = {}
        for token, piece in usable:
            state = _run(after, source, piece)
            if state is not None:
                leads.setdefault(state, []).append(token)
        for state, ids in leads.items():
            automaton.edge(states[source], ids, states[state])
        if 3 <= source < point or source > point:
            automaton.end(states[source])
    return automaton.compile()


def _run(after: Callable[[int, str], int | None], state: int, piece: str) -> int | None:
    following: int | None = state
    for char in piece:
        following = None if following is None else after(following, char)
    return following


def _pieces(vocabulary: Vocabulary) -> Ids:
    return np.flatnonzero(vocabulary.is_piece())


def _locations(vocabulary: Vocabulary) -> Ids:
    return np.arange(vocabulary.location.start, vocabulary.location.stop)
