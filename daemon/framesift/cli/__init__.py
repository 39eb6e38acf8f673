"""The command line: `framesift run`, `check`, `status`, `policy`, `spool`, `init` and `demo`."""
