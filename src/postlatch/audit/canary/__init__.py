"""Where the mail of an audit arrives if it is relayed: the only proof that there is."""
