"""Folds over what has happened: signs of trouble that no single connection shows. Pure; who composes the relay acts on them."""
