"""Results of audits over time: read back, compared, and watched for drift. Nothing here does I/O."""
