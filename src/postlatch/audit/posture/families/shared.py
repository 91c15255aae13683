"""Senders that many share: who is a customer there sends from the same addresses.

Sources: the providers' own set-up pages. ``strict`` ones let a customer use any domain in the envelope unless its owner
objects, so an include of theirs makes SPF pass for strangers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.senderauth.spf.names import is_within


class Shared(NamedTuple):
    """``loose``: customers are not known to be held to their own domains."""

    provider: str
    loose: bool
    advice: str


_DKIM: Final = "sign with DKIM there and let DMARC rely on it; take the include out if you no longer send there"
_HOSTING: Final = (
    "give your server an address of its own and publish ip4: for it, or send through a relay that checks the sender"
)

_KNOWN: Final[dict[str, Shared]] = {
    "relay.mailchannels.net": Shared(
        "MailChannels", True, "publish the Domain Lockdown record _mailchannels TXT, which says who may use the domain"
    ),
    "websitewelcome.com": Shared("HostGator's shared hosting", True, _HOSTING),
    "bluehost.com": Shared("Bluehost's shared hosting", True, _HOSTING),
    "secureserver.net": Shared("GoDaddy's shared hosting", True, _HOSTING),
    "mx.ovh.com": Shared("OVH's shared mail", True, _HOSTING),
    "spf.web-hosting.com": Shared("Namecheap's shared hosting", True, _HOSTING),
    "mail.hostinger.com": Shared("Hostinger's shared mail", True, _HOSTING),
    "dreamhost.com": Shared("DreamHost's shared mail", True, _HOSTING),
    "kundenserver.de": Shared("IONOS's shared mail", True, _HOSTING),
    "perfora.net": Shared("IONOS's shared mail", True, _HOSTING),
    "hostedemail.com": Shared("OpenSRS's shared mail", True, _HOSTING),
    "amazonses.com": Shared("Amazon SES", False, _DKIM),
    "sendgrid.net": Shared("SendGrid", False, _DKIM),
    "mailgun.org": Shared("Mailgun", False, _DKIM),
    "mandrillapp.com": Shared("Mandrill", False, _DKIM),
    "mcsv.net": Shared("Mailchimp", False, _DKIM),
    "mtasv.net": Shared("Postmark", False, _DKIM),
    "sparkpostmail.com": Shared("SparkPost", False, _DKIM),
    "spf.mailjet.com": Shared("Mailjet", False, _DKIM),
    "spf.sendinblue.com": Shared("Brevo", False, _DKIM),
    "spf.brevo.com": Shared("Brevo", False, _DKIM),
    "salesforce.com": Shared("Salesforce", False, _DKIM),
    "zendesk.com": Shared("Zendesk", False, _DKIM),
    "spf.protection.outlook.com": Shared("Microsoft 365", False, _DKIM),
    "_spf.google.com": Shared("Google Workspace", False, _DKIM),
    "zoho.com": Shared("Zoho", False, _DKIM),
    "freshdesk.com": Shared("Freshdesk", False, _DKIM),
}


def shared_by(target: str) -> Shared | None:
    """Whose shared senders an include lets in, if they are known."""
    return next((shared for name, shared in _KNOWN.items() if is_within(target, name)), None)
