"""``postlatch dns``: the records that a domain of this relay needs, what is published of them, and the difference.

``site`` says what this relay is, ``wanted`` what to publish for it, ``published`` asks the DNS, ``compare`` judges (pure), and
``fragment`` writes what is to be changed as text of a zone file.
"""
