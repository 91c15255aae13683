"""HTTP for people and monitors: ``/healthz``, ``/readyz``, ``/metrics`` and one page that shows the truth.

Read only, no scripts, no session. ``model`` is what the pages ask; the composition root answers it.
"""
