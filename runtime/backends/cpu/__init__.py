"""Kernels compiled by Numba, and portable ones for the rest."""

from runtime.backends.cpu.backend import CpuBackend as CpuBackend
