"""Kernels compiled by LLVM, and portable ones for the rest."""

from runtime.backends.cpu.backend import CpuBackend as CpuBackend
