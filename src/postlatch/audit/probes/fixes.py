"""What to change, for the mail server that was recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ANY: Final = ""
_POSTFIX_RELAY: Final = (
    "main.cf: smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination;"
    " then see with `postconf -P` that no -o in master.cf undoes it."
)
_EXIM_RELAY: Final = (
    "In acl_check_rcpt, before the last accept: require message = relay not permitted / domains = +local_domains :"
    " +relay_to_domains; and set hostlist relay_from_hosts = localhost."
)
_HARAKA_RELAY: Final = "config/relay.ini: [relay] all=false; config/relay_acl_allow: your own addresses alone."

# Finding, then product (as `audit.fingerprint` names it); the empty product is for all others.
_FIXES: Final[Mapping[str, Mapping[str, str]]] = {
    "audit.open-relay": {
        "postfix": _POSTFIX_RELAY,
        "exim": _EXIM_RELAY,
        "sendmail": "sendmail.mc: delete FEATURE(`promiscuous_relay'); in access, RELAY for your own networks alone; make;"
        " restart.",
        "opensmtpd": "smtpd.conf: match from local for any action relay; match auth from any for any action relay; no"
        ' "match from any for any".',
        "exchange": 'Get-ReceiveConnector | Get-ADPermission -User "NT AUTHORITY\\ANONYMOUS LOGON" | Where-Object'
        " { $_.ExtendedRights -like 'ms-Exch-SMTP-Accept-Any-Recipient' } | Remove-ADPermission",
        "haraka": _HARAKA_RELAY,
        "hmailserver": "Settings, Advanced, IP ranges: clear External to external e-mail addresses for every range of"
        " strangers,"
        " or require authentication for it.",
        "postlatch": "postlatch.toml: no [[rights]] whose networks hold strangers; `postlatch rights` shows who may relay.",
        "qmail": "control/rcpthosts: list your own domains; in tcp.smtp, RELAYCLIENT for your own addresses alone.",
        _ANY: "Refuse every recipient outside your own domains, unless the client is logged in or one of your own.",
    },
    "audit.open-relay.sender": {
        "postfix": "main.cf: take check_sender_access and check_helo_access with OK or permit out of what comes before"
        " reject_unauth_destination: senders choose them.",
        "exim": "In acl_check_rcpt: delete `accept senders = ...` and `accept sender_domains = ...`: anybody can name any"
        " sender.",
        "sendmail": "sendmail.mc: delete FEATURE(`relay_local_from') and FEATURE(`relay_mail_from'); no From:...RELAY in"
        " access.",
        "opensmtpd": "smtpd.conf: replace `match from mail-from ... for any` by `match auth from any for any`.",
        "exchange": "Remove ms-Exch-SMTP-Accept-Authoritative-Domain-Sender and -Accept-Any-Recipient from ANONYMOUS LOGON"
        " on every"
        " connector that strangers reach.",
        "haraka": "Delete the plugin or rule that sets connection.relaying by the sender's address.",
        "hmailserver": "IP ranges: require SMTP authentication for Local to external e-mail addresses.",
        _ANY: "Let no sender's name, no HELO and no host name decide who may relay: the client chooses them. Only a login or an"
        " address of your own may.",
    },
    "audit.open-relay.percent": {
        "postfix": "main.cf: allow_untrusted_routing = no, allow_percent_hack = no, swap_bangpath = no,"
        " resolve_dequoted_address = yes.",
        "exim": "Delete percent_hack_domains; in acl_check_rcpt: deny local_parts = ^[.] : ^.*[@%!/|].",
        "sendmail": "sendmail.mc: delete FEATURE(`loose_relay_check').",
        _ANY: "Refuse local parts with %, ! or @ in them (restricted characters): they are old ways to write another address.",
    },
    "audit.open-relay.route": {
        "postfix": "main.cf: allow_untrusted_routing = no.",
        "exim": "In acl_check_rcpt: deny local_parts = ^.*[@%!/|]; do not rewrite source routes before the check.",
        "sendmail": "sendmail.mc: delete FEATURE(`loose_relay_check').",
        _ANY: "Cut source routes off before the check of the recipient, or refuse them (RFC 5321 section 3.6.1).",
    },
    "audit.open-relay.domain": {
        "postfix": "main.cf: relay_domains = your own domains (no pattern, no *), parent_domain_matches_subdomains without"
        " relay_domains;"
        " permit_mx_backup only with permit_mx_backup_networks.",
        "exim": "domainlist relay_to_domains: your own domains; no *, no @mx_any; expressions end in \\.example\\.com$.",
        "sendmail": "sendmail.mc: delete FEATURE(`relay_based_on_MX') and FEATURE(`relay_entire_domain'); add"
        " FEATURE(`relay_hosts_only').",
        "opensmtpd": "smtpd.conf: `for domain` with names, or a regex between ^ and $; never `for any` without auth.",
        "haraka": "config/host_list with names, or host_list_regex between ^ and $.",
        _ANY: "Compare whole domain names, ends anchored; no wildcard, and no trust in what the DNS of others says.",
    },
    "audit.open-relay.session": {
        "postfix": f"Update Postfix. {_POSTFIX_RELAY}",
        "exim": f"Update Exim. {_EXIM_RELAY}",
        "haraka": "A plugin sets connection.relaying, which lasts for the whole connection: set it for the transaction, or"
        " not at all"
        " (relay_dest_domains.ini: no action accept or continue).",
        _ANY: "Check every recipient by itself, in every state of the conversation, however the command is written; update.",
    },
    "audit.open-relay.trust": {
        "postfix": "main.cf: smtpd_authorized_xclient_hosts = and smtpd_upstream_proxy_protocol = (empty) where strangers"
        " connect.",
        _ANY: "Believe who a client says he is (XCLIENT, PROXY) from the addresses of your own proxies alone.",
    },
    "audit.open-relay.login": {
        _ANY: "Check passwords: see the server's user data base, and that no mechanism lets everybody in.",
    },
    "audit.accepts-unknown": {
        "postfix": "main.cf: smtpd_reject_unlisted_recipient = yes, local_recipient_maps = proxy:unix:passwd.byname"
        " $alias_maps,"
        " relay_recipient_maps with every mailbox; no luser_relay, no @domain catch-all.",
        "exim": "In acl_check_rcpt: require verify = recipient (for a relay: verify = recipient/callout).",
        "sendmail": "virtusertable: end each domain with `@example.com error:nouser User unknown`.",
        "opensmtpd": "smtpd.conf: `match for domain ... rcpt-to <recipients>`, with every mailbox in the table.",
        "exchange": "Set-RecipientFilterConfig -RecipientValidationEnabled $true; Set-AcceptedDomain NAME"
        " -AddressBookEnabled $true",
        "haraka": "config/plugins: a rcpt_to plugin that knows the mailboxes (rcpt_to.ldap, rcpt_to.qmail_deliverable).",
        "postlatch": 'postlatch.toml: recipients = ["alice", ...] or "callout" in the domain; no "*" in its aliases.',
        _ANY: "Refuse recipients that do not exist with 550 5.1.1 at RCPT.",
    },
    "audit.backscatter": {
        "postfix": "main.cf: smtpd_reject_unlisted_recipient = yes, relay_recipient_maps with every mailbox (or"
        " reject_unverified_recipient); refuse after DATA by a milter, not by a bounce.",
        "exim": "In acl_check_rcpt: require verify = recipient; refuse content in acl_check_data.",
        "sendmail": "Refuse unknown users at RCPT: virtusertable with error:nouser; on a backup MX, FEATURE(`access_db')"
        " with To: lines.",
        "exchange": "Set-RecipientFilterConfig -RecipientValidationEnabled $true",
        _ANY: "Say no in the conversation, while the sender is there: unknown recipients at RCPT, size and content at DATA.",
    },
    "audit.masked-source": {
        _ANY: 'Let the server see its clients\' own addresses: no userland proxy (Docker: "userland-proxy": false, and IPv6'
        " on the"
        " network), externalTrafficPolicy: Local in Kubernetes, or a PROXY header from the balancer alone; and do not trust the"
        " gateway's address.",
    },
    "audit.data-without-recipient": {_ANY: "Update the server: DATA without a recipient is to be answered with 503 or 554."},
    "audit.etrn": {
        "postfix": "main.cf: smtpd_etrn_restrictions = permit_mynetworks, reject.",
        "exim": "acl_smtp_etrn: not set, or with your own hosts alone.",
        "sendmail": "sendmail.mc: define(`confPRIVACY_FLAGS', `goaway,noetrn').",
        _ANY: "Switch ETRN off, or allow it to your own hosts alone.",
    },
    "audit.turn": {_ANY: "Switch TURN and ATRN off."},
    "audit.verb": {
        "sendmail": "sendmail.mc: define(`confPRIVACY_FLAGS', `goaway,noverb').",
        _ANY: "Switch VERB off.",
    },
    "audit.send": {_ANY: "Switch SEND, SOML and SAML off (RFC 5321 appendix F.6)."},
    "audit.starttls-injection": {
        "postfix": "Update: mended in 2011 (2.8, 2.7.3, 2.6.9, 2.5.12).",
        "aiosmtpd": "Update to 1.4.6 or later (CVE-2024-34083).",
        "exim": "Update; keep smtp_enforce_sync = true.",
        _ANY: "Update: after STARTTLS the server must drop what it has read of the conversation in the clear.",
    },
    "audit.starttls-state": {_ANY: "Update: after the handshake a conversation starts anew (RFC 3207 section 4.2)."},
    "audit.starttls-twice": {_ANY: "Update: STARTTLS is answered with 503 once TLS runs (RFC 3207 section 4.2)."},
    "audit.xclient": {
        "postfix": "main.cf: smtpd_authorized_xclient_hosts = (empty), or the addresses of your own filters; see -o in"
        " master.cf.",
        "exim": "hosts_xclient: the addresses of your own proxies, or not set.",
        "haraka": "config/xclient.hosts: the addresses of your own proxies, or no such file.",
        _ANY: "Allow XCLIENT to the addresses of your own proxies alone.",
    },
    "audit.xforward": {
        "postfix": "main.cf: smtpd_authorized_xforward_hosts = (empty), or the addresses of your own filters; see -o in"
        " master.cf.",
        _ANY: "Allow XFORWARD to the addresses of your own filters alone.",
    },
    "audit.proxy-header": {
        "postfix": "main.cf and master.cf: smtpd_upstream_proxy_protocol and postscreen_upstream_proxy_protocol empty on"
        " every port"
        " that strangers reach; or a firewall that lets only the balancer to it.",
        "exim": "hosts_proxy: the addresses of your own balancers, or not set.",
        "opensmtpd": "smtpd.conf: no proxy-v2 on a `listen` that strangers reach.",
        "haraka": "config/connection.ini: [haproxy] hosts = the addresses of your own balancers.",
        "postlatch": "postlatch.toml: proxies of the listener: the addresses of your own balancers alone.",
        _ANY: "Believe PROXY headers from the addresses of your own balancers alone.",
    },
    "audit.auth-before-tls": {
        "postfix": "main.cf: smtpd_tls_auth_only = yes, smtpd_tls_security_level = may (587: encrypt).",
        "exim": "auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}, and server_advertise_condition = ${if"
        " def:tls_in_cipher}.",
        "sendmail": "sendmail.mc: define(`confAUTH_OPTIONS', `A p y').",
        "opensmtpd": "smtpd.conf: listen on ... tls-require auth.",
        "exchange": "Set-ReceiveConnector NAME -AuthMechanism Tls,BasicAuth,BasicAuthRequireTLS",
        "haraka": "config/auth.ini and the plugin: offer AUTH only if connection.tls.enabled.",
        _ANY: "Offer AUTH only once TLS runs.",
    },
    "audit.auth-any-password": {
        "postfix": "main.cf: smtpd_sasl_type and smtpd_sasl_path must name a service that checks passwords (Dovecot: passdb"
        " without"
        " `driver = static` and nopassword).",
        "exim": "The authenticator's server_condition must compare the password: never yes, true or 1.",
        "haraka": "config/plugins: replace the auth plugin that takes everything (auth/test, a hook that calls next(OK)).",
        _ANY: "Check passwords. A test server that takes any must not be reachable from outside.",
    },
    "audit.auth-anonymous": {
        "postfix": "main.cf: smtpd_sasl_security_options = noanonymous, noplaintext; smtpd_sasl_tls_security_options ="
        " noanonymous.",
        "sendmail": "sendmail.mc: TRUST_AUTH_MECH and confAUTH_MECHANISMS without ANONYMOUS and EXTERNAL; confAUTH_OPTIONS"
        " with y.",
        _ANY: "Offer no mechanism that lets in who shows nothing, and update.",
    },
    "audit.auth-on-mx": {
        "postfix": "main.cf: smtpd_sasl_auth_enable = no; master.cf: -o smtpd_sasl_auth_enable=yes for submission and"
        " submissions.",
        _ANY: "Offer logins on ports 465 and 587 alone.",
    },
    "audit.vrfy": {
        "postfix": "main.cf: disable_vrfy_command = yes.",
        "exim": "acl_smtp_vrfy: not set.",
        "sendmail": "sendmail.mc: define(`confPRIVACY_FLAGS', `goaway').",
        _ANY: "Answer VRFY with 252 for every name, or with 502.",
    },
    "audit.expn": {
        "exim": "acl_smtp_expn: not set.",
        "sendmail": "sendmail.mc: define(`confPRIVACY_FLAGS', `goaway').",
        _ANY: "Switch EXPN off (502).",
    },
    "audit.spoofable": {
        "postfix": "main.cf: smtpd_sender_login_maps with your users, and reject_unauthenticated_sender_login_mismatch in"
        " smtpd_sender_restrictions; and a milter that checks SPF and DMARC (opendmarc with RejectFailures true).",
        "exim": "In acl_check_mail or acl_check_rcpt: deny sender_domains = +local_domains / !authenticated = * / !hosts ="
        " +relay_from_hosts; and deny on spf = fail and dmarc_status = reject.",
        "exchange": "Set-OrganizationConfig -RejectDirectSend $true (Microsoft 365); Get-ReceiveConnector |"
        " Remove-ADPermission -User"
        ' "NT AUTHORITY\\ANONYMOUS LOGON" -ExtendedRights ms-Exch-SMTP-Accept-Authoritative-Domain-Sender',
        "haraka": "config/plugins: spf, dkim.verify and dmarc with rejection, and mail_from.is_resolvable.",
        "opensmtpd": "smtpd.conf: filter with SPF and DMARC (filter-spf, filter-dmarc), and reject your own domain from"
        " strangers.",
        _ANY: "Refuse strangers' mail in the name of your own domain: check SPF, DKIM and DMARC, or let only users who are"
        " logged in"
        " use it.",
    },
    "audit.own-domain-unprotected": {
        _ANY: "Publish SPF that ends in -all and DMARC with p=reject (first p=none, until the reports show all senders),"
        " have the"
        " server check both, and refuse your own domain from who is not logged in.",
    },
    "audit.ambiguous-author": {
        _ANY: "Refuse messages whose From field is not there exactly once with exactly one plain address (RFC 5322 section"
        " 3.6).",
    },
    "audit.smuggling": {
        "postfix": "main.cf: smtpd_forbid_bare_newline = normalize and smtpd_forbid_unauth_pipelining = yes (3.9, 3.8.5,"
        " 3.7.10,"
        " 3.6.14, 3.5.24 or later).",
        "exim": "Update to 4.97.1 or later.",
        "sendmail": "Update to 8.18.1 or later.",
        "aiosmtpd": "Update to 1.4.5 or later.",
        _ANY: "Update: only CR LF . CR LF ends a message; refuse bare CR and LF.",
    },
    "audit.inner-port": {
        "postfix": "master.cf: bind it to 127.0.0.1 (127.0.0.1:10025 inet ...), and -o mynetworks=127.0.0.0/8.",
        _ANY: "Bind it to 127.0.0.1 or a socket in the file system, or close it in the firewall.",
    },
}


def fix(finding: str, product: str) -> str:
    """The exact change for a finding, or what is right for any server; empty for a finding that is not known here.

    ``audit.xclient-offered`` and the like have the fix of what they are named after; so has an open relay of a family without
    one of its own.
    """
    table = _FIXES.get(finding)
    if table is None:
        shorter = max((known for known in _FIXES if finding.startswith((f"{known}-", f"{known}."))), key=len, default=None)
        table = _FIXES[shorter] if shorter is not None else {}
    return table.get(product, table.get(_ANY, ""))
