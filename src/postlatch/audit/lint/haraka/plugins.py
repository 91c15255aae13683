"""Plugins that come with Haraka or from its makers, and let nobody relay but after a login."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
access aliases asn attachment auth/auth_base auth/auth_bridge auth/auth_ldap auth/auth_proxy
auth/auth_vpopmaild auth/flat_file auth-enc-file auth-imap auth-ldap avg backscatterer block_me bounce clamd
connect.asn connect.fcrdns connect.geoip connect.p0f connect.rdns_access cloudmark dcc data.headers
data.signatures data.uribl delay_deny dkim dkim_sign dkim_verify dmarc-perl dns-list dnsbl dnswl dns_list
early_talker elasticsearch esets fcrdns geoip graph greylist headers helo.checks known-senders karma ldap
limit log.syslog lookup_rdns.strict log-reader mail_from.access mail_from.blocklist mail_from.is_resolvable
mail_from.nobounces max_unrecognized_commands messagesniffer mongodb outbound-logger p0f
prevent_credential_leaks process_title profile qmail-deliverable queue/deliver queue/discard queue/lmtp
queue/qmail-queue queue/quarantine queue/rabbitmq queue/rabbitmq_amqplib queue/smtp_bridge queue/smtp_forward
queue/smtp_proxy queue/mongodb rcpt-postgresql rcpt-ldap rcpt_to.access rcpt_to.blocklist rcpt_to.in_host_list
rcpt_to.ldap rcpt_to.max_count rcpt_to.host_list_base rcpt_to.qmail_deliverable rcpt_to.routes
rcpt_to.mailing_list recipient-routes record_envelope_addresses redis reseed_rng rspamd spamassassin spf srs
status syslog tarpit test_queue tls toobusy uribl vmta watch wildduck xclient dovecot
"""
HARMLESS: Final = frozenset(_NAMES.split())
