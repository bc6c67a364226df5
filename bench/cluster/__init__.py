"""Ray actors and a thin scheduler over them."""
