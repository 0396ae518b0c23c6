"""The mathematics: every primitive operation, by family, and the functions that apply them."""
