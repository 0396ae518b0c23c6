"""Looking at backpropagation: check it, explain it, draw it, and stop where it goes wrong.

* `gradcheck` and `gradgradcheck` hold derivatives against finite differences;
* `detect_anomaly` stops at the line that makes the first NaN or infinity;
* `explain` prints what ``backward()`` will do, before it does it;
* `draw` makes a picture of the recorded graph.
"""

from tinynn.debug.anomaly import AnomalyError, detect_anomaly
from tinynn.debug.draw import draw
from tinynn.debug.explain import explain
from tinynn.debug.gradcheck import GradcheckError, gradcheck, gradgradcheck

__all__ = [
    "AnomalyError",
    "GradcheckError",
    "detect_anomaly",
    "draw",
    "explain",
    "gradcheck",
    "gradgradcheck",
]
