"""Sockets, TLS and time-outs: joins the SMTP engine, the policy and the queue. Decides nothing itself."""
