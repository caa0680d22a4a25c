"""Which ids may follow which: small automata over the vocabulary, and their use in generation.

A grammar sees the generated ids after the decoder's start token. Ids that no edge tells apart share
a class, so a step of decoding is one look-up of (state, class of each id). `automata` builds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Grammar:
    """A deterministic automaton. State 0 is the start.

    classes: (V,) int64, id -> class. transitions: (S, C) int64, the next state. legal: (S, C) bool.
    Every state has a legal id. What follows an illegal id is the final state, where padding goes on.
    """

    classes: Ids
    transitions: Ids
    legal: npt.NDArray[np.bool_]

    def state_after(self, ids: Iterable[int]) -> int:
        """The state after `ids`; ValueError at the first id that is not legal."""
        state = 0
        for position, token in enumerate(ids):
            kind = self.classes[token]
            if not self.legal[state, kind]:
                raise ValueError(f"id {token} at position {position} is not legal here")
            state = int(self.transitions[state, kind])
        return state

    def accepts(self, ids: Iterable[int]) -> bool:
        """Whether all of `ids` are legal one after another."""
        try:
            self.state_after(ids)
        except ValueError:
            return False
        return True

    def legal_ids(self, state: int) -> Ids:
        """The ids that may come next, ascending."""
        return np.flatnonzero(self.legal[state][self.classes])


class GrammarProcessor:
    """A logits processor for `generate`: row by row, ids that the row's grammar forbids get -inf.

    grammars: one for each example of the batch; beams (or samples) of an example are consecutive rows,
    as `generate` lays them out. `start`: ids at the beginning of each row, the decoder's start token,
    that no grammar sees. Holds the states of the last step, and finds them again when beams were
    re-ordered. Where the model itself forbids every legal id, they are made possible all the same, so
    that no row is left without one.
    """

    def __init__(self, grammars: Sequence[Grammar], *, start: int = 1) -> None:
        if not grammars:
            raise ValueError("a batch needs at least one grammar")
        self._start = start
        index: dict[int, int] = {}
        distinct: list[Grammar] = []
        for grammar in grammars:
            if id(grammar) not in index:
                index[id(grammar)] = len(distinct)
                distinct.append(grammar)
        self._grammar_of = [index[id(grammar)] for grammar in grammars]
        offsets = np.cumsum([0, *(len(g.transitions) for g in distinct)])
        width = max(g.transitions.shape[1] for g in distinct)
        transitions = np.zeros((offsets[-1], width), dtype=np.int64)
        legal = np.zeros((offsets[-1], width), dtype=bool)
        for grammar, begin in zip(distinct, offsets, strict=False):
            states, kinds = grammar.transitions.shape
            transitions[begin : begin + states, :kinds] = grammar.transitions + begin
            legal[begin : begin + states, :kinds] = grammar.legal
        self._classes = torch.from_numpy(np.stack([g.classes for g in distinct]))
        self._transitions = torch.from_numpy(transitions)
        self._legal = torch.from_numpy(legal)
        self._first = torch.from_numpy(offsets[:-1].astype(np.int64))
        self._rows: Tensor | None = None
        self._seen: Tensor | None = None
        self._states: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids (R, T) int64, scores (R, V) -> scores (R, V); R is a multiple of the batch."""
        rows = self._prepare(len(input_ids), scores)
        states = self._advance(input_ids, rows)
        allowed = self._legal[states]  # (R, C)
        if len(self._classes) == 1:
            legal = allowed[:, self._classes[0]]
        else:
            legal = allowed.gather(1, self._classes[rows])
        kept = scores.masked_fill(~legal, -torch.inf)
        stuck = kept.amax(dim=1, keepdim=True) == -torch.inf
        return torch.where(stuck & legal, torch.zeros_like(kept), kept)

    def _prepare(self, n_rows: int, scores: Tensor) -> Tensor:
        """The grammar of each row; tables on the device of the scores."""
        if self._classes.shape[1] != scores.shape[1]:
            raise ValueError(f"grammars over {self._classes.shape[1]} ids, scores over {scores.shape[1]}")
        if n_rows % len(self._grammar_of):
            raise ValueError(f"{n_rows} rows are no multiple of a batch of {len(self._grammar_of)}")
        if self._rows is None or len(self._rows) != n_rows or self._rows.device != scores.device:
            device = scores.device
            names = ("_classes", "_transitions", "_legal", "_first")
            for name in names:
                setattr(self, name, getattr(self, name).to(device))
            copies = n_rows // len(self._grammar_of)
            self._rows = torch.tensor(self._grammar_of, device=device).repeat_interleave(copies)
            self._seen = self._states = None
        return self._rows

    def _advance(self, input_ids: Tensor, rows: Tensor) -> Tensor:
        """States (R,) after `input_ids`, from those of the step before where they are known."""
        states = self._known(input_ids[:, :-1], len(rows) // len(self._grammar_of))
        if states is None:
            states, fresh = self._first[rows], input_ids[:, self._start :]
        else:
            fresh = input_ids[:, -1:]
        for token in fresh.unbind(1):
            states = self._transitions[states, self._classes[rows, token]]
        self._seen, self._states = input_ids.clone(), states
        return states

    def _known(self, before: Tensor, beams: int) -> Tensor | None:
        """The states (R,) of rows `before` (R, T), if each was seen at the last step under its example."""
        if self._seen is None or self._states is None or self._seen.shape != before.shape:
            return None
        if torch.equal(self._seen, before):
            return self._states
        new, old = before.view(-1, beams, 1, before.shape[1]), self._seen.view(-1, 1, beams, before.shape[1])
        same = (new == old).all(-1)  # (B, beams, beams)
        if not bool(same.any(-1).all()):
            return None
        parent = same.int().argmax(-1)
        return self._states.view(-1, beams).gather(1, parent).view(-1)
