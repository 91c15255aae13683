"""The named commands, a file each; ``run`` has the list of them all."""
