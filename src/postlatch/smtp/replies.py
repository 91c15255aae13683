"""What the server engine says by itself. Fixed text: nothing that a client sent is ever in a reply."""

from __future__ import annotations

from typing import Final

from postlatch.model.reply import Reply

OK: Final[Reply] = Reply(250, "2.0.0", "OK")
BYE: Final[Reply] = Reply(221, "2.0.0", "Bye")
HELP: Final[Reply] = Reply(214, "2.0.0", "See RFC 5321")
CANNOT_VERIFY: Final[Reply] = Reply(252, "2.5.0", "Cannot verify a user, but will take mail and try to deliver it")
READY_FOR_TLS: Final[Reply] = Reply(220, "2.0.0", "Ready to start TLS")
START_BODY: Final[Reply] = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
CHUNK_TAKEN: Final[Reply] = Reply(250, "2.0.0", "Chunk received")

# Syntax, RFC 5321 section 4.2.2
UNKNOWN_COMMAND: Final[Reply] = Reply(500, "5.5.2", "Command not recognised")
LINE_TOO_LONG: Final[Reply] = Reply(500, "5.5.2", "Line too long")
BARE_LF: Final[Reply] = Reply(500, "5.5.2", "Lines must end in CR LF")
CONTROL_BYTE: Final[Reply] = Reply(500, "5.5.2", "NUL or bare CR in a command")
NOT_UTF8: Final[Reply] = Reply(500, "5.5.2", "Command is not valid UTF-8")
NOT_IMPLEMENTED: Final[Reply] = Reply(502, "5.5.1", "Command not implemented")
NO_ARGUMENT: Final[Reply] = Reply(501, "5.5.4", "This command takes no argument")
BAD_HELO: Final[Reply] = Reply(501, "5.5.4", "A host name or address literal is needed")
BAD_MAIL: Final[Reply] = Reply(501, "5.5.2", "Syntax: MAIL FROM:<address> [parameters]")
BAD_RCPT: Final[Reply] = Reply(501, "5.5.2", "Syntax: RCPT TO:<address> [parameters]")
BAD_PARAMETER: Final[Reply] = Reply(501, "5.5.4", "Invalid or repeated parameter")
UNKNOWN_PARAMETER: Final[Reply] = Reply(555, "5.5.4", "Parameter not recognised or not implemented")
NO_PARAMETERS: Final[Reply] = Reply(555, "5.5.4", "Parameters need EHLO")
BAD_BDAT: Final[Reply] = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")
BAD_AUTH: Final[Reply] = Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
BAD_BASE64: Final[Reply] = Reply(501, "5.5.2", "Not valid base64")

# Addresses, RFC 3463 section 3.2 and RFC 6531 section 3.5
BAD_RECIPIENT: Final[Reply] = Reply(501, "5.1.3", "Bad recipient address syntax")
BAD_SENDER: Final[Reply] = Reply(501, "5.1.7", "Bad sender address syntax")
NEEDS_SMTPUTF8: Final[Reply] = Reply(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")

# Sequence
NEED_HELLO: Final[Reply] = Reply(503, "5.5.1", "Send EHLO first")
NEED_MAIL: Final[Reply] = Reply(503, "5.5.1", "Send MAIL first")
NEED_RECIPIENT: Final[Reply] = Reply(503, "5.5.1", "Send RCPT first")
NO_VALID_RECIPIENTS: Final[Reply] = Reply(554, "5.5.1", "No valid recipients")
IN_TRANSACTION: Final[Reply] = Reply(503, "5.5.1", "Not permitted in a mail transaction")
IN_CHUNKS: Final[Reply] = Reply(503, "5.5.1", "Only BDAT or RSET may follow BDAT")
TLS_ACTIVE: Final[Reply] = Reply(503, "5.5.1", "TLS is already active")
AUTHENTICATED: Final[Reply] = Reply(503, "5.5.1", "Already authenticated")

# Limits
TOO_BIG: Final[Reply] = Reply(552, "5.3.4", "Message is larger than the size limit")
TOO_MANY_RECIPIENTS: Final[Reply] = Reply(452, "4.5.3", "Too many recipients")
TOO_MANY_ERRORS: Final[Reply] = Reply(421, "4.7.0", "Too many errors")
TOO_MANY_COMMANDS: Final[Reply] = Reply(421, "4.7.0", "Too many commands without mail")
TOO_MANY_TRANSACTIONS: Final[Reply] = Reply(421, "4.7.0", "Too many messages in one connection")

# Authentication, RFC 4954 sections 4 and 6
TLS_NEEDED: Final[Reply] = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
UNKNOWN_MECHANISM: Final[Reply] = Reply(504, "5.5.4", "Authentication mechanism not supported")
AUTH_CANCELLED: Final[Reply] = Reply(501, "5.7.0", "Authentication cancelled")

# The connection ends with these
NOT_SMTP: Final[Reply] = Reply(554, "5.5.0", "This is a mail server")
SYNCHRONISATION: Final[Reply] = Reply(554, "5.5.0", "SMTP protocol synchronisation error")
BAD_BODY: Final[Reply] = Reply(554, "5.5.2", "Message holds NUL, or a line end that is not CR LF")
