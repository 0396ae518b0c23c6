"""Looking at backpropagation: check it, explain it, draw it, and stop where it goes wrong.

* `gradcheck` and `gradgradcheck` hold derivatives against finite differences;
* `detect_anomaly` stops at the line that makes the first NaN or infinity;
* `explain` prints what ``backward()`` will do, before it does it;
* `draw` makes a picture of the recorded graph;
* `overfit_batch` tells whether a model, its loss and its optimizer can learn a few samples by heart, and if not, why.
"""

from tinynn.debug.anomaly import AnomalyError, detect_anomaly
from tinynn.debug.draw import draw
from tinynn.debug.explain import explain
from tinynn.debug.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tinynn.debug.overfit import Overfit, overfit_batch

__all__ = [
    "AnomalyError",
    "GradcheckError",
    "Overfit",
    "detect_anomaly",
    "draw",
    "explain",
    "gradcheck",
    "gradgradcheck",
    "overfit_batch",
]
