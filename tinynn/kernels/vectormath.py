"""Scalar functions for the printed kernels, written so that LLVM can vectorise the loops around them.

The C library's `exp`, `tanh`, `erf` are calls, one per element, and a loop with a call stays scalar.
The functions here hold no call, no table and no branch: range reduction, one polynomial (Horner's scheme),
selects for the special cases. Inlined into a loop they become SIMD code, several elements per instruction.

Each works in the precision of its argument, float32 or float64. Largest error found, in units in the
last place (ULP), against 50 digit arithmetic over the whole range including denormal arguments and results:

========  =======  =======  ==================================================================
function  float64  float32  how
========  =======  =======  ==================================================================
exp       1.0      1.0      2**k * exp(r), |r| <= log(2)/2; underflow is gradual
expm1     2.0      1.5      2**k * expm1(r) + (2**k - 1)
log       1.0      1.0      k * log(2) + 2 atanh(s), s = (m - 1) / (m + 1)
log1p     1.5      1.5      as log, with the rounding error of 1 + x carried along
tanh      2.5      2.5      t / (t + 2), t = expm1(2 |x|)
erf       1.5      1.5      x + x P(x**2) for |x| < 0.85, else 1 - exp(-x**2) Q(|x|)
========  =======  =======  ==================================================================

All follow IEEE 754 and NumPy at signed zeros, infinities and NaN. The polynomials are minimax
fits of the relative error of the final result (Remez exchange, 50 digits), made for this file.

An expression which also needs the Gaussian exp(-x**2), as GELU's derivative does, gets `erf_given`, so that
it pays for one exponential only; and 1 + erf(x) becomes `one_plus_erf` or `normal_cdf`, which need no second
polynomial and do not cancel for negative `x` (their relative error there grows as exp(x**2 / 2) eps; that of
1 + erf(x) as written grows as exp(x**2) eps).

Sine and cosine are left to the C library: to be right for large arguments they need a reduction with a
thousand bits of pi, which is a table or a branch.

References
----------
.. [1] W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", Prentice-Hall, 1980 (two-part
   reduction).
.. [2] J.-M. Muller et al., "Handbook of Floating-Point Arithmetic", 2nd ed., Birkhaeuser, 2018.
"""

import math

from numba import njit

from tinynn.kernels.floatbits import constant, like, polynomial, power_of_two, scale, split

# No nnan, ninf (special values must come out right), no nsz (so must signed zeros), no reassoc (it breaks the
# two-part reduction). `contract` lets a product and a sum become one fused instruction; nothing here depends
# on it.
compiled = njit(error_model="numpy", fastmath={"contract"}, forceinline=True)

INF = float("inf")
NAN = float("nan")

SHIFT = constant(1.5 * 2.0**52, 1.5 * 2.0**23)  # see floatbits
LOG2_E = constant(1.4426950408889634)
# log(2) = LN2_HIGH + LN2_LOW. LN2_HIGH ends in zeros, so that k * LN2_HIGH is exact for every exponent k.
LN2_HIGH = constant(float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.63p-1"))
LN2_LOW = constant(float.fromhex("0x1.a39ef35793c76p-33"), float.fromhex("-0x1.bd0106p-13"))
LARGEST_EXPONENT = constant(710.0, 89.0)  # exp overflows here
SMALLEST_EXPONENT = constant(-746.0, -104.0)  # and is rounded to zero here
TINY = constant(2.0**-54, 2.0**-25)  # x + x**2/2 rounds to x
SMALLEST_NORMAL = constant(2.0**-1022, 2.0**-126)

# (exp(r) - 1 - r) / r**2 for |r| <= log(2)/2
EXP_TAIL = polynomial(
    double=(
        0.5000000000000011, 0.16666666666666408, 0.04166666666652998, 0.008333333333496819,
        0.0013888888943711071,
        0.00019841269502135817, 2.480149298674564e-05, 2.755758974597889e-06, 2.763029655424092e-07,
        2.4999175144589792e-08,
    ),
    single=(0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.00836874544620514,
    0.0013814540579915047),
)  # fmt: skip
# (2 atanh(s) / s - 2) / s**2, a polynomial in s**2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)
LOG_TAIL = polynomial(
    double=(
        0.6666666666666735, 0.3999999999941225, 0.2857142874301942, 0.22222198498651669, 0.1818356869798533,
        0.15313926402709616, 0.1479730908122706,
    ),
    single=(0.6666666269302368, 0.4000033736228943, 0.28537240624427795, 0.23583540320396423),
)  # fmt: skip
# erf(x) / x - 1, a polynomial in x**2, for |x| < 0.85
ERF_SMALL = polynomial(
    double=(
        0.12837916709551256, -0.37612638903183315, 0.11283791670931322, -0.026866170640032123,
        0.005223977569273329, -0.0008548323404147448, 0.00012055187128907182, -1.4921859486195488e-05,
        1.6398394873058896e-06, -1.5692388541635266e-07, 1.0662650948099455e-08,
    ),
    single=(
        0.12837916612625122, -0.3761257231235504, 0.11282717436552048, -0.02680255100131035,
        0.005051097366958857,
        -0.0006315126665867865,
    ),
)  # fmt: skip
# exp(x**2) * (1 - erf(x)) for x >= 0.85, a polynomial in 3 / (3 + x) - 1/2
ERF_LARGE = polynomial(
    double=(
        0.17900115118120968, 0.6524671201004216, 0.9824152067947387, 1.200927471035509, 1.1466541979406897,
        0.7805450704567977, 0.2733937634015129, -0.09185444646807019, -0.14646161269247981,
        -0.044955391548346824,
        0.11391306708053883, -0.03652341947187479,
    ),
    single=(
        0.1790001541376114, 0.6525173783302307, 0.9814279079437256, 1.210902452468872, 1.090203046798706,
        0.9583405256271362,
    ),
)  # fmt: skip
# exp(x**2) * (1 - erf(x)) / 2 for x >= 0, a polynomial in 3 / (3 + x) - 1/2; its relative error matters less for
# larger x
SCALED_COMPLEMENT = polynomial(
    double=(
        0.08950057559069492, 0.32623356004304377, 0.4912076034246343, 0.6004637459962987, 0.5733266977228205,
        0.39027998907578276, 0.13661233593455022, -0.04529545119903291, -0.07642496054819417, -0.011596218596089114,
        0.03294782852942593, 0.012245087623337128, -0.012791964424946286, -0.017875162451151706,
        0.02640217143851451, -0.013319425151629883, 0.0025733496855309583,
    ),
    single=(
        0.0895005613565445, 0.32623350620269775, 0.4912290871143341, 0.6000051498413086, 0.5776552557945251,
        0.3680436909198761, 0.20218372344970703, -0.1522132009267807,
    ),
)  # fmt: skip


@compiled
def exp(x):
    """e**x, by e**x = 2**k e**r with k the integer nearest to x / log(2)."""
    bounded = LARGEST_EXPONENT(x) if x > LARGEST_EXPONENT(x) else x
    bounded = SMALLEST_EXPONENT(x) if bounded < SMALLEST_EXPONENT(x) else bounded
    shifted = bounded * LOG2_E(x) + SHIFT(x)
    k = shifted - SHIFT(x)
    r = (bounded - k * LN2_HIGH(x)) - k * LN2_LOW(x)
    return scale(like(x, 1.0) + (r + r * r * EXP_TAIL(r)), shifted)


@compiled
def expm1(x):
    """e**x - 1 without cancellation, by 2**k (e**r - 1) + (2**k - 1)."""
    bounded = LARGEST_EXPONENT(x) if x > LARGEST_EXPONENT(x) else x
    bounded = like(x, -40.0) if bounded < like(x, -40.0) else bounded
    shifted = bounded * LOG2_E(x) + SHIFT(x)
    k = shifted - SHIFT(x)
    r = (bounded - k * LN2_HIGH(x)) - k * LN2_LOW(x)
    half_power = power_of_two(shifted - like(x, 1.0))  # 2**k overflows one step before the result does
    result = like(x, 2.0) * (half_power * (r + r * r * EXP_TAIL(r)) + (half_power - like(x, 0.5)))
    return x if abs(x) < TINY(x) else result  # keeps -0.0


@compiled
def tanh(x):
    """(e**2x - 1) / (e**2x + 1), as t / (t + 2) with t = expm1(2 |x|)."""
    doubled = abs(x) * like(x, 2.0)
    bounded = like(x, 44.0) if doubled > like(x, 44.0) else doubled  # 1 to the last bit beyond
    shifted = bounded * LOG2_E(x) + SHIFT(x)
    k = shifted - SHIFT(x)
    r = (bounded - k * LN2_HIGH(x)) - k * LN2_LOW(x)
    power = power_of_two(shifted)
    t = power * (r + r * r * EXP_TAIL(r)) + (power - like(x, 1.0))
    return math.copysign(t / (t + like(x, 2.0)), x)


@compiled
def log_of_parts(f, k):
    """log((1 + f) * 2**k) for sqrt(1/2) <= 1 + f < sqrt(2), by log(1 + f) = 2 atanh(f / (2 + f))."""
    s = f / (like(f, 2.0) + f)
    z = s * s
    half_square = like(f, 0.5) * f * f
    tail = s * (half_square + z * LOG_TAIL(z)) + k * LN2_LOW(f)
    return k * LN2_HIGH(f) - ((half_square - tail) - f)


@compiled
def log(x):
    """Natural logarithm: -inf at zero, NaN below."""
    subnormal = x < SMALLEST_NORMAL(x)
    m, k, _ = split(x * like(x, 2.0**54) if subnormal else x)
    result = log_of_parts(m - like(x, 1.0), k - like(x, 54.0) if subnormal else k)
    result = result if x < like(x, INF) else x  # inf and NaN
    result = like(x, -INF) if x == like(x, 0.0) else result
    return like(x, NAN) if x < like(x, 0.0) else result


@compiled
def log1p(x):
    """log(1 + x) without cancellation: what rounding 1 + x took away is added again."""
    rounded = like(x, 1.0) + x
    m, k, inverse_power = split(rounded)
    lost = (x - (rounded - like(x, 1.0))) * inverse_power
    f = m - like(x, 1.0)
    result = log_of_parts(f + lost if k < like(x, 64.0) else f, k)  # 2**-k may underflow beyond, where nothing is lost
    result = x if abs(x) < TINY(x) else result  # keeps -0.0
    result = result if x < like(x, INF) else x  # inf and NaN
    result = like(x, -INF) if rounded == like(x, 0.0) else result
    return like(x, NAN) if rounded < like(x, 0.0) else result


@compiled
def erf_given(x, gaussian):
    """erf(x), from x and exp(-x**2)."""
    size = abs(x)
    near = size + size * ERF_SMALL(x * x)
    argument = like(x, 3.0) / (like(x, 3.0) + size) - like(x, 0.5)
    far = like(x, 1.0) - gaussian * ERF_LARGE(argument)
    return math.copysign(near if size < like(x, 0.85) else far, x)


@compiled
def erf(x):
    """2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return erf_given(x, exp(-(x * x)))


@compiled
def normal_cdf(x, gaussian):
    """(1 + erf(x / sqrt(2))) / 2, from x and exp(-x**2 / 2), without cancellation for negative x."""
    three = like(x, 3.0 * math.sqrt(2.0))  # in units in which x / sqrt(2) is x
    tail = gaussian * SCALED_COMPLEMENT(three / (three + abs(x)) - like(x, 0.5))
    return like(x, 1.0) - tail if x > like(x, 0.0) else tail


@compiled
def one_plus_erf(x, gaussian):
    """1 + erf(x), from x and exp(-x**2), without cancellation for negative x."""
    tail = gaussian * SCALED_COMPLEMENT(like(x, 3.0) / (like(x, 3.0) + abs(x)) - like(x, 0.5))
    return like(x, 2.0) * (like(x, 1.0) - tail if x > like(x, 0.0) else tail)
