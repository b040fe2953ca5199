"""Training against pictures that fool: what ``scratch`` and the judge are made of."""
