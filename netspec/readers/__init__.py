"""What other readers of the format get wrong, and equal nets that they get right."""

from netspec.readers.exporting import Exported as Exported
from netspec.readers.exporting import check_for as check_for
from netspec.readers.exporting import export_for as export_for
from netspec.readers.reader import READERS as READERS
from netspec.readers.reader import Reader as Reader
from netspec.readers.report import Finding as Finding
from netspec.readers.report import Report as Report
from netspec.readers.telling import warn_of_readers as warn_of_readers
