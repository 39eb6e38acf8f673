"""Deaths: a daemon is killed a thousand times, at random and at each system call of one datapoint's life."""
