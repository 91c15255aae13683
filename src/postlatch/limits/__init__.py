"""How much and how often: layered limits on accounts, rights and clients. Pure: time is an argument, nothing does I/O."""
