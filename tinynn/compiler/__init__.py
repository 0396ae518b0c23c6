"""Compiling a step: one real run is recorded as a program, the program becomes a plan, and a machine runs the plan.

`tinynn.compile` is in `step`. From there a function goes through the files in this order::

    record      record          one run of the function, as a `Program`: instructions on numbered registers
                program         what a `Program` is; the plainest way to run one, instruction by instruction
                differences     two recordings that differ: something was frozen that changes from call to call

    plan        plan            `make_plan` calls all of these; a `Plan` is a table of rows, and buffers between them
                expand          fused operations written out in plain ones,
                formulas            by these formulas
                tidy            instructions sorted into few kinds of work; no duplicates, nothing that nobody reads
                sort                one instruction: is it a view, a known value, or which kind of work?
                matrices            products of stacks of matrices, and contractions, as plain matrix products
                work                the kinds of work: maps, reductions, products, copies, calls
                views               where an operand lies: a window on a buffer, by strides
                fuse            work that runs in one loop
                rows            the rows that a plan is made of: `Loop`, `Multiply`, `Call`
                shorten         cheap values computed again; equal updates in one loop; updates as early as they can be
                absorb          factors and sums that a matrix product does on its way
                join            sums that the loop does which computes their terms
                split           large batches in parts that stay in the cache,
                cuts                and how one row is cut
                recompute       if asked for: activations computed again for the way back, to spare memory
                layout          where the buffers lie in memory, which is used again and again
                table, report   the plan as text; what it takes of memory

    machines    machine         what all machines share: memory, arguments, results, the optimizers' numbers
                homes               memory for parameters, side by side
                external            large arguments and results, which are not copied
                step_numbers        optimizers' numbers for the steps to come
                interpret       row by row in NumPy: to step through, and the reference in tests
                numba_machine   the CPU: rows are words of a table, and kernels are called by address
                kernel_rows         loops and products with their kernels,
                native_rows         and calls that have one written by hand
                sharing             long rows on several threads
                cuda_machine    the GPU: rows are kernels, a step is the replay of a CUDA graph
                cuda_program, cuda_rows, cuda_homes, cuda_device

    calls       step            the decorator: finds the program for a call, or lets one be made
                specialise      one program: recorded twice, checked against the eager step, then run
                choose          by which machine
                guards          what the function depends on besides its arguments, and whether that has changed
                watch               what a call can compare in some tens of nanoseconds
                arguments       nested arguments taken apart, and put together again
                state           everything that a step may change: kept, put back, compared
                epoch           all minibatches of an epoch
                errors          what keeps a function from being compiled

The kernels themselves are in `tinynn.kernels`.
"""

from tinynn.compiler.program import Instruction, Program
from tinynn.compiler.record import record

__all__ = ["Instruction", "Program", "record"]
