"""Loss, optimiser, schedule and the loop that yields events."""
