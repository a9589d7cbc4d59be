"""Files and text to messages and back."""

from netspec.text.holding import is_solver_file as is_solver_file
from netspec.text.messages import BINARY_SUFFIXES as BINARY_SUFFIXES
from netspec.text.messages import TEXT_SUFFIXES as TEXT_SUFFIXES
from netspec.text.messages import ReadNet as ReadNet
from netspec.text.messages import as_net as as_net
from netspec.text.messages import as_read_net as as_read_net
from netspec.text.messages import is_binary_net as is_binary_net
from netspec.text.messages import read_message as read_message
from netspec.text.messages import read_net as read_net
from netspec.text.messages import values_apart as values_apart
from netspec.text.messages import warn_unread as warn_unread
from netspec.text.messages import write_message as write_message
from netspec.text.parsing import add_fields as add_fields
from netspec.text.parsing import parse as parse
from netspec.text.parsing import to_text as to_text
from netspec.text.strict import is_strict as is_strict
from netspec.text.strict import refuse_unknown as refuse_unknown
from netspec.text.strict import refusing as refusing
