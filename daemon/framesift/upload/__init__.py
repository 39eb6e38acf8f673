"""The second loop: takes datapoints from the spool and delivers them to the sink."""
