"""The paper's experiments: what is run, running it, keeping what came of it, and showing it beside the paper."""
