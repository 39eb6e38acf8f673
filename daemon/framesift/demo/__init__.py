"""The demo: a rendered street, a small detector that knows it, and what the pipeline collects from them."""
