"""What a net costs: shapes, parameters, multiply-adds and memory, per layer."""

from netspec.summary.report import MAC_RULE as MAC_RULE
from netspec.summary.report import Summary as Summary
from netspec.summary.report import summarize as summarize
from netspec.summary.report import summary_of as summary_of
from netspec.summary.row import Row as Row
