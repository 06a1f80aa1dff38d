"""Load tests: a fleet on real servers, watched for what it leaves behind."""
