"""The metronome and the ticks it calls."""
