"""Who may submit: credentials, SASL mechanisms, send-as, suspension, known recipients."""
