"""A recorded run of a function as a program: a list of instructions that can be run again on new data."""

from tinynn.compiler.record import Instruction, Program, record

__all__ = ["Instruction", "Program", "record"]
