"""Mail servers whose truth is known, asked by the auditor and by nmap's script, side by side."""
