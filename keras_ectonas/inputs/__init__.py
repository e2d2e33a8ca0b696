"""What a search learns from: arrays and data sets, the rows to train and to score on, and what is asked of them."""
