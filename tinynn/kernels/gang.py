"""Parts of a row that threads take one by one, without Python, within a step.

Waking a thread takes 40 microseconds; a product that is to be shared may take no longer. So helpers stay awake between
the rows of a step, and for a fraction of a millisecond after it: they look at one word of memory over and over. The
thread that runs the step (the leader) opens a row by writing that word, and everyone who sees it, the leader
included, takes the next part, until there are none::

    turn   the number of the row that is open, and of its next part: ``number << 16 | part``
    done   how many of its parts are finished
    count, first, length   how many parts there are, where the words of the first one are, how many words each has
    left   how many helpers have gone to sleep
    stay   whether the leader is in a step, so that helpers go on looking, however long it is busy with other rows

A part is taken by changing ``turn`` from what was read to one more, in one instruction that does nothing if the word
has changed meanwhile. The leader goes on when all parts are done. It needs no helper: one that sleeps, or is slow to
wake, has taken no part, and the leader does it. What a part computes does not depend on who does.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinynn.kernels import threads
from tinynn.kernels.llvm_vectors import INT, declared, kernel_text, number
from tinynn.kernels.machine_code import Written, address_of
from tinynn.kernels.memory import LINE, zero_bytes
from tinynn.kernels.python_calls import bound

__all__ = ["Gang"]

_PATIENCE = 8192  # looks at the word before a helper sleeps: 0.2 to 0.4 milliseconds
_LOOKS = 2048  # a power of two: before a thread that waits lets others have the processor
_CLOSED = 0xFFFF  # a part that no row has
# a line of memory for what is written often, and one for what is only read while a row is open
_TURN, _DONE, _COUNT, _FIRST, _LENGTH = 0, LINE // 8, 2 * LINE // 8, 2 * LINE // 8 + 1, 2 * LINE // 8 + 2
_STAY = 2 * LINE // 8 + 3
_LEFT = 3 * LINE // 8
_HEAD = 4  # words of a shared row before those of its parts


class Gang:
    """The threads that run steps of one table together.

    Parameters
    ----------
    helpers : int
        Threads besides the one that calls.

    Examples
    --------
    >>> gang = Gang(1)
    >>> gang.helpers
    1
    """

    def __init__(self, helpers: int) -> None:
        self.helpers = helpers
        self._memory = zero_bytes(5 * LINE)
        start = -self._memory.ctypes.data % LINE
        self.state = self._memory[start : start + 4 * LINE].view(np.int64)
        self._started = 0  # calls that helpers were given
        words = np.array([0, 4, self.state.ctypes.data, _PATIENCE], np.int64)
        self._help = bound(_kernel("gang_help", _emit_help), words, unlocked=True)
        _gangs.add(self)

    def words(self, parts: Sequence[list[int]]) -> list[int]:
        """The words of a row that consists of parts, each a row of as many words."""
        assert 0 < len(parts) < _CLOSED
        assert len({len(part) for part in parts}) == 1
        lead = _kernel("gang_lead", _emit_lead)
        flat = [word for part in parts for word in part]
        return [lead, _HEAD + len(flat), self.state.ctypes.data, len(parts), *flat]

    def awake(self) -> int:
        """How many helpers look for work."""
        return self._started - int(self.state[_LEFT])

    def wake(self) -> None:
        """Let the helpers look for work, those that do not yet. To be called before a step."""
        for _ in range(self.helpers - self.awake()):
            try:
                threads.run_aside(self._look_for_work)
            except RuntimeError:  # there can be no more threads: the leader does what they would do
                self.helpers = self.awake()
                return
            self._started += 1

    def _look_for_work(self) -> None:
        self._help()  # a method: whoever runs it keeps the gang, and the words that helpers look at

    def fall_asleep(self) -> None:
        """There are no helpers: threads do not survive a fork."""
        self._started = int(self.state[_LEFT])

    def leading(self, step: Callable[[], None], keep: object = None) -> Callable[[], None]:
        """A function that runs a step with the helpers, and keeps something alive that the step needs."""
        state = self.state

        def together(_: object = keep) -> None:
            state[_STAY] = 1  # before it is asked who is awake: a helper that leaves looks again
            try:
                if self._started - state[_LEFT] < self.helpers:
                    self.wake()
                step()
            finally:
                state[_STAY] = 0

        return together

    @contextmanager
    def staying(self) -> Iterator[None]:
        """Helpers look for work until all of this, which is many steps, is done."""
        self.state[_STAY] = 1
        try:
            self.wake()
            yield
        finally:
            self.state[_STAY] = 0


_gangs: weakref.WeakSet[Gang] = weakref.WeakSet()


def _after_a_fork() -> None:
    for gang in _gangs:
        gang.fall_asleep()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_a_fork)


# ------------------------------------------------------------------------------------------------ the kernels


def _kernel(name: str, emit: Callable[[Any, Any], None]) -> int:
    return address_of(name, f"{name} with {_has_yield()}", lambda: Written(kernel_text(name, emit), name))


def _emit_lead(builder: Any, row: Any) -> None:
    """Open a row, take parts of it, and wait until all are done.

    Words: the kernel, the row's length, the gang's state, the number of parts, the parts.
    """
    state = _State(builder, _word(builder, row, 2))
    count = _word(builder, row, 3)
    turn = state.load(_TURN)
    after = builder.add(builder.and_(turn, number(~0xFFFF)), number(1 << 16))
    # nobody may take a part of the next row by the word of the one before, with the new count already in place
    state.store(_TURN, builder.or_(after, number(_CLOSED)))
    builder.fence("seq_cst")
    state.store(_DONE, number(0))
    state.store(_COUNT, count)
    first = builder.gep(row, [number(_HEAD)])
    state.store(_FIRST, builder.ptrtoint(first, INT))
    state.store(_LENGTH, builder.load(builder.gep(first, [number(1)])))
    builder.fence("seq_cst")
    state.store(_TURN, after)
    taking = builder.append_basic_block("taking")
    builder.branch(taking)
    builder.position_at_end(taking)
    none_left = _take_part(builder, state)
    waiting, looking, ended = (builder.append_basic_block(name) for name in ("waiting", "looking", "ended"))
    builder.cbranch(none_left, waiting, taking)
    builder.position_at_end(waiting)
    builder.branch(looking)
    builder.position_at_end(looking)
    looks = builder.phi(INT)
    looks.add_incoming(number(0), waiting)
    more = _wait_a_little(builder, looks)
    looks.add_incoming(more, builder.block)
    builder.cbranch(builder.icmp_signed("==", state.load(_DONE), count), ended, looking)
    builder.position_at_end(ended)


def _emit_help(builder: Any, row: Any) -> None:
    """Take parts of whatever row is open, until none was for a while.

    Words: nothing, the row's length, the gang's state, how many looks without work are a while.
    """
    state = _State(builder, _word(builder, row, 2))
    patience = _word(builder, row, 3)
    start = builder.block
    looking, idle, leaving = (builder.append_basic_block(name) for name in ("looking", "idle", "leaving"))
    builder.branch(looking)
    builder.position_at_end(looking)
    looks = builder.phi(INT)
    looks.add_incoming(number(0), start)
    none_left = _take_part(builder, state)
    looks.add_incoming(number(0), builder.block)
    builder.cbranch(none_left, idle, looking)
    builder.position_at_end(idle)
    more = _wait_a_little(builder, looks)
    stays = builder.icmp_signed("!=", state.load(_STAY), number(0))
    goes_on = builder.or_(stays, builder.icmp_signed("<", more, patience))
    looks.add_incoming(builder.select(stays, builder.and_(more, number(_LOOKS - 1)), more), builder.block)
    builder.cbranch(goes_on, looking, leaving)
    # a step that begins now may still count on this helper, or has found that it left, and has woken another
    builder.position_at_end(leaving)
    state.add(_LEFT, number(1))
    with builder.if_then(builder.icmp_signed("!=", state.load(_STAY), number(0))):
        state.add(_LEFT, number(-1))
        looks.add_incoming(number(0), builder.block)
        builder.branch(looking)


def _take_part(builder: Any, state: _State) -> Any:
    """Take a part of the open row, and do it; whether there was none.

    If another thread was faster, this looks like a part that was done: both look again.
    """
    turn = state.load(_TURN)
    part = builder.and_(turn, number(0xFFFF))
    count, first, length = state.load(_COUNT), state.load(_FIRST), state.load(_LENGTH)
    none_left = builder.icmp_signed(">=", part, count)
    with builder.if_then(builder.not_(none_left)):
        taken = builder.extract_value(state.change(_TURN, turn, builder.add(turn, number(1))), 1)
        with builder.if_then(taken):
            place = builder.add(first, builder.mul(number(8), builder.mul(part, length)))
            words = builder.inttoptr(place, INT.as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [INT.as_pointer()]).as_pointer()
            builder.call(builder.inttoptr(builder.load(words), kind), [words])
            state.add(_DONE, number(1))
    return none_left


class _State:
    """The gang's words: every access is atomic, and seen by all threads in one order."""

    def __init__(self, builder: Any, address: Any) -> None:
        self.builder = builder
        self.words = builder.inttoptr(address, INT.as_pointer())

    def _at(self, word: int) -> Any:
        return self.builder.gep(self.words, [number(word)])

    def load(self, word: int) -> Any:
        return self.builder.load_atomic(self._at(word), "seq_cst", 8)

    def store(self, word: int, value: Any) -> None:
        self.builder.store_atomic(value, self._at(word), "seq_cst", 8)

    def change(self, word: int, old: Any, new: Any) -> Any:
        return self.builder.cmpxchg(self._at(word), old, new, "seq_cst", "seq_cst")

    def add(self, word: int, value: Any) -> None:
        self.builder.atomic_rmw("add", self._at(word), value, "seq_cst")


def _word(builder: Any, row: Any, place: int) -> Any:
    return builder.load(builder.gep(row, [number(place)]))


def _wait_a_little(builder: Any, looks: Any) -> Any:
    """Tell the processor that this is a loop that waits, and now and then the system; one look more."""
    more = builder.add(looks, number(1))
    if llvm.get_process_triple().startswith(("x86_64", "i386", "i686")):
        builder.call(declared(builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
    if _has_yield():
        with builder.if_then(builder.icmp_signed("==", builder.srem(more, number(_LOOKS)), number(0))):
            builder.call(declared(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"), [])
    return more


def _has_yield() -> bool:
    return bool(llvm.address_of_symbol("sched_yield"))
