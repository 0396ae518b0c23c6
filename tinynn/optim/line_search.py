"""How far to go along a direction: a step length that satisfies the strong Wolfe conditions.

With phi(t) = f(x + t d), a step t is good enough when

* phi(t) <= phi(0) + c1 t phi'(0)      the function has gone down, in proportion to the step;
* |phi'(t)| <= c2 |phi'(0)|            and the slope is flat enough: there is not much more to be had.

Nocedal & Wright, Numerical Optimization (2nd ed. 2006), algorithms 3.5 and 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A step length, with the function, its slope phi'(t), and the whole gradient there."""

    t: float
    value: float
    slope: float
    gradient: Any


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    shortest: float = 0.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evaluations: int = 25,
) -> tuple[Point, int]:
    """Find a step that satisfies the strong Wolfe conditions (algorithm 3.5).

    Parameters
    ----------
    evaluate : gives the point at a step length
    start : the point at t = 0, with a negative slope
    t : the step length to try first
    shortest : intervals of step lengths below this are not divided any more
    c1, c2 : 0 < c1 < c2 < 1
    max_evaluations : of the function

    Returns
    -------
    The point, and how often the function was evaluated. Where no good step was found, the point is the best
    of those which have gone down (``start`` if there is none).

    Examples
    --------
    >>> parabola = lambda t: Point(t, (t - 3.0) ** 2, 2 * (t - 3.0), None)
    >>> found, evaluations = strong_wolfe(parabola, parabola(0.0), t=1.0)
    >>> found.t, evaluations
    (1.0, 1)
    >>> found, evaluations = strong_wolfe(parabola, parabola(0.0), t=1.0, c2=0.1)
    >>> found.t, evaluations
    (3.0, 2)
    """
    search = _Search(evaluate, start, shortest, c1, c2, max_evaluations)
    previous = start
    while True:
        point = search.at(t)
        if not search.has_gone_down(point) or (search.evaluations > 1 and point.value >= previous.value):
            return search.between(previous, point), search.evaluations
        if search.is_flat(point):
            return point, search.evaluations
        if point.slope >= 0.0:
            return search.between(point, previous), search.evaluations
        if search.evaluations >= max_evaluations:
            return point, search.evaluations
        # Still going down: go on, to where a cubic through both points has its minimum, within bounds.
        least, most = point.t + 0.01 * (point.t - previous.t), 10.0 * point.t
        guess = cubic_minimum(previous, point)
        t = most if math.isnan(guess) or guess < point.t else min(max(guess, least), most)
        previous = point


class _Search:
    def __init__(
        self,
        evaluate: Callable[[float], Point],
        start: Point,
        shortest: float,
        c1: float,
        c2: float,
        most: int,
    ) -> None:
        self.evaluate, self.start, self.shortest, self.c1, self.c2 = evaluate, start, shortest, c1, c2
        self.max_evaluations = most
        self.evaluations = 0

    def at(self, t: float) -> Point:
        self.evaluations += 1
        return self.evaluate(t)

    def has_gone_down(self, point: Point) -> bool:
        """The first condition; False for NaN and infinity."""
        return point.value <= self.start.value + self.c1 * point.t * self.start.slope

    def is_flat(self, point: Point) -> bool:
        """The second condition."""
        return abs(point.slope) <= -self.c2 * self.start.slope

    def between(self, low: Point, high: Point) -> Point:
        """Close in on a good step between two points (algorithm 3.6, "zoom").

        ``low`` has gone down, has the smallest value so far, and its slope points towards ``high``.
        """
        while self.evaluations < self.max_evaluations and abs(high.t - low.t) > self.shortest:
            point = self.at(_inside(low, high))
            if not self.has_gone_down(point) or point.value >= low.value:
                high = point
                continue
            if self.is_flat(point):
                return point
            if point.slope * (high.t - low.t) >= 0.0:
                high = low
            low = point
        return low


def _inside(low: Point, high: Point) -> float:
    """The minimum of the cubic through two points, but not close to either; or the middle."""
    width = high.t - low.t
    fraction = (cubic_minimum(low, high) - low.t) / width
    return low.t + width * (0.5 if math.isnan(fraction) else min(max(fraction, 0.1), 0.9))


def cubic_minimum(a: Point, b: Point) -> float:
    """Where the cubic with the values and slopes of two points has its minimum (eq. 3.59); NaN if nowhere.

    Examples
    --------
    >>> f = lambda t: Point(t, t**3 - 3 * t, 3 * t**2 - 3, None)
    >>> cubic_minimum(f(0.0), f(3.0))
    1.0
    """
    if a.t == b.t:
        return math.nan
    d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not 0.0 <= square < math.inf:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    denominator = b.slope - a.slope + 2.0 * d2
    return b.t - (b.t - a.t) * (b.slope + d2 - d1) / denominator if denominator else math.nan
