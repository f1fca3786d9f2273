"""A page about datasets, matches and runs of training: one HTML file that needs nothing else, for whoever asks.

find      what lies in the folders that were given
account   the ledger as a balance, what failed, what came when
sample    some rows of a dataset, whatever its size; `measures` says which columns tell something, from the schema
chart     distributions as SVG; `sky` where on the sky; `pictures` what `mmu.look` draws
dataset, match, run     what the page says of each; `page` puts it together, with the templates
"""

from mmu.report.page import write_report

__all__ = ["write_report"]
