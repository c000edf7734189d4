"""What is done with finished runs and saved outputs: score, rescore, compare, merge, agreement of raters."""
