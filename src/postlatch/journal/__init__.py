"""The journal: an append-only, chained record of what the relay decided and did, in daily segments.

``codec`` packs events, ``chain`` says what each hash covers, ``seal`` appends (on the writer's thread, in the message's own
transaction), ``read`` and ``search`` answer, ``verify`` checks everything again, ``prune`` keeps the retention. ``logs`` writes
the same events as log lines, ``counters`` counts for ``/metrics``.
"""
