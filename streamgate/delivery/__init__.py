"""Best shots on their way to whoever asked for them."""
