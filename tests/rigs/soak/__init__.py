"""The soak: one daemon with sixteen streams that runs for hours, with faults, and is audited each minute."""
