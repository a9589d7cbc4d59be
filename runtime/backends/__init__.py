"""Primitives on a device, and its kernels; nothing else imports a device library."""

from runtime.backends.base import PRECISIONS as PRECISIONS
from runtime.backends.base import Backend as Backend
from runtime.backends.by_name import BACKENDS as BACKENDS
from runtime.backends.by_name import KERNELS as KERNELS
from runtime.backends.by_name import full_name as full_name
from runtime.backends.by_name import get_backend as get_backend
from runtime.backends.by_name import name_for_rank as name_for_rank
