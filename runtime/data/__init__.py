"""What data layers read, and the one list of data layers."""

from runtime.data.memory import MemorySource as MemorySource
from runtime.data.opening import open_source as open_source
from runtime.data.source import Reader as Reader
from runtime.data.source import Source as Source
